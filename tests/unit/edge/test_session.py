"""The session machine: its table, and each rule by itself."""

import itertools
from collections.abc import Callable

import pytest

from runcast.edge.effects import Close, Control, Open, Store
from runcast.edge.life import NEXT, State
from runcast.edge.replay import Plan
from runcast.wire import limits
from runcast.wire.codes import CODES
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.frames import CODECS, Ack, ClientFrame, Error, Hello, Ping, Refresh, Send, Sent
from tests.unit.edge.device_model import EPOCH, MANY, USER, DeviceModel
from tests.unit.edge.device_states import device_in, live, pos


def _answer_if_reading(device: DeviceModel) -> None:
    if device.reading is not None:
        device.answer()


INPUTS: dict[str, Callable[[DeviceModel], None]] = {
    "hello": lambda d: d.session.receive(Hello("d1"), 1.0),
    "hello without a device": lambda d: d.session.receive(Hello(""), 1.0),
    "ack": lambda d: d.session.receive(Ack(pos(d.session.sent)), 1.0),
    "ack of the future": lambda d: d.session.receive(Ack(pos(d.session.sent + 1)), 1.0),
    "ack malformed": lambda d: d.session.receive(Ack("x"), 1.0),
    "send": lambda d: d.session.receive(Send("m", "message", "g", text="t"), 1.0),
    "refresh": lambda d: d.session.receive(Refresh("t"), 1.0),
    "ping": lambda d: d.session.receive(Ping(), 1.0),
    "opened": lambda d: d.open() if d.session.state is State.RESUMING and d.welcome is None else None,
    "offer": lambda d: d.publish(),
    "history": _answer_if_reading,
    "history unproved": lambda d: d.session.history([], proved=False),
    "read failed": lambda d: d.session.read_failed(UnavailableError("no answer")),
    "stored": lambda d: d.session.stored("m", duplicate=False),
    "refused": lambda d: d.session.refused("m", UnavailableError("no answer")),
    "socket full": lambda d: d.session.socket_bytes(limits.SOCKET_BYTES_MAX),
    "socket empty": lambda d: d.session.socket_bytes(0),
    "tick": lambda d: d.session.tick(1.0),
    "tick late": lambda d: d.session.tick(1000.0),
    "drain": lambda d: d.session.drain(reconnect_in_s=1, grace_s=1, now=1.0),
    "close": lambda d: d.session.close("internal", "x"),
    "gone": lambda d: d.session.gone(),
}


@pytest.mark.parametrize(("state", "name"), list(itertools.product(State, INPUTS)))
def test_every_input_in_every_state_keeps_to_the_table(state: State, name: str) -> None:
    device = device_in(state)
    INPUTS[name](device)
    device.carry()
    assert device.session.state in NEXT[state] | {state}
    if state is State.CLOSED:
        assert len(device.effects) == 2, "what is closed stays silent"
    elif name != "gone":
        assert (device.session.state is State.CLOSED) == (device.closed is not None)


@pytest.mark.parametrize(("state", "after"), list(itertools.product(State, State)))
def test_the_table_is_obeyed(state: State, after: State) -> None:
    session = device_in(state).session
    if after in NEXT[state]:
        session._life.enter(after)
        assert session.state is after
    else:
        with pytest.raises(AssertionError, match=f"{state} -> {after}"):
            session._life.enter(after)


def test_the_table_is_total_and_closed_is_the_end() -> None:
    assert set(NEXT) == set(State)
    assert NEXT[State.CLOSED] == frozenset()
    assert all(State.CLOSED in NEXT[state] for state in State if state is not State.CLOSED)


class TestHello:
    def test_it_opens(self) -> None:
        device = DeviceModel()
        device.hello("tab 1")
        assert device.effects == [Open(Hello("tab 1"))]
        assert device.session.device == "tab 1"

    @pytest.mark.parametrize("frame", [Ack("x"), Send("i", "message"), Refresh("t"), Ping()])
    def test_anything_else_first_is_refused(self, frame: ClientFrame) -> None:
        device = DeviceModel()
        device.session.receive(frame, 0.0)
        device.carry()
        assert device.closed is not None
        assert device.closed.code == "hello_expected"
        assert type(frame).__name__.lower() in device.closed.message

    @pytest.mark.parametrize("name", ["", "x" * 129, "\ud800"])
    def test_a_device_needs_a_name(self, name: str) -> None:
        device = DeviceModel()
        device.hello(name)
        assert device.closed is not None
        assert device.closed.code == "id_invalid"

    def test_twice_is_refused(self) -> None:
        device = live()
        device.hello()
        assert device.closed is not None
        assert device.closed.code == "frame_invalid"


class TestOpening:
    def test_the_welcome_says_where_it_goes_on(self) -> None:
        device = DeviceModel()
        for _ in range(5):
            device.publish(step=2)
        device.hello()
        device.open(4)
        welcome = device.welcome
        assert welcome is not None
        assert (welcome.outcome, welcome.reason, welcome.position, welcome.tip) == ("resumed", "", pos(4), pos(10))
        assert (welcome.tenant, welcome.user, welcome.device, welcome.edge) == ("default", "alice", "d1", "e1")
        assert welcome.limits.window_events == limits.WINDOW_EVENTS
        assert device.reading == 4
        device.answer()
        assert device.got == [6, 8, 10]
        assert device.session.state is State.LIVE

    def test_a_reset_begins_at_zero_and_says_why(self) -> None:
        device = DeviceModel()
        device.publish()
        device.hello()
        device.open(plan=Plan("reset", "expired", 0, proof=False))
        assert device.welcome is not None
        assert (device.welcome.outcome, device.welcome.reason, device.welcome.position) == ("reset", "expired", pos(0))
        device.settle()
        assert device.got == [1]

    @pytest.mark.parametrize("before", [0, 3, limits.MERGE_BACKLOG_BATCHES + 3])
    def test_what_can_not_be_opened_ends_it_behind_all_that_can(self, before: int) -> None:
        device = DeviceModel()
        for _ in range(before):
            device.publish(offer=False)
        device.publish(b"", offer=False, unreadable=RuncastError("no key", code="unreadable", retry_after_s=2.0))
        device.publish(offer=False)
        device.offered = len(device.log)
        device.hello()
        device.open(0)
        device.settle()
        assert (device.closed, device.at) == (Close("unreadable", "no key"), before)
        assert (device.errors[-1].retry, device.errors[-1].retry_after_ms) == (True, 2000)

    def test_a_full_window_comes_first(self) -> None:
        device = DeviceModel()
        for payload in (MANY, MANY, MANY, MANY):
            device.publish(payload, offer=False)
        device.publish(b"", offer=False, unreadable=RuncastError("no key", code="unreadable"))
        device.offered = len(device.log)
        device.hello()
        device.open(0)
        device.answer()
        assert (device.closed, device.at) == (None, 3)
        device.settle()
        assert device.closed is not None
        assert (device.closed.code, device.at) == ("unreadable", 4)

    def test_at_the_tip_it_is_live_at_once(self) -> None:
        device = DeviceModel()
        device.publish()
        device.hello()
        device.open(1)
        assert (device.session.state, device.reading) == (State.LIVE, None)
        device.publish()
        assert device.got == [2]

    def test_what_comes_between_hello_and_welcome_is_not_lost(self) -> None:
        device = DeviceModel()
        device.hello()
        tip = device.tip
        device.publish()
        device.session.opened(USER, EPOCH, Plan("resumed", "", 0, proof=False), tip)
        device.carry()
        device.settle()
        assert device.got == [1]

    def test_the_answer_to_a_session_that_is_over_is_ignored(self) -> None:
        device = DeviceModel()
        device.hello()
        device.session.gone()
        device.open()
        assert device.welcome is None


class TestSends:
    def test_they_are_stored_then_confirmed(self) -> None:
        device = live()
        send = Send("m1", "message", "g", text="hi")
        device.session.receive(send, 0.0)
        device.carry()
        assert device.effects == [Store(send)]
        device.session.stored("m1", duplicate=True)
        device.carry()
        assert device.controls == [Sent("m1", duplicate=True)]

    def test_a_refusal_says_all_there_is_to_know(self) -> None:
        device = live()
        device.session.receive(Send("m1", "message", "g"), 0.0)
        device.session.refused("m1", UnavailableError("it may be stored", code="indeterminate", retry_after_s=0.25))
        device.carry()
        assert device.controls == [Error("indeterminate", "it may be stored", "m1", retry=True, definite=False, retry_after_ms=250)]

    @pytest.mark.parametrize("send_id", ["", "x" * 129])
    def test_without_a_good_id_they_are_refused(self, send_id: str) -> None:
        device = live()
        device.session.receive(Send(send_id, "message", "g"), 0.0)
        device.carry()
        assert [error.code for error in device.errors] == ["id_invalid"]
        assert (device.to_store, device.closed) == ([], None)

    def test_they_are_bounded(self) -> None:
        device = live()
        for number in range(limits.SENDS_IN_FLIGHT_MAX + 1):
            device.session.receive(Send(str(number), "message", "g"), 0.0)
        device.carry()
        assert len(device.to_store) == limits.SENDS_IN_FLIGHT_MAX
        (error,) = device.errors
        assert (error.code, error.id, error.retry, error.definite) == ("rate_limited", str(limits.SENDS_IN_FLIGHT_MAX), True, True)
        assert error.retry_after_ms > 0
        device.session.stored("0", duplicate=False)
        device.session.receive(Send("again", "message", "g"), 0.0)
        device.carry()
        assert device.to_store[-1] == "again"

    def test_an_answer_after_the_end_is_not_sent(self) -> None:
        device = live()
        device.session.receive(Send("m1", "message", "g"), 0.0)
        device.session.receive(Send("m2", "message", "g"), 0.0)
        device.session.close("internal", "x")
        device.carry()
        device.session.stored("m1", duplicate=False)
        device.session.refused("m2", UnavailableError("x"))
        device.carry()


class TestHostileDevices:
    @pytest.mark.parametrize("frame", [Ping(), Send("", "message")])
    def test_one_that_asks_and_never_reads_is_closed(self, frame: ClientFrame) -> None:
        device = live()
        device.session.socket_bytes(limits.SOCKET_BYTES_MAX)
        for _ in range(limits.ANSWERS_WAITING_MAX):
            device.session.receive(frame, 0.0)
        assert device.session.state is not State.CLOSED
        device.session.receive(frame, 0.0)
        device.session.receive(frame, 0.0)
        effects = device.session.take_effects()
        assert isinstance(effects[-1], Close)
        assert effects[-1].code == "slow"
        assert len(effects) == limits.ANSWERS_WAITING_MAX + 2

    def test_one_that_reads_is_not(self) -> None:
        device = live()
        for _ in range(3):
            device.session.socket_bytes(limits.SOCKET_BYTES_MAX)
            for _ in range(limits.ANSWERS_WAITING_MAX):
                device.session.receive(Ping(), 0.0)
            device.session.socket_bytes(0)
        device.carry()
        assert device.closed is None


@pytest.mark.parametrize("code", [row.name for row in CODES.values() if row.close])
def test_every_close_is_said_with_its_row(code: str) -> None:
    device = live()
    device.session.close(code, "what is wrong; what to do")
    device.session.close("internal", "again")
    device.carry()
    row = CODES[code]
    assert device.effects == [
        Control(Error(code, "what is wrong; what to do", "", row.retry, row.definite)),
        Close(code, "what is wrong; what to do"),
    ]
    assert device.session.close_code == code


def test_one_that_went_says_nothing_more() -> None:
    device = live()
    device.session.gone()
    device.session.gone()
    device.session.close("internal", "too late")
    device.carry()
    assert device.effects == []
    assert device.session.close_code == "gone"


def test_both_codecs_are_served() -> None:
    for codec in CODECS.values():
        device = DeviceModel(codec)
        device.publish(MANY)
        device.hello()
        device.open()
        device.settle()
        assert device.got == [1]
