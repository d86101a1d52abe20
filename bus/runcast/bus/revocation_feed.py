"""Keeps a process's book of revocations (`runcast.bus.revocations`) as the bucket is.

Rules
1. The bucket republishes each change once it is stored, so nobody is kept out by what was refused or lost; the numbers of the changes
   tell whether one was missed. Then, and after every reconnect to NATS, the bucket is read whole; and its number is asked for in a slow
   round, for the last change may be the one that was missed.
2. Any replica answers a reading, and may lag: the leader says up to where it must reach. While there is no leader nothing new is stored
   either: then what a replica has counts (`current`), and is read again until a leader has confirmed it.
3. Not `current`: the process has not read the bucket since it was connected to NATS. Nobody is let in then (`ready`).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
from nats.aio.msg import Msg
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.direct import DirectReader
from runcast.bus.leaders import StreamMissingError
from runcast.bus.revocations import Book, Change
from runcast.wire import limits_revocation as limits
from runcast.wire import subjects
from runcast.wire.errors import UnavailableError

_STREAM: Final = f"KV_{subjects.REVOKED_BUCKET}"
_ALL, _NEWS = subjects.revoked_subjects()
_KEY_FROM: Final = len(_ALL) - 1
_NEWS_KEY_FROM: Final = len(_NEWS) - 1


class Mark(NamedTuple):
    """Where the bucket's leader stands.

    Attributes:
        created: tells a bucket from one that was made anew under its name.
        upto: number of its newest change.
        last: number of the newest change that it still holds; 0 when it is empty.
    """

    created: str
    upto: int
    last: int


class _State(msgspec.Struct):
    last_seq: int = 0


class _Info(msgspec.Struct):
    created: str = ""
    state: _State = msgspec.field(default_factory=_State)


_read_info: Final = msgspec.json.Decoder(_Info).decode


async def ask_mark(bus: Bus, within_s: float = 0.0) -> Mark:
    """Ask the bucket's leader where it stands.

    Args:
        bus: an open connection.
        within_s: how long it may take; 0.0 asks once.

    Raises:
        UnavailableError: it did not say, or there is no bucket yet.
    """
    try:
        info = _read_info(await bus.leaders.info(_STREAM, within_s))
        last = await bus.leaders.message(_STREAM, {"last_by_subj": _ALL}, within_s)
    except (StreamMissingError, msgspec.DecodeError) as exc:
        raise UnavailableError("there is no bucket of revocations yet; a router creates it when it has started") from exc
    return Mark(info.created, info.state.last_seq, last.seq if last is not None else 0)


async def read_bucket(reader: DirectReader) -> list[Change]:
    """All that a replica has, in order.

    Raises:
        UnavailableError: none answered.
    """
    found: list[Change] = []
    while True:
        after = found[-1].seq if found else 0
        page = await reader.history(_STREAM, _ALL, after + 1, batch=limits.REVOCATIONS_PAGE_MAX)
        found += (Change(message.seq, message.subject[_KEY_FROM:], message.data) for message in page)
        if not page or not page[-1].pending:
            return found


async def read_confirmed(bus: Bus, reader: DirectReader, within_s: float) -> list[Change]:
    """All that the leader has, in order.

    Raises:
        UnavailableError: it could not be had within `within_s` seconds.
    """
    until = asyncio.get_running_loop().time() + within_s
    while True:
        mark = await ask_mark(bus, max(until - asyncio.get_running_loop().time(), 0.0))
        found = await read_bucket(reader)
        if (found[-1].seq if found else 0) >= mark.last:
            return found
        if asyncio.get_running_loop().time() >= until:
            raise UnavailableError("a replica lags behind; ask again")
        await asyncio.sleep(limits.REVOCATIONS_PAUSE_S)


class RevocationFeed:
    """Of one process. Call `open` once, when the connection is open; `run` must be running from then on.

    Args:
        bus: the connection.
        log: told when the bucket can't be read, or holds too much.
        changed: called after each change of the book.
        clock: Unix seconds.

    Attributes:
        book: as far as it is known.
    """

    def __init__(self, bus: Bus, log: BoundLogger, changed: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self.book = Book()
        self._bus = bus
        self._log = log
        self._changed = changed
        self._clock = clock
        self._reader = DirectReader(bus)
        self._current = asyncio.Event()
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._heard: list[Change] | None = None  # while the bucket is read
        self._created = ""  # of the bucket that a leader has confirmed; "" while none has
        self._losses = 0  # of the connection
        self._said = False  # that it can't be read

    @property
    def current(self) -> bool:
        """The bucket was read since the process was connected to NATS."""
        return self._current.is_set()

    async def ready(self, within_s: float | None) -> None:
        """Wait until it is `current`, at most so many seconds; None: as long as it takes.

        Raises:
            UnavailableError: it was not in time.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._current.wait()
        except TimeoutError as exc:
            raise UnavailableError("it can't be read just now who was kept out; connect again a little later") from exc

    async def reach(self, seq: int, within_s: float) -> bool:
        """Wait until the change of that number is known; False when it is not in time."""
        for wait_s in (limits.REVOKE_PASS_S, within_s):  # what has not come after a moment was lost: the bucket is asked
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    while self.book.known < seq or not self.current:
                        await self._news.wait()
                    return True
            self._wake.set()
        return False

    async def open(self) -> None:
        """Subscribe to the changes."""
        await self._reader.open()
        await self._bus.nc.subscribe(_NEWS, cb=self._on_change)
        self._bus.disconnected.append(self._lost)
        self._bus.reconnected.append(self._wake.set)
        self._bus.elected.append(self._on_elected)

    async def run(self) -> None:
        """Follow the bucket; never returns."""
        while True:
            self._wake.clear()
            settled = await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.REVOCATIONS_ROUND_S if settled else limits.REVOCATIONS_PAUSE_S):
                    await self._wake.wait()
                    if not settled:  # what woke us may be what we wait for, or one of a thousand changes
                        await asyncio.sleep(limits.REVOCATIONS_PAUSE_S)

    # --- inside ---

    async def _look(self) -> bool:
        """Read the bucket, if it must be; True when a leader has confirmed what is known."""
        mark: Mark | None = None
        try:
            mark = await ask_mark(self._bus)
            if self.book.whole and self.current and mark.created == self._created and mark.upto == self.book.known:
                self.book.prune(self._now_ms())
                return True
        except UnavailableError as exc:
            self._complain(exc.message)
            if self.book.whole and self.current:
                self._created = ""  # to be confirmed
                return False
        try:
            return await self._read(mark)
        except UnavailableError as exc:
            self._complain(exc.message)
            return False

    async def _read(self, mark: Mark | None) -> bool:
        losses = self._losses
        self._heard = []
        try:
            found = await read_bucket(self._reader)
        finally:
            heard, self._heard = self._heard or [], None
        reached = found[-1].seq if found else 0
        if losses != self._losses or (mark is not None and reached < mark.last):
            return False  # changes may have passed unheard; or the replica lags
        now_ms = self._now_ms()
        if mark is not None or reached > self.book.newest:  # what an unconfirmed replica says is no reason to forget anything
            self.book.replace(found, max(reached, mark.upto if mark is not None else 0), now_ms)
        for change in heard:
            self.book.hear(change, now_ms)
        self._created = mark.created if mark is not None else ""
        self._said = self._said and mark is None
        if self.book.left_out:
            self._log.error("revocations_left_out", count=self.book.left_out, advice="lift some; the bucket was made larger than programs")
        self._current.set()
        self._tell()
        return mark is not None and self.book.whole

    async def _on_change(self, msg: Msg) -> None:
        try:
            seq = int((msg.headers or {})[subjects.HEADER_SEQ])
        except (KeyError, ValueError):
            return  # not from the bucket
        change = Change(seq, msg.subject[_NEWS_KEY_FROM:], msg.data)
        if self._heard is not None:
            if len(self._heard) < limits.REVOCATIONS_MAX:
                self._heard.append(change)
            else:
                self._wake.set()  # what is left out is a hole, and found as one
        if self.book.hear(change, self._now_ms()):
            self._tell()
        if not self.book.whole:
            self._wake.set()

    def _on_elected(self, stream: str) -> None:
        if stream == _STREAM:
            self._wake.set()

    def _lost(self) -> None:
        self._losses += 1
        self._current.clear()

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()  # it wakes who waits now
        self._changed()

    def _complain(self, why: str) -> None:
        if not self._said:
            self._said = True
            self._log.warning("revocations_not_read", error=why)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
