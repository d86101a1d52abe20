"""What a dead process left in the spill goes out, and its runs end.

Rules.
1. It is sent under the dead producer's id, by a publisher of its own, in the batches in which it was: the log recognises what it has
   already. A batch that may have been sent longer ago than the resend horizon is not sent again (the outbox sees to that).
2. A run that had not ended is ended: open tools cancelled, then a fatal `agent_error` that says that the agent was restarted. When it was
   declared lost meanwhile, it has its end on the screen, and what waited of it is left out.
3. A run whose own end waited, and which was declared lost meanwhile or can't be known, is told again whole as the next attempt, which
   supersedes what was shown.
4. What can't be told is logged, by run, and left out. What could not be sent by the time the Runcast closes stays in the file.

Never imports grpc.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from runcast.client import events
from runcast.client.access import Access
from runcast.client.errors import RunIndeterminateError, RunKey, RunRefusedError
from runcast.client.publisher import Publisher
from runcast.client.routers import Routers
from runcast.client.run_queue import Left
from runcast.client.spill import Row, Spill
from runcast.client.spill_journal import RemainsJournal
from runcast.v1.event_pb2 import Event
from runcast.v1.ingest_pb2 import ProducerHello
from runcast.wire import VERSION
from runcast.wire import limits_client as limits
from runcast.wire.errors import LifecycleError, RuncastError
from runcast.wire.lifecycle import Lifecycle, State

_log = logging.getLogger("runcast.client")
_RESTARTED = "The agent was restarted before it was done."
_SUGGESTION = "Ask again."


class Remains:
    """What is left of one run.

    Attributes:
        row: it in the file.
        left: what goes out.
        first: its first event, whose attributes all have.
        ended: its own end is among what waits.
    """

    def __init__(self, spill: Spill, row: Row) -> None:
        """Read it.

        Raises:
            LifecycleError: what is in the file can't have been.
        """
        life = Lifecycle()
        later: list[Event] = []
        self.first = Event()
        for event in spill.events(row.id):
            if not self.first.id:
                self.first = event
            if event.seq <= row.seq:
                life.advance(event)
            else:
                later.append(event)
        if [event.seq for event in later] != list(range(row.seq + 1, row.seq + 1 + len(later))):
            raise LifecycleError("events are missing")
        flown = spill.flown(row.id)
        count = flown.last_seq - row.seq if flown else 0
        receipt_ms, age_s = (flown.receipt_ms, flown.age_s) if flown else (0, 0.0)
        self.row = row
        self.left = Left(row.key, row.number, row.seq, life, tuple(later[:count]), receipt_ms, age_s, tuple(later[count:]))
        self.life = life.copy()
        for event in later:
            self.life.advance(event)
        self.ended = self.life.state is State.ENDED

    @property
    def told(self) -> bool:
        """Nothing of it is to be sent."""
        return (self.ended or not self.first.id) and not self.left.flown and not self.left.waiting

    def dress(self, ends: Sequence[Event], time_unix_ms: int) -> list[Event]:
        """Give events the attributes of the run."""
        for event in ends:
            event.time_unix_ms = time_unix_ms
            event.agent, event.thread = self.first.agent, self.first.thread
            event.parent_run_id, event.traceparent = self.first.parent_run_id, self.first.traceparent
        return list(ends)


class Recovery:
    """Tells what dead processes left.

    Args:
        spill: the file, open; nothing of this process is in it yet.
        routers: where to go.
        draw: randomness for waits, 0.0 to 1.0.
        clock_ms: the wall clock, milliseconds.
        access: how each stream gets in.
    """

    def __init__(
        self, spill: Spill, routers: Callable[[], Routers], draw: Callable[[], float], clock_ms: Callable[[], int], access: Access
    ) -> None:
        self._spill = spill
        self._access = access
        self._routers = routers
        self._draw = draw
        self._clock_ms = clock_ms
        self._producers = spill.producers()

    async def run(self) -> None:
        """Tell it all, one producer after the other. Raises nothing but a cancellation."""
        for producer in self._producers:
            try:
                await self._tell(producer)
            except RuncastError as exc:
                _log.error("what producer %s left in %s was not sent: %s", producer, self._spill.path, exc)
            except Exception:
                _log.exception("what producer %s left in %s could not be sent", producer, self._spill.path)

    # --- inside ---

    async def _tell(self, producer: str) -> None:
        journal = RemainsJournal(self._spill, producer)
        remains = [read for row in self._spill.rows(producer) if (read := self._read(row, journal)) is not None]
        if not remains:
            return
        _log.info("sending what producer %s left of %d runs in %s", producer, len(remains), self._spill.path)
        hello = ProducerHello(producer=producer, agent=remains[0].first.agent, client_version=VERSION)
        publisher = Publisher(self._routers(), hello, self._draw, journal=journal, access=self._access)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(publisher.run(), name="runcast recovery")
            try:
                for one in sorted(remains, key=lambda one: -one.left.age_s):
                    publisher.restore_run(one.left)
                for one in remains:
                    await self._end(publisher, one)
                for one in remains:
                    await self._settle(publisher, journal, one)
                await publisher.drain(limits.CLOSE_TIMEOUT_S)
                await asyncio.wait({sending}, timeout=limits.GOODBYE_S)
            finally:
                sending.cancel()

    def _read(self, row: Row, journal: RemainsJournal) -> Remains | None:
        journal.adopt(row.key, row.id)
        try:
            remains = Remains(self._spill, row)
        except RuncastError as exc:
            _log.error("what is left of run %s in %s can't be sent: %s", row.key.run_id, self._spill.path, exc.message)
        else:
            if not remains.told:
                return remains
        journal.forgotten(row.key)
        return None

    async def _end(self, publisher: Publisher, remains: Remains) -> None:
        """Have a run end that had not."""
        if remains.ended:
            return
        ends = events.fatal(remains.life.open_tools, _RESTARTED, suggestions=[_SUGGESTION])
        try:
            for event in remains.dress(ends, self._clock_ms()):
                await publisher.append(remains.row.key, event)
        except (RunRefusedError, RunIndeterminateError):
            return  # told by `_settle`

    async def _settle(self, publisher: Publisher, journal: RemainsJournal, remains: Remains) -> None:
        """Wait until a run is stored, and see to it when it can't be."""
        for _ in range(limits.RETELLS_MAX):
            key = remains.row.key
            try:
                await publisher.wait_stored(key)
                break
            except (RunRefusedError, RunIndeterminateError) as exc:
                lost = isinstance(exc, RunIndeterminateError) or exc.code.name == "run_lost"
                if not lost:
                    await self._end_refused(publisher, remains, exc)
                    break
                if not (remains.ended and remains.row.whole):
                    _log.warning("run %s was lost before what its agent left could be sent: %s", key.run_id, exc)
                    break
                again = self._begin_again(journal, remains)
                publisher.release_run(key)
                publisher.restore_run(again.left)
                remains = again
        else:
            _log.error("run %s was lost each time it was told; it is left out", remains.row.key.run_id)
        publisher.release_run(remains.row.key)

    def _begin_again(self, journal: RemainsJournal, remains: Remains) -> Remains:
        row = remains.row
        key = RunKey(row.key.user, row.key.run_id, row.key.attempt + 1)
        self._spill.begin_again(row.id, key)
        journal.adopt(key, row.id)
        return Remains(self._spill, Row(row.id, key, 0, 0, whole=True))

    async def _end_refused(self, publisher: Publisher, remains: Remains, exc: RuncastError) -> None:
        """A router refused part of a run for good: end it on the screen if that is safe."""
        _log.error("run %s: %s", remains.row.key.run_id, exc)
        self._spill.cut(remains.row.id)
        try:
            if publisher.close_failed(remains.row.key, lambda life: remains.dress(events.refused(life, exc.code.name), self._clock_ms())):
                await publisher.wait_stored(remains.row.key)
        except (RunRefusedError, RunIndeterminateError) as failure:
            _log.error("run %s can't be ended on the screen: %s", remains.row.key.run_id, failure)
