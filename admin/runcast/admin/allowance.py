"""So much at once, and so often from then on; what goes beyond is counted. Pure: `now` (monotonic seconds) is an argument.

Invariants: what is left is never above the burst; of many who have an allowance of their own, at most so many are remembered, and the
longest unused, who by then has a full one or nearly, is forgotten.
"""

from collections import OrderedDict


class Allowance:
    """One.

    Args:
        burst: at once.
        every_s: until one more, seconds.
        now: monotonic seconds.

    Attributes:
        beyond: how much was refused since something was last allowed.
    """

    __slots__ = ("_at", "_burst", "_every_s", "_left", "beyond")

    def __init__(self, burst: int, every_s: float, now: float) -> None:
        self._burst = burst
        self._every_s = every_s
        self._left = float(burst)
        self._at = now
        self.beyond = 0

    def take(self, now: float) -> bool:
        """Whether one more is allowed; then it is taken. `beyond` is for the taker to set to 0."""
        self._fill(now)
        if self._left < 1.0:
            self.beyond += 1
            return False
        self._left -= 1.0
        return True

    def wait_s(self, now: float) -> float:
        """How long until one more is allowed, seconds."""
        self._fill(now)
        return max(1.0 - self._left, 0.0) * self._every_s

    def _fill(self, now: float) -> None:
        self._left = min(self._left + max(now - self._at, 0.0) / self._every_s, float(self._burst))
        self._at = max(now, self._at)


class Allowances:
    """One for each of many.

    Args:
        burst: see `Allowance`.
        every_s: see `Allowance`.
        many: how many are remembered.
    """

    def __init__(self, burst: int, every_s: float, many: int) -> None:
        self._burst = burst
        self._every_s = every_s
        self._many = many
        self._each: OrderedDict[str, Allowance] = OrderedDict()

    def of(self, who: str, now: float) -> Allowance:
        """The allowance of one."""
        found = self._each.get(who)
        if found is None:
            found = self._each[who] = Allowance(self._burst, self._every_s, now)
            if len(self._each) > self._many:
                self._each.popitem(last=False)
        self._each.move_to_end(who)
        return found
