"""What a Runcast has done so far, in numbers (`Runcast.stats`).

Rules: counts are from the start of the process and only rise; gauges are of the moment; latencies are of the newest
`limits.LATENCIES_KEPT_MAX` batches, each from when its oldest event was accepted until its acknowledgement was heard, so that what rested,
waited for a router, or was sent again, counts whole.

Pure: never imports asyncio, a clock, randomness, logging or grpc.
"""

from collections import deque
from typing import Literal, NamedTuple

from runcast.wire import limits_client as limits

State = Literal["connecting", "connected", "waiting", "closed"]


class ConnectionState(NamedTuple):
    """How things are between this process and the routers.

    Attributes:
        state: "connecting": a router is being tried; "connected": it takes what is sent; "waiting": none does just now, the next is tried
            in a moment; "closed": nothing more is sent.
        router: the router's address; "" before the first was tried.
        reason: why it is so, for people; "" when all is well.
    """

    state: State
    router: str
    reason: str


class Statistics(NamedTuple):
    """What `Runcast.stats` returns.

    Attributes:
        connection: how things are with the routers.
        queued: events that wait, in no batch yet.
        in_flight: events that were sent, or are about to be sent again, and are unanswered.
        bytes: of both.
        accepted: events that were taken in.
        merged: of these, the ones that became part of another that waited.
        dropped: progress that was not taken in, because there was no room (`when_full="drop_progress"`).
        stored: events that were acknowledged; with what was merged into them, see `accepted`.
        batches: batches that were acknowledged.
        resent: sendings of a batch that had been sent before.
        refused: batches that a router refused, for now or for good.
        limited: of these, for now, by a limit of the tenant's tier; they are sent again after the time that the router said.
        denied: of these, for good, because something is not granted to this agent.
        limit: which limit it was the last time, for people; "" before the first.
        failed: runs that failed.
        latency_p50_s: from accepting to knowing that it is stored, seconds; None before the first.
        latency_p99_s: the same.
        reconnects: streams that were opened after the first.
    """

    connection: ConnectionState
    queued: int
    in_flight: int
    bytes: int
    accepted: int
    merged: int
    dropped: int
    stored: int
    batches: int
    resent: int
    refused: int
    limited: int
    denied: int
    limit: str
    failed: int
    latency_p50_s: float | None
    latency_p99_s: float | None
    reconnects: int


class Counts:
    """Counted as it happens; for each attribute see `Statistics`."""

    __slots__ = (
        "_latencies",
        "accepted",
        "batches",
        "denied",
        "dropped",
        "failed",
        "limit",
        "limited",
        "merged",
        "refused",
        "resent",
        "stored",
    )

    def __init__(self) -> None:
        self._latencies: deque[float] = deque(maxlen=limits.LATENCIES_KEPT_MAX)
        self.accepted = 0
        self.batches = 0
        self.denied = 0
        self.dropped = 0
        self.failed = 0
        self.limit = ""
        self.limited = 0
        self.merged = 0
        self.refused = 0
        self.resent = 0
        self.stored = 0

    def note_refused(self, code: str, message: str) -> None:
        """A router refused a batch."""
        self.refused += 1
        if code == "rate_limited":
            self.limited += 1
            self.limit = message
        elif code == "permission_denied":
            self.denied += 1

    def note_stored(self, events: int, latency_s: float) -> None:
        """A batch of so many events is stored."""
        self.stored += events
        self.batches += 1
        self._latencies.append(latency_s)

    def latency_s(self, share: float) -> float | None:
        """A percentile, by nearest rank; None of nothing."""
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    def tell(self, connection: ConnectionState, queued: int, in_flight: int, size: int, reconnects: int) -> Statistics:
        """All of it, with the gauges of the moment; `size` is in bytes."""
        return Statistics(
            connection=connection,
            queued=queued,
            in_flight=in_flight,
            bytes=size,
            accepted=self.accepted,
            merged=self.merged,
            dropped=self.dropped,
            stored=self.stored,
            batches=self.batches,
            resent=self.resent,
            refused=self.refused,
            limited=self.limited,
            denied=self.denied,
            limit=self.limit,
            failed=self.failed,
            latency_p50_s=self.latency_s(0.5),
            latency_p99_s=self.latency_s(0.99),
            reconnects=reconnects,
        )
