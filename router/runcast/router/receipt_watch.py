"""Receipts of one router: carries out what `runcast.router.receipts` decides, for all its Publish streams.

One subscription per user while anything of the user is awaited; reads by Direct Get, of which a few are under way at once. After the
connection to NATS was lost, everything awaited is looked up again: what was said meanwhile was not heard.
"""

import asyncio
import functools
import time
from typing import Protocol

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.cursors import read_cursor
from runcast.bus.direct import DirectReader
from runcast.bus.presence import PresenceReader
from runcast.router.effects import BatchKey, RunKey
from runcast.router.receipts import Answer, Check, Confirm, Hurry, Look, ReceiptTracker, Unwatch, Watch
from runcast.v1.ingest_pb2 import RECEIPT_OUTCOME_STORED, Receipt, ReceiptOutcome
from runcast.wire import limits, subjects
from runcast.wire.errors import IdInvalidError, UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.position import Position


class Asker(Protocol):
    """A stream that awaits receipts."""

    def answer_receipt(self, receipt: Receipt) -> None:
        """What became of a batch."""


class ReceiptWatch:
    """The receipts of one router. `run` must be running.

    Args:
        bus: the connection.
        log: told about watches that fail.

    Attributes:
        outcomes: receipts given since the start, by outcome in lower case.
        presence: asks who is there.
    """

    def __init__(self, bus: Bus, log: BoundLogger) -> None:
        self._bus = bus
        self._log = log
        self._reader = DirectReader(bus)
        self._tracker = ReceiptTracker()
        self._subscriptions: dict[UserKey, Subscription] = {}
        self._tasks = asyncio.TaskGroup()
        self._wake = asyncio.Event()
        self._shards = 0
        self.presence = PresenceReader(bus)
        self.outcomes = {name.removeprefix("RECEIPT_OUTCOME_").lower(): 0 for name in ReceiptOutcome.keys()[1:]}

    @property
    def waiting(self) -> int:
        """Batches awaited now."""
        return self._tracker.waiting

    async def open(self) -> None:
        """Subscribe to answers. Call once, when the connection is open."""
        await self._reader.open()
        await self.presence.open()

    def look_again(self, shards: int) -> None:
        """Storage is there (again), with so many shards."""
        self._shards = shards
        self._tracker.look_again()
        self._wake.set()

    def expect(self, asker: Asker, key: BatchKey, position: Position, *, deadline_ms: int, elapsed_ms: int = 0, late: bool = False) -> None:
        """Await a device's acknowledgement of a batch; see `ReceiptTracker.expect`."""
        self._tracker.expect(asker, key, position, time.monotonic(), deadline_s=deadline_ms / 1000, elapsed_s=elapsed_ms / 1000, late=late)
        self._wake.set()

    def forget(self, asker: Asker) -> None:
        """A stream is gone."""
        self._tracker.forget(asker, time.monotonic())
        self._wake.set()

    def forget_user(self, user: UserKey) -> None:
        """The user is erased: nobody will acknowledge what is awaited."""
        self._tracker.abandon(user, time.monotonic())
        self._wake.set()

    async def run(self) -> None:
        """Carry out what is decided; never returns."""
        async with self._tasks:
            while True:
                self._wake.clear()
                self._tracker.tick(time.monotonic())
                self._carry_out()
                at = self._tracker.deadline()
                try:
                    async with asyncio.timeout(None if at is None else max(at - time.monotonic(), 0.0)):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    def _carry_out(self) -> None:
        if not self._shards:
            return  # nobody knows yet where a user's cursors are; what is asked waits
        for effect in self._tracker.take_effects():
            match effect:
                case Answer(owner, receipt):
                    self._answer(owner, receipt)
                case Confirm(owner, run, receipt):
                    self._tasks.create_task(self._confirm(owner, run, receipt))
                case Watch(user):
                    self._tasks.create_task(self._watch(user))
                case Unwatch(user):
                    self._tasks.create_task(self._unwatch(self._subscriptions.pop(user, None)))
                case Look(user):
                    self._tasks.create_task(self._look(user))
                case Check(user):
                    self._tasks.create_task(self._check(user))
                case Hurry(user, position):
                    self._tasks.create_task(self._hurry(user, position))

    def _shard(self, user: UserKey) -> int:
        return subjects.shard_of(user, max(self._shards, 1))

    def _cursors(self, user: UserKey) -> str:
        return subjects.kv_subject(subjects.CURSORS_BUCKET, subjects.cursor_keys(user, self._shard(user)))

    async def _watch(self, user: UserKey) -> None:
        try:
            subscription = await self._bus.nc.subscribe(self._cursors(user), cb=functools.partial(self._on_cursor, user))
        except nats.errors.Error as exc:
            self._log.warning("receipts_not_watched", user=user.token, error=str(exc))
            self._tracker.abandon(user, time.monotonic())
            self._wake.set()
            return
        self._subscriptions[user] = subscription
        await self._look(user)

    async def _unwatch(self, subscription: Subscription | None) -> None:
        if subscription is not None and self._bus.connected:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as exc:
                self._log.warning("unsubscribe_failed", error=str(exc))

    async def _look(self, user: UserKey) -> bool:
        """Read the user's cursors; whether that was possible."""
        try:
            async with asyncio.timeout(limits.RECEIPT_CHECK_S):
                messages = await self._reader.latest(
                    f"KV_{subjects.CURSORS_BUCKET}", [self._cursors(user)], batch=limits.VERIFY_SUBJECTS_MAX
                )
        except (TimeoutError, UnavailableError) as exc:
            self._log.warning("cursors_not_read", user=user.token, error=str(exc) or "no answer in time")
            return False
        for message in messages:
            self._take_cursor(user, message.subject, message.data)
        return True

    async def _check(self, user: UserKey) -> None:
        online: bool | None = None
        if await self._look(user):
            try:
                online = bool(await self.presence.ask(user, self._shard(user), first=True))
            except UnavailableError as exc:
                self._log.warning("presence_unknown", user=user.token, error=exc.message)
        self._tracker.checked(user, time.monotonic(), online=online)
        self._wake.set()

    def _answer(self, owner: object, receipt: Receipt) -> None:
        self.outcomes[ReceiptOutcome.Name(receipt.outcome).removeprefix("RECEIPT_OUTCOME_").lower()] += 1
        owner.answer_receipt(receipt)  # type: ignore[attr-defined] # owners are the askers given to `expect`

    async def _confirm(self, owner: object, run: RunKey, receipt: Receipt) -> None:
        if await self._has_successor(run, receipt.attempt):
            receipt.outcome, receipt.device = RECEIPT_OUTCOME_STORED, ""
        self._answer(owner, receipt)

    async def _has_successor(self, run: RunKey, attempt: int) -> bool:
        """Whether a later attempt of the run has begun; true as well when nobody can say."""
        wanted = subjects.kv_subject(subjects.RUNS_BUCKET, subjects.attempt_keys(run.user, self._shard(run.user), run.run_id))
        try:
            async with asyncio.timeout(limits.RECEIPT_CHECK_S):
                found = await self._reader.latest(f"KV_{subjects.RUNS_BUCKET}", [wanted], batch=limits.VERIFY_SUBJECTS_MAX)
        except (TimeoutError, UnavailableError) as exc:
            self._log.warning("attempts_not_read", user=run.user.token, error=str(exc) or "no answer in time")
            return True
        prefix = subjects.kv_subject(subjects.RUNS_BUCKET, "")
        return any(subjects.parse_run_key(message.subject.removeprefix(prefix)).attempt > attempt for message in found)

    async def _hurry(self, user: UserKey, position: Position) -> None:
        try:
            await self.presence.hurry(user, self._shard(user), position)
        except UnavailableError as exc:
            self._log.warning("edges_not_hurried", user=user.token, error=exc.message)

    async def _on_cursor(self, user: UserKey, msg: Msg) -> None:
        self._take_cursor(user, msg.subject, msg.data)

    def _take_cursor(self, user: UserKey, subject: str, data: bytes) -> None:
        cursor = read_cursor(data)
        if cursor is None:
            return  # a key that was deleted, or is not an edge's
        try:
            device = subjects.device_of_cursor(subject)
        except IdInvalidError:
            return
        self._tracker.cursor(user, device, cursor, time.monotonic())
        self._wake.set()
