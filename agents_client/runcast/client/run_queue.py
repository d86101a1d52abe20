"""One attempt of a run in the outbox: its life, what waits, and the batch in flight.

Rules.
1. An event gets its identity (run_id, attempt, seq, id) when it is appended. A batch is built once, when it is about to be sent, of all
   that waits and fits, and is not changed after it. An event that asks for a receipt is the last of its batch.
2. *Tail merging*: as long as the newest event waits and nobody asked for its receipt, it may take in what comes: a text delta takes in the
   next text of its message, thinking is replaced by newer thinking. What was taken in has the seq of what took it in, so there is no hole.
   What is critical is never taken in, and takes in nothing.
3. A run is *soft* while all that waits is soft (`is_critical` says no): then it may rest for a moment, and send what came together.
4. `life` knows all that was queued, `stored_life` what is acknowledged; closing events of a failed run follow the latter.

Invariants: `waiting` holds contiguous seqs that follow those of `flight`, which follow `seq`; `flight.batch.number == number + 1`.

Pure: never imports asyncio, a clock, randomness, logging or grpc.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runcast.client.errors import EventTooLargeError, Leftover, RunIndeterminateError, RunKey, RunRefusedError
from runcast.v1.event_pb2 import TEXT_MODE_DELTA, Batch, Event, User
from runcast.wire import limits, limits_client
from runcast.wire.ids import event_id
from runcast.wire.lifecycle import Lifecycle, is_critical

_NUMBER_MAX = 2**64 - 1
_RECEIPT_MS_MAX = 2**32 - 1

NOT_OURS = frozenset({"run_lost", "attempt_taken"})
"""Refusals that are certain however often the batch was sent: what is, or will be, on the screen of the attempt is not of this outbox."""

RunFailure = RunRefusedError | RunIndeterminateError
"""Why a run failed, and what of it is not stored."""


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
    """A run failed.

    Attributes:
        key: it.
        error: holds what was not stored.
        orphans: runs below it that had waited for its start, and go without it now.
    """

    key: RunKey
    error: RunFailure
    orphans: int = 0


class Waiting:
    """An event that is in no batch yet.

    Attributes:
        event: it.
        cost: bytes that it counts in the outbox.
        receipt_ms: above 0: its batch ends with it, and asks for a receipt within so many milliseconds.
        since: when it was appended, monotonic seconds.
    """

    __slots__ = ("cost", "event", "receipt_ms", "since")

    def __init__(self, event: Event, cost: int, receipt_ms: int, since: float) -> None:
        self.event = event
        self.cost = cost
        self.receipt_ms = receipt_ms
        self.since = since


class Left(NamedTuple):
    """What another process left of a run.

    Attributes:
        key: the run.
        number: its last stored batch.
        seq: its last stored event.
        stored_life: its life up to there.
        flown: events of the next batch, which may have been sent.
        receipt_ms: as that batch has it.
        age_s: how long ago it may first have been sent, seconds.
        waiting: events that were not sent.
    """

    key: RunKey
    number: int
    seq: int
    stored_life: Lifecycle
    flown: tuple[Event, ...]
    receipt_ms: int
    age_s: float
    waiting: tuple[Event, ...]


class Flight:
    """The run's batch that was sent and not answered.

    Attributes:
        batch: it.
        since: when its oldest event was appended, monotonic seconds.
        cost: bytes that its events count in the outbox.
        size: bytes that it counts in the window.
        sent: on the stream that is open now, and unanswered there.
        sendings: how many sendings have an unknown outcome.
        first_sent: when the oldest of them was, monotonic seconds.
        last_sent: when the newest was.
        advised: it was refused for now, by a router that said how long to wait.
        fresh: it was never sent.
        soft: all of it is.
    """

    __slots__ = ("advised", "batch", "cost", "first_sent", "fresh", "last_sent", "sendings", "sent", "since", "size", "soft")

    def __init__(self, batch: Batch, cost: int, *, since: float, soft: bool) -> None:
        self.batch = batch
        self.since = since
        self.soft = soft
        self.cost = cost
        self.size = batch.ByteSize()
        self.sent = False
        self.sendings = 0
        self.first_sent = 0.0
        self.last_sent = 0.0
        self.advised = False
        self.fresh = True


class RunQueue:
    """The queue of one attempt.

    Attributes:
        number: the last acknowledged batch; 0 before the first.
        seq: the last acknowledged event; 0 before the first.
        position: of that batch, as text.
        next_seq: what the next event gets.
        failure: set when the run failed.
        closable: it failed, and closing events may still be sent safely.
        released: its owner appends no more.
        held: it waits for the start of the run that started it, and joins no line.
        listed: it stands in the outbox's line.
        urgent: what waits is not to rest.
        rests_until: soft events rest until then, monotonic seconds.
        resting: the line will look at it again when that has come.
    """

    __slots__ = (
        "_header_bytes",
        "_producer",
        "_user",
        "closable",
        "failure",
        "flight",
        "held",
        "key",
        "life",
        "listed",
        "name",
        "next_seq",
        "number",
        "position",
        "released",
        "resting",
        "rests_until",
        "seq",
        "stored_life",
        "urgent",
        "waiting",
    )

    def __init__(self, key: RunKey, producer: str) -> None:
        self._producer = producer
        self._user = User(tenant=key.user.tenant, id=key.user.user)
        self.key = key
        self.name = (key.run_id, key.attempt)
        self.life = Lifecycle()
        self.stored_life = Lifecycle()
        self.number = 0
        self.seq = 0
        self.position = ""
        self.next_seq = 1
        self.waiting: deque[Waiting] = deque()
        self.flight: Flight | None = None
        self.failure: RunFailure | None = None
        self.closable = False
        self.released = False
        self.held = False
        self.listed = False
        self.urgent = False
        self.rests_until = -math.inf
        self.resting = False
        self._header_bytes = self._batch(_NUMBER_MAX, [], _RECEIPT_MS_MAX).ByteSize()

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is unanswered."""
        return self.flight is None and not self.waiting

    def identify(self, event: Event, seq: int) -> int:
        """Give `event` its identity.

        Returns:
            What it costs, bytes: its size as a field of a batch.

        Raises:
            EventTooLargeError: over `limits.EVENT_BYTES_MAX`.
        """
        key = self.key
        event.run_id = key.run_id
        event.attempt = key.attempt
        event.seq = seq
        event.id = event_id(key.run_id, key.attempt, seq)
        size = event.ByteSize()
        if size > limits.EVENT_BYTES_MAX:
            kind = event.WhichOneof("kind")
            raise EventTooLargeError(f"{kind} has {size} bytes of at most {limits.EVENT_BYTES_MAX}; send a reference to what is larger")
        return cost_of(size)

    def queue(self, entry: Waiting) -> None:
        """Put a named event behind what waits."""
        self.next_seq += 1
        self.waiting.append(entry)
        if entry.receipt_ms or is_critical(entry.event):
            self.urgent = True

    def merge(self, event: Event) -> int | None:
        """Have the newest event that waits take in `event`, which may follow it, if rule 2 allows that.

        Returns:
            How many bytes it costs more now, maybe less than none; None when nothing was taken in.

        Raises:
            EventTooLargeError: as `identify`; nothing was taken in.
        """
        newest = self.waiting[-1]
        if newest.receipt_ms:
            return None
        old = newest.event
        kind = event.WhichOneof("kind")
        if kind == "agent_response" and old.HasField("agent_response"):
            text, more = old.agent_response, event.agent_response
            if text.final or more.final or text.message_id != more.message_id or not text.mode == more.mode == TEXT_MODE_DELTA:
                return None
            size = newest.cost + len(more.text.encode())
            if size > limits_client.MERGED_TEXT_BYTES_MAX or old.traceparent != event.traceparent:
                return None
            text.text += more.text
            cost = cost_of(old.ByteSize())
        elif kind == "agent_thinking" and old.HasField("agent_thinking"):
            cost = self.identify(event, old.seq)
            newest.event = event
        else:
            return None
        grown, newest.cost = cost - newest.cost, cost
        return grown

    def restore(self, now: float, left: "Left") -> None:
        """Take up what another process left of the run, as it was.

        Raises:
            LifecycleError: that can't have been.
        """
        self.number, self.seq = left.number, left.seq
        self.next_seq = left.seq + 1 + len(left.flown) + len(left.waiting)
        self.stored_life = left.stored_life
        self.life = left.stored_life.copy()
        for event in (*left.flown, *left.waiting):
            self.life.advance(event)
        if left.flown:
            cost = sum(cost_of(event.ByteSize()) for event in left.flown)
            self.flight = Flight(self._batch(left.number + 1, list(left.flown), left.receipt_ms), cost, since=now, soft=False)
            self.flight.sendings, self.flight.first_sent, self.flight.fresh = 1, now - left.age_s, False
        self.waiting.extend(Waiting(event, cost_of(event.ByteSize()), 0, now) for event in left.waiting)
        self.urgent = bool(self.waiting)

    def next_flight(self, bytes_max: int) -> Flight | None:
        """The batch to send: the one in flight, or a new one of all that waits and fits; None when nothing fits `bytes_max`."""
        if self.flight is not None:
            return self.flight if self.flight.size <= bytes_max else None
        bytes_max = min(bytes_max, limits.BATCH_BYTES_MAX)
        size = self._header_bytes
        count = receipt_ms = 0
        for entry in self.waiting:
            if count == limits.BATCH_EVENTS_MAX or size + entry.cost > bytes_max:
                break
            size += entry.cost
            count += 1
            receipt_ms = entry.receipt_ms
            if receipt_ms:
                break
        if count == 0:
            return None
        since, soft = self.waiting[0].since, not self.urgent
        events = [self.waiting.popleft().event for _ in range(count)]
        self.urgent = bool(self.waiting)  # what found no room in the batch follows at once
        self.flight = Flight(self._batch(self.number + 1, events, receipt_ms), size - self._header_bytes, since=since, soft=soft)
        return self.flight

    def stored(self, flight: Flight, position: str) -> None:
        """Its batch is in the log."""
        for event in flight.batch.events:
            self.stored_life.advance(event)
        self.number = flight.batch.number
        self.seq = flight.batch.events[-1].seq
        self.position = position

    def end_stored(self, now: float, closing: Closing) -> list[Waiting]:
        """What ends the stored part of the run, ready to be queued.

        Raises:
            LifecycleError: the events do not follow what is stored.
            EventTooLargeError: one of them is too large.
        """
        life = self.stored_life.copy()
        entries: list[Waiting] = []
        for event in closing(self.stored_life.copy()):
            life.advance(event)
            entries.append(Waiting(event, self.identify(event, self.seq + 1 + len(entries)), 0, now))
        return entries

    def leftover(self) -> Leftover:
        """What is not acknowledged."""
        in_flight = tuple(self.flight.batch.events) if self.flight is not None else ()
        waiting = tuple(entry.event for entry in self.waiting)
        if self.flight is not None and self.flight.sendings == 0:
            return Leftover(self.key, (), in_flight + waiting)
        return Leftover(self.key, in_flight, waiting)

    def ask_receipt(self, receipt_ms: int) -> bool:
        """Have the newest event ask for a receipt, if it waits still; the longer of two deadlines counts."""
        if not self.waiting:
            return False
        newest = self.waiting[-1]
        newest.receipt_ms = max(newest.receipt_ms, receipt_ms)
        return True

    def fail(self, why: str, refused_code: str) -> RunFailure:
        """Give up what waits; `refused_code` is empty when it is not certain that the batch in flight is not stored."""
        left = self.leftover()
        self.waiting.clear()
        name = f"run {self.key.run_id!r} attempt {self.key.attempt}"
        if refused_code:
            # Closing events that were refused are not tried again, a lost run has its end, and another's attempt is not ours to end.
            self.closable = self.failure is None and refused_code not in NOT_OURS
            self.failure = RunRefusedError(f"{name} failed: {why}", code=refused_code, dropped=left.unsure + left.unsent)
        else:
            self.closable = False
            self.failure = RunIndeterminateError(
                f"{name} failed: {why}; begin attempt {self.key.attempt + 1} of it", unsure=left.unsure, unsent=left.unsent
            )
        return self.failure

    def _batch(self, number: int, events: list[Event], receipt_ms: int) -> Batch:
        key = self.key
        return Batch(
            user=self._user,
            producer=self._producer,
            run_id=key.run_id,
            attempt=key.attempt,
            number=number,
            events=events,
            receipt_deadline_ms=receipt_ms,
        )


def cost_of(size: int) -> int:
    """Bytes that an event of `size` bytes takes in a batch: tag, length, content."""
    return 1 + (size.bit_length() + 6) // 7 + size
