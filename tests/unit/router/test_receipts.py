"""Receipts against a model: delivered is said only for a cursor that covers the batch, and everything is answered once."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runcast.bus.cursors import Acknowledged
from runcast.router.effects import BatchKey, RunKey
from runcast.router.receipts import Answer, Check, Confirm, Hurry, Look, ReceiptTracker, Unwatch, Watch
from runcast.v1.ingest_pb2 import (
    RECEIPT_OUTCOME_DELIVERED,
    RECEIPT_OUTCOME_EXPIRED,
    RECEIPT_OUTCOME_OFFLINE,
    RECEIPT_OUTCOME_STORED,
    Receipt,
)
from runcast.wire import limits
from runcast.wire.ids import UserKey
from runcast.wire.position import Position

EPOCH = "abcdefgh"
ALICE, BOB = UserKey("default", "alice"), UserKey("default", "bob")


def batch(number: int, user: UserKey = ALICE, run: str = "r") -> BatchKey:
    return BatchKey(RunKey(user, run), 1, number)


def at(seq: int, epoch: str = EPOCH) -> Position:
    return Position(epoch, seq)


def upto(seq: int, since: int = 0, epoch: str = EPOCH) -> Acknowledged:
    return Acknowledged(epoch, since, seq)


def answers(tracker: ReceiptTracker) -> list[tuple[object, int, str, int]]:
    return [
        (effect.owner, effect.receipt.outcome, effect.receipt.device, effect.receipt.latency_ms)
        for effect in tracker.take_effects()
        if isinstance(effect, Answer | Confirm)
    ]


def waiting(seq: int = 5, *, deadline_s: float = 2.0) -> ReceiptTracker:
    """A tracker with one batch of alice at `seq`, asked by "s" at 10.0."""
    tracker = ReceiptTracker()
    tracker.expect("s", batch(1), at(seq), 10.0, deadline_s=deadline_s)
    assert tracker.take_effects() == [Watch(ALICE)]
    return tracker


def test_a_cursor_that_covers_it_is_a_delivery() -> None:
    tracker = waiting(5)
    tracker.cursor(ALICE, "d", upto(4), 10.1)
    assert tracker.take_effects() == []
    tracker.cursor(ALICE, "d", upto(6), 10.25)
    assert answers(tracker) == [("s", RECEIPT_OUTCOME_DELIVERED, "d", 250)]
    tracker.cursor(ALICE, "d", upto(7), 10.3)
    assert tracker.take_effects() == []


def test_what_does_not_cover_it_is_none() -> None:
    tracker = waiting(5)
    for user, cursor in ((BOB, upto(9)), (ALICE, upto(9, since=5)), (ALICE, upto(9, epoch="bbbbbbbb")), (ALICE, upto(4))):
        tracker.cursor(user, "d", cursor, 10.1)
    assert tracker.take_effects() == []
    assert tracker.waiting == 1


def test_at_the_deadline_cursors_are_read_before_anything_is_said() -> None:
    for online, outcome in ((True, RECEIPT_OUTCOME_EXPIRED), (False, RECEIPT_OUTCOME_OFFLINE), (None, RECEIPT_OUTCOME_STORED)):
        tracker = waiting(5)
        assert tracker.deadline() == 10.0 + limits.RECEIPT_LOOK_S
        tracker.tick(10.0 + limits.RECEIPT_LOOK_S)
        assert tracker.take_effects() == [Look(ALICE)]
        assert tracker.deadline() == 12.0
        tracker.tick(12.0)
        assert tracker.take_effects() == [Check(ALICE)]
        tracker.tick(12.5)
        assert tracker.take_effects() == []
        tracker.checked(ALICE, 12.75, online=online)
        assert answers(tracker) == [("s", outcome, "", 2750)]


def test_an_acknowledgement_during_the_check_counts() -> None:
    tracker = waiting(5)
    tracker.tick(12.0)
    tracker.take_effects()
    tracker.cursor(ALICE, "d", upto(5), 12.1)
    tracker.checked(ALICE, 12.2, online=True)
    assert answers(tracker) == [("s", RECEIPT_OUTCOME_DELIVERED, "d", 2100)]


def test_a_check_answers_what_was_due_when_it_began() -> None:
    tracker = waiting(5)
    tracker.expect("s", batch(2), at(6), 10.1, deadline_s=2.0)
    tracker.tick(12.0)
    tracker.take_effects()
    tracker.checked(ALICE, 12.2, online=True)
    assert [outcome for _, outcome, _, _ in answers(tracker)] == [RECEIPT_OUTCOME_EXPIRED]
    tracker.tick(12.2)
    assert tracker.take_effects() == [Check(ALICE)]


def test_a_watch_is_shared_lingers_and_remembers() -> None:
    tracker = waiting(5)
    tracker.cursor(ALICE, "d", upto(8), 10.1)
    tracker.take_effects()
    tracker.expect("t", batch(1, run="other"), at(8), 11.0, deadline_s=2.0)
    assert answers(tracker) == [("t", RECEIPT_OUTCOME_DELIVERED, "d", 0)]
    tracker.expect("t", batch(2, run="other"), at(9), 11.0, deadline_s=2.0)
    assert tracker.take_effects() == []
    tracker.cursor(ALICE, "d", upto(9), 11.5)
    tracker.take_effects()
    tracker.tick(11.5 + limits.RECEIPT_LINGER_S - 0.01)
    assert tracker.take_effects() == []
    tracker.tick(11.5 + limits.RECEIPT_LINGER_S)
    assert tracker.take_effects() == [Unwatch(ALICE)]
    assert (tracker.watched, tracker.deadline()) == (0, None)


def test_what_was_stored_before_is_looked_up_and_hurried() -> None:
    tracker = ReceiptTracker()
    tracker.expect("s", batch(1), at(5), 10.0, deadline_s=2.0, elapsed_s=3.0, late=True)
    assert tracker.take_effects() == [Watch(ALICE), Hurry(ALICE, at(5))]
    tracker.expect("s", batch(2), at(6), 10.0, deadline_s=2.0, late=True)
    assert tracker.take_effects() == [Look(ALICE), Hurry(ALICE, at(6))]
    tracker.cursor(ALICE, "d", upto(5), 10.5)
    assert answers(tracker) == [("s", RECEIPT_OUTCOME_DELIVERED, "d", 3500)]


def test_asked_again_it_waits_for_the_later_deadline_and_is_answered_once() -> None:
    tracker = waiting(5)
    tracker.expect("s", batch(1), at(5), 11.0, deadline_s=4.0)
    tracker.expect("s", batch(1), at(5), 11.0, deadline_s=1.0)
    tracker.tick(12.0)
    assert tracker.take_effects() == [Look(ALICE)]
    tracker.tick(15.0)
    assert tracker.take_effects() == [Check(ALICE)]
    tracker.checked(ALICE, 15.0, online=False)
    assert len(answers(tracker)) == 1


def test_no_more_than_the_bound_is_awaited_and_the_next_is_told_at_once() -> None:
    tracker = ReceiptTracker(per_owner_max=2)
    for number in (1, 2, 3):
        tracker.expect("s", batch(number), at(number), 10.0, deadline_s=2.0)
    tracker.expect("t", batch(1, run="other"), at(4), 10.0, deadline_s=2.0)
    assert answers(tracker) == [("s", RECEIPT_OUTCOME_STORED, "", 0)]
    assert tracker.waiting == 3


def test_who_is_gone_is_told_nothing() -> None:
    tracker = waiting(5)
    tracker.expect("t", batch(1, run="other"), at(5), 10.0, deadline_s=2.0)
    tracker.forget("s", 10.5)
    tracker.cursor(ALICE, "d", upto(5), 11.0)
    assert [owner for owner, *_ in answers(tracker)] == ["t"]


def test_a_user_who_cannot_be_watched() -> None:
    tracker = waiting(5)
    tracker.abandon(ALICE, 10.1)
    effects = tracker.take_effects()
    assert isinstance(effects[0], Answer)
    assert effects[0].receipt.outcome == RECEIPT_OUTCOME_STORED
    assert effects[1:] == [Unwatch(ALICE)]
    assert tracker.watched == 0


class TrackerMachine(RuleBasedStateMachine):
    """Any order of questions, cursors, time, checks and departures."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = ReceiptTracker(per_owner_max=6)
        self.now = 100.0
        self.numbers = 0
        self.open: dict[tuple[object, str, int], tuple[UserKey, int, float]] = {}  # owner, run, number -> user, seq, deadline
        self.heard: dict[UserKey, dict[str, list[Acknowledged]]] = {ALICE: {}, BOB: {}}
        self.watched: set[UserKey] = set()
        self.checks: dict[UserKey, float] = {}

    def carry_out(self, *, outcome: int | None = None) -> None:
        for effect in self.tracker.take_effects():
            match effect:
                case Answer(owner, receipt):
                    assert receipt.outcome != RECEIPT_OUTCOME_DELIVERED, "not without asking for later attempts"
                    self.judge(owner, receipt, outcome)
                case Confirm(owner, run, receipt):
                    assert (receipt.outcome, receipt.run_id) == (RECEIPT_OUTCOME_DELIVERED, run.run_id)
                    self.judge(owner, receipt, outcome)
                case Watch(user):
                    assert user not in self.watched
                    self.watched.add(user)
                    self.heard[user] = {}
                case Unwatch(user):
                    self.watched.discard(user)
                    assert all(waits[0] != user for waits in self.open.values())
                case Check(user):
                    assert user not in self.checks, "two checks of a user at once"
                    self.checks[user] = self.now
                case Look(user) | Hurry(user, _):
                    assert user in self.watched

    def judge(self, owner: object, receipt: Receipt, outcome: int | None) -> None:
        place = (owner, receipt.run_id, receipt.number)
        assert place in self.open, "answered twice, or never asked"
        user, seq, deadline = self.open.pop(place)
        if receipt.outcome == RECEIPT_OUTCOME_DELIVERED:
            assert any(cursor.covers(at(seq)) for cursor in self.heard[user][receipt.device]), "a false receipt"
        elif receipt.outcome == RECEIPT_OUTCOME_STORED and outcome is None:
            assert sum(1 for other in self.open if other[0] == owner) >= 6
        else:
            assert receipt.outcome == outcome
            assert deadline <= self.now
            assert not any(cursor.covers(at(seq)) for device in self.heard[user].values() for cursor in device[-1:]), "it was delivered"

    @rule(
        owner=st.sampled_from(["s", "t"]),
        user=st.sampled_from([ALICE, BOB]),
        seq=st.integers(1, 20),
        deadline_s=st.sampled_from([0.5, 2.0, 9.0]),
        late=st.booleans(),
    )
    def expect(self, owner: str, user: UserKey, seq: int, deadline_s: float, late: bool) -> None:
        self.numbers += 1
        self.open[owner, "r", self.numbers] = (user, seq, self.now + deadline_s)
        self.tracker.expect(owner, batch(self.numbers, user), at(seq), self.now, deadline_s=deadline_s, late=late)
        self.carry_out()

    @rule(user=st.sampled_from([ALICE, BOB]), device=st.sampled_from("de"), seq=st.integers(0, 20), since=st.sampled_from([0, 0, 7]))
    def cursor(self, user: UserKey, device: str, seq: int, since: int) -> None:
        cursor = upto(max(seq, since), since)
        known = self.heard[user].setdefault(device, [])
        if not known or known[-1].seq <= cursor.seq:
            known.append(cursor)
        else:
            known.insert(0, cursor)
        self.tracker.cursor(user, device, cursor, self.now)
        self.carry_out()

    @rule(pass_s=st.sampled_from([0.1, 0.5, 2.0, 6.0]))
    def pass_time(self, pass_s: float) -> None:
        self.now += pass_s
        self.tracker.tick(self.now)
        self.carry_out()

    @precondition(lambda self: self.checks)
    @rule(data=st.data(), online=st.sampled_from([True, False, None]))
    def finish_check(self, data: st.DataObject, online: bool | None) -> None:
        user = data.draw(st.sampled_from(sorted(self.checks)))
        del self.checks[user]
        self.tracker.checked(user, self.now, online=online)
        outcome = {True: RECEIPT_OUTCOME_EXPIRED, False: RECEIPT_OUTCOME_OFFLINE, None: RECEIPT_OUTCOME_STORED}[online]
        self.carry_out(outcome=outcome)

    @rule(owner=st.sampled_from(["s", "t"]))
    def leave(self, owner: str) -> None:
        self.open = {place: waits for place, waits in self.open.items() if place[0] != owner}
        self.tracker.forget(owner, self.now)
        self.carry_out()

    @invariant()
    def nothing_is_forgotten(self) -> None:
        assert self.tracker.waiting == len(self.open)
        assert self.tracker.watched == len(self.watched)
        wake_at = self.tracker.deadline()
        for user, _, deadline in self.open.values():
            assert user in self.watched
            assert user in self.checks or (wake_at if wake_at is not None else math.inf) <= deadline
        if self.watched and not self.checks:
            assert wake_at is not None, "somebody would be watched for ever"


TestTracker = TrackerMachine.TestCase
TestTracker.settings = settings(max_examples=150, stateful_step_count=40)
