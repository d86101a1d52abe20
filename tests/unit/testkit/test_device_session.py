from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runcast.testkit.device_session import (
    TABLE,
    Answered,
    Broken,
    Deliver,
    DeviceSession,
    GiveUp,
    Opened,
    Phase,
    Step,
    Transmit,
)
from runcast.v1.event_pb2 import AgentStarted, Event
from runcast.wire import limits, limits_client
from runcast.wire.codes import CODES
from runcast.wire.frames import Ack, Batch, Drain, Error, Hello, Limits, Ping, Pong, Send, Sent, Welcome
from runcast.wire.position import SNAPSHOT_EPOCH, Position

EPOCH = "aaaaaaaa"


def at(seq: int, epoch: str = EPOCH) -> str:
    return str(Position(epoch, seq))


def welcome(position: int, tip: int, outcome: Any = "resumed", epoch: str = EPOCH) -> Welcome:
    return Welcome(outcome, at(position, epoch), at(tip, epoch), "default", "u", "d", Limits(1, 1, 1, 20_000), "e", "0")


def batch(prev: int, pos: int, count: int = 1) -> Batch:
    return Batch(at(prev), at(pos), [Event(id=f"{pos}.{n}") for n in range(count)])


def opened(position: int = 0, **more: Any) -> DeviceSession:
    session = DeviceSession("d", "earliest", **more)
    session.connected(0.0)
    session.receive_frame(welcome(position, position), 0.0)
    session.take_effects()
    return session


STEPS: dict[Step, Callable[[DeviceSession], None]] = {
    Step.CONNECTED: lambda s: s.connected(0.0),
    Step.WELCOMED: lambda s: s.receive_frame(welcome(0, 0), 0.0),
    Step.LOST: lambda s: s.lost(),
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("step", Step)
def test_table(phase: Phase, step: Step) -> None:
    session = DeviceSession("d")
    if phase is not Phase.CLOSED:
        session.connected(0.0)
    if phase is Phase.OPEN:
        session.receive_frame(welcome(0, 0), 0.0)
    session.take_effects()
    after = TABLE[phase].get(step)
    if after is not None:
        STEPS[step](session)
        assert session.phase is after
    elif step is Step.CONNECTED:
        with pytest.raises(RuntimeError):
            STEPS[step](session)
    else:
        STEPS[step](session)  # losing twice, a frame read after the end: no harm; a second welcome: a broken promise
        assert session.phase is phase
        assert [type(effect) for effect in session.take_effects()] == ([Broken] if (phase, step) == (Phase.OPEN, Step.WELCOMED) else [])


def test_hello_says_where_it_is() -> None:
    session = DeviceSession("d", "latest")
    session.connected(0.0)
    assert session.take_effects() == [Transmit(Hello("d", "latest", snapshot=False))]
    session.receive_frame(welcome(3, 5), 0.0)
    assert isinstance(session.take_effects()[0], Opened)
    session.receive_frame(batch(3, 5), 0.0)
    assert session.caught_up
    session.lost()
    session.take_effects()
    session.connected(1.0)
    assert session.take_effects() == [Transmit(Hello("d", at(5), snapshot=False))]


@pytest.mark.parametrize(("asked", "later"), [(True, None), (False, False), (None, None)])
def test_a_snapshot_is_asked_for_until_the_device_holds_something(asked: bool | None, later: bool | None) -> None:
    session = DeviceSession("d", "earliest", snapshot=asked)
    session.connected(0.0)
    assert session.take_effects() == [Transmit(Hello("d", "earliest", snapshot=asked))]
    session.receive_frame(msgspec.structs.replace(welcome(0, 0), position=at(0, SNAPSHOT_EPOCH), tip=at(9), outcome="snapshot"), 0.0)
    session.receive_frame(Batch(at(0, SNAPSHOT_EPOCH), at(1, SNAPSHOT_EPOCH), [Event(id="a")]), 0.0)
    assert not session.caught_up
    session.lost()
    session.take_effects()
    session.connected(1.0)
    assert session.take_effects() == [Transmit(Hello("d", at(1, SNAPSHOT_EPOCH), snapshot=asked))]
    session.receive_frame(msgspec.structs.replace(welcome(0, 0), position=at(0, SNAPSHOT_EPOCH), tip=at(9), outcome="snapshot"), 1.0)
    session.receive_frame(Batch(at(0, SNAPSHOT_EPOCH), at(9), [Event(id="a"), Event(id="b")]), 1.0)
    assert session.caught_up
    assert session.snapshots == 2
    assert not any(isinstance(effect, Broken) for effect in session.take_effects())
    session.lost()
    session.connected(2.0)
    assert session.take_effects() == [Transmit(Hello("d", at(9), snapshot=later))]
    session.lost()
    session.ask_snapshot()
    session.connected(4.0)
    assert session.wants_snapshot is True
    assert session.take_effects() == [Transmit(Hello("d", at(9), snapshot=True))]


def test_chain_repeats_and_breaks() -> None:
    session = opened()
    session.receive_frame(batch(0, 4, 2), 0.0)
    session.receive_frame(batch(0, 4, 2), 0.0)
    session.receive_frame(batch(4, 9), 0.0)
    delivered = [effect.pos for effect in session.take_effects() if isinstance(effect, Deliver)]
    assert delivered == [at(4), at(9)]
    assert session.repeats == 1
    session.receive_frame(batch(10, 12), 0.0)
    (effect,) = session.take_effects()
    assert isinstance(effect, Broken)
    assert at(10) in effect.message
    assert session.position == at(9)


@pytest.mark.parametrize("frame", [Batch("x", "y", []), Batch(at(0, "bbbbbbbb"), at(1, "bbbbbbbb"), [])])
def test_foreign_positions_break_the_chain(frame: Batch) -> None:
    session = opened()
    session.receive_frame(frame, 0.0)
    assert isinstance(session.take_effects()[0], Broken)


def test_resumed_elsewhere_is_a_break_and_reset_is_not() -> None:
    for outcome, broken in (("resumed", True), ("reset", False)):
        session = opened(7)
        session.lost()
        session.connected(1.0)
        session.take_effects()
        session.receive_frame(welcome(9, 9, outcome), 1.0)
        assert isinstance(session.take_effects()[0], Broken) is broken
        assert session.resets == (not broken)


def test_acks_at_a_count_or_after_a_delay() -> None:
    session = opened()
    session.receive_frame(batch(0, 1, limits_client.DEVICE_ACK_EVENTS - 1), 1.0)
    assert [type(e) for e in session.take_effects()] == [Deliver]
    assert session.deadline() == 1.0 + limits_client.DEVICE_ACK_DELAY_S
    session.receive_frame(batch(1, 2), 1.0)
    assert session.take_effects()[-1] == Transmit(Ack(at(2)))
    session.receive_frame(batch(2, 3), 2.0)
    session.tick(2.0 + limits_client.DEVICE_ACK_DELAY_S)
    assert session.take_effects()[-1] == Transmit(Ack(at(3)))
    session.tick(3.0)
    assert session.take_effects() == []


def test_without_ack_only_when_told() -> None:
    session = opened(ack=False)
    session.receive_frame(batch(0, 1, 1000), 0.0)
    session.tick(5.0)
    assert [type(e) for e in session.take_effects()] == [Deliver]
    session.acknowledge()
    assert session.take_effects() == [Transmit(Ack(at(1)))]


def test_silence_is_pinged_then_given_up() -> None:
    session = opened()
    assert session.deadline() == 20.0
    session.tick(20.0)
    assert session.take_effects() == [Transmit(Ping())]
    session.receive_frame(Pong(), 21.0)
    assert session.deadline() == 41.0
    session.tick(41.0)
    session.take_effects()
    session.tick(61.0)
    assert session.take_effects() == [GiveUp("a ping was not answered")]


def test_no_welcome_is_given_up() -> None:
    session = DeviceSession("d")
    session.connected(5.0)
    session.take_effects()
    deadline = session.deadline()
    assert deadline == 5.0 + limits.HELLO_TIMEOUT_S
    session.tick(deadline)
    assert session.take_effects() == [GiveUp("no welcome came")]


def test_sends_go_out_again_until_answered() -> None:
    session = DeviceSession("d")
    first, second = Send("1", "message", "g", "t", "hi"), Send("2", "cancel", run_id="r")
    session.send(first)
    assert session.take_effects() == []
    session.connected(0.0)
    session.receive_frame(welcome(0, 0), 0.0)
    assert session.take_effects()[-1] == Transmit(first)
    session.send(second)
    with pytest.raises(ValueError, match="not answered"):
        session.send(second)
    session.receive_frame(Sent("1"), 0.0)
    session.receive_frame(Sent("1"), 0.0)
    refusal = Error("send_invalid", "no", id="2")
    session.lost()
    session.take_effects()
    session.connected(1.0)
    session.receive_frame(welcome(0, 0), 1.0)
    assert session.take_effects()[-1] == Transmit(second)
    session.receive_frame(refusal, 1.0)
    assert session.take_effects() == [Answered("2", False, refusal)]


def test_sends_are_bounded() -> None:
    session = opened()
    for n in range(limits.SENDS_IN_FLIGHT_MAX):
        session.send(Send(str(n), "cancel", run_id="r"))
    with pytest.raises(ValueError, match="wait for one"):
        session.send(Send("more", "cancel", run_id="r"))


def test_backoff_drain_and_not_coming_back() -> None:
    session = opened()
    session.lost()
    waits = [session.reconnect_wait(None, 1.0) for _ in range(8)]
    assert waits[0] == limits_client.BACKOFF_FIRST_S
    assert waits[-1] == limits_client.BACKOFF_MAX_S
    assert session.reconnect_wait(4501, 0.5) is None
    assert session.reconnect_wait(CODES["revoked"].close, 0.5) is None
    assert session.reconnect_wait(CODES["disconnected"].close, 1.0) == limits_client.BACKOFF_MAX_S
    assert session.reconnect_wait(1009, 0.5) is None
    session.connected(0.0)
    session.receive_frame(welcome(0, 0), 0.0)
    session.receive_frame(Drain(750), 0.0)
    session.take_effects()
    session.tick(0.7)
    assert session.take_effects() == []
    assert session.deadline() == 0.75
    session.tick(0.75)
    assert [type(effect) for effect in session.take_effects()] == [GiveUp]
    session.lost()
    assert session.reconnect_wait(1006, 0.3) == 0.0
    assert session.reconnect_wait(None, 1.0) > 0.0


@pytest.mark.parametrize(("close_code", "wait_s"), [(4029, 5.0), (1006, 0.0)])
def test_an_edge_that_closes_says_when_to_come_back(close_code: int, wait_s: float) -> None:
    session = opened()
    session.receive_frame(Error("rate_limited", "", retry=True, retry_after_ms=5000), 0.0)
    session.lost()
    assert session.reconnect_wait(close_code, 0.0) == wait_s
    assert session.reconnect_wait(4029, 0.0) == 0.0, "it was said once"


class LossyEdge(RuleBasedStateMachine):
    """An edge that is right, over a connection that drops and repeats: whatever happens, the device has a gapless prefix of the log."""

    @initialize(batches=st.lists(st.integers(1, 4), max_size=40))
    def begin(self, batches: list[int]) -> None:
        self.log = [(10 * n, 10 * (n + 1), count) for n, count in enumerate(batches)]
        self.session = DeviceSession("d", "earliest")
        self.got: list[str] = []
        self.next = 0
        self.now = 0.0

    def carry_out(self) -> None:
        for effect in self.session.take_effects():
            assert not isinstance(effect, Broken), effect
            if isinstance(effect, Deliver):
                self.got += [event.id for event in effect.events]
            if isinstance(effect, Transmit) and isinstance(effect.frame, Ack):
                assert effect.frame.pos == self.session.position

    @precondition(lambda self: self.session.phase is Phase.CLOSED)
    @rule()
    def connect(self) -> None:
        self.session.connected(self.now)
        asked = self.session.position
        here = 0 if asked == "earliest" else int(asked.rpartition("-")[2])
        self.next = here // 10
        self.session.receive_frame(welcome(here, len(self.log) * 10), self.now)
        self.carry_out()

    @precondition(lambda self: self.session.phase is Phase.OPEN and self.next < len(self.log))
    @rule(repeat=st.booleans(), join=st.integers(1, 3))
    def feed(self, repeat: bool, join: int) -> None:
        rows = self.log[self.next : self.next + join]
        events = [event for prev, pos, count in rows for event in batch(prev, pos, count).events]
        frame = Batch(at(rows[0][0]), at(rows[-1][1]), events)
        for _ in range(2 if repeat else 1):
            self.session.receive_frame(frame, self.now)
        self.next += len(rows)
        self.carry_out()

    @precondition(lambda self: self.session.phase is Phase.OPEN)
    @rule()
    def lose(self) -> None:
        self.session.lost()
        self.session.receive_frame(batch(0, 10), self.now)
        self.carry_out()

    @rule(seconds=st.floats(0.0, 1.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.session.tick(self.now)
        self.carry_out()

    @invariant()
    def has_a_gapless_prefix(self) -> None:
        whole = [f"{pos}.{n}" for _, pos, count in self.log for n in range(count)]
        assert self.got == whole[: len(self.got)]


TestLossyEdge = LossyEdge.TestCase
TestLossyEdge.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_events_of_superseded_attempts_are_dropped_also_after_a_reconnect_and_forgotten_with_a_reset() -> None:
    session = opened()
    session.receive_frame(Batch(at(0), at(1), [Event(id="r.2.1", run_id="r", attempt=2, agent_started=AgentStarted())]), 0.0)
    session.take_effects()
    session.lost()
    session.connected(1.0)
    session.receive_frame(welcome(1, 3), 1.0)
    session.take_effects()
    session.receive_frame(Batch(at(1), at(2), [Event(id="r.1.7", run_id="r", attempt=1)]), 1.0)
    assert session.take_effects() == [Deliver([], at(2))]
    assert (session.position, session.superseded) == (at(2), 1)
    session.lost()
    session.connected(2.0)
    session.receive_frame(welcome(0, 3, "reset", "bbbbbbbb"), 2.0)
    session.take_effects()
    session.receive_frame(Batch(at(0, "bbbbbbbb"), at(3, "bbbbbbbb"), [Event(id="r.1.7", run_id="r", attempt=1)]), 2.0)
    assert [len(effect.events) for effect in session.take_effects() if isinstance(effect, Deliver)] == [1]
