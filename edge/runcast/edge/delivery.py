"""What one device was sent of its user's stream, and what its acknowledgements speak for.

A cursor is a span, `(since, seq]`: the device was shown everything in it, and handled it. What was never shown lies outside: what `latest`
skipped, what a snapshot stood for, what had left the log. So an acknowledgement counts from where this delivery began, or, when the
device goes on where its cursor is, from where that one does.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from runcast.bus.cursors import Acknowledged
from runcast.edge.cursors import Cursors
from runcast.edge.entry import Entry
from runcast.edge.feed import Feed
from runcast.edge.replay import Plan
from runcast.edge.statistics import Unacknowledged
from runcast.wire import limits
from runcast.wire.errors import UnavailableError
from runcast.wire.frames import Hello
from runcast.wire.ids import UserKey
from runcast.wire.position import EARLIEST, LATEST


class Found(NamedTuple):
    """What was found of a device's cursor. `certain`: there is no other one."""

    cursor: Acknowledged | None
    certain: bool


async def find_cursor(cursors: Cursors, user: UserKey, shard: int, hello: Hello) -> Found:
    """Look for a device's cursor. A device with a position of its own does not wait for it for long.

    Raises:
        UnavailableError: the device has no position, and the cursor can't be read.
    """
    try:
        async with asyncio.timeout(limits.RECEIPT_CHECK_S if hello.position else None):
            return Found(await cursors.find(user, shard, hello.device), certain=True)
    except (TimeoutError, UnavailableError):
        if not hello.position:
            raise
        return Found(None, certain=False)


class Delivery:
    """The delivery to one device; it begins when it is made.

    Args:
        feed: of the user.
        hello: the device's.
        plan: what it is sent.
        found: its cursor.
        cursors: of this edge.
        unacknowledged: counts what is sent and acknowledged.
        elsewhere: what it has handled may be said to another edge, which has to know from where on that counts.
    """

    __slots__ = ("_cursor", "_cursors", "_device", "_feed", "_since", "_tip", "_told_since", "_unacknowledged", "_unproved")

    def __init__(
        self, feed: Feed, hello: Hello, plan: Plan, found: Found, cursors: Cursors, unacknowledged: Unacknowledged, *, elsewhere: bool
    ) -> None:
        self._feed = feed
        self._device = hello.device
        self._cursors = cursors
        self._unacknowledged = unacknowledged
        self._tip = feed.pos  # of the stream, at the beginning
        self._since = 0 if found.certain else plan.base  # what the device acknowledges begins after this
        self._unproved = plan.base == 0 and plan.outcome != "snapshot"  # it begins where the log does, wherever that is
        self._cursor: Acknowledged | None = None  # as it was last written, or noted
        cursor = found.cursor
        if cursor is not None and cursor.epoch == feed.epoch:
            self._cursor = cursor
            if cursor.seq > cursor.since:  # it has acknowledged something before
                unacknowledged.answers = True
            if plan.outcome == "resumed" and cursor.since <= plan.base and hello.position != EARLIEST:
                self._since = cursor.since
        skips = hello.position == LATEST or plan.reason == "unreadable"
        if skips or plan.outcome == "snapshot":
            self._since = plan.base
        if not feed.closed and ((skips and plan.base) or (elsewhere and self._cursor is None)):
            # Noted, so that the next connection knows what this one skipped.
            self._note(Acknowledged(feed.epoch, plan.base, plan.base), urgent=True)
        self._told_since = 0 if plan.outcome == "snapshot" else self._since  # a snapshot tells of what it stands for

    def sent(self, events: int, entries: Sequence[Entry]) -> None:
        """So many events, which stand for these entries, go out; none for a snapshot, which says nothing about delivery."""
        if not entries:
            return
        if self._unproved:  # nobody knows what left the log before the first that is there: it was never shown
            self._unproved = False
            self._since = max(self._since, entries[0].seq - 1)
        last = entries[-1]
        new = last.seq > self._tip
        if not new:
            for entry in entries:
                self._feed.watch(entry)
        self._unacknowledged.add(last.seq, events, last.time_ms if new else 0, time.monotonic(), time.time_ns() // 1_000_000)

    def acked(self, seq: int, *, awaited: bool) -> None:
        """The device acknowledged everything up to `seq`; `awaited`: a receipt waits for that."""
        if not seq:
            return
        feed = self._feed
        self._unacknowledged.free_le(seq, time.time_ns() // 1_000_000)
        feed.vigil.acked(min(self._told_since, seq), seq)
        acknowledged = feed.acknowledged(min(self._since, seq), seq)
        if acknowledged != self._cursor:
            self._note(acknowledged, urgent=awaited)
        elif awaited:
            self._cursors.hasten(feed.user, feed.shard, self._device)

    def _note(self, acknowledged: Acknowledged, *, urgent: bool) -> None:
        self._cursor = acknowledged
        self._cursors.note(self._feed.user, self._feed.shard, self._device, acknowledged, urgent=urgent)
