"""What the machine of a Publish stream (`runcast.router.ingest`) wants done, and the keys by which it speaks of runs and batches.

Pure: imports no asyncio, clock, random, logging, grpc, nats.
"""

from typing import NamedTuple

from runcast.v1.ingest_pb2 import BatchAck, BatchRefusal, GoAway, ProducerHello, RunAbandon, RunAnswer, RunCancel
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey
from runcast.wire.position import Position


class RunKey(NamedTuple):
    """A run of a user."""

    user: UserKey
    run_id: str


class RequestKey(NamedTuple):
    """What a run asked its user."""

    run: RunKey
    request_id: str


class BatchKey(NamedTuple):
    """A batch of this stream's producer."""

    run: RunKey
    attempt: int
    number: int


class Greeted(NamedTuple):
    """The producer said hello: answer with the router's."""

    hello: ProducerHello


class Store(NamedTuple):
    """Store this, then call `stored` or `failed` with its key. `ends`: its run ends by it. `receipt_ms` above 0: await a receipt."""

    key: BatchKey
    payload: bytes
    events: int
    ends: bool
    receipt_ms: int = 0


class GivenUp(NamedTuple):
    """The producer gives an attempt of a run up: see that it ends, then call `settled`."""

    run: RunKey
    attempt: int


class Settled(NamedTuple):
    """Tell the producer that a run it gave up has ended."""

    abandoned: RunAbandon


class Acked(NamedTuple):
    """Tell the producer that a batch is stored."""

    ack: BatchAck


class Refused(NamedTuple):
    """Tell the producer that a batch is not stored."""

    refusal: BatchRefusal


class Await(NamedTuple):
    """Await a receipt of a batch that was stored before."""

    key: BatchKey
    position: Position
    deadline_ms: int
    elapsed_ms: int


class Opened(NamedTuple):
    """A run goes on here: look for a cancel, and pass on those to come."""

    run: RunKey


class Closed(NamedTuple):
    """A run goes on here no more."""

    run: RunKey


class Cancelled(NamedTuple):
    """Tell the producer that the user wants a run to stop."""

    cancel: RunCancel


class Asked(NamedTuple):
    """Look for the answer to what a run asked, and pass it on by `answered`, now or when it comes."""

    request: RequestKey


class Dropped(NamedTuple):
    """That answer is not waited for any more."""

    request: RequestKey


class Answered(NamedTuple):
    """Tell the producer what the user answered."""

    answer: RunAnswer


class Left(NamedTuple):
    """Tell the producer to go to another router."""

    go_away: GoAway


class End(NamedTuple):
    """Let what is under way finish, then end the stream with this error. No request is taken any more."""

    error: RuncastError


Effect = (
    Greeted | Store | Await | GivenUp | Settled | Acked | Refused | Opened | Closed | Cancelled | Asked | Dropped | Answered | Left | End
)
