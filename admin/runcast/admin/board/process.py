"""One process on the board: what it told last, how fast it works, and its last minutes. Pure; bounded by `limits_dashboard`."""

from collections import deque
from typing import Any, Final

from runcast.admin.board.rates import Change, add, change, quantile
from runcast.admin.board.told import Told
from runcast.wire import limits, limits_dashboard

_WINDOW: Final = round(limits_dashboard.BOARD_QUANTILES_S / limits.STATISTICS_INTERVAL_S)
_POINTS: Final = round(limits_dashboard.BOARD_SPAN_S / limits_dashboard.BOARD_POINT_S)
_ORDER: Final = ("ok", "degraded", "starting", "unavailable")


class Process:
    """One that was heard of.

    Attributes:
        role: "router", "edge" or "admin".
        id: its name.
        told: what it said last; None before anything could be read.
        at: when that was, monotonic seconds.
        changes: of the last seconds, for percentiles.
        restarts: seen by this board.
        trail: what it carried, events a second, by point.
    """

    def __init__(self, role: str, process_id: str) -> None:
        self.role = role
        self.id = process_id
        self.told = Told()
        self.at = float("-inf")
        self.changes: deque[Change] = deque(maxlen=_WINDOW)
        self.restarts = 0
        self.trail: deque[float] = deque(maxlen=_POINTS)
        self._heard = False

    def hear(self, told: Told, now: float) -> Change:
        """It told something; returns what happened since it did so before."""
        happened = change(self.told if self._heard else None, told)
        self._heard, self.told, self.at = True, told, now
        if happened.restarted:
            self.restarts += 1
            self.changes.clear()
        self.changes.append(happened)
        return happened

    def gone(self, now: float) -> bool:
        """It fell silent: it ended, or can't reach NATS."""
        return now - self.at > limits.STATISTICS_AGE_S

    def rate(self, what: str, now: float) -> float:
        """Events a second just now: "stored", "sent", "acked", "refused"."""
        last = self.changes[-1] if self.changes else Change()
        return getattr(last, what) / last.seconds if last.seconds > 0.0 and not self.gone(now) else 0.0

    def carried(self, now: float) -> float:
        """What it is for, events a second: stored by a router, sent by an edge."""
        return self.rate("stored" if self.role == "router" else "sent", now)

    def mark(self, now: float) -> None:
        """A point of its trail."""
        self.trail.append(round(self.carried(now), 1))

    def p99_ms(self, what: str) -> float | None:
        """The 99th percentile of `to_send` or `to_ack` in the last seconds; None when nothing was delivered."""
        times: Any = getattr(self.told, what)
        return quantile(add([getattr(each, what) for each in self.changes]), 0.99, times.max_ms)

    def state(self, now: float) -> str:
        """`gone`, or as it says of itself."""
        return "gone" if self.gone(now) else self.told.health.state or "starting"

    def badness(self, now: float) -> tuple[int, int, float]:
        """For sorting: higher is worse; small differences do not count, so that a list does not dance."""
        state = self.state(now)
        rank = len(_ORDER) if state == "gone" else _ORDER.index(state) if state in _ORDER else 1
        late = 0 if self.gone(now) else int(self.told.oldest_unacked_s // 10)
        return rank, late, float(self.told.devices_behind > 0 and not self.gone(now))

    def row(self, now: float) -> dict[str, Any]:
        """For the page's table."""
        told = self.told
        row: dict[str, Any] = {
            "role": self.role,
            "id": self.id,
            "state": self.state(now),
            "reason": next((f"{name}: {d.reason}" for name, d in told.health.dependencies.items() if d.state != "ok"), ""),
            "version": told.version,
            "age_s": round(now - self.at, 1),
            "uptime_s": round(told.uptime_s),
            "rate": round(self.carried(now), 1),
            "restarts": self.restarts,
            "recoveries": sum(each.recoveries for each in told.health.dependencies.values()),
            "memory": told.memory_bytes,
        }
        if self.role == "edge":
            row |= {
                "devices": told.devices,
                "behind": told.devices_behind,
                "oldest_s": round(told.oldest_unacked_s, 1),
                "send_p99": self.p99_ms("to_send"),
                "ack_p99": self.p99_ms("to_ack"),
            }
        if self.role == "router":
            row |= {"producers": told.producers, "workers": told.workers}
        return row
