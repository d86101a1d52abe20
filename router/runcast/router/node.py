"""This router process: what all its streams share.

Rules: a shard counts only while it is verified: not before its stream in NATS was looked at, and not after the connection to NATS was lost:
storage that was wiped in the meantime has another epoch, and no position may be given under the old one. Batches of other shards
are refused with `unavailable`; streams stay open.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection

from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.denials import Denials
from runcast.bus.deployment import Shard
from runcast.bus.erasure_watch import ErasureWatch
from runcast.bus.guard import Guard
from runcast.bus.health import State
from runcast.bus.identity.trust import Trust
from runcast.bus.policy.book import PolicyBook
from runcast.bus.retention import retention_of, ttl_s
from runcast.bus.shards import Shards
from runcast.bus.storage import store
from runcast.router.allowances import Allowances
from runcast.router.answer_watch import AnswerWatch
from runcast.router.cancels import CancelWatch
from runcast.router.effects import BatchKey
from runcast.router.leases import Holder, Leases
from runcast.router.losses import Losses
from runcast.router.lost import taken_error
from runcast.router.receipt_watch import ReceiptWatch
from runcast.wire import VERSION, limits, subjects
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey, encode_token
from runcast.wire.position import Position


class Node:
    """What the services know about the process they run in.

    Attributes:
        id: of this process.
        bus: the connection to NATS.
        log: bound to role and id.
        policy: what tenants may use.
        allowances: what they use.
        shards: what storage looks like, as far as it is verified just now.
        resend_horizon_s: what producers are told, seconds; 0.0 while it is not known.
        producers: Publish streams that are open.
        workers: Receive streams that are open.
        batches_stored: since the start.
        events_stored: in them.
        started: `time.monotonic()` of the start, seconds.
        cancels: passes users' cancels on to the streams.
        answers: passes on what users answer.
        receipts: awaits what devices acknowledge.
        refusals: of batches and callers since the start, by code.
        denials: what was not allowed.
        leases: of the producers whose streams are open here.
        losses: declares runs lost whose producers went away.
        erasures: users who are being erased.
        retention: of tenants.
        leaving: the process is about to stop; no new streams.
        guard: keeps out whom operators revoke; set right after the node was made.
        trust: the auth file; None in development mode.
    """

    guard: Guard
    trust: Trust | None = None

    def __init__(self, node_id: str, bus: Bus, log: BoundLogger, policy: PolicyBook) -> None:
        self.id = node_id
        self.bus = bus
        self.log = log
        self.policy = policy
        self.allowances = Allowances(policy.of)
        self.shards = Shards()
        self.resend_horizon_s = 0.0
        self.producers: set[Publishing] = set()
        self.workers: set[Leavable] = set()
        self.batches_stored = 0
        self.events_stored = 0
        self.started = time.monotonic()
        self.leaving = False
        self.cancels = CancelWatch(bus, log)
        self.answers = AnswerWatch(bus, log)
        self.receipts = ReceiptWatch(bus, log)
        self.refusals: Counter[str] = Counter()
        self.denials = Denials(log, self.refusals)
        self.erasures = ErasureWatch(bus, "router", node_id, log)
        self.retention = retention_of(policy.of)
        self.losses = Losses(bus, log, self.erasures, self.ttl_s)
        self.leases = Leases(bus, node_id, log, time.monotonic, self.losses.distrust)
        self._left = asyncio.Event()
        self._begun = False

    @property
    def streams(self) -> list["Leavable"]:
        """All that are open."""
        return [*self.producers, *self.workers]

    def admit_stream(self, peers: "Collection[Leavable]") -> None:
        """Say whether one more stream may be opened beside `peers`.

        Raises:
            RuncastError: `draining` or `rate_limited`.
        """
        if self.leaving:
            raise RuncastError("this router is about to stop; go to another one", code="draining")
        if len(peers) >= limits.STREAMS_MAX:
            raise RuncastError(f"{limits.STREAMS_MAX} streams are open here; go to another router", code="rate_limited", retry_after_s=1.0)

    def remove(self, stream: "Leavable") -> None:
        """The stream is over."""
        for streams in (self.producers, self.workers):
            streams.discard(stream)
        self._left.set()

    async def empty(self) -> None:
        """Wait until no stream is open."""
        while self.producers or self.workers:
            self._left.clear()
            await self._left.wait()

    def begin(self, count: int) -> None:
        """Storage is there (again), with so many shards; which of them can be reached is told by `verified`."""
        self.shards.begin(count)
        if not self._begun:
            self._begun = True
            for part in (self.cancels, self.answers, self.receipts, self.leases, self.losses):
                part.look_again(count)

    def verified(self, number: int, shard: Shard) -> None:
        """A shard can be reached, and is as it should be."""
        self.shards.verified(number, shard)

    def lost(self) -> None:
        """The connection to NATS is lost."""
        self.shards.lost()
        self._begun = False

    def know_horizon(self, horizon_s: float) -> None:
        """So long after its first sending a batch may be sent again, seconds; producers that were told nothing, or more, come again."""
        self.resend_horizon_s = horizon_s
        for stream in list(self.producers):
            stream.check_horizon(horizon_s)

    def require_storage(self) -> None:
        """Go on only when storage was found, and read who is revoked, since the connection to NATS was opened.

        Raises:
            UnavailableError: it was not.
        """
        if not (self._begun and self.guard.current):
            raise UnavailableError("this router has no connection to storage just now", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)

    def shard_of(self, user: UserKey) -> int:
        """The user's shard.

        Raises:
            UnavailableError: there is no connection to storage.
        """
        self.require_storage()
        return subjects.shard_of(user, self.shards.count)

    def ttl_s(self, user: UserKey, shard: int) -> int:
        """The time to live that something of the user is stored with, whole seconds; 0 for the stream's own age.

        Raises:
            UnavailableError: the shard is not verified just now.
        """
        return ttl_s(self.retention(user.tenant), self.shards.get(shard).retention_s)

    async def forget(self, user: UserKey) -> int:
        """The user is erased (`runcast.bus.erasure_watch`): their runs end here, and nothing of theirs is kept."""
        await self.erasures.settled(user)
        for stream in self.streams:
            stream.forget(user)
        self.cancels.forget(user)
        self.receipts.forget_user(user)
        return 0

    def collect(self) -> dict[str, object]:
        """The statistics of this router, for `stats.router.<id>`."""
        now = time.monotonic()
        return {
            "version": VERSION,
            "uptime_s": round(now - self.started, 1),
            "producers": len(self.producers),
            "workers": len(self.workers),
            "batches_stored": self.batches_stored,
            "events_stored": self.events_stored,
            "refusals": dict(self.refusals),
            "limited": dict(self.allowances.limited),
            "limited_by": dict(self.allowances.limited_by),
            "auth": self.trust.report() if self.trust is not None else {"state": "ok", "reason": ""},
            "policy": self.policy.report(),
            "receipts": dict(self.receipts.outcomes),
            "receipts_awaited": self.receipts.waiting,
            "health": self.bus.health.report(now),
        }

    async def store_batch(self, holder: Holder, key: BatchKey, payload: bytes, events: int, *, ends: bool) -> tuple[str, bool]:
        """Store a batch once, however often it is sent; sealed, for a tenant that has keys.

        Args:
            holder: of its stream.
            key: its identity, with the stream's producer.
            payload: it, serialized.
            events: in it.
            ends: its run ends by it.

        Returns:
            Its position, and whether it had been stored before.

        Raises:
            RuncastError: `run_lost`, `attempt_taken`, `unavailable`, `indeterminate`, `storage_full`, `key_missing` or `internal`.
            LifecycleError: the run has ended.
        """
        user = key.run.user
        with self.erasures.storing(user):
            shard = self.shard_of(user)
            self.shards.get(shard)  # if it is not there, a claim would be in vain; likewise without a key
            subject = subjects.event_subject(user, shard)
            sealed = self.bus.seals.seal(user, subject, payload)
            await self.leases.admit(holder, key, shard, ends=ends)
            epoch = self.shards.get(shard).epoch
            msg_id = subjects.batch_msg_id(user, holder.producer, key.run.run_id, key.attempt, key.number)
            # A first batch's message id does not say whose it is (`subjects.batch_msg_id`).
            headers = {subjects.HEADER_PRODUCER: encode_token(holder.producer)} if key.number == 1 else None
            ttl_s = self.ttl_s(user, shard)
            try:
                seq, duplicate = await store(self.bus, subject, sealed, msg_id=msg_id, ttl_s=ttl_s, headers=headers)
            except RuncastError as exc:
                if exc.code.name == "storage_full":
                    self.bus.health.storage.failed(time.monotonic(), exc.message)
                raise
            if duplicate and key.number == 1:
                await self._check_own(holder, key, shard, seq)
        self._note_stored(holder, key, shard, seq, 0 if duplicate else events, ends=ends)
        return str(Position(epoch, seq)), duplicate

    def _note_stored(self, holder: Holder, key: BatchKey, shard: int, seq: int, events: int, *, ends: bool) -> None:
        """A batch is stored, with so many events that were not before."""
        storage = self.bus.health.storage
        if storage.state is State.DEGRADED:
            storage.verified(time.monotonic())
        self.leases.stored(holder, key, shard, seq, ends=ends)
        if events:
            self.batches_stored += 1
            self.events_stored += events

    async def _check_own(self, holder: Holder, key: BatchKey, shard: int, seq: int) -> None:
        """See whether a first batch that storage had already was this producer's.

        Raises:
            RuncastError: `attempt_taken`: it is another one's.
            UnavailableError: `indeterminate`: that can't be found out now.
        """
        try:
            found = await self.bus.leaders.message(subjects.event_stream(shard), {"seq": seq}, 0.0)
        except UnavailableError as exc:
            raise UnavailableError(exc.message, code="indeterminate") from exc
        if found is not None and found.header(subjects.HEADER_PRODUCER) != encode_token(holder.producer):
            self.leases.withdraw(holder, key, shard)
            raise taken_error(key.attempt)


class Leavable:
    """A stream that can be sent away when the process stops."""

    def leave(self, reason: str, grace_ms: int) -> None:
        """Tell the peer to go to another router."""
        raise NotImplementedError

    def end(self) -> None:
        """The grace is over: end the stream as soon as what is under way is finished."""
        raise NotImplementedError

    def refuse(self, error: RuncastError) -> None:
        """The peer may go on no longer: end the stream with `error`, as soon as what is under way is finished."""
        raise NotImplementedError

    def forget(self, user: UserKey) -> None:
        """The user is erased: nothing of theirs goes on here, or is kept."""
        raise NotImplementedError


class Publishing(Leavable):
    """A Publish stream."""

    def check_horizon(self, horizon_s: float) -> None:
        """The resend horizon is known now, seconds: send the producer away if it was told another one that is not safe."""
        raise NotImplementedError
