"""Which events of a user's stream are of no account any more: those of attempts that were superseded, or declared lost (PROTOCOL.md,
"Attempts").

Theory. The stream is totally ordered, so the log itself is the fence. Once `agent_started` of attempt 2 is in it, everything of attempt 1
that comes later is void; once `run_lost` of an attempt is in it, everything later of that attempt is. Where the fence stands is a
place in the log, so it does not matter in which order a reader comes to know the log, from live or from history: what lay before the
fence stays, what lies behind it goes, for all readers alike.

Rules: only attempts above 1 and losses are noted, so a stream without them costs nothing. A reader can only know what it has read; of
what it has forgotten (`limits.FENCE_RUNS_MAX`) or never seen it says "not superseded".
Invariants: what one reader calls superseded, a reader of the whole log does too; noting the same again changes nothing.

Pure: imports no asyncio, clock, random, logging.
"""

from collections import OrderedDict
from collections.abc import Iterable

from runcast.v1.event_pb2 import Event
from runcast.wire import limits


class Fence:
    """What one reader of one user's stream knows of superseded attempts.

    Args:
        runs_max: runs remembered.
        attempts_max: fences remembered of a run.
    """

    __slots__ = ("_attempts_max", "_runs", "_runs_max")

    def __init__(self, *, runs_max: int = limits.FENCE_RUNS_MAX, attempts_max: int = limits.FENCE_ATTEMPTS_MAX) -> None:
        self._runs_max = runs_max
        self._attempts_max = attempts_max
        self._runs: OrderedDict[str, dict[int, int]] = OrderedDict()

    def note(self, event: Event, seq: int) -> None:
        """Take notice of an event that lies at `seq` of the log."""
        kind = event.WhichOneof("kind")
        if kind == "run_lost":
            self._stand(event.run_id, event.attempt, seq)
        elif kind == "agent_started" and event.attempt > 1:
            self._stand(event.run_id, event.attempt - 1, seq)

    def superseded(self, run_id: str, attempt: int, seq: int) -> bool:
        """Whether an event of this attempt that lies at `seq` of the log is void, as far as is known here."""
        fences = self._runs.get(run_id)
        return fences is not None and any(attempt <= upto and where < seq for upto, where in fences.items())

    def pass_on(self, events: Iterable[Event], seq: int) -> list[Event]:
        """Note the events of one batch, which lies at `seq`, and return those of them that count."""
        passed = []
        for event in events:
            self.note(event, seq)
            if not self._runs or not self.superseded(event.run_id, event.attempt, seq):
                passed.append(event)
        return passed

    def _stand(self, run_id: str, upto: int, seq: int) -> None:
        """From `seq` on, attempts up to `upto` are void."""
        fences = self._runs.setdefault(run_id, {})
        self._runs.move_to_end(run_id)
        fences[upto] = min(seq, fences.get(upto, seq))
        if len(fences) > self._attempts_max:
            del fences[min(fences)]
        if len(self._runs) > self._runs_max:
            self._runs.popitem(last=False)
