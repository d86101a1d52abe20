"""How long things take, from how long they took: tool calls by the tool's name, and a run by its own progress.

Rules: only calls that ended well count. A tool's estimate is the median of its newest durations, so that one slow call moves nothing. What
is left of a run is reckoned from how fast its progress rose since the run began, or since the progress last fell.

Pure: `now` (monotonic seconds) is an argument. Never imports asyncio, a clock, randomness, logging or grpc.
"""

from collections import OrderedDict, deque
from statistics import median

from runcast.wire import limits_client as limits


class Estimates:
    """Durations of tool calls, by name; of one process."""

    def __init__(self) -> None:
        self._durations: OrderedDict[str, deque[float]] = OrderedDict()

    def record(self, tool: str, took_s: float) -> None:
        """A call ended well after `took_s` seconds."""
        known = self._durations.pop(tool, None) or deque(maxlen=limits.ESTIMATE_CALLS_MAX)
        known.append(took_s)
        self._durations[tool] = known
        if len(self._durations) > limits.ESTIMATE_TOOLS_MAX:
            self._durations.popitem(last=False)

    def estimate_s(self, tool: str) -> float | None:
        """How long the next call may take, seconds; None when none has ended yet."""
        known = self._durations.get(tool)
        return median(known) if known else None


class Pace:
    """How fast one run goes.

    Args:
        now: when it began.
    """

    __slots__ = ("_at", "_from", "_newest")

    def __init__(self, now: float) -> None:
        self._at = now
        self._from = 0.0
        self._newest = 0.0

    def remaining_s(self, now: float, progress: float) -> float | None:
        """What is left after `progress` (0.0 to 1.0) was reached at `now`, seconds; None when that can't be reckoned."""
        if progress < self._newest:
            self._at, self._from = now, progress
        self._newest = progress
        if progress >= 1.0:
            return 0.0
        if progress <= self._from or now <= self._at:
            return None
        return (now - self._at) / (progress - self._from) * (1.0 - progress)
