"""This admin process: what its calls share.

It keeps no state that matters: another one answers as well. What it says of storage was verified since the connection to NATS was opened.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

from structlog.stdlib import BoundLogger

from runcast.admin.audit import Audit
from runcast.admin.reading import Reading, Recordings, Wish
from runcast.admin.redacting import Redactions
from runcast.bus.connection import Bus
from runcast.bus.denials import Denials
from runcast.bus.erasure import Eraser
from runcast.bus.erasure_watch import ErasureWatch
from runcast.bus.presence import PresenceReader
from runcast.bus.revoking import Revoking
from runcast.bus.shards import Shards
from runcast.bus.statistics import StatisticsBoard
from runcast.wire import VERSION, limits, subjects
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey


class Node:
    """What the calls know about the process they run in.

    Attributes:
        id: of this process.
        bus: the connection to NATS.
        log: bound to role and id.
        shards: what storage looks like, as far as it is verified just now.
        board: what all processes tell about themselves.
        presence: asks who is there.
        eraser: removes what is stored of a user.
        erasures: users who are being erased, by this process or another.
        forgetting: told of each user who is erased; of None when this process was cut off, and may have missed somebody.
        audit: what operators did.
        revoking: closes connections, and keeps out.
        recordings: reads users' streams.
        redactions: what is taken out of them first.
        refusals: of calls since the start, by code.
        denials: what was not allowed.
        calls: answered since the start, by name.
        started: `time.monotonic()` of the start, seconds.
    """

    def __init__(self, node_id: str, bus: Bus, log: BoundLogger, redaction_file: str = "") -> None:
        self.id = node_id
        self.bus = bus
        self.log = log
        self.shards = Shards()
        self.board = StatisticsBoard(bus)
        self.presence = PresenceReader(bus)
        self.eraser = Eraser(bus, log)
        self.erasures = ErasureWatch(bus, "admin", node_id, log)
        self.forgetting: list[Callable[[UserKey | None], None]] = []
        self._shown: list[tuple[UserKey, asyncio.Timeout]] = []
        self._ended = asyncio.Event()
        self.audit = Audit(bus, log)
        self.revoking = Revoking(bus)
        self.recordings = Recordings(bus)
        self.redactions = Redactions(redaction_file, log)
        self.refusals: Counter[str] = Counter()
        self.denials = Denials(log, self.refusals)
        self.calls: Counter[str] = Counter()
        self.started = time.monotonic()
        bus.disconnected.append(self.shards.lost)

    async def open(self) -> None:
        """Listen, once the connection is open."""
        await self.board.open()
        await self.presence.open()
        await self.eraser.open()
        await self.erasures.open()
        await self.audit.open()
        await self.revoking.open()
        await self.recordings.open()

    def shard_of(self, user: UserKey) -> int:
        """The user's shard.

        Raises:
            UnavailableError: storage was not found since the connection to NATS was opened.
        """
        if not self.shards.count or not self.bus.connected:
            raise UnavailableError("there is no connection to storage just now", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)
        return subjects.shard_of(user, self.shards.count)

    @contextlib.asynccontextmanager
    async def showing(self, user: UserKey) -> AsyncIterator[None]:
        """Around what takes time and shows content of a user, such as an export: it ends in the midst when the user is erased.

        Raises:
            UnavailableError: the user is being erased, or was meanwhile; or, as this process was cut off, may have been.
        """
        if self.erasures.holds(user):
            raise UnavailableError("this user is being erased just now; try again", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)
        shown = user, asyncio.timeout(None)
        try:
            async with shown[1]:
                self._shown.append(shown)
                try:
                    yield
                finally:
                    self._shown.remove(shown)
                    self._ended.set()
        except TimeoutError as exc:
            if not shown[1].expired():
                raise
            raise UnavailableError("this user may have been erased meanwhile; try again") from exc

    @contextlib.asynccontextmanager
    async def reading(self, wish: Wish) -> AsyncIterator[Reading]:
        """A read of a user's stream, for as long as the block lasts.

        Raises:
            RuncastError: as `Recordings.read`.
            UnavailableError: storage is not known just now; or as `showing`.
        """
        async with self.showing(wish.user):
            shard = self.shard_of(wish.user)
            made = await self.recordings.read(wish, shard, self.shards.get(shard).epoch, self.redactions)
            try:
                yield made
            finally:
                self.recordings.close()

    def others(self) -> list[tuple[str, str]]:
        """Role and id of the processes that were heard of in the last seconds, and have something to forget of an erased user."""
        return [(heard.role, heard.id) for heard in self.board.newest(time.monotonic()) if heard.role in ("router", "edge", "admin")]

    async def forget(self, user: UserKey | None) -> int:
        """The user is erased: see `runcast.bus.erasure_watch`. What is shown of them ends, and is waited for. No device is closed here.

        None: everybody may be.
        """
        self._drop(user)  # should the wait be cut off
        ending = [shown for shown in self._shown if user in (None, shown[0])]
        for _, scope in ending:
            with contextlib.suppress(RuntimeError):  # it ends already
                scope.reschedule(asyncio.get_running_loop().time())
        while any(shown in self._shown for shown in ending):
            self._ended.clear()
            await self._ended.wait()
        self._drop(user)  # what ended well in the turn in which it was to be cut off has left something
        return 0

    def _drop(self, user: UserKey | None) -> None:
        for forget in tuple(self.forgetting):
            forget(user)

    def collect(self) -> dict[str, object]:
        """The statistics of this process, for `stats.admin.<id>`."""
        now = time.monotonic()
        return {
            "version": VERSION,
            "uptime_s": round(now - self.started, 1),
            "calls": dict(self.calls),
            "refusals": dict(self.refusals),
            "health": self.bus.health.report(now),
        }
