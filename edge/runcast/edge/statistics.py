"""What an edge counts about delivery: events sent and acknowledged, and how long both took. Pure.

Times run from the event's own time (its source's clock) and are taken only of events that came while the device was connected: what a
device missed while it was away says nothing about delivery. Bounded: a connection remembers at most what its window holds.
"""

from array import array
from typing import Final

from runcast.bus.histogram import Histogram

_FRAME: Final = 4
"""Numbers that a frame takes: seq, events, time of the newest, time of sending. Plain numbers, for an edge keeps a row for every device,
and tuples would take five times the memory; a double holds seqs and milliseconds exactly (to 2^53)."""


class EdgeStatistics:
    """Counts of one edge since its start.

    Attributes:
        events_sent: events given to a device's socket; an event for two devices counts twice.
        events_acked: of those, events that the device's application acknowledged.
        to_send: from an event to its sending.
        to_ack: from an event to its acknowledgement.
        alerts: runs whose critical events did not reach a connected user in time.
    """

    def __init__(self) -> None:
        self.events_sent = 0
        self.events_acked = 0
        self.to_send = Histogram()
        self.to_ack = Histogram()
        self.alerts = 0


class Unacknowledged:
    """What was sent to one device and is not acknowledged, with times.

    Args:
        statistics: of the edge.
        answers: see below.
        kept: somebody may acknowledge it. Else it is counted as sent, and that is all.

    Attributes:
        answers: it is known that the device acknowledges. What a mere reader has is never acknowledged, and is not waited for; it is known
            with its first acknowledgement.
    """

    def __init__(self, statistics: EdgeStatistics, *, answers: bool = True, kept: bool = True) -> None:
        self.answers = answers
        self._kept = kept
        self._statistics = statistics
        self._row = array("d")
        self._first = 0  # what lies before it is forgotten
        self.sent = 0
        self.acked = 0

    def add(self, seq: int, events: int, event_ms: int, now: float, now_ms: int) -> None:
        """A frame goes out.

        Args:
            seq: up to where it leads.
            events: in it.
            event_ms: time of its newest event, milliseconds since the Unix epoch; 0 when that is not to be counted.
            now: monotonic seconds.
            now_ms: milliseconds since the Unix epoch.
        """
        self.sent += events
        self._statistics.events_sent += events
        if event_ms and events:
            self._statistics.to_send.add(now_ms - event_ms, events)
        if self._kept:
            self._row.extend((seq, events, event_ms, now))

    def free_le(self, seq: int, now_ms: int) -> None:
        """The device acknowledged everything up to `seq`."""
        self.answers = True
        row, first = self._row, self._first
        while first < len(row) and row[first] <= seq:
            events, event_ms = int(row[first + 1]), int(row[first + 2])
            self.acked += events
            self._statistics.events_acked += events
            if event_ms and events:
                self._statistics.to_ack.add(now_ms - event_ms, events)
            first += _FRAME
        if 2 * first > len(row):
            del row[:first]
            first = 0
        self._first = first

    def oldest_s(self, now: float) -> float:
        """How long the oldest unacknowledged frame has been out, seconds; 0.0 when there is none, or the device does not acknowledge."""
        return now - self._row[self._first + _FRAME - 1] if self.answers and self._first < len(self._row) else 0.0
