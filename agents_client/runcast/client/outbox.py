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
   up (`take_abandons`), so that a router ends it on the screen. A run that was declared lost has been ended there already.

Invariants: per run, seqs and numbers of what is acknowledged rise without a hole; a number never has two contents, unless the first
was refused for certain; `events` and `bytes` are the sums over all runs and stay within the limits.

Synchronous and deterministic: `now` (seconds, monotonic) is an argument, results are taken with `take_results`. Never imports asyncio,
a clock, randomness, logging or grpc.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runcast.client.errors import Leftover, OutboxFullError, RunIndeterminateError, RunKey, RunRefusedError
from runcast.client.journal import Journal
from runcast.client.line import Line
from runcast.client.run_queue import Flight, Left, RunFailure, RunQueue, Waiting
from runcast.v1.event_pb2 import Batch, Event, User
from runcast.v1.ingest_pb2 import BatchAck, BatchRefusal, RouterHello, RunAbandon, Window
from runcast.wire import limits
from runcast.wire.codes import CODES
from runcast.wire.errors import LifecycleError
from runcast.wire.ids import UserKey
from runcast.wire.lifecycle import Lifecycle, State

Closing = Callable[[Lifecycle], Sequence[Event]]
"""Says what ends a run whose stored part has this life. Gets a copy."""


class Stored(NamedTuple):
    """A batch was acknowledged.

    Attributes:
        key: its run.
        number: the batch's number.
        last_seq: the newest seq of the run that is stored now.
        position: where the batch is in the user's stream, as text.
        duplicate: the log had it already.
        awaited: the batch asked for a receipt.
    """

    key: RunKey
    number: int
    last_seq: int
    position: str
    duplicate: bool
    awaited: bool = False


class Failed(NamedTuple):
    """A run failed; `error` holds what was not stored."""

    key: RunKey
    error: RunFailure


class Outbox:
    """What one process has to send, of all its runs.

    Args:
        producer: this process's id, 1 to 128 bytes.
        events_max: events that may wait or be unanswered.
        bytes_max: bytes of them.
        journal: told of everything as it happens.

    Attributes:
        events: how many wait or are unanswered.
        bytes: of them.
    """

    def __init__(
        self,
        producer: str,
        *,
        events_max: int = limits.OUTBOX_EVENTS_MAX,
        bytes_max: int = limits.OUTBOX_BYTES_MAX,
        journal: Journal | None = None,
    ) -> None:
        self._producer = producer
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._journal = journal
        self._runs: dict[tuple[str, int], RunQueue] = {}
        self._remembered: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._line = Line()
        self._results: list[Stored | Failed] = []
        self._abandoned: OrderedDict[RunKey, bool] = OrderedDict()  # whether it was told of on this stream
        self.events = 0
        self.bytes = 0

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
        """Take up a run that another process left under the same producer's id; the journal knows of it. Oldest batches first.

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
            Its seq in the run.

        Raises:
            LifecycleError: the run's life does not allow it now, or the run was released.
            EventTooLargeError: over `limits.EVENT_BYTES_MAX`.
            OutboxFullError: no room; the same append may succeed after an acknowledgement.
            RunRefusedError, RunIndeterminateError: the run failed before.
        """
        run = self._run(key)
        if run.failure is not None:
            raise run.failure
        cost = run.admit(run.life, event, run.next_seq)
        if not self._has_room(1, cost, closing=closing):
            raise OutboxFullError(f"{self.events} events, {self.bytes} bytes wait; append again after an acknowledgement")
        run.life.advance(event)
        self._queue(run, Waiting(event, cost, receipt_ms, now))
        return event.seq

    def ask_receipt(self, key: RunKey, receipt_ms: int) -> bool:
        """Have the batch of the newest event ask for a receipt; False when that batch was sent already."""
        return self._run(key).ask_receipt(receipt_ms)

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
        life = run.stored_life.copy()
        entries: list[Waiting] = []
        for event in closing(run.stored_life.copy()):
            entries.append(Waiting(event, run.admit(life, event, run.seq + 1 + len(entries)), 0, now))
            life.advance(event)
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
    def unanswered(self) -> tuple[int, int]:
        """Batches and bytes unanswered on the open stream."""
        return self._line.unanswered

    def connected(self, now: float, hello: RouterHello) -> None:
        """A stream is open, and its router said `hello` at `now` (monotonic seconds)."""
        self.disconnected()
        self._line.open()
        self._line.horizon_s = hello.resend_horizon_ms / 1000 or self._line.horizon_s  # 0: that router does not know
        self.take_window(now, hello.window)

    def disconnected(self) -> None:
        """The stream is gone: all that is unanswered will be sent again, first of all, in the same order."""
        for key in self._abandoned:
            self._abandoned[key] = False
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
        for event in flight.batch.events:
            run.stored_life.advance(event)
        run.number = ack.number
        run.seq = flight.batch.events[-1].seq
        run.position = ack.position
        self._results.append(Stored(run.key, ack.number, run.seq, ack.position, ack.duplicate, flight.batch.receipt_deadline_ms > 0))
        if self._journal is not None:
            self._journal.stored(run.key, ack.number, run.seq)
        if run.waiting:
            self._line.join(run)
        self._forget_if_done(run)

    def refused(self, now: float, refusal: BatchRefusal) -> None:
        """The router did not store a batch, or does not know (not `definite`)."""
        self._line.hear(now)
        run = self._runs.get((refusal.run_id, refusal.attempt))
        flight = run.flight if run is not None else None
        if run is None or flight is None or flight.batch.number != refusal.number or not flight.sent:
            return
        certain = refusal.definite and flight.sendings == 1
        if refusal.code == "run_lost":
            self._fail(run, refusal.message, "run_lost")
        elif not refusal.retry:
            code = refusal.code if refusal.code in CODES else "internal"
            self._fail(run, f"the router answered {refusal.code}: {refusal.message}", code if certain else "")
        else:
            self._line.put_off(now, run, flight, refusal.retry_after_ms / 1000, certain=certain)

    def abandoned(self, abandon: RunAbandon) -> None:
        """The router saw to a run that was given up."""
        self._abandoned.pop(RunKey(UserKey(abandon.user.tenant, abandon.user.id), abandon.run_id, abandon.attempt), None)

    def overdue(self, now: float) -> bool:
        """Whether the router kept silent, or a batch unanswered, for too long: open the stream elsewhere."""
        return self._line.overdue(now)

    def tick(self, now: float) -> None:
        """Let time pass: batches past the horizon fail their runs, pauses end."""
        while (run := self._line.expired(now)) is not None:
            self._fail(run, f"no answer within {self._line.horizon_s:g} s; the batch may or may not be stored", "")
        self._line.end_pauses(now)

    def take_batches(self, now: float) -> list[Batch]:
        """What goes out now, for one gRPC message; empty when nothing may. The batches count as sent."""
        self.tick(now)
        flights = self._line.take(now)
        if self._journal is not None:
            for run, flight in flights:
                if flight.fresh:
                    flight.fresh = False
                    self._journal.built(run.key, flight.batch)
        return [flight.batch for _, flight in flights]

    def take_abandons(self) -> list[RunAbandon]:
        """Runs to be given up that this stream was not told of yet; they count as told."""
        if not self._line.connected:
            return []
        due = [key for key, told in self._abandoned.items() if not told]
        self._abandoned.update(dict.fromkeys(due, True))
        return [RunAbandon(user=User(tenant=key.user.tenant, id=key.user.user), run_id=key.run_id, attempt=key.attempt) for key in due]

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
        events_max = self._events_max + (limits.OUTBOX_RESERVE_EVENTS if closing else 0)
        bytes_max = self._bytes_max + (limits.OUTBOX_RESERVE_BYTES if closing else 0)
        if self.events + events > events_max or self.bytes + size > bytes_max:
            return False
        return self._journal is None or self._journal.has_room(size, closing=closing)

    def _queue(self, run: RunQueue, entry: Waiting) -> None:
        run.next_seq += 1
        run.waiting.append(entry)
        self.events += 1
        self.bytes += entry.cost
        if self._journal is not None:
            self._journal.appended(run.key, entry.event)
        if run.flight is None:
            self._line.join(run)

    def _land(self, run: RunQueue, flight: Flight) -> None:
        """The run's batch needs no further answer."""
        self._line.land(run, flight)
        self.events -= len(flight.batch.events)
        self.bytes -= flight.cost

    def _fail(self, run: RunQueue, why: str, refused_code: str) -> None:
        """Fail a run; `refused_code` is empty when it is not certain that the batch is not stored."""
        left = run.leftover()
        if run.flight is not None:
            self._land(run, run.flight)
        self.events -= len(run.waiting)
        self.bytes -= sum(entry.cost for entry in run.waiting)
        run.waiting.clear()
        name = f"run {run.key.run_id!r} attempt {run.key.attempt}"
        if refused_code:
            # Closing events that were refused are not tried again, and a lost run has its end.
            run.closable = run.failure is None and refused_code != "run_lost"
            failure: RunFailure = RunRefusedError(f"{name} failed: {why}", code=refused_code, dropped=left.unsure + left.unsent)
        else:
            run.closable = False
            self._abandoned[run.key] = False
            if len(self._abandoned) > limits.ABANDONS_MAX:
                self._abandoned.popitem(last=False)
            failure = RunIndeterminateError(
                f"{name} failed: {why}; begin attempt {run.key.attempt + 1} of it", unsure=left.unsure, unsent=left.unsent
            )
        run.failure = failure
        self._results.append(Failed(run.key, failure))
        if self._journal is not None:
            self._journal.failed(run.key)
        self._forget_if_done(run)

    def _forget_if_done(self, run: RunQueue) -> None:
        if run.released and run.idle and self._runs.pop(run.name, None) is not None:
            self._remembered[run.name] = None
            while len(self._remembered) > limits.RUNS_REMEMBERED_MAX:
                self._remembered.popitem(last=False)
            if self._journal is not None:
                self._journal.forgotten(run.key)
