"""The figures of a deployment for the last minutes: heard, summed, and told to the page. Pure: `now` (monotonic seconds) is an argument.

Rules
1. Rates are of counters (`rates`), added over the processes that are alive; gauges likewise; of ages and percentiles the worst counts, and
   percentiles of all are those of their histograms added up.
2. A process that falls silent stays on the board, as *gone*, for as long as figures are kept: who looks for what happened must find it. The
   same id heard again is the same row.
3. A point is made every `BOARD_POINT_S`, and named by its number on the clock, so that points which were never made are seen to be missing.
4. Everything is bounded (`limits_dashboard`), whatever is said on NATS; what can't be read is counted.
"""

from collections import OrderedDict, deque
from typing import Any, Final, NamedTuple

import msgspec

from runcast.admin.board.process import Process
from runcast.admin.board.rates import add, quantile
from runcast.admin.board.told import read_told
from runcast.wire import limits_dashboard as bounds

COLUMNS: Final = (
    "n", "in", "out", "acked", "devices", "behind", "oldest_s", "send_p50", "send_p95", "send_p99", "ack_p50", "ack_p95", "ack_p99",
    "refused",
)  # fmt: skip
"""Of a point: its number; events a second in, out, acknowledged; connections, those behind; seconds; milliseconds; refusals a second."""
_POINTS: Final = round(bounds.BOARD_SPAN_S / bounds.BOARD_POINT_S)
_WORST: Final = ("ok", "degraded", "starting", "unavailable", "gone")


class StreamFigures(NamedTuple):
    """A stream or bucket at one moment."""

    name: str
    messages: int
    bytes: int
    last_seq: int
    replicas: int


class Alert(msgspec.Struct):
    """A `delivery_alert`, as far as it is shown."""

    tenant: str = ""
    user: str = ""
    run_id: str = ""
    kind: str = ""
    age_s: float = 0.0
    edge: str = ""
    devices: list[str] = []
    at_ms: int = 0


class Board:
    """All that is known.

    Attributes:
        unreadable: messages that could not be read.
        alerts_heard: since the start of this process.
        dropped: processes that were dropped for there being too many.
    """

    def __init__(self) -> None:
        self._processes: OrderedDict[tuple[str, str], Process] = OrderedDict()
        self._points: deque[tuple[float | None, ...]] = deque(maxlen=_POINTS)
        self._alerts: deque[Alert] = deque(maxlen=bounds.BOARD_ALERTS_MAX)
        self._streams: list[dict[str, Any]] = []
        self._streams_at = float("-inf")
        self._streams_before: dict[str, int] = {}
        self._streams_problem = ""
        self.unreadable = 0
        self.alerts_heard = 0
        self.dropped = 0

    def hear(self, role: str, process_id: str, text: bytes, now: float) -> None:
        """A process told its statistics."""
        key = role[: bounds.BOARD_WORD_CHARS_MAX], process_id[: bounds.BOARD_WORD_CHARS_MAX]
        try:
            told = read_told(text)
        except ValueError:
            self.unreadable += 1
            return
        process = self._processes.get(key)
        if process is None:
            process = self._processes[key] = Process(*key)
        process.hear(told, now)
        self._processes.move_to_end(key)
        if len(self._processes) > bounds.BOARD_PROCESSES_MAX:
            self._processes.popitem(last=False)
            self.dropped += 1

    def hear_alert(self, text: bytes, now_ms: int) -> None:
        """An edge raised an alert, at Unix milliseconds."""
        try:
            alert = msgspec.json.decode(text, type=Alert)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.unreadable += 1
            return
        most = bounds.BOARD_WORD_CHARS_MAX
        for field in ("tenant", "user", "run_id", "kind", "edge"):
            setattr(alert, field, getattr(alert, field)[:most])
        alert.devices = [device[:most] for device in alert.devices[:8]]
        alert.at_ms = now_ms
        self._alerts.append(alert)
        self.alerts_heard += 1

    def hear_streams(self, states: list[StreamFigures], now: float) -> None:
        """What the streams are like."""
        passed_s = now - self._streams_at
        before, self._streams_before = self._streams_before, {state.name: state.last_seq for state in states}
        self._streams = [
            {
                "name": state.name,
                "messages": state.messages,
                "bytes": state.bytes,
                "replicas": state.replicas,
                "rate": round(max(state.last_seq - before[state.name], 0) / passed_s, 1) if state.name in before and passed_s > 0 else None,
            }
            for state in states[: bounds.BOARD_SHARDS_MAX]
        ]
        self._streams_at, self._streams_problem = now, ""

    def streams_unknown(self, reason: str) -> None:
        """They could not be asked."""
        self._streams_problem = reason[: bounds.BOARD_WORD_CHARS_MAX]

    def tick(self, now: float) -> None:
        """Make a point, when it is time for one, and forget what is too old."""
        number = int(now // bounds.BOARD_POINT_S)
        if self._points and self._points[-1][0] == number:
            return
        for key, process in list(self._processes.items()):
            if now - process.at > bounds.BOARD_SPAN_S:
                del self._processes[key]
        self._points.append(self._point(number, now))
        for process in self._processes.values():
            process.mark(now)

    def history(self, now: float) -> dict[str, Any]:
        """What a page is told first: the points so far, by column, and each process's trail."""
        rows = self._worst(now)[: bounds.BOARD_ROWS_MAX]
        return {
            "point_s": bounds.BOARD_POINT_S,
            "span_s": bounds.BOARD_SPAN_S,
            "points": {name: [point[place] for point in self._points] for place, name in enumerate(COLUMNS)},
            "trails": {f"{each.role}/{each.id}": list(each.trail)[-bounds.BOARD_TRAIL_POINTS :] for each in rows},
        }

    def newest(self, now: float, now_ms: int) -> dict[str, Any]:
        """What a page is told every second.

        Args:
            now: monotonic seconds.
            now_ms: Unix milliseconds.
        """
        rows = self._worst(now)
        alive = self._alive(now)
        return {
            "at_ms": now_ms,
            "point": dict(zip(COLUMNS, self._points[-1], strict=True)) if self._points else None,
            "users": sum(each.told.users for each in alive),
            "producers": sum(each.told.producers for each in alive),
            "workers": sum(each.told.workers for each in alive),
            "roles": self._roles(now),
            "restarts": sum(each.restarts for each in rows),
            "recoveries": sum(d.recoveries for each in alive for d in each.told.health.dependencies.values()),
            "processes": [each.row(now) for each in rows[: bounds.BOARD_ROWS_MAX]],
            "more": max(len(rows) - bounds.BOARD_ROWS_MAX, 0) + self.dropped,
            "dependencies": self._dependencies(now),
            "streams": self._streams,
            "streams_age_s": round(now - self._streams_at, 1) if self._streams else None,
            "streams_problem": self._streams_problem,
            "alerts": [msgspec.to_builtins(alert) for alert in reversed(self._alerts)],
            "alerts_heard": self.alerts_heard,
            "unreadable": self.unreadable,
        }

    def _alive(self, now: float) -> list[Process]:
        return [each for each in self._processes.values() if not each.gone(now)]

    def _worst(self, now: float) -> list[Process]:
        """All, the worst first, then by name."""
        named = sorted(self._processes.values(), key=lambda each: (each.role, each.id))
        return sorted(named, key=lambda each: each.badness(now), reverse=True)

    def _roles(self, now: float) -> dict[str, dict[str, int]]:
        roles: dict[str, dict[str, int]] = {}
        for each in self._processes.values():
            counts = roles.setdefault(each.role, {"alive": 0, "gone": 0})
            counts["gone" if each.gone(now) else "alive"] += 1
        return dict(sorted(roles.items()))

    def _point(self, number: int, now: float) -> tuple[float | None, ...]:
        alive = self._alive(now)
        rates = [round(sum(each.rate(what, now) for each in alive), 1) for what in ("stored", "sent", "acked", "refused")]
        quantiles: list[float | None] = []
        for what in ("to_send", "to_ack"):
            counts = add([getattr(each, what) for process in alive for each in process.changes])
            longest = max((getattr(process.told, what).max_ms for process in alive), default=0.0)
            quantiles += [quantile(counts, share, longest) for share in (0.5, 0.95, 0.99)]
        oldest = round(max((each.told.oldest_unacked_s for each in alive), default=0.0), 1)
        devices, behind = sum(each.told.devices for each in alive), sum(each.told.devices_behind for each in alive)
        return number, rates[0], rates[1], rates[2], devices, behind, oldest, *quantiles, rates[3]

    def _dependencies(self, now: float) -> list[dict[str, Any]]:
        """Each thing that is depended on: how many processes say it is well, and what the worst one says."""
        found: dict[str, dict[str, Any]] = {}
        for process in self._alive(now):
            for name, each in process.told.health.dependencies.items():
                entry = found.setdefault(name, {"name": name, "state": "ok", "ok": 0, "of": 0, "recoveries": 0, "reason": "", "where": ""})
                entry["of"] += 1
                entry["ok"] += each.state == "ok"
                entry["recoveries"] += each.recoveries
                if _rank(each.state) > _rank(entry["state"]):
                    entry |= {"state": each.state, "reason": each.reason, "where": process.id}
        return list(found.values())[: bounds.BOARD_DEPENDENCIES_MAX]


def _rank(state: str) -> int:
    return _WORST.index(state) if state in _WORST else 1
