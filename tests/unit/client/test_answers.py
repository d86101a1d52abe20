"""The answers that an agent waits for: over streams that break and attempts that take turns; then against a plain model."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runcast.client.answers import AnswerBook, AnsweredAsk, GivenAnswer
from runcast.client.errors import RunKey
from runcast.v1.event_pb2 import User
from runcast.v1.ingest_pb2 import RunAnswer
from runcast.wire.errors import LifecycleError, RuncastError
from tests.unit.client.events import key

RUN = key("r1")
ENDED = LifecycleError("ended")


def answer(request_id: str = "q", run_id: str = "r1", user: str = "alice", value: bytes = b"true") -> RunAnswer:
    return RunAnswer(user=User(tenant="default", id=user), run_id=run_id, request_id=request_id, value_json=value, device="d")


def told(book: AnswerBook) -> list[tuple[str, bool]]:
    return [(ask.request_id, ask.dropped) for ask in book.take_asks()]


def test_an_answer_is_told_once_to_who_waits_for_it() -> None:
    book = AnswerBook()
    book.ask("t", RUN, "q")
    [ask] = book.take_asks()
    assert (ask.user.tenant, ask.user.id, ask.run_id, ask.request_id, ask.dropped) == ("default", "alice", "r1", "q", False)
    for stray in (answer("other"), answer(run_id="r2"), answer(user="bob")):
        book.received(stray)
    assert book.take_results() == []
    book.received(answer())
    book.received(answer(value=b"false"))
    assert book.take_results() == [AnsweredAsk("t", GivenAnswer(b"true", "d"))]
    book.drop(RUN, "q")
    book.disconnected()
    assert (told(book), len(book)) == ([], 0)


def test_a_new_stream_is_told_everything_and_an_old_one_what_is_dropped() -> None:
    book = AnswerBook()
    for request in ("a", "b", "c"):
        book.ask(request, RUN, request)
    book.drop(RUN, "c")
    assert told(book) == [("a", False), ("b", False)], "what was never told need not be taken back"
    book.drop(RUN, "a")
    book.drop(RUN, "unknown")
    assert told(book) == [("a", True)]
    book.drop(RUN, "b")
    book.ask("b2", RUN, "b")
    assert told(book) == [("b", False)]
    book.disconnected()
    assert told(book) == [("b", False)]


def test_two_attempts_that_ask_the_same_get_the_same_answer() -> None:
    book = AnswerBook()
    second = key("r1", attempt=2)
    book.ask("one", RUN, "q")
    book.ask("two", second, "q")
    with pytest.raises(LifecycleError):
        book.ask("again", RUN, "q")
    assert told(book) == [("q", False)]
    book.failed(RUN, ENDED)
    assert told(book) == []
    book.received(answer())
    assert book.take_results() == [AnsweredAsk("one", ENDED), AnsweredAsk("two", GivenAnswer(b"true", "d"))]


def test_what_can_t_be_waited_for_is_told() -> None:
    book = AnswerBook(awaited_max=2)
    book.ask("a", RUN, "a")
    book.ask("b", key("r2"), "b")
    with pytest.raises(RuncastError) as caught:
        book.ask("c", RUN, "c")
    assert (caught.value.code.name, caught.value.code.retry) == ("rate_limited", True)
    book.failed(RUN, ENDED)
    book.close(ENDED)
    assert book.take_results() == [AnsweredAsk("a", ENDED), AnsweredAsk("b", ENDED)]
    assert (told(book), len(book)) == ([], 0)


class Book(RuleBasedStateMachine):
    """A router that believes what it is told waits for exactly what the process waits for; every ticket gets one result."""

    keys = st.sampled_from([key("r1"), key("r1", attempt=2), key("r2")])
    requests = st.sampled_from("abc")

    def __init__(self) -> None:
        super().__init__()
        self.book = AnswerBook(awaited_max=4)
        self.router: set[tuple[str, str]] = set()
        self.waiting: dict[tuple[RunKey, str], int] = {}
        self.results: dict[int, object] = {}
        self.tickets = 0

    @rule(run=keys, request=requests)
    def ask(self, run: RunKey, request: str) -> None:
        self.tickets += 1
        open_ = {(each.run_id, name) for each, name in self.waiting}
        full = len(open_) >= 4 and (run.run_id, request) not in open_
        try:
            self.book.ask(self.tickets, run, request)
        except RuncastError:
            assert full or (run, request) in self.waiting
        else:
            assert not full
            self.waiting[run, request] = self.tickets

    @rule(run=keys, request=requests)
    def drop(self, run: RunKey, request: str) -> None:
        self.book.drop(run, request)
        self.waiting.pop((run, request), None)

    @rule()
    def tell(self) -> None:
        for ask in self.book.take_asks():
            name = (ask.run_id, ask.request_id)
            assert (name in self.router) == ask.dropped, "nothing is told twice"
            (self.router.remove if ask.dropped else self.router.add)(name)
        assert self.router == {(run.run_id, request) for run, request in self.waiting}

    @rule()
    def lose_the_stream(self) -> None:
        self.router.clear()
        self.book.disconnected()

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        if not self.router:
            return
        run_id, request = name = data.draw(st.sampled_from(sorted(self.router)))
        self.router.remove(name)
        self.book.received(answer(request, run_id))
        self.settle({place for place in self.waiting if (place[0].run_id, place[1]) == name})

    @rule(run=keys)
    def fail(self, run: RunKey) -> None:
        self.book.failed(run, ENDED)
        self.settle({place for place in self.waiting if place[0] == run})

    def settle(self, places: set[tuple[RunKey, str]]) -> None:
        assert {ticket for ticket, _ in self.book.take_results()} == {self.waiting.pop(place) for place in places}

    @invariant()
    def counts(self) -> None:
        assert len(self.book) == len({(run.run_id, request) for run, request in self.waiting})
        assert self.book.take_results() == []


Book.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
test_book = Book.TestCase
