"""The users connected to this edge, their feeds, and the slow round that notices what live delivery lost.

See ARCHITECTURE.md, "What live can lose".

A feed exists while at least one device of its user is connected here. Tips are verified in batches: soon after a feed opened, every
`VERIFY_INTERVAL_S`, and for all feeds at once after a reconnect to NATS or the election of a stream leader.
"""

import asyncio
import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator

from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.deployment import Shard
from runcast.bus.direct import DirectReader
from runcast.bus.erasure_watch import ErasureWatch
from runcast.bus.retention import RetentionOf
from runcast.bus.shards import Shards
from runcast.edge.alarm import Alarm
from runcast.edge.entry import Entry
from runcast.edge.feed import Feed, Listener
from runcast.edge.history import History
from runcast.edge.vigil import Vigil
from runcast.wire import limits, limits_floods, subjects
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey

_ROUND_S = 0.5


class Visitor:
    """A listener that nobody stands behind: it is no device, and is fed nothing."""

    device = ""

    def offer(self, entry: Entry) -> None:
        """See `feed.Listener`."""

    def lost(self, why: str, code: str, retry_after_s: float) -> None:
        """See `feed.Listener`."""

    def hurry(self, seq: int) -> None:
        """See `feed.Listener`."""


class Hub:
    """All feeds of one edge.

    Args:
        bus: an open connection.
        reader: reads the log.
        shards: as far as they are verified just now.
        tasks: where feeds run their reads.
        log: of the edge.
        alarm: told of feeds whose vigil is overdue.
        edge: id of this edge.
        alert_after_s: how long something critical may stay unacknowledged, seconds.
        erasures: users who are being erased wait here.
        retention: of tenants.
    """

    def __init__(
        self,
        bus: Bus,
        reader: DirectReader,
        shards: Shards,
        tasks: asyncio.TaskGroup,
        log: BoundLogger,
        alarm: Alarm,
        edge: str,
        alert_after_s: float,
        erasures: ErasureWatch,
        retention: RetentionOf,
    ) -> None:
        self._bus = bus
        self._reader = reader
        self._shards = shards
        self._tasks = tasks
        self._log = log
        self._alarm = alarm
        self._edge = edge
        self._alert_after_s = alert_after_s
        self._erasures = erasures
        self._retention = retention
        self._feeds: dict[UserKey, Feed] = {}

    @property
    def users(self) -> int:
        """Users with a device connected here."""
        return len(self._feeds)

    def shard_of(self, user: UserKey) -> int:
        """The user's shard."""
        return subjects.shard_of(user, self._shards.count)

    async def join(self, user: UserKey, listener: Listener, devices_max: int) -> Feed:
        """Connect a device to its user's feed, which has at most so many here; `leave` must follow.

        Raises:
            RuncastError: `too_many_devices`.
            UnavailableError: the feed could not be opened.
        """
        number = self.shard_of(user)
        await self._erasures.passed(user)
        if self._open_feed(user) is None:
            shard = await self._shards.wait(number, limits.LEADER_WAIT_S)
            await self._erasures.passed(user)
        feed = self._open_feed(user)
        if feed is None:
            history = History(user, number, shard, self._bus, self._reader, self._retention)
            feed = Feed(history, self._bus, self._tasks, self._log, self._edge, Vigil(after_s=self._alert_after_s))
            self._feeds[user] = feed
        if sum(1 for each in feed.listeners if not isinstance(each, Visitor)) >= devices_max:
            message = f"{devices_max} devices of this user are connected here; close some"
            raise RuncastError(message, code="too_many_devices", retry_after_s=limits_floods.CONNECTIONS_RETRY_S)
        feed.listeners.add(listener)
        try:
            await feed.opened()
        except BaseException:
            await self.leave(feed, listener)
            raise
        return feed

    @contextlib.asynccontextmanager
    async def visiting(self, user: UserKey) -> AsyncIterator[Feed]:
        """The user's feed for a moment, for who says something and listens to nothing.

        Raises:
            UnavailableError: it could not be opened.
        """
        visitor = Visitor()
        feed = await self.join(user, visitor, sys.maxsize)
        try:
            yield feed
        finally:
            await self.leave(feed, visitor)

    def listeners(self, user: UserKey) -> tuple[Listener, ...]:
        """Who listens to a user's stream here; what that takes does not grow with the users of the edge."""
        feed = self._open_feed(user)
        return () if feed is None else tuple(feed.listeners)

    def _open_feed(self, user: UserKey) -> Feed | None:
        feed = self._feeds.get(user)
        return None if feed is None or feed.closed else feed

    def adopt(self, number: int, shard: Shard) -> None:
        """A shard was looked at anew: if it was recreated, its users come back, and are told (`reset`)."""
        for feed in tuple(self._feeds.values()):
            if feed.shard == number and shard.epoch != feed.epoch:
                feed.end("the storage of this stream was recreated")

    def end_all(self) -> None:
        """The deployment was created anew, with another number of shards."""
        for feed in tuple(self._feeds.values()):
            feed.end("the storage of this stream was recreated")

    def forget(self, user: UserKey) -> int:
        """The user is erased: all their devices are closed, and what is kept of the stream is dropped; returns how many devices."""
        feed = self._feeds.pop(user, None)
        if feed is None:
            return 0
        connections = len(feed.listeners)
        feed.end("an operator has erased what was stored of this user", "disconnected")
        return connections

    async def leave(self, feed: Feed, listener: Listener) -> None:
        """Disconnect a device; the last one closes the feed."""
        feed.listeners.discard(listener)
        if not feed.listeners:
            if self._feeds.get(feed.user) is feed:
                del self._feeds[feed.user]
            await feed.close()

    async def run(self, stop: asyncio.Event) -> None:
        """Verify tips until `stop`."""
        self._bus.reconnected.append(self.verify_soon)
        self._bus.elected.append(self._on_elected)
        while not stop.is_set():
            try:
                async with asyncio.timeout(_ROUND_S):
                    await stop.wait()
            except TimeoutError:
                await self._round(time.monotonic())

    def verify_soon(self) -> None:
        """Something happened that may have lost live messages: verify every feed in the next round."""
        for feed in self._feeds.values():
            feed.verify_at = 0.0

    def _on_elected(self, stream: str) -> None:
        for feed in self._feeds.values():
            if feed.stream == stream:
                feed.verify_at = 0.0

    async def _round(self, now: float) -> None:
        due: dict[int, list[Feed]] = defaultdict(list)
        for feed in self._feeds.values():
            if feed.suspicious:
                feed.tick(now)
            if feed.vigil.overdue(now):
                self._alarm.raise_for(feed)
            if feed.verify_at <= now:
                due[feed.shard].append(feed)
        for shard, feeds in due.items():
            for start in range(0, len(feeds), limits.VERIFY_SUBJECTS_MAX):
                await self._verify(shard, feeds[start : start + limits.VERIFY_SUBJECTS_MAX])

    async def _verify(self, shard: int, feeds: list[Feed]) -> None:
        try:
            tips = await self._reader.tips(subjects.event_stream(shard), [feed.subject for feed in feeds])
        except UnavailableError as exc:
            self._bus.health.storage.failed(time.monotonic(), f"tips of shard {shard} could not be verified: {exc.message}")
            self._log.warning("verification_failed", shard=shard, users=len(feeds), error=exc.message)
            return
        now = time.monotonic()
        self._bus.health.storage.verified(now)
        for feed in feeds:
            feed.verify_at = now + limits.VERIFY_INTERVAL_S
            feed.verified(tips.get(feed.subject, 0), now)
