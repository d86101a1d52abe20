"""What was stored in a user's stream, batch by batch, and which part of it is wanted. Pure.

Rules: a span is of positions, of times of storing, or of both. It begins behind a position (as for a device), or with what was stored at a
time; its end is in it. A run brings along the runs that it began, and those that these began: a child says who its parent is.
"""

import math
from typing import NamedTuple

from runcast.v1.event_pb2 import Event


class RecordedBatch(NamedTuple):
    """A batch as it was stored, or what is wanted of it.

    Attributes:
        epoch: of its position.
        seq: of its position.
        stored_ms: when it was stored, Unix milliseconds.
        events: those of it that are wanted.
        unreadable: why it could not be opened; "" when it was. It has no events then.
    """

    epoch: str
    seq: int
    stored_ms: int
    events: list[Event]
    unreadable: str = ""


class Span(NamedTuple):
    """From where to where.

    Attributes:
        after_seq: what lies behind this.
        upto_seq: what lies at this, or before.
        from_ms: what was stored then, or later; Unix milliseconds.
        to_ms: what was stored then, or before.
    """

    after_seq: int = 0
    upto_seq: float = math.inf
    from_ms: int = 0
    to_ms: float = math.inf

    def holds(self, seq: int, stored_ms: int) -> bool:
        """Whether a batch lies within."""
        return self.after_seq < seq <= self.upto_seq and self.from_ms <= stored_ms <= self.to_ms

    def over(self, seq: int, stored_ms: int) -> bool:
        """Whether a batch, and so every later one, lies beyond its end."""
        return seq > self.upto_seq or stored_ms > self.to_ms


class Runs:
    """Which events are of a run, or of those below it. Shown the events in their order.

    Args:
        run_id: of the run; "" for all events.
    """

    def __init__(self, run_id: str) -> None:
        self._wanted = {run_id} if run_id else None

    def of(self, batch: RecordedBatch) -> RecordedBatch | None:
        """What of a batch is wanted; None: nothing. What could not be opened may hold something, and is."""
        if self._wanted is None or batch.unreadable:
            return batch
        events = []
        for event in batch.events:
            if event.parent_run_id in self._wanted:
                self._wanted.add(event.run_id)
            if event.run_id in self._wanted:
                events.append(event)
        return batch._replace(events=events) if events else None
