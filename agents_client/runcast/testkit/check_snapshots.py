"""Judges what snapshots say of the runs under way, against the log as all devices were shown it (PROTOCOL.md, "Snapshots"). Pure.

Rules
1. `welcome.runs` names exactly the runs that had begun and not ended at the place where the snapshot ends, with the newest attempt and its
   newest event there.
2. Where the log is not known exactly enough (an event lies somewhere in a frame that reaches over that place), nothing is judged.

That what is given is whole, and says what was emitted, is the views' matter, and `KnownLog`'s.
"""

from collections import defaultdict
from collections.abc import Iterable

from runcast.testkit.known_log import KnownLog
from runcast.testkit.view import Given, Place, Report, Try, View


class SnapshotCheck:
    """One check.

    Args:
        log: as it is known when all was shown.
        report: told of anomalies.
    """

    def __init__(self, log: KnownLog, report: Report) -> None:
        self._log = log
        self._report = report
        self._runs: dict[str, list[str]] = defaultdict(list)
        self._events: dict[Try, list[tuple[int, Place]]] = defaultdict(list)

    def check(self, views: Iterable[View]) -> None:
        """Judge all snapshots that came to their end."""
        for run, owner in self._log.owners.items():
            self._runs[owner].append(run)
        for (run, number, seq), place in self._log.seen.items():
            self._events[run, number].append((seq, place))
        for view in views:
            for given in view.given:
                for run in self._runs[view.user]:
                    why = self._wrong(run, given)
                    if why:
                        self._report("false_snapshots", f"{view.name} got a snapshot up to {given.end}: {why}")

    def _wrong(self, run: str, given: Given) -> str:
        """What the snapshot says wrong of a run; "" for nothing, or when it can't be told."""
        end = given.end
        started = self._log.started.get(run, {})
        if any(_reaches_over(place, end) for place in started.values()):
            return ""
        begun = [number for number, place in started.items() if place.upto <= end]
        if not begun:
            return f"{run} is said to be under way, and had not begun" if run in given.runs and started else ""
        newest = max(begun)
        _, ended = self._log.ended.get((run, newest), ("", Place(end, end + 1)))
        if _reaches_over(ended, end):
            return ""
        if ended.upto <= end:
            return f"{run} is said to be under way, and had ended at {ended.upto}" if run in given.runs else ""
        if run not in given.runs:
            return f"{run}, attempt {newest}, is not said to be under way, and was"
        number, seq = given.runs[run]
        events = self._events[run, newest]
        if any(_reaches_over(place, end) for _, place in events):
            return ""
        last = max((each for each, place in events if place.upto <= end), default=0)
        if (number, seq) != (newest, last):
            return f"{run} is said to be at {number}.{seq}, and was at {newest}.{last}"
        return ""


def _reaches_over(place: Place, end: int) -> bool:
    return place.after < end < place.upto
