"""The machine of a Publish stream: each rule by itself, then all together against a model of what a stream owes its producer."""

import pytest

from runcast.router.effects import (
    Acked,
    End,
    Greeted,
    Left,
    Opened,
    Refused,
    Store,
)
from runcast.router.ingest import ProducerStream
from runcast.v1.event_pb2 import Batch
from runcast.v1.ingest_pb2 import ProducerHello, PublishRequest
from runcast.wire.errors import RuncastError, UnavailableError
from tests.unit.router.ingest_stream import END, START, TOOL, TOOL_END, WORK, Stream, make_batch, of

# --- the stream ---


@pytest.mark.parametrize(
    ("code", "requests"),
    [
        ("hello_expected", [PublishRequest()]),
        ("hello_expected", [PublishRequest(batches=[make_batch(1, 1, START)])]),
        ("hello_expected", [PublishRequest(hello=ProducerHello(producer="p"))] * 2),
        ("id_invalid", [PublishRequest(hello=ProducerHello())]),
        ("id_invalid", [PublishRequest(hello=ProducerHello(producer="p" * 129))]),
        ("id_invalid", [PublishRequest(hello=ProducerHello(producer="p", agent="a" * 129))]),
        ("id_invalid", [PublishRequest(hello=ProducerHello(producer="p", client_version="v" * 129))]),
    ],
)
def test_a_stream_without_a_sound_hello_ends(code: str, requests: list[PublishRequest]) -> None:
    machine = ProducerStream()
    for request in requests:
        machine.receive(request)
    effects = machine.take_effects()
    assert [end.error.code.name for end in of(End, effects)] == [code]
    assert not of(Store, effects)
    machine.receive(PublishRequest(hello=ProducerHello(producer="p")))
    assert not machine.take_effects()


def test_batches_may_come_with_hello() -> None:
    machine = ProducerStream()
    machine.receive(PublishRequest(hello=ProducerHello(producer="p"), batches=[make_batch(1, 1, START)]))
    assert [type(effect) for effect in machine.take_effects()] == [Greeted, Opened, Store]


def test_the_window_counts_batches_from_their_arrival() -> None:
    stream = Stream(window_batches=2)
    assert not of(End, stream.send(*(make_batch(1, 1, START, run_id=run) for run in "ab")))
    assert [end.error.code.name for end in of(End, stream.send(make_batch(1, 1, START, run_id="c")))] == ["flow_control"]


def test_batches_that_would_be_refused_count_too() -> None:
    stream = Stream(window_batches=2)
    effects = stream.send(*(make_batch(0, 1, START) for _ in range(3)))
    assert [end.error.code.name for end in of(End, effects)] == ["flow_control"]
    assert not of(Refused, effects)


def test_the_window_counts_bytes() -> None:
    batch = make_batch(1, 1, START)
    stream = Stream(window_bytes=batch.ByteSize())
    assert not of(End, stream.store(batch))
    assert not of(End, stream.send(make_batch(2, 2, WORK)))
    effects = stream.send(make_batch(1, 1, START, run_id="s"))
    assert [end.error.code.name for end in of(End, effects)] == ["flow_control"]


def test_answered_batches_leave_the_window() -> None:
    stream = Stream(window_batches=1)
    stream.store(make_batch(1, 1, START))
    stream.store(make_batch(2, 2, WORK))
    (store,) = of(Store, stream.send(make_batch(3, 3, WORK)))
    stream.machine.failed(store.key, UnavailableError("away"))
    assert (stream.machine.unanswered, stream.machine.unanswered_bytes) == (0, 0)


def test_what_is_under_way_at_the_end_is_still_answered() -> None:
    stream = Stream(window_batches=1)
    (store,) = of(Store, stream.send(make_batch(1, 1, START)))
    assert of(End, stream.send(make_batch(1, 1, START, run_id="s")))
    stream.machine.stored(store.key, "pos", duplicate=False)
    assert of(Acked, stream.machine.take_effects())


def test_going_away_refuses_what_comes_and_finishes_what_is_under_way() -> None:
    stream = Stream()
    (store,) = of(Store, stream.send(make_batch(1, 1, START)))
    stream.machine.leave("stop", 3500)
    stream.machine.leave("stop", 3500)
    (left,) = of(Left, stream.machine.take_effects())
    assert left.go_away.grace_ms == 3500
    refusal = stream.refusal(make_batch(1, 1, START, run_id="s"))
    assert (refusal.code, refusal.retry, refusal.definite) == ("draining", True, True)
    stream.machine.stored(store.key, "pos", duplicate=False)
    assert of(Acked, stream.machine.take_effects())


# --- batches ---

REFUSALS: list[tuple[str, list[Batch], Batch]] = [
    ("id_invalid", [], make_batch(1, 1, START, run_id="")),
    ("id_invalid", [], make_batch(1, 1, START, user="")),
    ("batch_invalid", [], make_batch(1, 1)),
    ("batch_invalid", [], make_batch(0, 1, START)),
    ("batch_invalid", [make_batch(1, 1, START, WORK)], make_batch(2, 2, WORK)),
    ("batch_invalid", [make_batch(1, 1, START, WORK)], make_batch(2, 4, WORK)),
    ("batch_invalid", [make_batch(5, 9, WORK)], make_batch(6, 12, WORK)),
    ("batch_too_large", [], make_batch(1, 1, START, *[WORK] * 256)),
    ("batch_out_of_turn", [make_batch(1, 1, START)], make_batch(3, 3, WORK)),
    ("batch_out_of_turn", [make_batch(5, 9, WORK)], make_batch(7, 11, WORK)),
    ("lifecycle_violation", [], make_batch(1, 1, WORK)),
    ("lifecycle_violation", [], make_batch(1, 1, START, START)),
    ("lifecycle_violation", [], make_batch(1, 1, START, TOOL, END)),
    ("lifecycle_violation", [make_batch(1, 1, START)], make_batch(2, 2, TOOL_END)),
    ("lifecycle_violation", [make_batch(1, 1, START, END)], make_batch(2, 3, WORK)),
    ("lifecycle_violation", [make_batch(1, 1, START, END)], make_batch(9, 30, WORK)),
    ("lifecycle_violation", [make_batch(3, 9, END)], make_batch(4, 10, WORK)),
    ("lifecycle_violation", [make_batch(3, 9, WORK)], make_batch(4, 10, START)),
]


@pytest.mark.parametrize(("code", "before", "batch"), REFUSALS)
def test_a_wrong_batch_is_refused_and_costs_nobody_else_anything(code: str, before: list[Batch], batch: Batch) -> None:
    stream = Stream()
    for earlier in before:
        stream.store(earlier)
    refusal = stream.refusal(batch)
    assert (refusal.code, refusal.retry, refusal.definite) == (code, False, True)
    assert refusal.message
    assert of(Acked, stream.store(make_batch(1, 1, START, run_id="other")))


@pytest.mark.parametrize("code", ["unavailable", "indeterminate", "storage_full", "internal"])
def test_what_storage_says_is_passed_on_and_the_batch_may_come_again(code: str) -> None:
    stream = Stream()
    stream.store(make_batch(1, 1, START))
    batch = make_batch(2, 2, TOOL)
    (store,) = of(Store, stream.send(batch))
    error = RuncastError("no", code=code, retry_after_s=0.25)
    stream.machine.failed(store.key, error)
    (refused,) = of(Refused, stream.machine.take_effects())
    expected = (code, error.code.retry, error.code.definite, 250)
    assert (refused.refusal.code, refused.refusal.retry, refused.refusal.definite, refused.refusal.retry_after_ms) == expected
    assert of(Acked, stream.store(batch))
    assert of(Acked, stream.store(make_batch(3, 3, TOOL_END, END)))


def test_a_refused_batch_leaves_its_number_to_another() -> None:
    stream = Stream()
    stream.store(make_batch(1, 1, START, TOOL))
    assert stream.refusal(make_batch(2, 3, TOOL_END, END, WORK)).code == "lifecycle_violation"
    assert of(Acked, stream.store(make_batch(2, 3, TOOL_END, WORK, END)))


def test_a_run_has_one_batch_under_way() -> None:
    stream = Stream()
    first, second = make_batch(1, 1, START), make_batch(2, 2, WORK)
    effects = stream.send(first, second)
    assert len(of(Store, effects)) == 1
    assert [refused.refusal.code for refused in of(Refused, effects)] == ["batch_out_of_turn"]
    assert of(Store, stream.send(make_batch(1, 1, START, attempt=2)))
    assert of(Store, stream.send(make_batch(1, 1, START, user="bob")))


def test_a_resend_goes_to_storage_and_changes_nothing() -> None:
    stream = Stream()
    stream.store(make_batch(1, 1, START))
    stream.store(make_batch(2, 2, WORK))
    for again in (make_batch(1, 1, START), make_batch(2, 2, WORK)):
        (store,) = of(Store, stream.send(again))
        stream.machine.stored(store.key, "pos", duplicate=True)
        (acked,) = of(Acked, stream.machine.take_effects())
        assert (acked.ack.number, acked.ack.duplicate) == (again.number, True)
    stream.store(make_batch(3, 3, END))
    assert of(Acked, stream.store(make_batch(3, 3, END)))
    assert stream.refusal(make_batch(4, 4, WORK)).code == "lifecycle_violation"


def test_ids_and_texts_in_a_refusal_are_bounded() -> None:
    stream = Stream()
    (refused,) = of(Refused, stream.send(make_batch(1, 1, START, run_id="x" * 100_000)))
    assert refused.refusal.code == "id_invalid"
    assert refused.refusal.ByteSize() < 2048
