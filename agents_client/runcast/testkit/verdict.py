"""What a checker says: how many anomalies of each kind, and how long things took. Pure; never imports the rest of the testkit."""

from collections.abc import Sequence
from typing import Final

import msgspec

ANOMALIES: Final = (
    "lost",
    "duplicated",
    "reordered",
    "altered",
    "leaked",
    "gaps_unannounced",
    "false_resets",
    "false_snapshots",
    "stale",
    "false_receipts",
    "upstream_lost",
    "upstream_duplicated",
    "upstream_reordered",
    "false_parkings",
    "false_cancels",
    "frozen_runs",
    "false_losses",
    "drain_waits",
)
"""Every kind of anomaly; `checker` says what each means."""
EXAMPLES_MAX: Final = 5
"""Anomalies of one kind that are told in words."""


class Spread(msgspec.Struct, frozen=True):
    """How long something took, milliseconds."""

    count: int
    p50: float
    p99: float
    max: float


class Verdict(msgspec.Struct):
    """What the checker found.

    Attributes:
        anomalies: how many of each kind.
        examples: the first few of each kind that there is, in words.
        settled: whether the trial came to its end; without, what was lost can't be told, and the verdict is not clean.
        accepted: events acknowledged to agents.
        delivered: those of them that every device has that is owed them.
        shown: events shown to devices, each device counted.
        indeterminate: events of which an agent was told that they may or may not be stored.
        superseded: events dropped because a later attempt of their run had begun.
        resets: announced, to devices that came with an honest position.
        snapshots: given and read to their end; and broken_off, when the device went in the middle.
        upstream_accepted: messages whose sender was told "stored".
        upstream_redelivered: deliveries to agents beyond the first.
        upstream_ordered: first deliveries whose order against the message before could be judged, for nothing was broken then.
        parked: messages put aside.
        cancels: runs that ended because their user wished it.
        receipts: by outcome.
        faults: by kind.
        recover: from a device's lost connection until it was caught up again.
        latency: from the agent's emit until a device that was caught up had it.
        receipt: from storing until an agent knew that it was delivered.
        receipt_calm: the same, of those while nothing was broken, without the first seconds, when everybody connects.
        cancel: from the word that a cancel is stored until a device showed the run's end.
        drain: from the agent's emit until a device had it, while a process was asked to end and nothing else was broken.
    """

    anomalies: dict[str, int]
    examples: dict[str, list[str]]
    settled: bool
    accepted: int
    delivered: int
    shown: int
    indeterminate: int
    superseded: int
    resets: int
    snapshots: dict[str, int]
    upstream_accepted: int
    upstream_redelivered: int
    upstream_ordered: int
    parked: int
    cancels: int
    receipts: dict[str, int]
    faults: dict[str, int]
    recover: Spread
    latency: Spread
    receipt: Spread
    receipt_calm: Spread
    cancel: Spread
    drain: Spread

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return self.settled and not any(self.anomalies.values())


def spread(values: Sequence[float]) -> Spread:
    """Percentiles of durations, given in milliseconds."""
    if not values:
        return Spread(0, 0.0, 0.0, 0.0)
    line = sorted(values)
    return Spread(len(line), *(round(line[min(int(share * len(line)), len(line) - 1)], 1) for share in (0.5, 0.99, 1.0)))
