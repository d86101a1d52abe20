"""From what devices of tests saw to a history that the checker can judge. Pure: it is given times.

A test's agents do not write down what they plan, as those of a trial do, so what was planned is taken from what was seen, by anybody: the
checker then can't tell an event that nobody emitted, nor one that no device got. It tells what is doubled, reordered, missing on one
device and not on another, left out in silence, shown to another user, or without an end.

Never imports the clock or anything that does I/O.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runcast.testkit.history import AnyRecord, Framed, Opened, Planned, Seen, Sent, Settled
from runcast.v1.event_pb2 import Event
from runcast.wire.frames import Batch, Welcome


class Sighting(NamedTuple):
    """What one device of a user saw, in order. A tenant's users are told apart by `user` alone."""

    user: str
    device: str
    records: Sequence[AnyRecord]


def seen(event: Event) -> Seen:
    """An event as a history has it."""
    kind = event.WhichOneof("kind") or "unknown"
    if kind == "agent_response":
        content = event.agent_response.text.encode()
    else:
        alone = event
        if event.first_seq:  # whatever else it stands for, it says the same
            alone = Event()
            alone.CopyFrom(event)
            alone.first_seq = 0
        content = alone.SerializeToString(deterministic=True)
    return Seen(event.id, kind, event.run_id, event.attempt, event.seq, event.first_seq, event.time_unix_ms, zlib.crc32(content))


def framed(frame: Batch, user: str, device: str, t: float, ms: int) -> Framed:
    """A batch frame as a history has it; `ms`: the time of day."""
    return Framed(t=t, user=user, device=device, prev=frame.prev, pos=frame.pos, events=[seen(event) for event in frame.events], ms=ms)


def opened(frame: Welcome, user: str, device: str, t: float, asked: str, trick: str = "", *, slow: bool = False) -> Opened:
    """A welcome as a history has it; see `Opened` for the rest."""
    return Opened(
        t=t,
        user=user,
        device=device,
        edge=frame.edge,
        asked=asked,
        trick=trick,
        outcome=frame.outcome,
        reason=frame.reason,
        position=frame.position,
        tip=frame.tip,
        slow=slow,
        wants=None,
        runs=[(run.run_id, run.attempt, run.seq) for run in frame.runs],
    )


def to_history(sightings: Iterable[Sighting], ended_t: float) -> list[AnyRecord]:
    """A history that is over at `ended_t`, when all these devices were connected and owed everything."""
    sightings = list(sightings)
    kinds: dict[tuple[str, int], dict[int, str]] = {}
    owners: dict[tuple[str, int], tuple[str, str]] = {}
    said: dict[str, Sent] = {}
    for sighting in sightings:
        for record in sighting.records:
            for event in record.events if isinstance(record, Framed) else ():
                if event.run:
                    key = (event.run, event.attempt)
                    kinds.setdefault(key, {})[event.seq] = event.kind
                    owners.setdefault(key, (sighting.user, sighting.device))
                elif event.kind == "user_message":
                    said.setdefault(event.id, Sent(t=0.0, id=event.id, user=sighting.user, device=sighting.device))
    plans = [
        Planned(
            t=0.0,
            user=owners[run, attempt][0],
            run=run,
            attempt=attempt,
            agent="",
            # What only ever came as a part of something else may be stood for: so it was of a kind that can be.
            kinds=[seqs.get(seq, "agent_thinking") for seq in range(1, max(seqs) + 1)],
        )
        for (run, attempt), seqs in kinds.items()
    ]
    devices = [(sighting.user, sighting.device) for sighting in sightings]
    records = [record for sighting in sightings for record in sighting.records]
    return [*plans, *said.values(), *records, Settled(t=ended_t, devices=devices)]
