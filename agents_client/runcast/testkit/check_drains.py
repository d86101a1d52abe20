"""Judges what users notice when a process is asked to end (SIGTERM) and started again: no wait above `WAIT_MAX_S`. Pure.

Rules
1. The process ends by itself, with exit status 0.
2. What an agent emits meanwhile is on every device that was connected before, and is not slow or away by its own will, within `WAIT_MAX_S`.
   What was emitted while something else was broken, or shortly after, is not judged.
"""

from typing import Final

from runcast.testkit.calm import DRAIN, Calm
from runcast.testkit.history import AnyRecord, Dropped, Framed, Injected, Opened, Seen, emitted_at
from runcast.testkit.view import Report

WAIT_MAX_S: Final = 3.0
"""What nobody waits longer than (the promise is for a rolling restart under load)."""
Key = tuple[str, str]


class DrainCheck:
    """The state of one check. `take` the records in the order of their times; `shown` what devices show.

    Args:
        report: told of anomalies.
        calm: all faults, and when there were none.
    """

    def __init__(self, report: Report, calm: Calm) -> None:
        self._report = report
        self._calm = calm
        self._drains = [fault for fault in calm.faults if fault.kind == DRAIN]
        self._opened: dict[Key, float] = {}
        self._wilful: set[Key] = set()
        self._waits: list[tuple[Key, Seen, float, float, Injected]] = []
        self.took_ms: list[float] = []
        for drain in self._drains:
            if drain.status:
                report("drain_waits", f"{drain.target} was asked to end, and ended with exit status {drain.status}")

    def take(self, record: AnyRecord) -> None:
        """Note a record."""
        match record:
            case Opened():
                self._opened.setdefault((record.user, record.device), record.t)
                if record.slow or record.trick:
                    self._wilful.add((record.user, record.device))
            case Dropped() if record.meant:
                self._wilful.add((record.user, record.device))

    def shown(self, record: Framed, event: Seen) -> None:
        """A device shows an event that it had not shown before."""
        if not (self._drains and event.ms and record.ms):
            return
        emitted = emitted_at(record, event)
        for drain in self._drains:
            if drain.t <= emitted <= drain.healed and self._opened.get((record.user, record.device), drain.t) < drain.t:
                self._waits.append(((record.user, record.device), event, emitted, record.t, drain))

    def finish(self) -> None:
        """Judge."""
        for key, event, emitted, shown, drain in self._waits:
            if key in self._wilful or not self._calm.during(emitted, shown, lambda fault: fault.kind != DRAIN):
                continue
            wait_s = shown - emitted
            self.took_ms.append(1000 * max(wait_s, 0.0))
            if wait_s > WAIT_MAX_S:
                user, device = key
                text = f"{device} of {user} had {event.id} {wait_s:.1f} s after it was emitted, while {drain.target} was restarted"
                self._report("drain_waits", text)
