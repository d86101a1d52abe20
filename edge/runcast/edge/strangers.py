"""Who is connected and has not proved yet who they are: how many, from where, and for how long. Pure.

Rules
1. An address has a rate at which it may connect and ask, and a number of strangers at once. Past either it is refused.
2. All strangers together have a number. At it the longest waiting goes for each that comes: an honest handshake takes a moment, so floods
   cut off each other.
3. A stranger who has neither proved who they are nor got an answer for so long goes.
4. The book of addresses has its bound; the longest unseen is forgotten, which gives it a full bucket.

An address is what `addresses.counted` makes of one; "" counts for nobody: a trusted proxy, until a request says for whom it speaks.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from runcast.bus.policy.bucket import Rate
from runcast.edge.buckets import Buckets
from runcast.wire import limits_floods

_CROWD_RETRY_S: Final = 1.0


class Bounds(NamedTuple):
    """Of one edge.

    Attributes:
        connects: of one address; an infinite rate for no bound.
        per_address: strangers of one address at once; 0 for no bound.
        in_all: strangers at once.
        for_s: how long one of them may be, seconds.
    """

    connects: Rate = Rate(limits_floods.CONNECTS_PER_S, limits_floods.CONNECTS_PER_S * limits_floods.CONNECTS_BURST_S)
    per_address: int = limits_floods.STRANGERS_PER_ADDRESS_MAX
    in_all: int = limits_floods.STRANGERS_MAX
    for_s: float = limits_floods.STRANGER_S


class Stranger:
    """One connection.

    Attributes:
        address: that it is counted under; "" for none.
        cut: ends it.
    """

    __slots__ = ("address", "asked", "cut", "since")

    def __init__(self, address: str, since: float) -> None:
        self.address = address
        self.since = since
        self.asked = False  # a request came: its connect paid for it
        self.cut: Callable[[], None] = _nothing


class Refused(NamedTuple):
    """`retry_after_s`: when it may be tried again."""

    retry_after_s: float


class Strangers:
    """Of one edge; `now` is in monotonic seconds.

    Attributes:
        refused: by why ("rate", "crowd"), since the start.
        cut: by why ("late", "crowd"), since the start.
    """

    def __init__(self, bounds: Bounds, *, addresses_max: int = limits_floods.ADDRESSES_MAX) -> None:
        self._bounds = bounds
        self._addresses = Buckets(addresses_max)
        self._waiting: OrderedDict[Stranger, None] = OrderedDict()  # the longest waiting first
        self._here: Counter[str] = Counter()  # how many of them by address
        self.refused: Counter[str] = Counter()
        self.cut: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def addresses(self) -> int:
        """How many are remembered."""
        return len(self._addresses)

    def arrive(self, address: str, now: float) -> tuple[Stranger, Stranger | None] | Refused:
        """Somebody connects. Returns who it is, and whom to cut for it; or that it is refused."""
        refused = self._admit(address, now)
        if refused is not None:
            return refused
        longest = None
        if len(self._waiting) >= self._bounds.in_all:
            longest = next(iter(self._waiting))
            self.leave(longest)
            self.cut["crowd"] += 1
        stranger = Stranger(address, now)
        self._waiting[stranger] = None
        self._here[address] += 1
        return stranger, longest

    def ask(self, stranger: Stranger, address: str, now: float) -> Refused | None:
        """A request came on its connection: for whom, and may it be answered? The connect itself paid for its first."""
        first, stranger.asked = not stranger.asked, True
        if address != stranger.address and stranger in self._waiting:
            self._move(stranger, "")
            refused = self._admit(address, now)
            if refused is None:
                self._move(stranger, address)
            return refused
        return None if first else self._take(address, now)

    def answered(self, stranger: Stranger, now: float) -> None:
        """It got an answer: its time begins anew."""
        if stranger in self._waiting:
            stranger.since = now
            self._waiting.move_to_end(stranger)

    def leave(self, stranger: Stranger) -> None:
        """It is known now, or gone."""
        if stranger in self._waiting:
            del self._waiting[stranger]
            self._uncount(stranger.address)

    def overdue(self, now: float) -> list[Stranger]:
        """Those whose time is over; they are forgotten here."""
        late = []
        for stranger in self._waiting:
            if now - stranger.since < self._bounds.for_s:
                break
            late.append(stranger)
        for stranger in late:
            self.leave(stranger)
        self.cut["late"] += len(late)
        return late

    def _admit(self, address: str, now: float) -> Refused | None:
        if address and 0 < self._bounds.per_address <= self._here[address]:
            self.refused["crowd"] += 1
            return Refused(_CROWD_RETRY_S)
        return self._take(address, now)

    def _take(self, address: str, now: float) -> Refused | None:
        if not address or self._bounds.connects.per_s == math.inf:
            return None
        wait_s = self._addresses.take(address, self._bounds.connects, now)
        if wait_s:
            self.refused["rate"] += 1
        return Refused(wait_s) if wait_s else None

    def _move(self, stranger: Stranger, address: str) -> None:
        self._uncount(stranger.address)
        stranger.address = address
        self._here[address] += 1

    def _uncount(self, address: str) -> None:
        self._here[address] -= 1
        if not self._here[address]:
            del self._here[address]


def _nothing() -> None:
    """It has nothing to end yet."""
