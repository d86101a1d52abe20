"""What was sent to a device and is not yet acknowledged, counted in events and in bytes.

A row of (seq, events, bytes), oldest first, as plain numbers: an edge has a window for every device, and tuples would take six times the
memory. Invariants: seqs rise; `events` and `bytes` are the sums over the row; an empty window is never full, so that a frame larger than
the byte bound still goes out alone. Who adds only to a window that is not full passes the bounds by at most its newest frame.
"""

from array import array
from typing import Final

_FRAME: Final = 3
"""Numbers that a frame takes."""


class AckWindow:
    """Cumulative acknowledgement window.

    Args:
        events_max: full at so many unacknowledged events.
        bytes_max: full at so many unacknowledged bytes.
    """

    def __init__(self, events_max: int, bytes_max: int) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._row = array("q")
        self._first = 0  # what lies before it is forgotten
        self.events = 0
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Nothing more may be sent before an acknowledgement."""
        return self.events >= self._events_max or self.bytes >= self._bytes_max

    @property
    def half_empty(self) -> bool:
        """At most half of both bounds is used: worth feeding again (feeding at every ack would send crumbs)."""
        return 2 * self.events <= self._events_max and 2 * self.bytes <= self._bytes_max

    @property
    def last_seq(self) -> int:
        """The newest unacknowledged seq; 0 when there is none."""
        return self._row[-_FRAME] if len(self) else 0

    def __len__(self) -> int:
        return (len(self._row) - self._first) // _FRAME

    def add(self, seq: int, events: int, size: int) -> None:
        """Count a frame that was just sent; `seq` is above all before it."""
        self._row.extend((seq, events, size))
        self.events += events
        self.bytes += size

    def free_le(self, seq: int) -> int:
        """Forget all frames up to `seq`; return how many events that acknowledged."""
        freed, first, row = 0, self._first, self._row
        while first < len(row) and row[first] <= seq:
            freed += row[first + 1]
            self.bytes -= row[first + 2]
            first += _FRAME
        self.events -= freed
        if 2 * first > len(row):
            del row[:first]
            first = 0
        self._first = first
        return freed
