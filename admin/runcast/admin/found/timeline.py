"""A user's runs over time, from what is stored of them, batch by batch. Pure: times are arguments, Unix milliseconds.

Rules
1. A row is an attempt of a run (`row.py`). What readers leave out, for a later attempt or a loss stood before it in the log, is counted,
   and draws nothing (`runcast.wire.fence`).
2. Whatever a run says breaks the silence of those above it.
3. At most `FOUND_RUNS_MAX` runs with what is below them, `FOUND_ROWS_MAX` attempts: the oldest that ended go first, and are counted.
4. Of what the user said only the time, and where from and to, is kept.
"""

from collections import deque
from typing import Any

import msgspec

from runcast.admin.found.lanes import lanes_of
from runcast.admin.found.row import Mark, Row
from runcast.v1.event_pb2 import Event
from runcast.wire import limits_dashboard as bounds
from runcast.wire.fence import Fence
from runcast.wire.recorded import RecordedBatch


class Said(msgspec.Struct):
    """The user said something."""

    at: int
    device: str
    group: str


class Timeline:
    """All runs of one user, as far as they are read.

    Attributes:
        batches: so many were taken.
        events: likewise.
        void: events that readers leave out.
        unreadable: batches that could not be opened.
        dropped: attempts that had to make room.
    """

    def __init__(self) -> None:
        self._runs: dict[str, list[Row]] = {}  # the attempts of each that are shown, in their order
        self._count = 0
        self._said: deque[Said] = deque(maxlen=bounds.FOUND_SAID_MAX)
        self._unopened: deque[Mark] = deque(maxlen=bounds.FOUND_MARKS_MAX)
        self._fence = Fence()
        self.batches = self.events = self.void = self.unreadable = self.dropped = 0

    def take(self, batch: RecordedBatch) -> None:
        """The next batch of the log."""
        self.batches += 1
        if batch.unreadable:
            self.unreadable += 1
            self._unopened.append(Mark(batch.stored_ms, "unreadable", batch.unreadable))
            return
        self.events += len(batch.events)
        passed = self._fence.pass_on(batch.events, batch.seq)
        self.void += len(batch.events) - len(passed)
        for event in passed:
            if event.run_id:
                self._take(event, batch.stored_ms)
            elif event.HasField("user_message"):
                self._said.append(Said(batch.stored_ms, event.user_message.device, event.user_message.group))
        self._make_room()

    def told(self, now_ms: int) -> dict[str, Any]:
        """For the page: runs, the newest first, each a list of rows with what is below it, in the order in which it began; and what else
        there is.
        """
        below: dict[str, list[str]] = {}
        roots = []
        for run_id in self._runs:
            parent = self._parent(run_id)
            if parent:
                below.setdefault(parent, []).append(run_id)
            else:
                roots.append(run_id)
        seen: set[str] = set()
        runs = [self._descend(run_id, below, now_ms, seen) for run_id in reversed(roots)]
        runs += [self._descend(run_id, below, now_ms, seen) for run_id in self._runs if run_id not in seen]  # each above the other
        return {
            "runs": [rows for rows in runs if rows],
            "said": list(self._said),
            "unopened": list(self._unopened),
            "errors": self._errors(),
            "batches": self.batches,
            "events": self.events,
            "void": self.void,
            "unreadable": self.unreadable,
            "dropped": self.dropped,
        }

    def _take(self, event: Event, stored_ms: int) -> None:
        rows = self._runs.setdefault(event.run_id, [])
        row = next((each for each in rows if each.attempt == event.attempt), None)
        if row is None:
            row = Row(event, stored_ms)
            for earlier in rows:
                if earlier.attempt < row.attempt:
                    earlier.close(row.begin, "superseded")
            rows.append(row)
            rows.sort(key=lambda each: each.attempt)
            self._count += 1
        at = row.take(event, stored_ms)
        for above in self._above(row.run_id):
            above.touch(at)

    def _parent(self, run_id: str) -> str:
        """The run that began it, if that is shown."""
        parent = self._runs[run_id][-1].parent
        return parent if parent in self._runs and parent != run_id else ""

    def _above(self, run_id: str) -> list[Row]:
        found: list[Row] = []
        seen = {run_id}
        while (run_id := self._parent(run_id)) and run_id not in seen:
            seen.add(run_id)
            found.append(self._runs[run_id][-1])
        return found

    def _descend(self, root: str, below: dict[str, list[str]], now_ms: int, seen: set[str]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        left = [(root, 0)]
        while left:
            run_id, depth = left.pop()
            if run_id in seen:
                continue
            seen.add(run_id)
            for row in self._runs[run_id]:
                each = row.told(now_ms)
                told.append({**each, "depth": depth, "lanes": lanes_of([(bar.begin, bar.end) for bar in each["bars"]])})
            left += [(child, depth + 1) for child in reversed(below.get(run_id, []))]
        return told

    def _errors(self) -> list[dict[str, Any]]:
        """The newest of all runs, the newest first."""
        found = [(mark, row) for rows in self._runs.values() for row in rows for mark in row.errors]
        found.sort(key=lambda each: each[0].at, reverse=True)
        return [
            {"at": mark.at, "kind": mark.kind, "text": mark.text, "run": row.run_id, "attempt": row.attempt, "agent": row.agent}
            for mark, row in found[: bounds.FOUND_MARKS_MAX]
        ]

    def _make_room(self) -> None:
        if self._count <= bounds.FOUND_RUNS_MAX:
            return
        roots = [run_id for run_id in self._runs if not self._parent(run_id)]
        while len(roots) > bounds.FOUND_RUNS_MAX or (self._count > bounds.FOUND_ROWS_MAX and len(roots) > 1):
            gone = self._first_that_ended(roots)
            roots.remove(gone)
            self._drop(gone)
        while self._count > bounds.FOUND_ROWS_MAX:
            rest = [run_id for run_id in self._runs if run_id not in roots]
            if rest:
                self._drop(self._first_that_ended(rest))
            else:  # one run, tried again and again
                del self._runs[roots[0]][0]
                self._gone(1)

    def _first_that_ended(self, run_ids: list[str]) -> str:
        return next((run_id for run_id in run_ids if self._runs[run_id][-1].end is not None), run_ids[0])

    def _drop(self, run_id: str) -> None:
        """A run goes, and what is below it."""
        left = [run_id]
        while left:
            rows = self._runs.pop(left.pop(), None)
            if rows:
                self._gone(len(rows))
                left += [other for other, its in self._runs.items() if its[-1].parent == rows[-1].run_id]

    def _gone(self, count: int) -> None:
        self._count -= count
        self.dropped += count
