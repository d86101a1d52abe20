"""Judges what became of users' wishes to end a run (PROTOCOL.md, "What users send"). Pure.

Rules
1. An attempt that began after the wish was confirmed does not complete; one that was under way then does not complete later than
   `HONOURED_S` after it. (It may be lost, refused, or go on with the next attempt, which then is cancelled as well.)
2. A run is cancelled only if a device of its own user wished it.

That a cancelled run ends once, and that nothing follows, is the views' matter.
"""

from collections import defaultdict
from typing import Final

from runcast.testkit.history import Answered, AnyRecord, CancelSent, Planned
from runcast.testkit.view import Report, Try

HONOURED_S: Final = 12.0
"""A router that was cut off from NATS hears of cancels when it is back, an agent that lost its router when it has another one."""


class CancelCheck:
    """The state of one check. `take` the records in the order of their times.

    Args:
        report: told of anomalies.

    Attributes:
        honoured: runs that were cancelled by their user.
        took_ms: how long that took, until it was shown.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._wishes: dict[str, CancelSent] = {}
        self._sent: dict[str, list[CancelSent]] = defaultdict(list)  # by run
        self._stored: dict[str, float] = {}
        self._planned: dict[Try, Planned] = {}
        self._ends: dict[Try, tuple[str, float, float]] = {}
        self.honoured = 0
        self.took_ms: list[float] = []

    def take(self, record: AnyRecord) -> None:
        """Note a record."""
        match record:
            case CancelSent():
                self._wishes[record.id] = record
                self._sent[record.run].append(record)
            case Answered() if record.outcome == "stored" and record.id in self._wishes:
                self._stored.setdefault(record.id, record.t)
            case Planned():
                self._planned[record.run, record.attempt] = record

    def ended(self, attempt: Try, kind: str, emitted: float, shown: float) -> None:
        """A device showed an attempt's end: when it was emitted and when it was shown, seconds of the monotonic clock."""
        self._ends.setdefault(attempt, (kind, emitted, shown))

    def finish(self) -> None:
        """Judge."""
        for attempt, (kind, emitted, shown) in self._ends.items():
            plan = self._planned.get(attempt)
            if plan is None or not plan.agent:
                continue
            wishes = [wish for wish in self._sent[plan.run] if wish.user == plan.user]
            if kind == "run_cancelled":
                self._check_wished(plan, wishes, shown)
            elif kind == "agent_completed":
                self._check_ignored(plan, wishes, emitted)

    def _check_wished(self, plan: Planned, wishes: list[CancelSent], shown: float) -> None:
        if not any(wish.t <= shown for wish in wishes):
            others = [wish.user for wish in self._sent[plan.run]]
            who = f"only {others[0]} had asked for it" if others else "nobody had asked for it"
            self._report("false_cancels", f"{plan.run} of {plan.user}, attempt {plan.attempt}, was cancelled, and {who}")
            return
        self.honoured += 1
        stored = [self._stored[wish.id] for wish in wishes if self._stored.get(wish.id, shown) < shown]
        if stored:
            self.took_ms.append(1000 * (shown - max(min(stored), plan.t)))

    def _check_ignored(self, plan: Planned, wishes: list[CancelSent], emitted: float) -> None:
        for wish in wishes:
            stored = self._stored.get(wish.id)
            if stored is None:
                continue
            if plan.t > stored:
                when = "before it began"
            elif emitted > stored + HONOURED_S:
                when = f"{emitted - stored:.1f} s before"
            else:
                continue
            self._report("false_cancels", f"{plan.run} of {plan.user}, attempt {plan.attempt}, completed, and was cancelled {when}")
            return
