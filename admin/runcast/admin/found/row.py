"""One attempt of a run as a row over time: bars, silences, gaps, errors. Pure.

Theory. An agent's clock may be wrong by hours, and the chart has one axis for agents on many machines. So an attempt's times are moved by
what its first event was off from the time of its storing, and from then on time neither goes back nor runs ahead of the storing. What a
router says in an agent's place (`run_lost`) has the time of its storing. Durations are thus the agent's, places the log's.

Rules
1. Each `tool_executing` makes a bar. It ends with its `tool_completed`; at the latest with the attempt ("cut"). Of a completion whose
   beginning has left the log the bar begins as long before as it says to have taken, but not before the row.
2. While the run waits for the user that is a bar, too, and no silence.
3. A silence is `SILENCE_MIN_S` or longer without a word of the run, or of those below it, while it is open.
4. A gap is where events are missing: their numbers say so.
5. Bounded: bars, silences, gaps and errors each; the oldest that ended go first, and are counted.

Invariants: bars keep the order in which they began; all lie within the row; an end is never before its begin.
"""

from collections import deque
from typing import Any, Final

import msgspec

from runcast.v1.event_pb2 import (
    SEVERITY_DEGRADED,
    SEVERITY_FATAL,
    SEVERITY_RECOVERABLE,
    TOOL_STATUS_CANCELLED,
    TOOL_STATUS_ERROR,
    TOOL_STATUS_OK,
    Event,
)
from runcast.wire import limits_dashboard as bounds

OPEN: Final = "running"
_ENDS: Final = {"agent_completed": "completed", "run_cancelled": "cancelled", "run_lost": "lost"}
_TOOLS: Final = {TOOL_STATUS_OK: "ok", TOOL_STATUS_ERROR: "error", TOOL_STATUS_CANCELLED: "cancelled"}
_SEVERITIES: Final = {SEVERITY_RECOVERABLE: "recoverable", SEVERITY_DEGRADED: "degraded", SEVERITY_FATAL: "fatal"}


class Bar(msgspec.Struct):
    """A tool call, or a time of waiting for the user; Unix milliseconds.

    Attributes:
        name: the tool's; "" of a wait.
        begin: when it began.
        end: when it ended; None when it goes on.
        status: `running`, `ok`, `error`, `cancelled`; `cut`: the attempt ended first; `waiting`, `waited`: for the user.
        note: what went wrong.
    """

    name: str
    begin: int
    end: int | None = None
    status: str = OPEN
    note: str = ""


class Silence(msgspec.Struct):
    """Nothing was said; Unix milliseconds, None: still."""

    begin: int
    end: int | None = None


class Mark(msgspec.Struct):
    """What happened at a moment: a gap (how many events are missing, 0: unknown) or an error."""

    at: int
    kind: str
    text: str = ""
    missing: int = 0


class Row:
    """One attempt.

    Args:
        event: the first one that is known of it.
        stored_ms: when that was stored.

    Attributes:
        run_id: of the run.
        attempt: from 1.
        parent: the run that began it; "" for none.
        agent: whose it is.
        title: what it is about.
        begin: Unix milliseconds.
        end: likewise; None while it is open.
        status: `running`, `completed`, `cancelled`, `failed`, `lost`, or `superseded`: a later attempt took its place.
        events: so many were taken.
        cut_off: its beginning is not in the log any more.
    """

    def __init__(self, event: Event, stored_ms: int) -> None:
        self.run_id: str = event.run_id
        self.attempt: int = event.attempt
        self.parent: str = event.parent_run_id
        self.agent: str = event.agent
        self.title = ""
        self._offset = 0 if event.HasField("run_lost") else stored_ms - event.time_unix_ms
        self.begin = self._last = stored_ms
        self.end: int | None = None
        self.status = OPEN
        self.events = 0
        self.cut_off = event.seq != 1
        self._seq: int = event.seq - 1
        self._bars: list[Bar] = []
        self._open: dict[str, Bar] = {}
        self._asked: dict[str, Bar] = {}
        self._silences: deque[Silence] = deque(maxlen=bounds.FOUND_MARKS_MAX)
        self._gaps: deque[Mark] = deque(maxlen=bounds.FOUND_MARKS_MAX)
        self._errors: deque[Mark] = deque(maxlen=bounds.FOUND_MARKS_MAX)
        self._left_out = 0

    @property
    def errors(self) -> list[Mark]:
        """The newest last."""
        return list(self._errors)

    def take(self, event: Event, stored_ms: int) -> int:
        """The next event of this attempt; when it happened, as far as the chart is concerned."""
        at = stored_ms if event.HasField("run_lost") else event.time_unix_ms + self._offset
        at = max(min(at, stored_ms), self._last)
        self.events += 1
        if self.end is not None:
            return at
        self.touch(at)
        if event.seq > self._seq + 1:
            self._keep(self._gaps, Mark(at, "gap", missing=event.seq - self._seq - 1))
        self._seq = max(self._seq, event.seq)
        kind = event.WhichOneof("kind")
        match kind:
            case "agent_started":
                self.title = _short(event.agent_started.title)
            case "tool_executing":
                self._begin_tool(event, at)
            case "tool_completed":
                self._end_tool(event, at)
            case "input_requested":
                bar = Bar("", at, status="waiting")
                self._finish(self._asked.pop(event.input_requested.request_id, None), at, "cut")
                self._asked[event.input_requested.request_id] = bar
                self._add(bar)
            case "input_resolved":
                self._finish(self._asked.pop(event.input_resolved.request_id, None), at, "waited")
            case "agent_error":
                self._fail(event, at)
        if kind in _ENDS:
            if kind == "run_lost":
                self._keep(self._errors, Mark(at, "lost", _short(event.run_lost.reason)))
            self.close(at, _ENDS[kind])
        return at

    def touch(self, at: int) -> None:
        """Something was said by the run, or below it."""
        at = max(at, self._last)
        if at - self._last >= bounds.SILENCE_MIN_S * 1000 and self.end is None and not self._asked:
            self._keep(self._silences, Silence(self._last, at))
        if self.end is None:
            self._last = at

    def close(self, at: int, status: str) -> None:
        """The attempt is over, and so is what was open in it."""
        if self.end is not None:
            return
        at = max(at, self._last)
        for bar in [*self._open.values(), *self._asked.values()]:
            self._finish(bar, at, "cut")
        self._open.clear()
        self._asked.clear()
        self.end, self.status = at, status

    def told(self, now_ms: int) -> dict[str, Any]:
        """For the page. Bars and marks are in the order of their begins."""
        silences = list(self._silences)
        if self.end is None and not self._asked and now_ms - self._last >= bounds.SILENCE_MIN_S * 1000:
            silences.append(Silence(self._last))
        return {
            "run": self.run_id,
            "attempt": self.attempt,
            "parent": self.parent,
            "agent": self.agent,
            "title": self.title,
            "begin": self.begin,
            "end": self.end,
            "status": "waiting" if self._asked and self.end is None else self.status,
            "events": self.events,
            "cut_off": self.cut_off,
            "bars": list(self._bars),
            "silences": silences,
            "gaps": list(self._gaps),
            "errors": list(self._errors),
            "left_out": self._left_out,
        }

    def _begin_tool(self, event: Event, at: int) -> None:
        began = event.tool_executing
        self._finish(self._open.pop(began.tool_call_id, None), at, "cut")  # routers refuse such a call; an old log may have it
        bar = self._open[began.tool_call_id] = Bar(_short(began.tool), at)
        self._add(bar)

    def _end_tool(self, event: Event, at: int) -> None:
        ended = event.tool_completed
        bar = self._open.pop(ended.tool_call_id, None)
        if bar is None:
            bar = Bar(_short(ended.tool), max(at - ended.duration_ms, self.begin))
            self._add(bar)
        bar.note = _short(ended.error)
        self._finish(bar, at, _TOOLS.get(ended.status, "ok"))
        if ended.status == TOOL_STATUS_ERROR:
            self._keep(self._errors, Mark(at, "tool", f"{bar.name}: {bar.note}" if bar.note else bar.name))

    def _fail(self, event: Event, at: int) -> None:
        error = event.agent_error
        self._keep(self._errors, Mark(at, _SEVERITIES.get(error.severity, "error"), _short(error.message)))
        if error.severity == SEVERITY_FATAL:
            self.close(at, "failed")

    def _finish(self, bar: Bar | None, at: int, status: str) -> None:
        if bar is not None:
            bar.end, bar.status = max(at, bar.begin), status

    def _add(self, bar: Bar) -> None:
        place = len(self._bars)
        while place and self._bars[place - 1].begin > bar.begin:
            place -= 1
        self._bars.insert(place, bar)
        if len(self._bars) > bounds.FOUND_BARS_MAX:
            ended = next((number for number, each in enumerate(self._bars) if each.end is not None), 0)
            del self._bars[ended]
            self._left_out += 1

    def _keep(self, kept: deque[Any], what: Silence | Mark) -> None:
        self._left_out += len(kept) == kept.maxlen
        kept.append(what)


def _short(text: str) -> str:
    return text if len(text) <= bounds.FOUND_TEXT_CHARS_MAX else text[: bounds.FOUND_TEXT_CHARS_MAX - 1] + "…"
