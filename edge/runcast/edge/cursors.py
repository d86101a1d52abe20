"""What each device acknowledged, kept in the CURSORS bucket (ARCHITECTURE.md, "Cursors").

Acknowledgements are many, so writes are coalesced: a device's newest cursor at most every `CURSOR_INTERVAL_S`, and all of them at
the end. A device normally brings its own position; the cursor serves one that lost it, so a cursor that is a little old costs
repeats, never a loss. What can't be written stays noted and is written in a later round.

A cursor that a receipt waits for is written at once. Of one device at most one write is under way: what is noted meanwhile is written after
it, the newest alone, so that a cursor never goes back and a device can't cause more writes than the bucket takes.
"""

import asyncio
from collections.abc import Callable

from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.cursors import Acknowledged, read_cursor, write_cursor
from runcast.bus.direct import DirectReader
from runcast.bus.storage import store
from runcast.wire import limits, subjects
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey


class Cursors:
    """Cursors of the devices on this edge.

    Args:
        bus: an open connection.
        reader: reads cursors back.
        wall_ms: the time of day, milliseconds since the Unix epoch.
        tasks: where urgent writes run.
        log: of the edge.
    """

    def __init__(self, bus: Bus, reader: DirectReader, wall_ms: Callable[[], int], tasks: asyncio.TaskGroup, log: BoundLogger) -> None:
        self._bus = bus
        self._reader = reader
        self._wall_ms = wall_ms
        self._log = log
        self._tasks = tasks
        self._noted: dict[str, Acknowledged] = {}
        self._writing: set[str] = set()
        self._written = asyncio.Event()

    def note(self, user: UserKey, shard: int, device: str, acknowledged: Acknowledged, *, urgent: bool) -> None:
        """The device acknowledged something; it is written in the next round, or at once when it is urgent."""
        subject = subjects.kv_subject(subjects.CURSORS_BUCKET, subjects.cursor_key(user, shard, device))
        self._noted[subject] = acknowledged
        if urgent:
            self._hasten(subject)

    def hasten(self, user: UserKey, shard: int, device: str) -> None:
        """Write what is noted of the device, if anything is, at once."""
        self._hasten(subjects.kv_subject(subjects.CURSORS_BUCKET, subjects.cursor_key(user, shard, device)))

    async def find_all(self, user: UserKey, shard: int) -> list[Acknowledged]:
        """What the user's devices acknowledged, on all edges, as far as it is written.

        Raises:
            UnavailableError: the bucket can't be read.
        """
        wanted = subjects.kv_subject(subjects.CURSORS_BUCKET, subjects.cursor_keys(user, shard))
        messages = await self._reader.latest(f"KV_{subjects.CURSORS_BUCKET}", [wanted], batch=limits.VERIFY_SUBJECTS_MAX)
        return [cursor for message in messages if (cursor := read_cursor(message.data)) is not None]

    async def find(self, user: UserKey, shard: int, device: str) -> Acknowledged | None:
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
        cursor = read_cursor(message.data)
        if cursor is None and message.data:
            self._log.warning("cursor_unreadable", key=subject)
        return cursor

    async def forget(self, user: UserKey, shard: int) -> None:
        """Nothing of the user's devices is written any more: what is noted is dropped, what is being written is waited for."""
        prefix = subjects.kv_subject(subjects.CURSORS_BUCKET, subjects.cursor_keys(user, shard)).removesuffix("*")
        while True:
            for subject in [subject for subject in self._noted if subject.startswith(prefix)]:
                del self._noted[subject]
            if not any(subject.startswith(prefix) for subject in self._writing):
                return
            self._written.clear()
            await self._written.wait()

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
        waiting = [subject for subject in self._noted if subject not in self._writing]
        slots = asyncio.Semaphore(limits.CURSORS_AT_ONCE)
        failed = 0

        async def write(subject: str) -> None:
            nonlocal failed
            async with slots:
                if subject not in self._writing:
                    self._writing.add(subject)
                    failed += not await self._write(subject)

        async with asyncio.TaskGroup() as group:
            for subject in waiting:
                group.create_task(write(subject))
        if failed:
            self._log.warning("cursors_not_written", count=failed)

    def _hasten(self, subject: str) -> None:
        if subject in self._noted and subject not in self._writing and len(self._writing) < limits.CURSORS_AT_ONCE:
            self._writing.add(subject)
            self._tasks.create_task(self._write_urgent(subject))

    async def _write_urgent(self, subject: str) -> None:
        if not await self._write(subject):
            self._log.warning("cursors_not_written", count=1)

    async def _write(self, subject: str) -> bool:
        """Write a device's cursor, and again while a newer one is noted; whether all is written. The subject is in `_writing`."""
        try:
            while (acknowledged := self._noted.pop(subject, None)) is not None:
                try:
                    await store(self._bus, subject, write_cursor(acknowledged, self._wall_ms()))
                except RuncastError:
                    self._noted.setdefault(subject, acknowledged)
                    return False
            return True
        finally:
            self._writing.discard(subject)
            self._written.set()
