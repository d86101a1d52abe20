"""What was sent to a device and is not yet acknowledged, counted in events and in bytes.

A ring of (seq, events, bytes), oldest first. Invariants: seqs rise; `events` and `bytes` are the sums over the ring; an empty window is
never full, so that a frame larger than the byte bound still goes out alone. Who adds only to a window that is not full passes the
bounds by at most its newest frame.
"""

from collections import deque


class AckWindow:
    """Cumulative acknowledgement window.

    Args:
        events_max: full at so many unacknowledged events.
        bytes_max: full at so many unacknowledged bytes.
    """

    def __init__(self, events_max: int, bytes_max: int) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._ring: deque[tuple[int, int, int]] = deque()
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
        return self._ring[-1][0] if self._ring else 0

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, seq: int, events: int, size: int) -> None:
        """Count a frame that was just sent; `seq` is above all before it."""
        self._ring.append((seq, events, size))
        self.events += events
        self.bytes += size

    def free_le(self, seq: int) -> int:
        """Forget all frames up to `seq`; return how many events that acknowledged."""
        freed = 0
        while self._ring and self._ring[0][0] <= seq:
            _, events, size = self._ring.popleft()
            self.events -= events
            self.bytes -= size
            freed += events
        return freed
