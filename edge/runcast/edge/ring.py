"""The newest entries of a connected user, so that a device which is only a little behind is fed without asking NATS. Pure.

Rule: it is bounded by what its entries hold in memory, decoded and encoded, not by what they take in the log: a small event holds ten times
as much here as there.

Invariant: the entries follow one another; the last is the newest.
"""

from collections import deque

from runcast.edge.entry import Entry
from runcast.wire import limits


class Ring:
    """Of one user.

    Args:
        bytes_max: what its entries may hold together; see `Entry.cost`.
        entries_max: how many they may be.
    """

    __slots__ = ("_bytes_max", "_entries", "_entries_max", "cost")

    def __init__(self, bytes_max: int = limits.RING_BYTES_MAX, entries_max: int = limits.RING_ENTRIES_MAX) -> None:
        self._bytes_max = bytes_max
        self._entries_max = entries_max
        self._entries: deque[tuple[Entry, int]] = deque()
        self.cost = 0

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """The next entry, after it was sent to who is live: what it holds then is counted. The oldest make room."""
        cost = entry.cost
        self._entries.append((entry, cost))
        self.cost += cost
        while self.cost > self._bytes_max or len(self._entries) > self._entries_max:
            self.cost -= self._entries.popleft()[1]

    def clear(self) -> None:
        """Forget all of them."""
        self._entries.clear()
        self.cost = 0

    def after(self, seq: int) -> list[Entry] | None:
        """All entries after `seq`; None when the ring does not know the place: it lies before, or is no place that this feed has been at.

        (A feed that opened when nothing of the user was left goes from 0 to its first entry; a place in between is from before, and what
        came after it is gone.)
        """
        if not self._entries or seq < self._entries[0][0].prev:
            return None
        after = [entry for entry, _ in self._entries if entry.seq > seq]
        known = after[0].prev if after else self._entries[-1][0].seq
        return after if known == seq else None
