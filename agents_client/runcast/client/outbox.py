"""The outbox: what waits to be sent, what is unanswered, and what became of it (PROTOCOL.md, "Agents: gRPC").

Theory. A router stores batches concurrently, so order within a run is kept here, where it is cheap: each run (and attempt) has **at
most one batch in flight**; events pile up behind it, and when it is answered the next batch takes all that waited. When idle an event
leaves at once; under load batches grow by themselves. What was sent once is **immutable**: it is sent again with the same number and the
same events, to any router, until it is answered, and the log recognises the repeat for as long as the *resend horizon*. After that nobody
can know: the run fails as *indeterminate*. Which run may send, and when, is decided by its line (`runcast.client.line`).

Rules.
1. `append` gives an event its identity: run, attempt, seq, id. It refuses what the run's life does not allow and what is too large,
   and it refuses when there is no room; nothing is ever dropped silently.
2. A batch is built when it is sent, never before; its number is the last acknowledged one plus one.
3. An answer counts for the run's batch in flight alone; any other is a repeat or a stray, and is ignored.
4. A refusal without `retry` fails the run: what waited is handed back in the error, later appends raise it. If it is certain that the
   batch is not stored, `close_failed` may still end the run on the user's screen: number and seq go on from the last acknowledged
   ones, so readers see no hole. If it is not certain, no number is safe to use, and only a new attempt may speak; the run is given
   up (`take_abandons`), so that a router ends it on the screen. A run that was declared lost has been ended there already; an attempt
   that another producer has is that one's to end.
5. The first batch of a run leaves after that of its parent was answered for good, if both are here (`runcast.client.starts`).

Invariants: per run, seqs and numbers of what is acknowledged rise without a hole; a number never has two contents, unless the first
was refused for certain; `events` and `bytes` are the sums over all runs and stay within the limits.

Synchronous and deterministic: `now` (seconds, monotonic) is an argument, results are taken with `take_results`. Never imports asyncio,
a clock, randomness, logging or grpc.
"""

from collections import OrderedDict

from runcast.client.abandons import Abandons
from runcast.client.errors import Leftover, OutboxFullError, RunIndeterminateError, RunKey
from runcast.client.journal import Journal
from runcast.client.line import Line
from runcast.client.run_queue import NOT_OURS, Closing, Failed, Flight, Left, RunQueue, Stored, Waiting
from runcast.client.starts import Starts
from runcast.client.statistics import Counts
from runcast.v1.event_pb2 import Batch, Event, User
from runcast.v1.ingest_pb2 import BatchAck, BatchRefusal, OpenRun, RouterHello, RunAbandon, Window
from runcast.wire import limits, limits_client
from runcast.wire.codes import CODES
from runcast.wire.errors import LifecycleError
from runcast.wire.lifecycle import State


class Outbox:
    """What one process has to send, of all its runs.

    Args:
        producer: this process's id, 1 to 128 bytes.
        events_max: events that may wait or be unanswered.
        bytes_max: bytes of them.
        coalesce_s: how long text deltas and thinking may rest, to be merged, seconds; 0: every event goes as it is, at once.
        drop_progress: when there is no room, thinking is dropped, and counted.
        journal: told of everything as it happens.

    Attributes:
        events: how many wait or are unanswered.
        bytes: of them.
        counts: what happened so far.
    """

    def __init__(
        self,
        producer: str,
        *,
        events_max: int = limits_client.OUTBOX_EVENTS_MAX,
        bytes_max: int = limits_client.OUTBOX_BYTES_MAX,
        coalesce_s: float = limits_client.COALESCE_S,
        drop_progress: bool = False,
        journal: Journal | None = None,
    ) -> None:
        self._producer = producer
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._drop_progress = drop_progress
        self._merging = coalesce_s > 0
        self._journal = journal
        self._runs: dict[tuple[str, int], RunQueue] = {}
        self._remembered: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._line = Line(coalesce_s)
        self._starts = Starts()
        self._results: list[Stored | Failed] = []
        self._abandons = Abandons()
        self._untold: list[RunKey] = []  # runs that the stream's router is to hear of
        self.events = 0
        self.bytes = 0
        self.counts = Counts()

    # --- the caller's side ---

    def open_run(self, key: RunKey) -> None:
        """Begin a run's attempt.

        Raises:
            LifecycleError: this process used the run id and attempt before.
        """
        name = (key.run_id, key.attempt)
        if name in self._runs or name in self._remembered:
            raise LifecycleError(f"run {key.run_id!r} attempt {key.attempt} was begun here before; use another run id, or the next attempt")
        self._runs[name] = RunQueue(key, self._producer)
        if self._journal is not None:
            self._journal.opened(key)

    def restore_run(self, now: float, left: Left) -> None:
        """Take up a run that another process left under the same producer's id; the journal knows of it. Oldest batches first, then runs in
        the order in which they were opened.

        Raises:
            LifecycleError: what is left can't have been, or the run is here already.
        """
        run = RunQueue(left.key, self._producer)
        if run.name in self._runs or run.name in self._remembered:
            raise LifecycleError(f"run {left.key.run_id!r} attempt {left.key.attempt} is here already")
        run.restore(now, left)
        self._runs[run.name] = run
        self.events += len(left.flown) + len(left.waiting)
        self.bytes += (run.flight.cost if run.flight else 0) + sum(entry.cost for entry in run.waiting)
        if not run.number and not run.idle:
            self._starts.begin(run, (left.flown or left.waiting)[0].parent_run_id)
        self._line.take_up(run)

    def append(self, now: float, key: RunKey, event: Event, *, closing: bool = False, receipt_ms: int = 0) -> int:
        """Queue an event of a run, and give it its identity (run_id, attempt, seq, id are set here; the event is ours from now on).

        Args:
            now: monotonic seconds.
            key: a run that is open.
            event: kind and attributes.
            closing: it closes a tool call or the run, and may use the reserve.
            receipt_ms: above 0: its batch ends with it, and asks the router for a receipt within so many milliseconds.

        Returns:
            Its seq in the run: that of the event that took it in, if it was merged; 0 when it was dropped.

        Raises:
            LifecycleError: the run's life does not allow it now, or the run was released.
            EventTooLargeError: over `limits.EVENT_BYTES_MAX`.
            OutboxFullError: no room; the same append may succeed after an acknowledgement. Nothing has changed.
            RunRefusedError, RunIndeterminateError: the run failed before.
        """
        run = self._run(key)
        if run.failure is not None:
            raise run.failure
        step = run.life.check(event)
        if self._merging and run.waiting and not receipt_ms and self._merge(run, event):
            return run.next_seq - 1
        cost = run.identify(event, run.next_seq)
        if not self._has_room(1, cost, closing=closing):
            if self._drop_progress and event.HasField("agent_thinking"):
                self.counts.dropped += 1
                return 0
            raise OutboxFullError(f"{self.events} events, {self.bytes} bytes wait for a router; try again when some are stored")
        run.life.apply(event, step)
        self._queue(run, Waiting(event, cost, receipt_ms, now))
        return run.next_seq - 1

    def ask_receipt(self, key: RunKey, receipt_ms: int) -> bool:
        """Have the batch of the newest event ask for a receipt; False when that batch was sent already."""
        return self._run(key).ask_receipt(receipt_ms)

    def hurry(self, now: float, key: RunKey) -> None:
        """Have what waits of a run rest no longer: somebody waits for it."""
        run = self._run(key)
        if run.waiting:
            run.urgent = True
            if run.flight is None:
                self._line.join(now, run)

    def rouse(self) -> None:
        """Nothing is to rest any more: the outbox is being emptied."""
        self._line.rouse()

    def close_failed(self, now: float, key: RunKey, closing: Closing) -> bool:
        """Let a failed run end on the user's screen, once, if that is safe.

        Args:
            now: monotonic seconds.
            key: a run that failed.
            closing: says which events end it; not called when there is nothing to end.

        Returns:
            True when closing events were queued; False when nothing of the run is stored, when its stored part has ended, or when it is
            not certain what is stored.

        Raises:
            LifecycleError: the events do not follow what is stored.
            EventTooLargeError: one of them is too large.
            OutboxFullError: no room even in the reserve; nothing was queued, and the same call may succeed later.
        """
        run = self._run(key)
        if not run.closable or run.stored_life.state is not State.OPEN:
            return False
        entries = run.end_stored(now, closing)
        if not self._has_room(len(entries), sum(entry.cost for entry in entries), closing=True):
            raise OutboxFullError("no room for the closing events; try again after an acknowledgement")
        run.closable = False
        run.next_seq = run.seq + 1
        for entry in entries:
            self._queue(run, entry)
        return bool(entries)

    def release_run(self, key: RunKey) -> None:
        """Say that no more will be appended; the run is forgotten when all of it is answered."""
        run = self._runs.get((key.run_id, key.attempt))
        if run is not None:
            run.released = True
            self._forget_if_done(run)

    def open_tools(self, key: RunKey) -> dict[str, str]:
        """Tool name by call id, of the calls open after all that was appended, oldest first."""
        return self._run(key).life.open_tools

    def progress(self, key: RunKey) -> tuple[int, int, str]:
        """The last appended seq, the last stored seq, and the position of the latter ("" before the first).

        Raises:
            RunRefusedError, RunIndeterminateError: the run failed.
        """
        run = self._run(key)
        if run.failure is not None and run.idle:
            raise run.failure
        return run.next_seq - 1, run.seq, run.position

    def last_number(self, key: RunKey) -> int:
        """Number of the last acknowledged batch; 0 before the first."""
        return self._run(key).number

    def leftovers(self) -> list[Leftover]:
        """What is not acknowledged, by run."""
        return [run.leftover() for run in self._runs.values() if not run.idle]

    # --- the stream's side ---

    @property
    def in_flight(self) -> int:
        """Events of batches that are unanswered, on this stream or from one before."""
        return sum(len(run.flight.batch.events) for run in self._runs.values() if run.flight is not None)

    @property
    def stirred(self) -> bool:
        """There is something to send, or a time to wait for, that was not there at the last `take_batches`."""
        return self._line.stirred

    @property
    def unanswered(self) -> tuple[int, int]:
        """Batches and bytes unanswered on the open stream."""
        return self._line.unanswered

    def connected(self, now: float, hello: RouterHello) -> None:
        """A stream is open, and its router said `hello` at `now` (monotonic seconds)."""
        self.disconnected()
        self._line.open()
        self._untold = [run.key for run in self._runs.values() if run.number and run.idle and run.failure is None]
        self._line.horizon_s = hello.resend_horizon_ms / 1000 or self._line.horizon_s  # 0: that router does not know
        self.take_window(now, hello.window)

    def disconnected(self) -> None:
        """The stream is gone: all that is unanswered will be sent again, first of all, in the same order."""
        self._abandons.disconnected()
        self._line.close()

    def take_window(self, now: float, window: Window) -> None:
        """The router gave another window."""
        self._line.hear(now)
        self._line.widen(window.batches, window.bytes)

    def acked(self, now: float, ack: BatchAck) -> None:
        """The router stored a batch."""
        self._line.hear(now)
        run = self._runs.get((ack.run_id, ack.attempt))
        flight = run.flight if run is not None else None
        if run is None or flight is None or flight.batch.number != ack.number:
            return
        self._land(run, flight)
        first = not run.number
        run.stored(flight, ack.position)
        self.counts.note_stored(len(flight.batch.events), now - flight.since)
        self._results.append(Stored(run.key, ack.number, run.seq, ack.position, ack.duplicate, flight.batch.receipt_deadline_ms > 0))
        if self._journal is not None:
            self._journal.stored(run.key, ack.number, run.seq)
        if run.waiting:
            self._line.join(now, run)
        if first:
            self._settle_start(now, run)
        self._forget_if_done(run)

    def refused(self, now: float, refusal: BatchRefusal) -> None:
        """The router did not store a batch, or does not know (not `definite`)."""
        self._line.hear(now)
        self.counts.note_refused(refusal.code, refusal.message)
        run = self._runs.get((refusal.run_id, refusal.attempt))
        flight = run.flight if run is not None else None
        if run is None or flight is None or flight.batch.number != refusal.number or not flight.sent:
            return
        certain = refusal.definite and flight.sendings == 1
        if refusal.code in NOT_OURS:
            self._fail(now, run, refusal.message, refusal.code)
        elif not refusal.retry:
            code = refusal.code if refusal.code in CODES else "internal"
            self._fail(now, run, f"the router answered {refusal.code}: {refusal.message}", code if certain else "")
        else:
            self._line.put_off(now, run, flight, refusal.retry_after_ms / 1000, certain=certain)

    def abandoned(self, abandon: RunAbandon) -> None:
        """The router saw to a run that was given up."""
        self._abandons.settled(abandon)

    def overdue(self, now: float) -> bool:
        """Whether the router kept silent, or a batch unanswered, for too long: open the stream elsewhere."""
        return self._line.overdue(now)

    def tick(self, now: float) -> None:
        """Let time pass: batches past the horizon fail their runs, pauses end."""
        while (run := self._line.expired(now)) is not None:
            self._fail(now, run, f"no answer within {self._line.horizon_s:g} s; the batch may or may not be stored", "")
        self._line.end_pauses(now)

    def take_batches(self, now: float) -> list[Batch]:
        """What goes out now, for one gRPC message; empty when nothing may. The batches count as sent."""
        self.tick(now)
        flights = self._line.take(now)
        for run, flight in flights:
            if not flight.fresh:
                self.counts.resent += 1
            elif self._journal is not None:
                self._journal.built(run.key, flight.batch)
            flight.fresh = False
        return [flight.batch for _, flight in flights]

    def take_open_runs(self) -> list[OpenRun]:
        """Runs that had nothing to send when this stream was opened, and go on; each once a stream, some at a time."""
        told, self._untold = self._untold[: limits.OPEN_RUNS_TOLD_MAX], self._untold[limits.OPEN_RUNS_TOLD_MAX :]
        runs = [self._runs.get((key.run_id, key.attempt)) for key in told]
        return [
            OpenRun(user=User(tenant=run.key.user.tenant, id=run.key.user.user), run_id=run.key.run_id, attempt=run.key.attempt)
            for run in runs
            if run is not None and run.stored_life.state is State.OPEN
        ]

    def take_abandons(self) -> list[RunAbandon]:
        """Runs to be given up that this stream was not told of yet; they count as told."""
        return self._abandons.take() if self._line.connected else []

    def deadline(self) -> float | None:
        """When to call `tick` (and ask `overdue`) at the latest, monotonic seconds; None when no time matters."""
        return self._line.deadline()

    def take_results(self) -> list[Stored | Failed]:
        """What became of batches since the last call, oldest first."""
        results, self._results = self._results, []
        return results

    # --- inside ---

    def _run(self, key: RunKey) -> RunQueue:
        run = self._runs.get((key.run_id, key.attempt))
        if run is None or run.released:
            raise LifecycleError(f"run {key.run_id!r} attempt {key.attempt} is not open here; begin it first")
        return run

    def _has_room(self, events: int, size: int, *, closing: bool) -> bool:
        events_max = self._events_max + (limits_client.OUTBOX_RESERVE_EVENTS if closing else 0)
        bytes_max = self._bytes_max + (limits_client.OUTBOX_RESERVE_BYTES if closing else 0)
        if self.events + events > events_max or self.bytes + size > bytes_max:
            return False
        return self._journal is None or self._journal.has_room(size, closing=closing)

    def _queue(self, run: RunQueue, entry: Waiting) -> None:
        run.queue(entry)
        if entry.event.seq == 1:
            self._starts.begin(run, entry.event.parent_run_id)
        self.events += 1
        self.bytes += entry.cost
        self.counts.accepted += 1
        if self._journal is not None:
            self._journal.appended(run.key, entry.event)
        if run.flight is None:
            self._line.join(entry.since, run)

    def _merge(self, run: RunQueue, event: Event) -> bool:
        """Have the newest waiting event take in `event`, if it may, and if there is room for the bytes."""
        if not self._has_room(0, event.ByteSize(), closing=False):
            return False
        grown = run.merge(event)
        if grown is None:
            return False
        self.bytes += grown
        self.counts.accepted += 1
        self.counts.merged += 1
        if self._journal is not None:
            self._journal.changed(run.key, run.waiting[-1].event)
        return True

    def _land(self, run: RunQueue, flight: Flight) -> None:
        """The run's batch needs no further answer."""
        self._line.land(run, flight)
        self.events -= len(flight.batch.events)
        self.bytes -= flight.cost

    def _settle_start(self, now: float, run: RunQueue) -> int:
        """Let go who waited for the run's first batch; return how many did."""
        below = self._starts.settle(run)
        for child in below:
            self._line.join(now, child)
        return len(below)

    def _fail(self, now: float, run: RunQueue, why: str, refused_code: str) -> None:
        """Fail a run; `refused_code` is empty when it is not certain that the batch is not stored."""
        self.events -= len(run.waiting)
        self.bytes -= sum(entry.cost for entry in run.waiting)
        failure = run.fail(why, refused_code)
        if run.flight is not None:
            self._land(run, run.flight)
        if isinstance(failure, RunIndeterminateError):
            self._abandons.add(run.key)
        self.counts.failed += 1
        orphans = 0 if run.number else self._settle_start(now, run)
        self._results.append(Failed(run.key, failure, orphans))
        if self._journal is not None:
            self._journal.failed(run.key)
        self._forget_if_done(run)

    def _forget_if_done(self, run: RunQueue) -> None:
        if run.released and run.idle and self._runs.pop(run.name, None) is not None:
            self._remembered[run.name] = None
            while len(self._remembered) > limits_client.RUNS_REMEMBERED_MAX:
                self._remembered.popitem(last=False)
            if self._journal is not None:
                self._journal.forgotten(run.key)
