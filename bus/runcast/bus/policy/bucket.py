"""A token bucket: so much per second, and so much at once after a rest. Pure.

Theory. What is kept is not what is left but what was *spent* and has not come back: a new bucket has spent nothing, and one whose rate or
burst changes needs no conversion. What was spent comes back at `per_s`, and never is less than nothing.

Rules:
    - A cost is taken when it fits into the burst beside what was spent. One that is larger than the burst fits into an empty bucket, and
      is paid off afterwards: the rate holds over time, and nothing waits for ever because of its size (sizes have bounds of their own).
    - A rate of `inf` takes everything.
    - A clock that goes backwards gives nothing back, and takes nothing.

Invariant: over any time t, what was taken is at most `burst + per_s * t`, and at most one cost more where costs are larger than the burst.
"""

import math
from typing import Final, NamedTuple

_SLACK: Final = 1e-9
"""Share of a burst that sums of floats may be off by: who waited as long as he was told is not to be sent back for it."""


class Rate(NamedTuple):
    """How much may be taken.

    Attributes:
        per_s: units a second; `inf` for any number.
        burst: units at once.
    """

    per_s: float
    burst: float


class Bucket:
    """One bucket; as good as new once all that was spent has come back."""

    __slots__ = ("_at", "_spent")

    def __init__(self) -> None:
        self._spent = 0.0
        self._at = 0.0

    def spent(self, now: float, rate: Rate) -> float:
        """What was taken and has not come back, units; `now` in monotonic seconds."""
        elapsed_s = now - self._at
        if elapsed_s > 0.0:
            self._at = now
            if self._spent:
                left = self._spent - rate.per_s * elapsed_s
                self._spent = left if left > 0.0 else 0.0
        return self._spent

    def wait_s(self, now: float, rate: Rate, cost: float = 1.0) -> float:
        """How long until `cost` fits, seconds; 0.0: it does now. Takes nothing."""
        per_s, burst = rate
        if per_s == math.inf:
            return 0.0
        spent = self.spent(now, rate)
        over = spent + cost - burst if cost < burst else spent
        return over / per_s if over > burst * _SLACK else 0.0

    def spend(self, now: float, rate: Rate, cost: float = 1.0) -> None:
        """Take `cost`, whether it fits or not."""
        if rate.per_s != math.inf:
            self._spent = (self._spent if now == self._at else self.spent(now, rate)) + cost

    def take(self, now: float, rate: Rate, cost: float = 1.0) -> float:
        """Take `cost` if it fits.

        Args:
            now: monotonic seconds.
            rate: how much may be taken.
            cost: units, above 0.

        Returns:
            0.0: it was taken; else how long until it fits, seconds, and nothing was taken.
        """
        wait_s = self.wait_s(now, rate, cost)
        if not wait_s:
            self.spend(now, rate, cost)
        return wait_s
