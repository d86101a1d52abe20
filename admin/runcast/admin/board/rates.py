"""Counters to rates, and histograms of a moment to percentiles. Pure.

Theory: a process counts from its start, and says how long ago that was. Of two tellings in a row the difference is what happened between
them, by the process's own clock, so that a late message makes no peak. An uptime that did not grow, or a counter that went down, is of a
new process: all that it counts happened since its start.
"""

from collections.abc import Sequence
from typing import NamedTuple

from runcast.admin.board.told import BUCKETS, Told
from runcast.bus.histogram import BOUNDS_MS
from runcast.wire import limits_dashboard

NOTHING = (0,) * BUCKETS
_COUNTERS = ("events_stored", "events_sent", "events_acked", "alerts")


class Change(NamedTuple):
    """What happened between two tellings of a process.

    Attributes:
        seconds: between them; 0.0 when there is nothing to compare with.
        stored: events.
        sent: events.
        acked: events.
        alerts: raised.
        refused: of whatever code.
        to_send: times by bucket.
        to_ack: times by bucket.
        restarted: it began anew in between.
    """

    seconds: float = 0.0
    stored: int = 0
    sent: int = 0
    acked: int = 0
    alerts: int = 0
    refused: int = 0
    to_send: tuple[int, ...] = NOTHING
    to_ack: tuple[int, ...] = NOTHING
    restarted: bool = False


def change(before: Told | None, after: Told) -> Change:
    """What happened from one telling to the next.

    Args:
        before: None when nothing was heard of the process yet. Then what it counts is taken for new only if it has just begun.
        after: the newer one.
    """
    if before is None:
        return _since(None, after) if 0.0 < after.uptime_s <= 2 * limits_dashboard.BOARD_POINT_S else Change()
    restarted = after.uptime_s <= before.uptime_s or any(getattr(after, name) < getattr(before, name) for name in _COUNTERS)
    return _since(None, after)._replace(restarted=True) if restarted else _since(before, after)


def _since(before: Told | None, after: Told) -> Change:
    before = before or _ZERO
    return Change(
        seconds=after.uptime_s - before.uptime_s,
        stored=after.events_stored - before.events_stored,
        sent=after.events_sent - before.events_sent,
        acked=after.events_acked - before.events_acked,
        alerts=after.alerts - before.alerts,
        refused=max(sum(after.refusals.values()) - sum(before.refusals.values()), 0),
        to_send=subtract(after.to_send.counts, before.to_send.counts),
        to_ack=subtract(after.to_ack.counts, before.to_ack.counts),
    )


_ZERO = Told()


def subtract(after: Sequence[int], before: Sequence[int]) -> tuple[int, ...]:
    """Counts by bucket; never below 0."""
    return tuple(max(count - (before[place] if place < len(before) else 0), 0) for place, count in enumerate(after)) or NOTHING


def add(counts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The sum of several counts by bucket."""
    return tuple(map(sum, zip(*counts, strict=True))) if counts else NOTHING


def quantile(counts: Sequence[int], share: float, max_ms: float) -> float | None:
    """The duration that `share` of all do not exceed, milliseconds: the bound of a bucket, so never too low. None when there is none.

    Args:
        counts: by bucket.
        share: 0.0 to 1.0.
        max_ms: for what is in the last bucket, which has no bound.
    """
    total = sum(counts)
    if not total:
        return None
    seen = 0
    for bound, count in zip(BOUNDS_MS, counts, strict=False):
        seen += count
        if count and seen >= share * total:
            return float(bound)
    return max(max_ms, float(BOUNDS_MS[-1]))
