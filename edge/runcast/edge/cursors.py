"""What each device acknowledged, kept in the CURSORS bucket (ARCHITECTURE.md, "Cursors").

Acknowledgements are many, so writes are coalesced: a device's newest cursor at most every `CURSOR_INTERVAL_S`, and all of them at
the end. A device normally brings its own position; the cursor serves one that lost it, so a cursor that is a little old costs
repeats, never a loss. What can't be written stays noted and is written in a later round.
"""

import asyncio
from collections.abc import Callable

import msgspec
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.direct import DirectReader
from runcast.bus.storage import store
from runcast.wire import limits, subjects
from runcast.wire.errors import PositionMalformedError, RuncastError
from runcast.wire.ids import UserKey
from runcast.wire.position import Position, parse_position


class Cursor(msgspec.Struct):
    """The value of a key: what was acknowledged, and when that was written (milliseconds since the Unix epoch)."""

    pos: str
    time_unix_ms: int


class Cursors:
    """Cursors of the devices on this edge.

    Args:
        bus: an open connection.
        reader: reads cursors back.
        wall_ms: the time of day, milliseconds since the Unix epoch.
        log: of the edge.
    """

    def __init__(self, bus: Bus, reader: DirectReader, wall_ms: Callable[[], int], log: BoundLogger) -> None:
        self._bus = bus
        self._reader = reader
        self._wall_ms = wall_ms
        self._log = log
        self._noted: dict[str, Position] = {}

    def note(self, user: UserKey, shard: int, device: str, position: Position) -> None:
        """The device acknowledged `position`; it is written in the next round."""
        self._noted[subjects.kv_subject(subjects.CURSORS_BUCKET, subjects.cursor_key(user, shard, device))] = position

    async def find(self, user: UserKey, shard: int, device: str) -> Position | None:
        """What the device acknowledged last, as far as is known; None when nothing is.

        Raises:
            UnavailableError: the bucket can't be read.
        """
        subject = subjects.kv_subject(subjects.CURSORS_BUCKET, subjects.cursor_key(user, shard, device))
        if subject in self._noted:
            return self._noted[subject]
        message = await self._reader.last(f"KV_{subjects.CURSORS_BUCKET}", subject)
        if message is None:
            return None
        try:
            return parse_position(msgspec.json.decode(message.data, type=Cursor).pos)
        except (msgspec.DecodeError, PositionMalformedError):
            self._log.warning("cursor_unreadable", key=subject)
            return None

    async def run(self, stop: asyncio.Event) -> None:
        """Write what was noted, round by round, until `stop`; then once more."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(limits.CURSOR_INTERVAL_S):
                    await stop.wait()
            except TimeoutError:
                await self.flush()

    async def flush(self) -> None:
        """Write all that was noted."""
        noted, self._noted = self._noted, {}
        slots = asyncio.Semaphore(limits.CURSORS_AT_ONCE)
        failed = 0

        async def write(subject: str, position: Position) -> None:
            nonlocal failed
            async with slots:
                try:
                    await store(self._bus, subject, msgspec.json.encode(Cursor(str(position), self._wall_ms())))
                except RuncastError:
                    failed += 1
                    self._noted.setdefault(subject, position)

        async with asyncio.TaskGroup() as group:
            for subject, position in noted.items():
                group.create_task(write(subject, position))
        if failed:
            self._log.warning("cursors_not_written", count=failed)
