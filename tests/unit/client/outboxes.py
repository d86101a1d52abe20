"""Outboxes for the tests of this folder, and a router's answers to them."""

from runcast.client.errors import RunKey
from runcast.client.outbox import Outbox
from runcast.v1.event_pb2 import Batch
from runcast.v1.ingest_pb2 import BatchAck, BatchRefusal, RouterHello, Window
from runcast.wire import limits
from tests.unit.client.events import key, started

POSITION = "abcdefgh-0000000000000007"


def connect(outbox: Outbox, now: float = 0.0, *, batches: int = 100, size: int = 8 * limits.MIB, horizon_ms: int = 100_000) -> None:
    outbox.connected(now, RouterHello(window=Window(batches=batches, bytes=size), resend_horizon_ms=horizon_ms))


def ack(outbox: Outbox, batch: Batch, now: float = 0.0) -> None:
    outbox.acked(now, BatchAck(run_id=batch.run_id, attempt=batch.attempt, number=batch.number, position=POSITION))


def refuse(
    outbox: Outbox,
    batch: Batch,
    now: float = 0.0,
    *,
    code: str = "batch_invalid",
    retry: bool = False,
    definite: bool = True,
    after_ms: int = 0,
) -> None:
    refusal = BatchRefusal(
        run_id=batch.run_id,
        attempt=batch.attempt,
        number=batch.number,
        code=code,
        message="because",
        retry=retry,
        definite=definite,
        retry_after_ms=after_ms,
    )
    outbox.refused(now, refusal)


def begin(outbox: Outbox, run_id: str, user: str = "alice") -> RunKey:
    run = key(run_id, user)
    outbox.open_run(run)
    outbox.append(0.0, run, started())
    return run


def opened(run_id: str = "r1") -> tuple[Outbox, RunKey]:
    """A connected outbox with one run whose start is stored."""
    outbox = Outbox("p")
    connect(outbox)
    run = begin(outbox, run_id)
    [batch] = outbox.take_batches(0.0)
    ack(outbox, batch)
    outbox.take_results()
    return outbox, run
