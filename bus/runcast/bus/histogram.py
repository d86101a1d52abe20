"""How long things took, in fixed buckets: constant memory, cheap to add to, and histograms of many processes may be summed. Pure.

Buckets are by upper bound, inclusive, in milliseconds; the last one holds all that is above. A quantile is given as the bound of the
bucket it falls in (in the last bucket: the longest time seen), so it is never too low.
"""

from bisect import bisect_left
from typing import Final

BOUNDS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000)
"""Upper bounds of the buckets, milliseconds."""


class Histogram:
    """Durations in milliseconds.

    Attributes:
        counts: by bucket; one more than there are bounds.
        count: how many durations.
        sum_ms: of all.
        max_ms: the longest.
    """

    __slots__ = ("count", "counts", "max_ms", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.count = 0
        self.sum_ms = 0.0
        self.max_ms = 0.0

    def add(self, ms: float, count: int = 1) -> None:
        """Count a duration, `count` times; one below 0 (two clocks that differ) counts as 0."""
        ms = max(ms, 0.0)
        self.counts[bisect_left(BOUNDS_MS, ms)] += count
        self.count += count
        self.sum_ms += ms * count
        self.max_ms = max(self.max_ms, ms)

    def quantile(self, share: float) -> float:
        """The duration that `share` (0.0 to 1.0) of all do not exceed, milliseconds; 0.0 when there is none."""
        wanted = share * self.count
        seen = 0
        for bound, count in zip(BOUNDS_MS, self.counts, strict=False):
            seen += count
            if count and seen >= wanted:
                return min(float(bound), self.max_ms)
        return self.max_ms

    def as_json(self) -> dict[str, object]:
        """For the statistics of a process: counts by bucket, and the usual quantiles."""
        return {
            "count": self.count,
            "sum_ms": round(self.sum_ms, 3),
            "max_ms": round(self.max_ms, 3),
            "p50_ms": round(self.quantile(0.5), 3),
            "p99_ms": round(self.quantile(0.99), 3),
            "bounds_ms": BOUNDS_MS,
            "counts": self.counts,
        }
