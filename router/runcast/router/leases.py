"""Leases of producers and keys of runs, as the router sees them that holds a producer's stream (ARCHITECTURE.md, "Run leases").

Rules.
1. The lease is put the moment a stream opens, before its first batch is taken, and every `limits.LEASE_REFRESH_S` while it lives.
2. A batch goes to storage only under a lease that is not about to end, and only when its run's key was claimed under the same unbroken
   lease. A lease that may have lapsed (this process was frozen, or cut from NATS) is put anew, and its runs are claimed anew: whoever
   declared one of them lost meanwhile has changed its key.
3. A first batch that also ends its run needs no key: it is stored whole or not at all. Should another producer have stored a first batch
   of the same attempt, storage takes it for a repeat, and the router looks whose it is.
4. The key of a run that ended is closed after the end was stored; that is tried as long as this router lives. If it dies first, the log
   tells.

Invariant: between a claim and each batch stored under it the lease was never seen to be gone by anybody; so whoever found no lease, after
having read the key, meets another revision of it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.keys import Bucket, RevisionError
from runcast.router.effects import BatchKey, RunKey
from runcast.router.lost import Claim, RunRecord, judge_claim, parse_record, taken_error
from runcast.wire import limits, subjects
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.subjects import RunPlace

_Attempt = tuple[RunKey, int]


class _Lease:
    """One producer's lease, shared by its streams on this router. `producer` is its whole name (`subjects.producer_name`)."""

    __slots__ = ("generation", "lock", "producer", "refresh_at", "streams", "valid_until")

    def __init__(self, producer: str) -> None:
        self.producer = producer
        self.streams = 0
        self.generation = 0
        self.valid_until = 0.0
        self.refresh_at = 0.0
        self.lock = asyncio.Lock()


class _Claimed(NamedTuple):
    generation: int
    revision: int


class _Ending(NamedTuple):
    """A key to be closed, or removed when `record` is None. `revision`: what it had when its run was claimed; 0 when that is not known."""

    record: RunRecord | None
    revision: int


class Holder:
    """What one stream holds: its producer's lease, and claims of runs. Made by `Leases.hold`."""

    def __init__(self, lease: _Lease) -> None:
        self.lease = lease
        self.producer = lease.producer
        self.claims: OrderedDict[_Attempt, _Claimed] = OrderedDict()

    def forget(self, user: UserKey) -> None:
        """The user is erased, and the keys of their runs with them: what comes of a run has to be claimed anew, which can't be done."""
        for attempt in [attempt for attempt in self.claims if attempt[0].user == user]:
            del self.claims[attempt]

    def remember(self, attempt: _Attempt, claimed: _Claimed) -> None:
        """Keep a claim; past the bound the longest unused one is forgotten, and made again when it is needed."""
        self.claims[attempt] = claimed
        self.claims.move_to_end(attempt)
        if len(self.claims) > limits.STREAM_RUNS_MAX:
            self.claims.popitem(last=False)


class Leases:
    """All leases that this router holds.

    Args:
        bus: the connection.
        router: this router's id, the leases' value.
        log: told when leases can't be refreshed.
        clock: seconds, monotonic.
        on_failure: called when leases could not be refreshed.
    """

    def __init__(self, bus: Bus, router: str, log: BoundLogger, clock: Callable[[], float], on_failure: Callable[[], None]) -> None:
        self._bucket = Bucket(bus, subjects.RUNS_BUCKET)
        self._router = router.encode()
        self._log = log
        self._clock = clock
        self._on_failure = on_failure
        self._leases: dict[str, _Lease] = {}
        self._endings: OrderedDict[str, _Ending] = OrderedDict()
        self._newest: dict[int, int] = {}
        self._shards = 0
        self._wake = asyncio.Event()
        self._end_wake = asyncio.Event()

    # --- streams ---

    def hold(self, producer: str) -> Holder:
        """A stream of `producer` (its whole name) opened here; `release` must follow."""
        lease = self._leases.get(producer)
        if lease is None:
            lease = self._leases[producer] = _Lease(producer)
        lease.streams += 1
        lease.refresh_at = 0.0
        self._wake.set()
        return Holder(lease)

    def release(self, holder: Holder) -> None:
        """The stream is over. The lease is left to end by itself: the producer may come back, here or elsewhere."""
        lease = holder.lease
        lease.streams -= 1
        if not lease.streams and self._leases.get(lease.producer) is lease:
            del self._leases[lease.producer]

    def look_again(self, shards: int) -> None:
        """Storage is there (again), with so many shards: refresh all leases at once."""
        self._shards = shards
        self._newest.clear()  # storage may have been recreated
        for lease in self._leases.values():
            lease.refresh_at = 0.0
        self._wake.set()
        self._end_wake.set()

    # --- batches ---

    async def admit(self, holder: Holder, key: BatchKey, shard: int, *, ends: bool) -> None:
        """See that a batch may be stored now.

        Args:
            holder: of its stream.
            key: the batch.
            shard: of its user.
            ends: it ends its run.

        Raises:
            RuncastError: `run_lost`: the run was declared lost; `attempt_taken`: another producer has it.
            LifecycleError: the run has ended.
            UnavailableError: that can't be found out now; nothing was stored.
        """
        if key.number == 1 and ends:
            return
        lease, attempt = holder.lease, (key.run, key.attempt)
        try:
            for _ in range(limits.CLAIM_TRIES_MAX):
                if self._clock() >= lease.valid_until:
                    await self._refresh(lease)
                generation = lease.generation
                known = holder.claims.get(attempt)
                if known is not None and known.generation == generation:
                    return
                try:
                    revision = await self._claim(_place(holder, key, shard), key.number)
                except RevisionError:
                    continue
                if revision is None:
                    return
                holder.remember(attempt, _Claimed(generation, revision))
        except UnavailableError as exc:  # of the key it does not matter whether it was written: the batch certainly was not
            raise UnavailableError(exc.message, retry_after_s=limits.PUBLISH_RETRY_AFTER_S) from exc
        raise UnavailableError("others change the run's key at the same time", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)

    def stored(self, holder: Holder, key: BatchKey, shard: int, seq: int, *, ends: bool) -> None:
        """A batch is stored at `seq` of its shard; if it ended its run, the run's key is closed soon."""
        if seq > self._newest.get(shard, 0):
            self._newest[shard] = seq
        if not ends or (key.number == 1 and (key.run, key.attempt) not in holder.claims):
            return
        claimed = holder.claims.pop((key.run, key.attempt), None)
        record = RunRecord("ended", number=key.number, settled=True)
        self._close_soon(_place(holder, key, shard), _Ending(record, claimed.revision if claimed is not None else 0))

    def withdraw(self, holder: Holder, key: BatchKey, shard: int) -> None:
        """A run was claimed, and turned out to be another producer's: the key is removed soon."""
        claimed = holder.claims.pop((key.run, key.attempt), None)
        if claimed is not None:
            self._close_soon(_place(holder, key, shard), _Ending(None, claimed.revision))

    def _close_soon(self, place: RunPlace, ending: _Ending) -> None:
        self._endings[place.key] = ending
        if len(self._endings) > limits.RUNS_ENDING_MAX:
            self._endings.popitem(last=False)
        self._end_wake.set()

    async def _claim(self, place: RunPlace, number: int) -> int | None:
        """Create or touch a run's key; returns its revision, None when the batch needs none.

        Raises:
            RevisionError: it changed at the same time; look again.
            RuncastError: `run_lost` or `attempt_taken`.
        """
        name = place.key
        fresh = RunRecord("open", after=self._newest.get(place.shard, 0)).encode()
        if number == 1:
            try:
                return await self._bucket.put(name, fresh, expected=0, of=place.any_producer)
            except RevisionError:
                pass  # a resend, by way of another router; or another producer was first
        found = await self._bucket.get(place.any_producer)
        record = parse_record(found.value) if found is not None else None
        if found is not None and record is not None and found.key != name:
            raise taken_error(place.attempt)
        match judge_claim(record, place.attempt, number):
            case Claim.RESEND:
                return None
            case Claim.TOUCH if record is not None and found is not None:
                return await self._bucket.put(name, record.encode(), expected=found.revision)
        return await self._bucket.put(name, fresh, expected=found.revision if found is not None else 0, of=place.any_producer)

    # --- tasks ---

    async def run(self) -> None:
        """Refresh leases and close keys of ended runs; never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_leases(), name="leases")
            group.create_task(self._close_ended(), name="ended runs")

    async def _keep_leases(self) -> None:
        slots = asyncio.Semaphore(limits.LEASES_AT_ONCE)

        async def refresh(lease: _Lease) -> bool:
            async with slots:
                try:
                    await self._refresh(lease, anyway=True)
                except RuncastError:
                    return False
            return True

        while True:
            self._wake.clear()
            now = self._clock()
            due = [lease for lease in self._leases.values() if lease.refresh_at <= now]
            if due and self._shards:
                for lease in due:
                    lease.refresh_at = now + limits.LEASE_REFRESH_S
                failed = (await asyncio.gather(*(refresh(lease) for lease in due))).count(False)
                if failed:
                    self._on_failure()
                    self._log.warning("leases_not_refreshed", leases=failed, of=len(due))
                continue
            wait_until = min((lease.refresh_at for lease in self._leases.values()), default=now + limits.LEASE_REFRESH_S)
            try:
                async with asyncio.timeout(max(wait_until - now, 0.0) if self._shards else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _refresh(self, lease: _Lease, *, anyway: bool = False) -> None:
        """Put the lease; afterwards it is valid, under another generation when it may have lapsed.

        Raises:
            UnavailableError: it could not be put, or not for certain.
        """
        async with lease.lock:
            valid = self._clock() < lease.valid_until
            if valid and not anyway:
                return  # somebody else put it while we waited
            if not valid:
                await self._bucket.put(subjects.producer_key(lease.producer), self._router)
            sent = self._clock()
            await self._bucket.put(subjects.lease_key(lease.producer), self._router, ttl_s=limits.LEASE_S)
            if self._clock() >= lease.valid_until:
                lease.generation += 1
            lease.valid_until = sent + limits.LEASE_S - limits.LEASE_MARGIN_S

    async def _close_ended(self) -> None:
        async def close(name: str, ending: _Ending) -> None:
            try:
                await self._close(name, ending)
            except RuncastError:
                self._endings.setdefault(name, ending)

        while True:
            await self._end_wake.wait()
            self._end_wake.clear()
            while self._endings:
                due = [self._endings.popitem(last=False) for _ in range(min(len(self._endings), limits.LEASES_AT_ONCE))]
                await asyncio.gather(*(close(name, ending) for name, ending in due))
                if all(name in self._endings for name, _ in due):
                    await asyncio.sleep(limits.SWEEP_RETRY_S)

    async def _close(self, name: str, ending: _Ending) -> None:
        revision = ending.revision
        for _ in range(limits.CLAIM_TRIES_MAX):
            if not revision:
                found = await self._bucket.get(name)
                record = parse_record(found.value) if found is not None else None
                if found is None or record is None or record.state != "open":
                    return  # closed, or declared lost: who did that finds the end in the log
                revision = found.revision
            value, ttl_s = (ending.record.encode(), limits.RUN_TOMBSTONE_S) if ending.record is not None else (b"", 1.0)
            try:
                await self._bucket.put(name, value, expected=revision, ttl_s=ttl_s, closing=True)
            except RevisionError:
                revision = 0
            else:
                return


def _place(holder: Holder, key: BatchKey, shard: int) -> RunPlace:
    return RunPlace(holder.producer, shard, key.run.user, key.run.run_id, key.attempt)
