"""A token bucket whose refusals stand in line, so that those who wait come again one after the other and not all at once. Pure.

Theory. Behind a bucket that is full, many batches of many runs may wait. Told the same time, all of them would come at it, and all but
a few in vain. What is refused is therefore reckoned as if it stood in line before a second bucket, which drains at the same rate: each is
told when its turn would be. Nobody is held to it, and nothing is reserved: who comes first is taken. Who comes again without waiting
makes the line of this limit longer, up to `limits_policy.LIMIT_RETRY_MAX_S`, and no other's.
"""

from runcast.bus.policy.bucket import Bucket, Rate
from runcast.wire import limits_policy as policy_limits


class Meter(Bucket):
    """One limit of one tenant or user."""

    __slots__ = ("_line",)

    def __init__(self) -> None:
        super().__init__()
        self._line: Bucket | None = None  # most never need it

    def refuse(self, now: float, rate: Rate, cost: float) -> float:
        """Put `cost` in line; returns after how many seconds it should come again."""
        line = self._line = self._line or Bucket()
        wait_s = self.wait_s(now, rate, cost) + line.spent(now, rate) / rate.per_s
        if wait_s < policy_limits.LIMIT_RETRY_MAX_S:
            line.spend(now, rate, cost)
        return min(max(wait_s, policy_limits.LIMIT_RETRY_MIN_S), policy_limits.LIMIT_RETRY_MAX_S)
