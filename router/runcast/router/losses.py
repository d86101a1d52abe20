"""Runs whose agent went away: found, declared lost, ended on the user's screen (ARCHITECTURE.md, "Run leases").

How they are found: the bucket writes a marker when a lease ends, and republishes it: every router hears of it at once. What nobody heard
(all routers were down, a message was lost) is found by a sweep over the producers that have no lease. A run can also be given up by its own
agent (`abandon`).

Rules.
1. Not while it may be our own fault: after storage was away, or the bucket changed its leader, leases may have ended only because nobody
   could refresh them. For `limits.LEASE_S` after that nothing is declared; then a sweep looks at what is still without a lease.
2. First the keys are read, then the lease is looked for, then a key is changed from the revision that was read. A producer that came
   back in between has either been seen, or has touched its keys.
3. Keys that say `lost` and are not settled are finished by whoever meets them: what there is to say is decided by the log, and said under
   a message id that is always the same.
4. A batch that can't be opened because its key is missing may be the run's end: while one lies behind what is known of a run, nothing is
   said of it. One that was changed counts for nothing, like anything else in the log that is no batch.
5. What fails is left to the next sweep; a producer's own key stays until all its runs are settled.
"""

import asyncio
import random
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.direct import DirectReader
from runcast.bus.erasure_watch import ErasureWatch
from runcast.bus.keys import Bucket, RevisionError
from runcast.bus.sealing.seals import UnreadableError
from runcast.bus.storage import store
from runcast.router.effects import RunKey
from runcast.router.lost import Case, Outcome, RunRecord, parse_record
from runcast.v1.event_pb2 import Batch
from runcast.wire import limits, limits_client, subjects
from runcast.wire.errors import IdInvalidError, RuncastError, UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.subjects import RunPlace

_AWAY = "the agent went away and did not come back in time"
_ABANDONED = "the agent could not tell what became of the run's last events, and gave the run up"


class Losses:
    """Declares runs lost.

    Args:
        bus: the connection.
        log: told of each producer that went away.
        erasures: users who are being erased: nothing is said to them.
        ttl_s: the time to live of what is stored of a user, by their shard.
    """

    def __init__(self, bus: Bus, log: BoundLogger, erasures: ErasureWatch, ttl_s: Callable[[UserKey, int], int]) -> None:
        self._bus = bus
        self._log = log
        self._erasures = erasures
        self._ttl_s = ttl_s
        self._bucket = Bucket(bus, subjects.RUNS_BUCKET)
        self._reader = DirectReader(bus)
        self._shards = 0
        self._trust_at = 0.0
        self._sweep_at = 0.0
        self._due: OrderedDict[str, float] = OrderedDict()
        self._abandoned: OrderedDict[tuple[str, RunKey, int], Callable[[], None]] = OrderedDict()
        self._wake = asyncio.Event()

    async def open(self) -> None:
        """Subscribe. Call once, when the connection is open."""
        await self._reader.open()
        await self._bus.nc.subscribe(subjects.lease_subjects()[1], cb=self._on_lease)
        self._bus.elected.append(self._on_elected)

    def look_again(self, shards: int) -> None:
        """Storage is there (again), with so many shards."""
        self._shards = shards
        self.distrust()

    def abandon(self, producer: str, run: RunKey, attempt: int, done: Callable[[], None]) -> None:
        """Its producer gives a run up; `done` is called when it has ended."""
        self._abandoned[producer, run, attempt] = done
        if len(self._abandoned) > limits.ABANDONS_MAX:
            self._abandoned.popitem(last=False)
        self._wake.set()

    async def run(self) -> None:
        """Find and declare; never returns."""
        while True:
            now = self._now()
            if self._shards and not await self._declare_abandoned():
                self._wake_at(now + limits.SWEEP_RETRY_S)
            if self._shards and now >= self._trust_at:
                due = [producer for producer, at in self._due.items() if at <= now]
                for producer in due:
                    del self._due[producer]
                if now >= self._sweep_at:
                    self._sweep_at = now + limits.SWEEP_S * random.uniform(0.75, 1.25)  # noqa: S311 # jitter, not a secret
                    due.extend(await self._without_lease())
                await self._settle_all(due)
            times = [max(at, self._trust_at) for at in (self._sweep_at, *self._due.values())]
            self._wake.clear()
            if self._shards and any(at <= self._now() for at in times):
                continue
            try:
                async with asyncio.timeout_at(min(times) if self._shards else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    # --- finding ---

    async def _on_lease(self, msg: Msg) -> None:
        if (msg.headers or {}).get(subjects.HEADER_MARKER) != subjects.MARKER_EXPIRED or len(self._due) >= limits.LEASES_DUE_MAX:
            return
        try:
            producer = subjects.producer_of(msg.subject)
        except IdInvalidError:
            return  # nobody of us wrote that key
        self._due[producer] = self._now() + random.uniform(0, limits.LOST_JITTER_S)  # noqa: S311 # jitter, not a secret
        self._wake.set()

    def _on_elected(self, stream: str) -> None:
        if stream == self._bucket.stream:
            self.distrust()

    def distrust(self) -> None:
        """Leases may have ended because nobody could refresh them."""
        self._trust_at = self._sweep_at = self._now() + limits.LEASE_S
        self._due.clear()  # the sweep finds them
        self._wake.set()

    def _wake_at(self, at: float) -> None:
        self._sweep_at = min(self._sweep_at, at)

    async def _without_lease(self) -> list[str]:
        """Producers that may have open runs and seem to have no lease."""
        try:
            producers = [subjects.producer_of(name) for name in await self._bucket.names(subjects.producer_keys())]
            alive: set[str] = set()
            for chunk in _chunks(producers):
                keys = [subjects.kv_subject(subjects.RUNS_BUCKET, subjects.lease_key(producer)) for producer in chunk]
                alive.update(
                    subjects.producer_of(found.subject) for found in await self._reader.latest(self._bucket.stream, keys) if found.data
                )
        except UnavailableError as exc:
            self._log.warning("sweep_failed", error=exc.message)
            self._wake_at(self._now() + limits.SWEEP_RETRY_S)
            return []
        return [producer for producer in producers if producer not in alive]

    # --- declaring ---

    async def _settle_all(self, producers: Iterable[str]) -> None:
        slots = asyncio.Semaphore(limits.LEASES_AT_ONCE)

        async def settle(producer: str) -> None:
            async with slots:
                try:
                    settled = await self._settle(producer)
                except RuncastError as exc:
                    self._log.warning("lost_runs_not_settled", producer=producer, error=exc.message)
                    settled = False
            if not settled:
                self._wake_at(self._now() + limits.SWEEP_RETRY_S)

        await asyncio.gather(*(settle(producer) for producer in dict.fromkeys(producers)))

    async def _settle(self, producer: str) -> bool:
        """Declare a producer's runs lost, unless it has a lease; returns whether nothing is left to do.

        Raises:
            RuncastError: NATS did not do its part.
        """
        own = await self._bucket.get(subjects.producer_key(producer))
        names = await self._bucket.names(subjects.run_keys(producer))
        found: list[tuple[RunPlace, RunRecord, int]] = []
        read = 0
        for chunk in _chunks(names):
            wanted = [subjects.kv_subject(subjects.RUNS_BUCKET, name) for name in chunk]
            for message in await self._reader.latest(self._bucket.stream, wanted):
                read += 1
                record = parse_record(message.data)
                if record is not None and not record.settled:
                    found.append((_place_of(message.subject), record, message.seq))
        lease = await self._bucket.get(subjects.lease_key(producer))
        if lease is not None and lease.value:
            return True
        lost = []
        for start in range(0, len(found), limits.LEASES_AT_ONCE):
            declared = await asyncio.gather(*(self._declare(*entry) for entry in found[start : start + limits.LEASES_AT_ONCE]))
            lost += [entry for entry in declared if entry is not None]
        await self._finish(lost, _AWAY)
        if found:
            self._log.info("producer_lost", producer=producer, runs=len(lost))
        whole = read == len(names) and len(lost) == len(found)
        if whole and own is not None and own.value:
            try:
                await self._bucket.put(subjects.producer_key(producer), b"", expected=own.revision, ttl_s=1.0, closing=True)
            except RevisionError:
                return True  # it has just come back
        return whole

    async def _declare(self, place: RunPlace, record: RunRecord, revision: int) -> tuple[RunPlace, RunRecord, int] | None:
        """Write `lost` to an open run's key; returns the key as it is now, None when somebody else changed it."""
        if record.state != "open":
            return place, record, revision
        lost = RunRecord("lost", after=record.after)
        try:
            return place, lost, await self._bucket.put(place.key, lost.encode(), expected=revision)
        except RevisionError:
            return None

    async def _declare_abandoned(self) -> bool:
        """Declare lost what agents gave up; returns whether nothing of it is left."""
        for name, done in list(self._abandoned.items()):
            producer, run, attempt = name
            place = RunPlace(producer, subjects.shard_of(run.user, self._shards), run.user, run.run_id, attempt)
            try:
                found = await self._bucket.get(place.key)
                record = parse_record(found.value) if found is not None else None
                if found is not None and record is not None and not record.settled:
                    lost = await self._declare(place, record, found.revision)
                    if lost is None:
                        continue
                    await self._finish([lost], _ABANDONED)
            except RuncastError as exc:
                self._log.warning("abandoned_run_not_settled", run=place.run_id, error=exc.message)
                return False
            self._abandoned.pop(name, None)
            done()
        return not self._abandoned

    # --- ending ---

    async def _finish(self, lost: list[tuple[RunPlace, RunRecord, int]], reason: str) -> None:
        """Say in the log what is to be said of runs declared lost, and settle their keys."""
        by_user: dict[tuple[int, UserKey], list[tuple[RunPlace, RunRecord, int]]] = defaultdict(list)
        for entry in lost:
            by_user[entry[0].shard, entry[0].user].append(entry)
        for (shard, user), entries in by_user.items():
            with self._erasures.storing(user):
                await self._finish_of(user, shard, entries, reason)

    async def _finish_of(self, user: UserKey, shard: int, entries: list[tuple[RunPlace, RunRecord, int]], reason: str) -> None:
        cases = [Case(place) for place, _, _ in entries]
        await self._read_log(user, shard, min(record.after for _, record, _ in entries), cases)
        for case, (place, record, revision) in zip(cases, entries, strict=True):
            if case.outcome is Outcome.LOST:
                batch = case.closing(reason, int(time.time() * 1000))
                msg_id = subjects.lost_msg_id(user, place.run_id, place.attempt)
                ttl_s = self._ttl_s(user, shard)
                subject = subjects.event_subject(user, shard)
                sealed = self._bus.seals.seal(user, subject, batch.SerializeToString())
                await store(self._bus, subject, sealed, msg_id=msg_id, ttl_s=ttl_s)
            await self._settle_key(place, record, revision, case)

    async def _settle_key(self, place: RunPlace, record: RunRecord, revision: int, case: Case) -> None:
        ended = case.outcome is Outcome.ENDED
        settled = RunRecord("ended" if ended else "lost", after=record.after, number=case.number if ended else 0, settled=True)
        try:
            await self._bucket.put(place.key, settled.encode(), expected=revision, ttl_s=limits.RUN_TOMBSTONE_S, closing=True)
        except RevisionError:
            return  # another router has settled it: it read the same log

    async def _read_log(self, user: UserKey, shard: int, after: int, cases: list[Case]) -> None:
        """Show the cases everything of the user behind `after`, up to what the leader has now.

        Raises:
            UnavailableError: it could not be read to the end.
            UnreadableError: nor can what came last of one of the cases.
        """
        stream, subject = subjects.event_stream(shard), subjects.event_subject(user, shard)
        tip = await self._reader.leader_tip(stream, subject)
        tries = 0
        missing: dict[Case, UnreadableError] = {}
        while after < tip:
            messages = await self._reader.history(stream, subject, after + 1)
            for message in messages:
                try:
                    batch = _parse(self._bus.seals.open(user, subject, message.data))
                except UnreadableError as exc:
                    batch = None
                    if exc.why == "key":
                        missing = dict.fromkeys(cases, exc)
                if batch is not None:
                    for case in cases:
                        if case.note(batch):
                            missing.pop(case, None)
                after = message.seq
            if not messages:  # a replica that lags behind the leader
                tries += 1
                if tries >= limits.HISTORY_TRIES_MAX:
                    raise UnavailableError("the log has not caught up with its tip; try again")
                await asyncio.sleep(limits_client.BACKOFF_FIRST_S)
        for case, error in missing.items():
            if case.outcome in (Outcome.UNSEEN, Outcome.LOST):
                raise error

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _chunks(items: list[str]) -> Iterable[list[str]]:
    size = limits.VERIFY_SUBJECTS_MAX
    return (items[start : start + size] for start in range(0, len(items), size))


def _place_of(subject: str) -> RunPlace:
    return subjects.parse_run_key(subject.removeprefix(subjects.kv_subject(subjects.RUNS_BUCKET, "")))


def _parse(data: bytes) -> Batch | None:
    """A stored batch; None for what is none: it costs nobody their run's end."""
    try:
        return Batch.FromString(data)
    except DecodeError:
        return None
