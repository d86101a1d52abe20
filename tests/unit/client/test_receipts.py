"""The receipts that an agent awaits: over streams that break, runs that fail and routers that say nothing."""

from hypothesis import given
from hypothesis import strategies as st

from runcast.client.errors import RunRefusedError
from runcast.client.outbox import Outbox
from runcast.client.receipts import Answered, Receipt, ReceiptBook
from runcast.client.run_queue import Stored
from runcast.v1.ingest_pb2 import (
    RECEIPT_OUTCOME_DELIVERED,
    RECEIPT_OUTCOME_EXPIRED,
    BatchAck,
    RouterHello,
    Window,
)
from runcast.v1.ingest_pb2 import Receipt as ReceiptMessage
from runcast.wire import limits
from runcast.wire.position import Position
from tests.unit.client.events import key, said, started

RUN = key("r1")
POSITION = Position("abcdefgh", 7)


def delivered(number: int = 1) -> ReceiptMessage:
    return ReceiptMessage(run_id="r1", attempt=1, number=number, outcome=RECEIPT_OUTCOME_DELIVERED, device="d", latency_ms=80)


def awaited(*, carried: bool = True) -> ReceiptBook:
    """A book with one ticket, "t", whose batch 1 was stored at 10.0; it has 2 s."""
    book = ReceiptBook()
    book.expect("t", RUN, 3, 2.0)
    book.stored(RUN, 1, 3, str(POSITION), 10.0, carried=carried)
    assert book.take_results() == []
    return book


def test_the_routers_word_is_the_answer_and_comes_once() -> None:
    book = awaited()
    assert book.take_asks(10.1) == []
    book.received(delivered())
    assert book.take_results() == [Answered("t", Receipt("delivered", "d", 0.08, POSITION))]
    book.received(delivered())
    assert (book.take_results(), len(book)) == ([], 0)


def test_a_batch_before_the_event_answers_nothing() -> None:
    book = ReceiptBook()
    book.expect("t", RUN, 3, 2.0)
    book.stored(RUN, 1, 2, str(POSITION), 10.0, carried=False)
    book.received(delivered(1))
    assert (book.take_results(), book.take_asks(10.0), len(book)) == ([], [], 1)


def test_what_was_sent_without_a_deadline_is_asked_for() -> None:
    book = awaited(carried=False)
    [ask] = book.take_asks(10.5)
    assert (ask.user.id, ask.run_id, ask.number, ask.position) == ("alice", "r1", 1, str(POSITION))
    assert (ask.deadline_ms, ask.elapsed_ms) == (1500, 500)
    assert book.take_asks(10.6) == []


def test_after_the_stream_broke_it_is_asked_for_again() -> None:
    book = awaited()
    book.disconnected()
    book.disconnected()
    assert [ask.number for ask in book.take_asks(11.0)] == [1]
    book.disconnected()
    [ask] = book.take_asks(13.0)
    assert (ask.deadline_ms, ask.elapsed_ms) == (1, 3000)
    book.received(delivered())
    assert len(book.take_results()) == 1
    book.disconnected()
    assert book.take_asks(13.0) == []


def test_a_router_that_says_nothing_is_not_waited_for_for_ever() -> None:
    book = awaited()
    late = 12.0 + limits.RECEIPT_SLACK_S
    assert book.deadline() == late
    book.tick(late - 0.01)
    assert book.take_results() == []
    book.tick(late)
    assert book.take_results() == [Answered("t", Receipt("stored", "", late - 10.0, POSITION))]
    assert book.deadline() is None


def test_two_that_ask_for_one_batch_are_answered_together() -> None:
    book = awaited()
    book.expect_stored("u", RUN, 1, str(POSITION), 11.0, 5.0)
    [ask] = book.take_asks(11.0)
    assert (ask.deadline_ms, ask.elapsed_ms) == (5000, 1000)
    book.received(ReceiptMessage(run_id="r1", attempt=1, number=1, outcome=RECEIPT_OUTCOME_EXPIRED, latency_ms=6000))
    assert [(answered.ticket, answered.result.outcome) for answered in book.take_results()] == [("t", "expired"), ("u", "expired")]


def test_a_failed_run_fails_what_is_not_stored_alone() -> None:
    book = awaited()
    book.expect("u", RUN, 5, 2.0)
    error = RunRefusedError("no", code="batch_invalid", dropped=())
    book.failed(RUN, error)
    assert book.take_results() == [Answered("u", error)]
    book.received(delivered())
    assert len(book.take_results()) == 1


def test_past_the_bound_the_answer_is_that_it_is_stored() -> None:
    book = ReceiptBook(awaited_max=1)
    book.expect("t", RUN, 1, 2.0)
    assert book.full
    book.expect("u", RUN, 2, 2.0, unwatched=True)
    book.stored(RUN, 1, 1, str(POSITION), 10.0, carried=True)
    book.stored(RUN, 2, 2, str(POSITION), 10.0, carried=False)
    book.expect_stored("v", RUN, 2, str(POSITION), 10.0, 2.0)
    assert [(answered.ticket, answered.result.outcome) for answered in book.take_results()] == [("u", "stored"), ("v", "stored")]
    assert (len(book), book.take_asks(10.0)) == (1, [])


def test_closing_answers_everything() -> None:
    book = awaited()
    book.expect("u", RUN, 5, 2.0)
    error = RunRefusedError("closed", code="outbox_closed", dropped=())
    book.close(11.0, error)
    assert sorted(book.take_results()) == [Answered("t", Receipt("stored", "", 1.0, POSITION)), Answered("u", error)]
    assert len(book) == 0


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_an_event_that_asks_is_the_last_of_its_batch(asks: list[int]) -> None:
    """And the batch carries its deadline, and no other one does."""
    outbox = Outbox("p")
    outbox.connected(0.0, RouterHello(window=Window(batches=10, bytes=limits.MIB), resend_horizon_ms=100_000))
    outbox.open_run(RUN)
    outbox.append(0.0, RUN, started(), receipt_ms=0)
    deadlines = {outbox.append(0.0, RUN, said("x"), receipt_ms=ask * 100): ask * 100 for ask in asks}
    told: dict[int, int] = {}
    while batches := outbox.take_batches(0.0):
        [batch] = batches
        assert all(not deadlines.get(event.seq) for event in batch.events[:-1])
        told[batch.events[-1].seq] = batch.receipt_deadline_ms
        outbox.acked(0.0, BatchAck(run_id="r1", attempt=1, number=batch.number, position=str(POSITION)))
        [result] = outbox.take_results()
        assert isinstance(result, Stored)
        assert result.awaited == bool(batch.receipt_deadline_ms)
    assert {seq: ms for seq, ms in told.items() if ms} == {seq: ms for seq, ms in deadlines.items() if ms}


def test_what_waits_can_be_made_to_ask_and_what_was_sent_can_not() -> None:
    outbox = Outbox("p")
    outbox.connected(0.0, RouterHello(window=Window(batches=10, bytes=limits.MIB), resend_horizon_ms=100_000))
    outbox.open_run(RUN)
    outbox.append(0.0, RUN, started())
    outbox.append(0.0, RUN, said("x"))
    assert outbox.ask_receipt(RUN, 500)
    [batch] = outbox.take_batches(0.0)
    assert (len(batch.events), batch.receipt_deadline_ms) == (2, 500)
    assert not outbox.ask_receipt(RUN, 900)
