"""The machine of a Publish stream: each rule by itself, then all together against a model of what a stream owes its producer."""

import itertools
from collections.abc import Iterable
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, precondition, rule

from runcast.router.effects import (
    Acked,
    Answered,
    Asked,
    BatchKey,
    Cancelled,
    Closed,
    Dropped,
    Effect,
    End,
    GivenUp,
    Greeted,
    Left,
    Opened,
    Refused,
    RequestKey,
    RunKey,
    Settled,
    Store,
)
from runcast.router.ingest import ProducerStream
from runcast.v1.event_pb2 import TOOL_STATUS_OK, Batch, Event, User
from runcast.v1.ingest_pb2 import AnswerAsk, BatchRefusal, OpenRun, ProducerHello, PublishRequest, RunAbandon
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey

E = TypeVar("E", bound=tuple[object, ...])

START, WORK, END, TOOL, TOOL_END = "agent_started", "agent_thinking", "agent_completed", "tool_executing", "tool_completed"


def make_batch(number: int, first_seq: int, *kinds: str, run_id: str = "r", attempt: int = 1, user: str = "alice") -> Batch:
    batch = Batch(user=User(tenant="default", id=user), producer="p", run_id=run_id, attempt=attempt, number=number)
    for seq, kind in enumerate(kinds, first_seq):
        event = Event(id=f"{run_id}.{attempt}.{seq}", run_id=run_id, attempt=attempt, seq=seq, agent="a")
        getattr(event, kind).SetInParent()
        if kind == TOOL:
            event.tool_executing.tool_call_id = "t"
        if kind == TOOL_END:
            event.tool_completed.tool_call_id = "t"
            event.tool_completed.status = TOOL_STATUS_OK
        batch.events.append(event)
    return batch


def of(kind: type[E], effects: Iterable[Effect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


class Stream:
    """A machine with its hello said, and storage that answers when told."""

    def __init__(self, **bounds: int) -> None:
        self.machine = ProducerStream(**bounds)
        self.machine.receive(PublishRequest(hello=ProducerHello(producer="p", agent="a")))
        assert of(Greeted, self.machine.take_effects())

    def send(self, *batches: Batch) -> list[Effect]:
        self.machine.receive(PublishRequest(batches=batches))
        return self.machine.take_effects()

    def store(self, *batches: Batch) -> list[Effect]:
        effects = self.send(*batches)
        for effect in of(Store, effects):
            self.machine.stored(effect.key, "pos", duplicate=False)
        return [*effects, *self.machine.take_effects()]

    def refusal(self, batch: Batch) -> BatchRefusal:
        effects = self.send(batch)
        assert not of(Store, effects)
        assert not of(End, effects)
        (refused,) = of(Refused, effects)
        assert (refused.refusal.run_id, refused.refusal.number) == (batch.run_id, batch.number)
        return refused.refusal


RUN = RunKey(UserKey("default", "alice"), "r")


# --- runs that have nothing to send ---


def name(attempt: int = 1, *run_ids: str) -> PublishRequest:
    user = User(tenant="default", id="alice")
    return PublishRequest(open_runs=[OpenRun(user=user, run_id=run_id, attempt=attempt) for run_id in run_ids or ("r",)])


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


# --- everything together ---


class StreamModel(RuleBasedStateMachine):
    """Against a model: per run, the batches that are stored (in order), and the one under way."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream(window_batches=8, runs_max=1000)
        self.log: dict[str, list[tuple[int, int, int, bool]]] = {}  # number, first seq, last seq, ends
        self.waiting: dict[str, BatchKey] = {}
        self.content: dict[str, tuple[int, int, int, bool]] = {}
        self.open: set[str] = set()
        self.told: set[str] = set()
        self.leaving = False

    @initialize()
    def begin(self) -> None:
        assert self.stream.machine.producer == "p"

    def expected(self, run: str, number: int, first: int, kinds: list[str]) -> str:
        """The code that this batch must be refused with; "" when it must be stored."""
        stored = self.log.get(run, [])
        if self.leaving:
            return "draining"
        if number < 1 or not kinds or first < number or (number == 1 and first != 1):
            return "batch_invalid"
        if run in self.waiting:
            return "batch_out_of_turn"
        if stored and number <= stored[-1][0]:
            return ""
        if stored and stored[-1][3]:
            return "lifecycle_violation"
        if stored and number != stored[-1][0] + 1:
            return "batch_out_of_turn"
        if stored and first != stored[-1][2] + 1:
            return "batch_invalid"
        begun = bool(stored and stored[-1][0]) or number > 1
        for kind in kinds:
            if (kind == START) == begun:
                return "lifecycle_violation"
            begun = True
        return "lifecycle_violation" if END in kinds[:-1] else ""

    @precondition(lambda self: len(self.waiting) < 8)
    @rule(
        target=under_way,
        run=st.sampled_from("abc"),
        step=st.sampled_from([1, 1, 1, 1, 0, 2, -3]),
        shift=st.sampled_from([0, 0, 0, 0, 1, -1]),
        kinds=st.lists(st.sampled_from([START, WORK, WORK, WORK, END]), max_size=3),
    )
    def send(self, run: str, step: int, shift: int, kinds: list[str]) -> object:
        stored = self.log.get(run, [])
        number = max((stored[-1][0] if stored else 0) + step, 0)
        first = max((stored[-1][2] if stored else 0) + 1 + shift, 0)
        if not (stored and stored[-1][0]) and step == 1 and shift == 0 and kinds:
            kinds = [START, *kinds[1:]]
        code = self.expected(run, number, first, kinds)
        effects = self.stream.send(make_batch(number, first, *kinds, run_id=run))
        assert [refused.refusal.code for refused in of(Refused, effects)] == ([code] if code else [])
        assert not of(End, effects)
        self._note(effects)
        stores = of(Store, effects)
        assert len(stores) == (not code)
        if code:
            return multiple()
        self.waiting[run] = stores[0].key
        self.content[run] = (number, first, first + len(kinds) - 1, kinds[-1] == END)
        return run

    @rule(run=consumes(under_way), duplicate=st.booleans())
    def answer_stored(self, run: str, duplicate: bool) -> None:
        self.stream.machine.stored(self.waiting.pop(run), "pos", duplicate=duplicate)
        effects = self.stream.machine.take_effects()
        content = self.content.pop(run)
        (acked,) = of(Acked, effects)
        assert (acked.ack.run_id, acked.ack.number, acked.ack.duplicate) == (run, content[0], duplicate)
        stored = self.log.setdefault(run, [])
        if not stored or content[0] > stored[-1][0]:
            stored.append(content)
        self._note(effects)

    @rule(run=consumes(under_way), code=st.sampled_from(["unavailable", "indeterminate", "storage_full"]))
    def answer_failed(self, run: str, code: str) -> None:
        self.stream.machine.failed(self.waiting.pop(run), RuncastError("no", code=code))
        (refused,) = of(Refused, self.stream.machine.take_effects())
        content = self.content.pop(run)
        assert (refused.refusal.run_id, refused.refusal.number, refused.refusal.code) == (run, content[0], code)
        if run not in self.log:  # what was seen first stays the place to go on from
            self.log[run] = [(content[0] - 1, 0, content[1] - 1, False)]

    @rule(run=st.sampled_from("abc"))
    def cancel(self, run: str) -> None:
        self.stream.machine.cancel(RunKey(RUN.user, run), "stop")
        cancelled = of(Cancelled, self.stream.machine.take_effects())
        assert len(cancelled) == (run in self.open and run not in self.told)
        if cancelled:
            self.told.add(run)

    @precondition(lambda self: len(self.log) == 3)
    @rule()
    def leave(self) -> None:
        assert len(of(Left, self._leave())) == (not self.leaving)
        self.leaving = True

    def _leave(self) -> list[Effect]:
        self.stream.machine.leave("stop", 1000)
        return self.stream.machine.take_effects()

    def _note(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Opened):
                assert effect.run.run_id not in self.open
                self.open.add(effect.run.run_id)
            elif isinstance(effect, Closed):
                self.open.remove(effect.run.run_id)
                self.told.discard(effect.run.run_id)

    @invariant()
    def counts_what_is_under_way(self) -> None:
        assert self.stream.machine.unanswered == len(self.waiting)
        assert bool(self.stream.machine.unanswered_bytes) == bool(self.waiting)

    @invariant()
    def what_is_stored_has_no_hole(self) -> None:
        for stored in self.log.values():
            for before, after in itertools.pairwise(stored):
                assert (after[0], after[1]) == (before[0] + 1, before[2] + 1)
                assert not before[3]

    @invariant()
    def ended_runs_are_closed(self) -> None:
        assert not any(stored and stored[-1][3] and run in self.open for run, stored in self.log.items())
        assert {run.run_id for run in self.stream.machine.open_runs} == self.open


StreamModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestStreamModel = StreamModel.TestCase
