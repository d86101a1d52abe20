"""A user's part of the log: what was stored, read from any replica, and opened.

A replica may lag behind, or have a hole that is being mended; only the stream's leader knows for certain what is not there. So an answer
that is too short is asked for again, and "it has left the log" is the leader's word alone.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from runcast.bus.connection import Bus
from runcast.bus.deployment import Shard
from runcast.bus.direct import DirectReader, Message
from runcast.bus.leaders import Found, StreamMissingError
from runcast.bus.retention import RetentionOf, keep_all, proves
from runcast.bus.sealing.seals import UnreadableError
from runcast.edge.entry import Entry
from runcast.wire import limits, subjects
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey

BACKOFF_S: Final = 0.05
"""Between two questions, doubled each time."""


class _StreamState(msgspec.Struct):
    first_seq: int
    num_deleted: int = 0


class _StreamInfo(msgspec.Struct):
    state: _StreamState


_read_info: Final = msgspec.json.Decoder(_StreamInfo).decode


class Look(NamedTuple):
    """What the log has at a place.

    Attributes:
        held: it still has the message there (always true for 0).
        missed: how many follow it.
        unreadable: why the next one can't be opened; None when it can, or there is none.
    """

    held: bool
    missed: int
    unreadable: RuncastError | None = None


class History:
    """What is stored of one user.

    Args:
        user: whose it is.
        number: of the user's shard.
        shard: its epoch and retention.
        bus: an open connection.
        reader: reads the log.
        retention: of tenants; what is kept for less than the stream's age counts for less.
    """

    def __init__(self, user: UserKey, number: int, shard: Shard, bus: Bus, reader: DirectReader, retention: RetentionOf = keep_all) -> None:
        self.user = user
        self.shard = number
        self.epoch = shard.epoch
        self.subject = subjects.event_subject(user, number)
        self.stream = subjects.event_stream(number)
        self._bus = bus
        self._reader = reader
        self._retention = retention
        self._age_s = shard.retention_s

    @property
    def kept_s(self) -> float:
        """How long what is stored now is kept, seconds."""
        return min(self._age_s, self._retention(self.user.tenant))

    @property
    def short(self) -> bool:
        """Whether what is stored of the tenant is kept for less than the stream's age (`runcast.bus.retention`)."""
        return self.kept_s < self._age_s

    def open(self, prev: int, seq: int, data: bytes) -> Entry:
        """What was stored at `seq`, right after `prev`."""
        try:
            return Entry(self.epoch, prev, seq, self._bus.seals.open(self.user, self.subject, data))
        except UnreadableError as exc:
            return Entry(self.epoch, prev, seq, b"", exc)

    async def last(self) -> Found | None:
        """The newest, as the leader has it.

        Raises:
            UnavailableError: it did not answer.
        """
        return await self._reader.leader_last(self.stream, self.subject, limits.LEADER_WAIT_S)

    async def tip(self) -> int:
        """The newest seq, as the leader has it; 0 when there is none.

        Raises:
            UnavailableError: it did not answer.
        """
        return await self._reader.leader_tip(self.stream, self.subject, limits.LEADER_WAIT_S)

    async def next(self, after: int) -> list[Entry]:
        """What a replica has from `after` on; empty, too, when it lags.

        Raises:
            UnavailableError: no answer.
        """
        return self._open_all(after, await self._reader.history(self.stream, self.subject, after))

    async def read(self, seq: int, tip: Callable[[], int]) -> tuple[list[Entry], bool]:
        """What is stored from `seq` on, for one device.

        Args:
            seq: a place in the log, or 0.
            tip: up to where the log is known to reach just now.

        Returns:
            The entry at `seq` and those after it, in order, at least one of these while `tip` is ahead of `seq`; and whether the log still
            held the message at `seq` (always true for 0), so that nothing is missing in between; no entries if not.

        Raises:
            UnavailableError: the log could not be read, however often it was tried.
        """
        why = UnavailableError("the log has not caught up with its tip; connect again")
        for attempt in range(limits.HISTORY_TRIES_MAX):
            if attempt:
                await asyncio.sleep(BACKOFF_S * 2**attempt)
            try:
                messages = await self._reader.history(self.stream, self.subject, seq)
            except UnavailableError as exc:
                why = exc
                continue
            if seq and messages and messages[0].seq != seq:
                if not await self._reader.leader_holds(self.stream, self.subject, seq):
                    return [], False
                continue  # a replica with a hole: it is being mended
            if seq and messages and not self._proves(messages[0]):
                return [], False
            if tip() <= seq or (messages and messages[-1].seq > seq):
                return self._open_all(seq, messages), True
        raise why

    async def look(self, seq: int, tip: Callable[[], int]) -> Look:
        """What the log has at `seq`, and right behind it; arguments as of `read`, for a `seq` before the tip.

        Raises:
            UnavailableError: the log could not be read, however often it was tried.
        """
        why = UnavailableError("the log has not caught up with its tip; connect again")
        for attempt in range(limits.HISTORY_TRIES_MAX):
            if attempt:
                await asyncio.sleep(BACKOFF_S * 2**attempt)
            try:
                messages = await self._reader.history(self.stream, self.subject, seq, batch=2 if seq else 1)
            except UnavailableError as exc:
                why = exc
                continue
            if messages:
                first = messages[0]
                if seq not in (0, first.seq) and await self._reader.leader_holds(self.stream, self.subject, seq):
                    continue  # a replica with a hole: it is being mended
                held = seq == 0 or (seq == first.seq and self._proves(first))
                behind = messages[-1] if messages[-1].seq > seq else None
                unreadable = self.open(seq, behind.seq, behind.data).unreadable if behind is not None and held else None
                return Look(held, first.pending + (first.seq != seq), unreadable)
            if seq == tip() and not await self._reader.leader_holds(self.stream, self.subject, seq):
                return Look(seq == 0, 0)
        raise why

    async def whole(self) -> bool:
        """Whether nothing ever left the shard, neither from its beginning nor from its midst.

        Raises:
            UnavailableError: no answer.
        """
        try:
            state = _read_info(await self._bus.leaders.info(self.stream, limits.LEADER_WAIT_S)).state
            return state.first_seq <= 1 and not state.num_deleted
        except (StreamMissingError, UnavailableError) as exc:
            raise UnavailableError(f"the stream's state could not be read: {exc}") from exc

    def _open_all(self, after: int, messages: list[Message]) -> list[Entry]:
        entries = []
        prev = after
        for message in messages:
            entries.append(self.open(prev, message.seq, message.data))
            prev = message.seq
        return entries

    def _proves(self, message: Message) -> bool:
        return not self.short or proves(message.stored_at, time.time(), self.kept_s)
