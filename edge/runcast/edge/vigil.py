"""Watches that what is critical reaches a connected user, and raises an alert once per run when it does not. Pure.

Critical is every kind but thinking and text deltas. A batch with critical events is watched from when it came, or, from history, from
when it was sent, until any device of the user acknowledged it. After `limits.ALERT_AFTER_S` it is overdue; what is overdue may have
been acknowledged on another edge, so the driver reads the user's cursors (`acked`) before it asks for the `alerts`.

A vigil lives as long as a device of its user is connected here; nobody is alarmed about a user who is not there.

Invariants: `_watched` is in order of seq and bounded; no run is alerted twice by one vigil.

Duties of the driver: when something is `overdue`, hand all cursors of the user to `acked`, then carry out `alerts`.
"""

from bisect import insort
from collections import OrderedDict
from typing import NamedTuple

from runcast.wire import limits


class Watched(NamedTuple):
    """A batch with critical events: its seq, since when it is watched (monotonic seconds), and the first such event in it."""

    seq: int
    at: float
    run_id: str
    event_id: str
    kind: str


class Vigil:
    """The vigil over one user's stream on one edge."""

    def __init__(self, *, after_s: float = limits.ALERT_AFTER_S, events_max: int = limits.VIGIL_EVENTS_MAX) -> None:
        self._after_s = after_s
        self._events_max = events_max
        self._watched: list[Watched] = []
        self._acked: list[tuple[int, int]] = []
        self._alerted: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, seq: int, run_id: str, event_id: str, kind: str, now: float) -> None:
        """A batch with a critical event came, or was sent; repeats are ignored, and so is what was acknowledged."""
        if not run_id or run_id in self._alerted or len(self._watched) >= self._events_max:
            return
        if any(since < seq <= until for since, until in self._acked):
            return
        one = Watched(seq, now, run_id, event_id, kind)
        if not self._watched or seq > self._watched[-1].seq:
            self._watched.append(one)
        elif all(other.seq != seq for other in self._watched):
            insort(self._watched, one)

    def acked(self, since: int, until: int) -> None:
        """A device acknowledged everything in `(since, until]`."""
        acked = self._acked
        if len(acked) == 1 and since <= acked[0][0] and acked[0][1] <= until:  # one device, which goes on
            acked[0] = (since, until)
        else:
            self._acked = [span for span in acked if not since <= span[0] <= span[1] <= until]
            if not any(span[0] <= since and until <= span[1] for span in self._acked):
                self._acked.append((since, until))
                del self._acked[: -limits.DEVICES_PER_USER_MAX]
        if self._watched and self._watched[0].seq <= until:
            self._watched = [one for one in self._watched if not since < one.seq <= until]

    def overdue(self, now: float) -> int:
        """The first seq that has been unacknowledged for too long, as far as is known here; 0 when there is none."""
        return next((one.seq for one in self._watched if now - one.at >= self._after_s), 0)

    def alerts(self, now: float) -> list[Watched]:
        """What is overdue, one of each run; those runs are watched no more."""
        found: dict[str, Watched] = {}
        for one in self._watched:
            if now - one.at >= self._after_s:
                found.setdefault(one.run_id, one)
        for run_id in found:
            self._alerted[run_id] = None
            if len(self._alerted) > limits.VIGIL_RUNS_MAX:
                self._alerted.popitem(last=False)
        self._watched = [one for one in self._watched if one.run_id not in found]
        return list(found.values())
