"""The ingest machine: named runs, cancels, answers, what is given up."""

import pytest

from runcast.router.effects import (
    Acked,
    Answered,
    Asked,
    Cancelled,
    Closed,
    Dropped,
    End,
    GivenUp,
    Opened,
    RequestKey,
    Settled,
    Store,
)
from runcast.v1.event_pb2 import User
from runcast.v1.ingest_pb2 import AnswerAsk, PublishRequest, RunAbandon
from tests.unit.router.ingest_stream import END, RUN, START, WORK, Stream, make_batch, name, of


def test_a_run_without_anything_to_send_is_open_once_named_and_hears_of_a_cancel() -> None:
    stream = Stream()
    for _ in range(2):
        stream.machine.receive(name())
    assert stream.machine.take_effects() == [Opened(RUN)]
    stream.machine.cancel(RUN, "enough")
    assert [effect.cancel.reason for effect in of(Cancelled, stream.machine.take_effects())] == ["enough"]
    opening = [effect for effect in stream.store(make_batch(5, 9, WORK)) if isinstance(effect, Opened | Closed)]
    assert opening == [], "it was open already"
    assert of(Closed, stream.store(make_batch(6, 10, END))) == [Closed(RUN)]
    stream.machine.receive(name())
    assert stream.machine.take_effects() == [], "it has ended"


@pytest.mark.parametrize("last", [END, WORK])
def test_a_named_run_is_closed_once_by_its_end_and_by_the_stream_s(last: str) -> None:
    stream = Stream()
    stream.machine.receive(name())
    closed = of(Closed, stream.store(make_batch(5, 9, last)))
    stream.machine.close()
    assert closed + of(Closed, stream.machine.take_effects()) == [Closed(RUN)]


def test_named_runs_are_bounded() -> None:
    stream = Stream(runs_max=2)
    stream.machine.receive(name(1, "a", "b", "c"))
    assert [effect.run.run_id for effect in of(Opened, stream.machine.take_effects())] == ["a", "b"]
    assert of(Closed, stream.store(make_batch(2, 2, END, run_id="a")))
    stream.machine.receive(name(1, "c"))
    assert [effect.run.run_id for effect in of(Opened, stream.machine.take_effects())] == ["c"]


@pytest.mark.parametrize("told", [name(0), name(1, "x" * 200)])
def test_a_run_that_can_t_be_read_ends_the_stream(told: PublishRequest) -> None:
    stream = Stream()
    stream.machine.receive(told)
    assert of(End, stream.machine.take_effects())


# --- answers of users ---

QUESTION = RequestKey(RUN, "q")


def ask(request_id: str = "q", *, run_id: str = "r", dropped: bool = False) -> PublishRequest:
    user = User(tenant="default", id="alice")
    return PublishRequest(answer_asks=[AnswerAsk(user=user, run_id=run_id, request_id=request_id, dropped=dropped)])


def test_an_answer_is_told_once_to_who_waits_for_it() -> None:
    stream = Stream()
    stream.machine.answered(QUESTION, b"true", "d1")
    assert stream.machine.take_effects() == []
    stream.machine.receive(ask())
    stream.machine.receive(ask())
    assert stream.machine.take_effects() == [Asked(QUESTION), Opened(RUN)]
    for _ in range(2):
        stream.machine.answered(QUESTION, b"true", "d1")
    answered, closed = stream.machine.take_effects()
    assert isinstance(answered, Answered)
    told = answered.answer
    assert (told.user.id, told.run_id, told.request_id, told.value_json, told.device) == ("alice", "r", "q", b"true", "d1")
    assert closed == Closed(RUN)


def test_an_answer_that_was_dropped_is_not_told() -> None:
    stream = Stream()
    stream.machine.receive(ask())
    stream.machine.receive(ask(dropped=True))
    stream.machine.receive(ask(dropped=True))
    assert stream.machine.take_effects()[2:] == [Dropped(QUESTION), Closed(RUN)]
    stream.machine.answered(QUESTION, b"true", "d1")
    stream.machine.receive(ask())
    stream.machine.take_effects()
    stream.machine.close()
    stream.machine.answered(QUESTION, b"true", "d1")
    assert stream.machine.take_effects() == [Closed(RUN), Dropped(QUESTION)]


def test_a_run_that_only_waits_for_an_answer_hears_of_a_cancel() -> None:
    """Another router had it before, and it has nothing to send."""
    stream = Stream()
    stream.machine.receive(ask())
    stream.machine.cancel(RUN, "enough")
    assert len(of(Cancelled, stream.machine.take_effects())) == 1
    assert of(Closed, stream.store(make_batch(7, 9, END))) == [], "the answer is still waited for"
    stream.machine.receive(ask(dropped=True))
    assert of(Closed, stream.machine.take_effects()) == [Closed(RUN)]


@pytest.mark.parametrize(
    ("code", "request_"),
    [("id_invalid", ask("")), ("id_invalid", ask(run_id="")), ("id_invalid", ask("q" * 129)), ("flow_control", ask("third"))],
)
def test_what_asks_for_too_much_or_nothing_ends_the_stream(code: str, request_: PublishRequest) -> None:
    stream = Stream(answers_max=2)
    for known in ("one", "two"):
        stream.machine.receive(ask(known))
    stream.machine.take_effects()
    stream.machine.receive(request_)
    (end,) = of(End, stream.machine.take_effects())
    assert end.error.code.name == code


# --- runs that are given up, and ends ---


def test_what_is_given_up_is_passed_on_and_answered_when_it_is_settled() -> None:
    stream = Stream()
    abandon = RunAbandon(user=User(tenant="default", id="alice"), run_id="r", attempt=2)
    stream.machine.receive(PublishRequest(abandons=[abandon]))
    assert stream.machine.take_effects() == [GivenUp(RUN, 2)]
    stream.machine.settled(RUN, 2)
    assert stream.machine.take_effects() == [Settled(abandon)]
    stream.machine.close()
    stream.machine.settled(RUN, 2)
    assert not of(Settled, stream.machine.take_effects())


@pytest.mark.parametrize(
    ("code", "abandon"),
    [
        ("id_invalid", RunAbandon(user=User(tenant="default"), run_id="r", attempt=1)),
        ("id_invalid", RunAbandon(user=User(tenant="default", id="alice"), attempt=1)),
        ("batch_invalid", RunAbandon(user=User(tenant="default", id="alice"), run_id="r")),
    ],
)
def test_what_names_no_run_can_t_be_given_up(code: str, abandon: RunAbandon) -> None:
    stream = Stream()
    stream.machine.receive(PublishRequest(abandons=[abandon]))
    assert [end.error.code.name for end in of(End, stream.machine.take_effects())] == [code]


def test_storage_is_told_which_batch_ends_its_run() -> None:
    stream = Stream()
    for number, kind, ends in ((1, START, False), (2, WORK, False), (3, END, True)):
        assert [store.ends for store in of(Store, stream.store(make_batch(number, number, kind)))] == [ends]
    assert [store.ends for store in of(Store, stream.store(make_batch(1, 1, START, END, run_id="short")))] == [True]


# --- runs ---


def test_runs_open_and_close_once() -> None:
    stream = Stream()
    assert [effect.run for effect in of(Opened, stream.store(make_batch(1, 1, START)))] == [RUN]
    assert not of(Opened, stream.store(make_batch(2, 2, WORK)))
    assert not of(Opened, stream.store(make_batch(1, 1, START, attempt=2)))
    assert not of(Closed, stream.store(make_batch(3, 3, END)))
    assert [effect.run for effect in of(Closed, stream.store(make_batch(2, 2, END, attempt=2)))] == [RUN]


def test_a_run_that_begins_and_ends_in_one_batch_needs_no_cancel() -> None:
    effects = Stream().store(make_batch(1, 1, START, END))
    assert not of(Opened, effects)
    assert not of(Closed, effects)


def test_a_cancel_is_told_once_while_the_run_is_open() -> None:
    stream = Stream()
    stream.machine.cancel(RUN, "early")
    assert not stream.machine.take_effects()
    stream.store(make_batch(1, 1, START))
    for _ in range(2):
        stream.machine.cancel(RUN, "enough")
    (cancelled,) = of(Cancelled, stream.machine.take_effects())
    assert (cancelled.cancel.user.id, cancelled.cancel.run_id, cancelled.cancel.reason) == ("alice", "r", "enough")
    stream.store(make_batch(2, 2, END))
    stream.machine.cancel(RUN, "late")
    assert not stream.machine.take_effects()


def test_the_longest_untouched_run_is_forgotten_but_none_under_way() -> None:
    stream = Stream(runs_max=2)
    stream.send(make_batch(1, 1, START, run_id="a"))
    stream.store(make_batch(1, 1, START, run_id="b"))
    effects = stream.store(make_batch(1, 1, START, run_id="c"))
    assert [effect.run.run_id for effect in of(Closed, effects)] == ["b"]
    assert of(Acked, stream.store(make_batch(7, 7, WORK, run_id="b")))  # now from the middle


def test_ended_runs_do_not_push_out_open_ones() -> None:
    stream = Stream(runs_max=2, ended_max=1)
    stream.store(make_batch(1, 1, START, run_id="a"))
    for index in range(5):
        stream.store(make_batch(1, 1, START, END, run_id=f"e{index}"))
    assert stream.refusal(make_batch(3, 3, WORK, run_id="a")).code == "batch_out_of_turn"
    assert stream.refusal(make_batch(2, 3, WORK, run_id="e4")).code == "lifecycle_violation"


def test_a_stream_that_is_gone_closes_its_runs() -> None:
    stream = Stream()
    (store,) = of(Store, stream.send(make_batch(1, 1, START)))
    stream.machine.close()
    assert [effect.run for effect in of(Closed, stream.machine.take_effects())] == [RUN]
    stream.machine.stored(store.key, "pos", duplicate=False)
    assert not of(Closed, stream.machine.take_effects())
