"""Buckets by name, so many and no more. Pure.

Rule: past the bound the longest unused is forgotten. It has rested longest, so it is the fullest there is; whoever would empty the book by
coming under many names gets a bucket for each of them anyway.
"""

from collections import OrderedDict

from runcast.bus.policy.bucket import Bucket, Rate


class Buckets:
    """The book of one process.

    Args:
        names_max: how many are remembered.
    """

    def __init__(self, names_max: int) -> None:
        self._names_max = names_max
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, rate: Rate, now: float) -> float:
        """Take one; returns 0.0, or how long until it fits, seconds, and then nothing was taken. `now` in monotonic seconds."""
        return self.find(name).take(now, rate)

    def find(self, name: str) -> Bucket:
        """The bucket of this name; a new one when it is not remembered."""
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= self._names_max:
                self._buckets.popitem(last=False)
            bucket = self._buckets[name] = Bucket()
        else:
            self._buckets.move_to_end(name)
        return bucket
