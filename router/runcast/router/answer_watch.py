"""Answers of users: from the bucket where edges keep them to the stream that waits for them.

Carries out what `runcast.router.answers` decides: one subscription for new keys, lookups by Direct Get, of which one is under way at a
time. After the connection to NATS was lost, everything that is waited for is looked up again. An answer that can't be opened stays where it
is, and is looked up again like one that did not come yet: it is passed on when its key is back.
"""

import asyncio
import random
import time
from typing import Protocol

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.direct import DirectReader
from runcast.bus.sealing.seals import UnreadableError
from runcast.router.answers import AnswerBook
from runcast.router.effects import RequestKey, RunKey
from runcast.v1.inbox_pb2 import KeptAnswer
from runcast.wire import limits_client as limits
from runcast.wire import subjects
from runcast.wire.errors import IdInvalidError, UnavailableError
from runcast.wire.ids import UserKey


class Answerable(Protocol):
    """A stream that waits for answers."""

    def answer(self, request: RequestKey, value_json: bytes, device: str) -> None:
        """The user answered `request`."""


class AnswerWatch:
    """Knows which stream waits for which answer. `run` must be running.

    Args:
        bus: the connection.
        log: told about answers that can't be read.
    """

    def __init__(self, bus: Bus, log: BoundLogger) -> None:
        self._bus = bus
        self._log = log
        self._reader = DirectReader(bus)
        self._book: AnswerBook[Answerable] = AnswerBook()
        self._shards = 0
        self._wake = asyncio.Event()

    async def open(self) -> None:
        """Subscribe. Call once, when the connection is open."""
        await self._reader.open()
        await self._bus.nc.subscribe(subjects.run_answers(), cb=self._on_answer)

    def look_again(self, shards: int) -> None:
        """Storage is there (again), with so many shards."""
        self._shards = shards
        self._book.look_again(time.monotonic())
        self._wake.set()

    def ask(self, stream: Answerable, request: RequestKey) -> None:
        """A stream waits for an answer."""
        self._book.ask(stream, request, time.monotonic())
        self._wake.set()

    def drop(self, stream: Answerable, request: RequestKey) -> None:
        """It does not any more."""
        self._book.drop(stream, request)

    async def run(self) -> None:
        """Look up what is due; never returns."""
        wait_s = limits.BACKOFF_FIRST_S
        while True:
            self._wake.clear()
            while self._shards and (requests := self._book.take_due(time.monotonic())):
                try:
                    await self._look_up(requests)
                    wait_s = limits.BACKOFF_FIRST_S
                except UnavailableError:
                    self._book.not_looked(requests)
                    await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311 # jitter, not a secret
                    wait_s = min(2 * wait_s, limits.BACKOFF_MAX_S)
            at = self._book.deadline() if self._shards else None
            try:
                async with asyncio.timeout(None if at is None else max(at - time.monotonic(), 0.0)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look_up(self, requests: list[RequestKey]) -> None:
        wanted = []
        for (user, run_id), request_id in requests:
            key = subjects.answer_key(user, subjects.shard_of(user, self._shards), run_id, request_id)
            wanted.append(subjects.kv_subject(subjects.RUNS_BUCKET, key))
        for message in await self._reader.latest(f"KV_{subjects.RUNS_BUCKET}", wanted):
            self._pass_on(message.subject, message.data)

    async def _on_answer(self, msg: Msg) -> None:
        self._pass_on(msg.subject, msg.data)

    def _pass_on(self, subject: str, data: bytes) -> None:
        if not data:  # its time was over
            return
        try:
            place = subjects.parse_user_key(subject)
            kept = KeptAnswer.FromString(self._bus.seals.open(place.user, subject, data))
        except (DecodeError, IdInvalidError) as exc:
            self._log.error("answer_unreadable", error=str(exc))
            return
        except UnreadableError:  # the log and health say so
            return
        request = RequestKey(RunKey(UserKey(kept.user.tenant, kept.user.id), kept.run_id), kept.request_id)
        for stream in self._book.heard(request):
            stream.answer(request, kept.value_json, kept.device)
