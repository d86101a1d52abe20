"""Erasing a user: all that is stored of them is removed, and looked for again (ARCHITECTURE.md, "Erasing a user").

Rules
1. First every process keeps the user out and forgets what it holds in memory (`runcast.bus.erasure_watch`): so nobody writes
   while it is removed, and nobody goes on from what was.
2. What is stored is deleted message by message, for only then does nats-server overwrite it on its disk; a purge leaves the bytes where
   they are (tried on 2.15). Buckets take no deletions, so there, and where time runs out, the user's own subjects are purged. Then
   everything is looked for on the streams' leaders, and again, as often as it takes. "Done" is said only when nothing was found.
3. Who did not answer may hold something in memory, or write it: then the outcome is *indeterminate*, whatever was removed. To erase again
   does no harm.
4. Afterwards the user is like one who was never here: events that agents emit from then on are a new beginning.

Not touched: revocations (they are about access) and the audit log (it says who erased whom).
"""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

import msgspec
import nats.errors
from nats.aio.msg import Msg
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.direct import DirectReader
from runcast.bus.erasure_watch import Answer, Order
from runcast.bus.storage import storage_error
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.limits_erasure import (
    ERASE_ANSWERS_S,
    ERASE_HOLD_S,
    ERASE_LISTEN_S,
    ERASE_OVERWRITE_S,
    ERASE_PURGE_S,
    ERASE_READS_MAX,
    ERASE_ROUNDS_MAX,
)
from runcast.wire.subjects import UserPlace


class Erased(NamedTuple):
    """What was removed: messages by place (stream, cursors, inbox, parked, runs), and connections that were closed."""

    removed: dict[str, int]
    connections: int


class _Error(msgspec.Struct):
    description: str = ""


class _Purged(msgspec.Struct):
    purged: int = 0
    error: _Error | None = None


_read_purged: Final = msgspec.json.Decoder(_Purged).decode
_read_answer: Final = msgspec.json.Decoder(Answer).decode


class _Round:
    """Answers to one order."""

    def __init__(self, expected: Collection[tuple[str, str]]) -> None:
        self.missing = set(expected)
        self.failed: set[tuple[str, str]] = set()
        self.connections = 0
        self.news = asyncio.Event()

    def take(self, answer: Answer) -> None:
        name = (answer.role, answer.id)
        if answer.state == "heard":
            self.missing.add(name)
        else:
            self.missing.discard(name)
            self.connections += answer.connections
            if answer.state == "failed":
                self.failed.add(name)
        self.news.set()

    @property
    def silent(self) -> list[str]:
        """Who did not do it."""
        return sorted(f"{role} {process}" for role, process in self.missing | self.failed)


class Eraser:
    """Erases users, for the one role that may purge. Call `open` once.

    Args:
        bus: an open connection.
        log: told of each user that was erased.
        answers_s: for all processes to answer.
    """

    def __init__(self, bus: Bus, log: BoundLogger, *, answers_s: float = ERASE_ANSWERS_S) -> None:
        self._bus = bus
        self._log = log
        self._answers_s = answers_s
        self._reader = DirectReader(bus)
        self._rounds: dict[str, _Round] = {}
        self._prefix = ""

    async def open(self) -> None:
        """Listen for answers."""
        await self._reader.open()
        self._prefix = self._bus.nc.new_inbox()
        await self._bus.nc.subscribe(f"{self._prefix}.*", cb=self._on_answer)

    async def erase(self, user: UserKey, shard: int, expected: Iterable[tuple[str, str]]) -> Erased:
        """Remove all that is stored of a user.

        Args:
            user: who.
            shard: the user's.
            expected: role and id of the processes that are known to live; others that answer are waited for, too.

        Raises:
            UnavailableError: `unavailable`: nothing was removed; `indeterminate`: not all of it was, or not for certain. Erase again.
        """
        if not self._bus.connected:
            raise UnavailableError("there is no connection to NATS just now; nothing was removed")
        name = secrets.token_hex(8)
        began = time.monotonic()
        removed: Counter[str] = Counter()
        try:
            held = await self._tell(Order(name, "hold", user.tenant, user.user), frozenset(expected))
            await self._remove(user, shard, removed)
            late = time.monotonic() - began >= ERASE_HOLD_S
        finally:
            with contextlib.suppress(nats.errors.Error):  # the hold ends by itself
                await self._bus.nc.publish(subjects.ERASE, msgspec.json.encode(Order(name, "release", user.tenant, user.user)))
        self._log.info("user_erased", user=user.token, erasing=name, removed=dict(removed), silent=held.silent, late=late)
        if held.silent or late:
            who = ", ".join(held.silent) or "storage took too long, so that somebody"
            raise UnavailableError(
                f"what was stored of this user is removed, but {who} did not confirm to have forgotten it; erase again",
                code="indeterminate",
            )
        return Erased({place.name: removed[place.name] for place in subjects.user_places(user, shard)}, held.connections)

    async def left(self, user: UserKey, shard: int) -> list[str]:
        """Where something of a user is stored, asked of the streams' leaders; [] when there is nothing.

        Raises:
            UnavailableError: no answer.
        """
        found = []
        for place in subjects.user_places(user, shard):
            question: dict[str, object] = {"seq": 1, "next_by_subj": place.subjects}
            if await self._bus.leaders.message(place.stream, question, limits.LEADER_WAIT_S) is not None:
                found.append(place.name)
        return list(dict.fromkeys(found))

    # --- what is stored ---

    async def _remove(self, user: UserKey, shard: int, removed: Counter[str]) -> None:
        left: list[str] = []
        until = asyncio.get_running_loop().time() + ERASE_OVERWRITE_S
        for _ in range(ERASE_ROUNDS_MAX):
            for key in await self._tries_of(user, shard):
                await self._purge(f"KV_{subjects.RUNS_BUCKET}", subjects.kv_subject(subjects.RUNS_BUCKET, key))
            for place in subjects.user_places(user, shard):
                removed[place.name] += await self._overwrite(place, until)
                purged = await self._purge(place.stream, place.subjects)
                removed[place.name] += purged
                if purged and not place.in_bucket:
                    self._log.warning("erased_not_overwritten", place=place.name, messages=purged, advice="its bytes stay in NATS's files")
            left = await self.left(user, shard)
            if not left:
                return
        raise UnavailableError(
            f"something of this user is stored again and again ({', '.join(left)}): somebody who did not hear of it writes; erase again",
            code="indeterminate",
        )

    async def _overwrite(self, place: UserPlace, until: float) -> int:
        """Delete messages one by one, until then at most; how many that were."""
        if place.in_bucket:  # takes no deletions
            return 0
        deleted = seq = 0
        while asyncio.get_running_loop().time() < until:
            found = await self._next(place, seq)
            if not found:
                break
            seq = found[-1]
            deleted += sum(await asyncio.gather(*(self._delete(place.stream, each) for each in found)))
        return deleted

    async def _next(self, place: UserPlace, after: int) -> list[int]:
        """Messages of a place behind `after`, some of them; [] at the end. What a replica does not know yet is left to the purge."""
        if place.name == "stream":
            return [message.seq for message in await self._reader.history(place.stream, place.subjects, after + 1)]
        question: dict[str, object] = {"seq": after + 1, "next_by_subj": place.subjects}
        message = await self._bus.leaders.message(place.stream, question, limits.LEADER_WAIT_S)  # the inbox knows no Direct Get
        return [message.seq] if message is not None else []

    async def _delete(self, stream: str, seq: int) -> bool:
        """Delete a message; False: it is left to the purge."""
        with contextlib.suppress(nats.errors.Error, msgspec.DecodeError, UnavailableError):
            answer = await self._bus.replies.request(
                f"$JS.API.STREAM.MSG.DELETE.{stream}", msgspec.json.encode({"seq": seq}), None, ERASE_PURGE_S
            )
            return _read_purged(answer.data).error is None
        return False

    async def _purge(self, stream: str, wanted: str) -> int:
        """Remove the messages of these subjects; how many they were."""
        try:
            answer = await self._bus.replies.request(
                f"$JS.API.STREAM.PURGE.{stream}", msgspec.json.encode({"filter": wanted}), None, ERASE_PURGE_S
            )
            purged = _read_purged(answer.data)
        except (nats.errors.Error, msgspec.DecodeError, UnavailableError) as exc:
            why = getattr(exc if isinstance(exc, UnavailableError) else storage_error(exc), "message", str(exc))
            raise UnavailableError(f"{stream} could not be purged: {why}; erase again", code="indeterminate") from exc
        if purged.error is not None:
            raise UnavailableError(f"{stream} could not be purged: {purged.error.description}; erase again", code="indeterminate")
        return purged.purged

    async def _tries_of(self, user: UserKey, shard: int) -> list[str]:
        """Keys of how often the user's messages were handed out: they have no name in them but the message's number."""
        seqs: list[int] = []
        for place in subjects.user_places(user, shard):
            if place.stream in (subjects.INBOX_STREAM, subjects.PARKED_STREAM):
                seqs += await self._numbers(place)
        return [subjects.tries_key(seq) for seq in seqs]

    async def _numbers(self, place: UserPlace) -> list[int]:
        """The numbers that messages have, or had, in the inbox."""
        numbers: list[int] = []
        seq = 0
        while len(numbers) < ERASE_READS_MAX:
            question: dict[str, object] = {"seq": seq + 1, "next_by_subj": place.subjects}
            found = await self._bus.leaders.message(place.stream, question, limits.LEADER_WAIT_S)
            if found is None:
                break
            seq = found.seq
            name = found.message_id.rpartition(".")[2] if place.stream == subjects.PARKED_STREAM else str(seq)
            if name.isdecimal():
                numbers.append(int(name))
        return numbers

    # --- processes ---

    async def _tell(self, order: Order, expected: Collection[tuple[str, str]]) -> _Round:
        """Tell all processes, and wait until all who are known, or said that they heard, have done it."""
        token = secrets.token_hex(4)
        told = self._rounds[token] = _Round(expected)
        loop = asyncio.get_running_loop()
        listen_until = loop.time() + ERASE_LISTEN_S
        try:
            await self._bus.nc.publish(subjects.ERASE, msgspec.json.encode(order), reply=f"{self._prefix}.{token}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._answers_s):
                    while told.missing or loop.time() < listen_until:
                        told.news.clear()
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(None if told.missing else listen_until - loop.time()):
                                await told.news.wait()
        except nats.errors.Error as exc:
            raise UnavailableError(f"routers and edges could not be told: {exc}; nothing was removed") from exc
        finally:
            del self._rounds[token]
        return told

    async def _on_answer(self, msg: Msg) -> None:
        told = self._rounds.get(msg.subject.rpartition(".")[2])
        if told is None or (msg.headers or {}).get("Status"):
            return
        with contextlib.suppress(msgspec.DecodeError):  # not a process of ours
            told.take(_read_answer(msg.data))
