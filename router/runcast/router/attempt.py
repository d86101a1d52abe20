"""One attempt of a run as a Publish stream knows it, and whether a batch may come next (PROTOCOL.md, "Agents: gRPC").

Rules: an attempt first seen with batch 1 is NEW; otherwise another router had it before, and it is checked from the middle (MIDWAY). After
batch n comes n+1, its seqs behind those of n; a batch up to n is a resend. At most one batch is pending. Checking changes nothing.

Pure: imports no asyncio, clock, random, logging, grpc, nats.
"""

from runcast.router.effects import RunKey
from runcast.v1.event_pb2 import Batch
from runcast.wire.errors import LifecycleError, RuncastError
from runcast.wire.lifecycle import Lifecycle, State

AttemptKey = tuple[RunKey, int]
"""A run and the number of its attempt."""


class Pending:
    """The batch of an attempt that storage has not answered; `lifecycle` and `seq` hold once it is stored. A resend has no lifecycle."""

    __slots__ = ("lifecycle", "number", "seq", "size")

    def __init__(self, number: int, size: int, seq: int, lifecycle: Lifecycle | None) -> None:
        self.number = number
        self.size = size
        self.seq = seq
        self.lifecycle = lifecycle


class Attempt:
    """One attempt of a run as this stream knows it: its life, and the last batch and seq that were stored."""

    __slots__ = ("announced", "lifecycle", "number", "pending", "seq")

    def __init__(self, batch: Batch) -> None:
        self.lifecycle = Lifecycle(midway=batch.number > 1)
        self.number: int = batch.number - 1
        self.seq: int = batch.events[0].seq - 1
        self.pending: Pending | None = None
        self.announced = False


def check_turn(attempt: Attempt, batch: Batch, size: int) -> Pending:
    """Check a batch against its attempt, which is left as it is.

    Raises:
        RuncastError: `batch_out_of_turn`, `batch_invalid` or `lifecycle_violation`.
    """
    if attempt.pending is not None:
        raise RuncastError(
            f"batch {attempt.pending.number} of this run is not answered yet; wait for its answer before you send the next",
            code="batch_out_of_turn",
        )
    if batch.number <= attempt.number:
        return Pending(batch.number, size, attempt.seq, None)
    if attempt.lifecycle.state is State.ENDED:
        raise LifecycleError("the run has ended; start another run")
    if batch.number != attempt.number + 1:
        raise RuncastError(
            f"batch {batch.number} came after batch {attempt.number}; send {attempt.number + 1} next", code="batch_out_of_turn"
        )
    if batch.events[0].seq != attempt.seq + 1:
        raise RuncastError(
            f"the batch begins with seq {batch.events[0].seq}, but the last stored one is {attempt.seq}; leave no hole",
            code="batch_invalid",
        )
    lifecycle = attempt.lifecycle.copy()
    for event in batch.events:
        lifecycle.advance(event)
    return Pending(batch.number, size, batch.events[-1].seq, lifecycle)
