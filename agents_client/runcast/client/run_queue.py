"""One attempt of a run in the outbox: its life, what waits, and the batch in flight.

Rules: an event gets its identity (run_id, attempt, seq, id) when it is admitted, and is not changed after it; a batch is built once, when
it is about to be sent, of all that waits and fits, and is not changed after it; an event that asks for a receipt is the last of its
batch. `life` knows all that was queued, `stored_life` what is acknowledged; closing events of a failed run follow the latter.

Invariants: `waiting` holds contiguous seqs that follow those of `flight`, which follow `seq`; `flight.batch.number == number + 1`.

Pure: never imports asyncio, a clock, randomness, logging or grpc.
"""

from collections import deque
from typing import NamedTuple

from runcast.client.errors import EventTooLargeError, Leftover, RunIndeterminateError, RunKey, RunRefusedError
from runcast.v1.event_pb2 import Batch, Event, User
from runcast.wire import limits
from runcast.wire.ids import event_id
from runcast.wire.lifecycle import Lifecycle

_NUMBER_MAX = 2**64 - 1
_RECEIPT_MS_MAX = 2**32 - 1

RunFailure = RunRefusedError | RunIndeterminateError
"""Why a run failed, and what of it is not stored."""


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
        fresh: nobody was told of it yet.
    """

    __slots__ = ("advised", "batch", "cost", "first_sent", "fresh", "last_sent", "sendings", "sent", "since", "size")

    def __init__(self, batch: Batch, cost: int, since: float) -> None:
        self.batch = batch
        self.since = since
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
        listed: it stands in the outbox's line.
    """

    __slots__ = (
        "_header_bytes",
        "_producer",
        "_user",
        "closable",
        "failure",
        "flight",
        "key",
        "life",
        "listed",
        "name",
        "next_seq",
        "number",
        "position",
        "released",
        "seq",
        "stored_life",
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
        self.listed = False
        self._header_bytes = self._batch(_NUMBER_MAX, [], _RECEIPT_MS_MAX).ByteSize()

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is unanswered."""
        return self.flight is None and not self.waiting

    def admit(self, life: Lifecycle, event: Event, seq: int) -> int:
        """Check that `event` may follow `life`, and name it.

        Returns:
            What it costs, bytes: its size as a field of a batch.

        Raises:
            LifecycleError: it may not come next.
            EventTooLargeError: over `limits.EVENT_BYTES_MAX`.
        """
        life.check(event)
        event.run_id = self.key.run_id
        event.attempt = self.key.attempt
        event.seq = seq
        event.id = event_id(self.key.run_id, self.key.attempt, seq)
        size = event.ByteSize()
        if size > limits.EVENT_BYTES_MAX:
            kind = event.WhichOneof("kind")
            raise EventTooLargeError(f"{kind} has {size} bytes of at most {limits.EVENT_BYTES_MAX}; send a reference to what is larger")
        return cost_of(size)

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
            self.flight = Flight(self._batch(left.number + 1, list(left.flown), left.receipt_ms), cost, now)
            self.flight.sendings, self.flight.first_sent, self.flight.fresh = 1, now - left.age_s, False
        self.waiting.extend(Waiting(event, cost_of(event.ByteSize()), 0, now) for event in left.waiting)

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
        since = self.waiting[0].since
        events = [self.waiting.popleft().event for _ in range(count)]
        self.flight = Flight(self._batch(self.number + 1, events, receipt_ms), size - self._header_bytes, since)
        return self.flight

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
