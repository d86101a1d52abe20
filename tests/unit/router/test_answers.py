"""Which answers are waited for: rule by rule, then against a plain model."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runcast.router.answers import AnswerBook
from runcast.router.effects import RequestKey, RunKey
from runcast.wire import limits
from runcast.wire.ids import UserKey

RUN = RunKey(UserKey("default", "alice"), "r")
Q1, Q2 = RequestKey(RUN, "q1"), RequestKey(RUN, "q2")
LOOK, ROUND = limits.ANSWER_LOOK_S, limits.ANSWER_ROUND_S


def test_what_is_asked_is_looked_for_at_once_soon_after_and_in_every_round() -> None:
    book: AnswerBook[str] = AnswerBook()
    assert (book.take_due(0.0), book.deadline()) == ([], None)
    book.ask("s1", Q1, 10.0)
    assert book.take_due(10.0) == [Q1]
    assert (book.take_due(10.0), book.deadline()) == ([], 10.0 + LOOK)
    assert book.take_due(10.0 + LOOK) == [Q1]
    for times in (1, 2, 3):
        assert book.deadline() == 10.0 + times * ROUND
        assert book.take_due(10.0 + times * ROUND) == [Q1]
    assert book.heard(Q1) == ["s1"]
    assert book.take_due(10.0 + 4 * ROUND) == []
    assert (len(book), book.deadline()) == (0, None)


def test_everybody_who_waits_is_told_once() -> None:
    book: AnswerBook[str] = AnswerBook()
    for owner in ("s1", "s2", "s1", "s3"):
        book.ask(owner, Q1, 0.0)
    book.drop("s3", Q1)
    book.drop("s3", Q2)
    assert book.heard(Q2) == []
    assert book.heard(Q1) == ["s1", "s2"]
    assert book.heard(Q1) == []


def test_after_a_loss_everything_is_looked_for_again() -> None:
    book: AnswerBook[str] = AnswerBook()
    book.ask("s1", Q1, 0.0)
    book.ask("s1", Q2, 0.0)
    taken = book.take_due(0.0)
    book.heard(Q1)
    book.not_looked(taken)
    assert book.take_due(0.0) == [Q2]
    book.look_again(1.0)
    assert book.take_due(1.0) == [Q2]
    assert book.take_due(1.0 + LOOK) == [Q2]


def test_one_look_asks_for_so_much() -> None:
    book: AnswerBook[str] = AnswerBook()
    for number in range(limits.VERIFY_SUBJECTS_MAX + 1):
        book.ask("s1", RequestKey(RUN, str(number)), 0.0)
    assert [len(book.take_due(0.0)) for _ in range(3)] == [limits.VERIFY_SUBJECTS_MAX, 1, 0]


class Book(RuleBasedStateMachine):
    """Whatever happens, what is waited for is looked for in time, and nothing else is."""

    requests = st.builds(RequestKey, st.just(RUN), st.sampled_from("abc"))
    owners = st.sampled_from(["s1", "s2"])

    def __init__(self) -> None:
        super().__init__()
        self.book: AnswerBook[str] = AnswerBook()
        self.now = 0.0
        self.waiting: dict[RequestKey, set[str]] = {}
        self.looked: dict[RequestKey, float] = {}

    @rule(owner=owners, request=requests)
    def ask(self, owner: str, request: RequestKey) -> None:
        self.book.ask(owner, request, self.now)
        self.waiting.setdefault(request, set()).add(owner)
        self.looked.pop(request, None)

    @rule(owner=owners, request=requests)
    def drop(self, owner: str, request: RequestKey) -> None:
        self.book.drop(owner, request)
        self.waiting.get(request, set()).discard(owner)
        self.waiting = {key: owners for key, owners in self.waiting.items() if owners}

    @rule(request=requests)
    def hear(self, request: RequestKey) -> None:
        assert set(self.book.heard(request)) == self.waiting.pop(request, set())

    @rule()
    def look_again(self) -> None:
        self.book.look_again(self.now)
        self.looked.clear()

    @rule(step=st.floats(0.0, 2 * ROUND), works=st.booleans())
    def pass_time(self, step: float, works: bool) -> None:
        self.now = min(self.now + step, self.book.deadline() or self.now + step)
        due = self.book.take_due(self.now)
        assert set(due) <= set(self.waiting), "what nobody waits for is not looked for"
        if not works:
            self.book.not_looked(due)
            due = self.book.take_due(self.now)
        self.looked |= dict.fromkeys(due, self.now)
        assert all(self.now - self.looked[request] <= ROUND for request in self.waiting), "each is looked for in every round"
        assert self.book.take_due(self.now) == []

    @invariant()
    def counts(self) -> None:
        assert len(self.book) == len(self.waiting)


Book.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_book = Book.TestCase
