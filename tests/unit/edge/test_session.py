"""The session machine: its table, and each rule by itself."""

import itertools
import math
from collections.abc import Callable

import pytest

from runcast.edge.effects import Acked, Close, Control, Data, Open, Probe, Read, Reauthenticate, Store
from runcast.edge.entry import Entry
from runcast.edge.life import NEXT, State
from runcast.edge.replay import Plan
from runcast.edge.snapshot import Fold, Snapshot
from runcast.v1.event_pb2 import TEXT_MODE_DELTA, AgentResponse, Event, UserMessage
from runcast.v1.event_pb2 import Batch as StoredBatch
from runcast.wire import limits
from runcast.wire.codes import CODES
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.frames import (
    CODECS,
    JSON_SUBPROTOCOL,
    Ack,
    Batch,
    ClientFrame,
    Codec,
    Drain,
    Error,
    Hello,
    JsonCodec,
    Ping,
    Pong,
    Refresh,
    Refreshed,
    Send,
    Sent,
    Welcome,
)
from runcast.wire.position import SNAPSHOT_EPOCH, Position
from tests.unit.edge.device_model import BIG, EPOCH, HUGE, MANY, NOTHING, SMALL, USER, DeviceModel


def pos(seq: int, epoch: str = EPOCH) -> str:
    return str(Position(epoch, seq))


def live(published: int = 3, codec: Codec = CODECS[JSON_SUBPROTOCOL]) -> DeviceModel:
    device = DeviceModel(codec)
    for _ in range(published):
        device.publish()
    device.hello()
    device.open()
    device.settle()
    assert device.session.state is State.LIVE
    device.controls.clear()
    device.effects.clear()
    return device


def behind() -> DeviceModel:
    device = live(0)
    while device.session.state is State.LIVE:
        device.publish(MANY)
        device.flush()
    return device


def device_in(state: State) -> DeviceModel:
    device = DeviceModel()
    if state is State.RESUMING:
        device.publish()
        device.hello()
        device.open()
    elif state is State.LIVE:
        device = live()
    elif state is State.BEHIND:
        device = behind()
    elif state is State.DRAINING:
        device = live()
        device.session.drain(reconnect_in_s=0.1, grace_s=1, now=0)
        device.carry()
    elif state is State.CLOSED:
        device.session.close("internal", "the end")
        device.carry()
    assert device.session.state is state
    return device


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
        device.publish(b"", offer=False, unreadable=RuncastError("no key", code="unreadable"))
        device.publish(offer=False)
        device.offered = len(device.log)
        device.hello()
        device.open(0)
        device.settle()
        assert (device.closed, device.at) == (Close("unreadable", "no key"), before)
        assert device.errors[-1].retry

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


class TestDelivery:
    def test_live_goes_straight_out(self) -> None:
        device = live(1)
        device.publish(SMALL)
        device.publish(NOTHING)
        assert device.got == [1, 2, 3]
        assert [type(effect) for effect in device.effects] == [Data, Data]
        assert device.session.events_sent == 2

    def test_repeated_offers_are_dropped(self) -> None:
        device = live(2)
        device.session.offer(device.log[0])
        device.session.offer(device.log[1])
        device.carry()
        assert device.effects == []

    def test_a_full_window_of_events_puts_it_behind_until_half_is_acknowledged(self) -> None:
        device = behind()
        sent = device.session.sent
        assert device.unacked_events >= limits.WINDOW_EVENTS
        device.publish()
        assert device.session.sent == sent
        device.ack(device.got[0])
        assert device.reading is None, "crumbs"
        device.ack(device.got[-1])
        assert device.reading == sent
        device.settle()
        assert (device.session.state, device.session.sent) == (State.LIVE, device.tip)

    def test_a_full_window_of_bytes_does_too(self) -> None:
        device = live(0)
        while device.session.state is State.LIVE:
            device.publish(BIG)
            device.flush()
        assert device.unacked_bytes >= limits.WINDOW_BYTES
        assert device.unacked_events < limits.WINDOW_EVENTS
        device.settle()
        assert device.session.sent == device.tip

    def test_links_without_events_count_too(self) -> None:
        device = live(0)
        for _ in range(limits.WINDOW_EVENTS + 1):
            device.publish(NOTHING)
            device.flush()
        assert device.session.state is State.BEHIND

    def test_a_frame_larger_than_the_window_goes_out_alone(self) -> None:
        device = live(0)
        device.publish(HUGE)
        assert device.unacked_bytes > limits.WINDOW_BYTES
        device.publish(SMALL)
        device.flush()
        assert device.got == [1]
        device.settle()
        assert device.got == [1, 2]

    def test_a_full_socket_puts_it_behind_until_it_has_room(self) -> None:
        device = live(0)
        device.publish(BIG)
        device.publish(SMALL)
        assert (device.got, device.session.state, device.reading) == ([1], State.BEHIND, None)
        device.ack(1)
        assert device.reading is None, "the socket is still full"
        device.flush(1)
        assert device.reading == 1
        device.answer()
        assert device.session.state is State.LIVE

    def test_history_stops_at_a_full_socket(self) -> None:
        """Several large entries in one answer: no more is queued than the socket's bound, and the frame that reaches it."""
        device = DeviceModel()
        for _ in range(8):
            device.publish(BIG)
        device.hello()
        device.open()
        device.answer()
        assert device.got == [1]
        device.settle()
        assert device.got == list(range(1, 9))

    def test_one_read_at_a_time(self) -> None:
        device = behind()
        device.ack(device.session.sent)
        assert device.reading is not None
        device.ack(device.session.sent)
        device.publish()
        device.session.socket_bytes(limits.SOCKET_BYTES_MAX)
        device.session.socket_bytes(0)
        device.carry()
        assert len([effect for effect in device.effects if isinstance(effect, Read)]) == 1

    def test_an_answer_from_a_lagging_replica_is_asked_again(self) -> None:
        device = behind()
        device.ack(device.session.sent)
        device.answer(0)
        assert device.reading == device.session.sent

    def test_history_ahead_of_the_feed_is_not_repeated(self) -> None:
        device = DeviceModel()
        device.publish()
        device.publish(offer=False)
        device.hello()
        device.open()
        device.answer()
        assert (device.got, device.session.state) == ([1, 2], State.LIVE)
        device.publish()
        assert device.got == [1, 2, 3]

    def test_history_may_hold_what_was_sent_already(self) -> None:
        device = DeviceModel()
        for _ in range(3):
            device.publish()
        device.hello()
        device.open(2)
        device.session.history(device.log, proved=True)
        device.carry()
        assert device.got == [3]

    def test_history_that_moved_away_closes(self) -> None:
        device = device_in(State.RESUMING)
        device.session.history([], proved=False)
        device.carry()
        assert device.closed is not None
        assert device.closed.code == "unavailable"

    def test_history_that_cannot_be_read_closes(self) -> None:
        device = device_in(State.RESUMING)
        device.session.read_failed(UnavailableError("no answer from the log"))
        device.carry()
        assert device.closed == Close("unavailable", "no answer from the log")


class TestAcks:
    def test_they_are_cumulative_and_told_once(self) -> None:
        device = live(0)
        for _ in range(4):
            device.publish()
        device.effects.clear()
        for seq in (2, 2, 1, 0, 4):
            device.ack(seq)
        assert device.effects == [Acked(2), Acked(4)]
        assert device.session.acked == 4

    def test_one_that_is_awaited_is_told_so(self) -> None:
        device = live(0)
        awaited = StoredBatch(receipt_deadline_ms=500, events=[Event(id="a")]).SerializeToString()
        for payload in (SMALL, awaited, SMALL, awaited, SMALL):
            device.publish(payload)
        device.effects.clear()
        for seq in (1, 2, 3, 5):
            device.ack(seq)
        assert device.effects == [Acked(1), Acked(2, awaited=True), Acked(3), Acked(5, awaited=True)]

    def test_one_that_a_router_asks_for_is_told_at_once_or_when_it_comes(self) -> None:
        device = live(0)
        for _ in range(4):
            device.publish()
        device.ack(2)
        device.effects.clear()
        for seq in (1, 4, 4):
            device.session.hurry(seq)
        device.carry()
        assert device.effects == [Acked(2, awaited=True)]
        for seq in (3, 4):
            device.ack(seq)
        assert device.effects[1:] == [Acked(3), Acked(4, awaited=True)]

    def test_what_another_edge_may_have_heard_is_told_again(self) -> None:
        device = DeviceModel()
        for _ in range(3):
            device.publish()
        device.hello()
        device.open(2)
        device.answer()
        device.effects.clear()
        for seq in (2, 2, 3):
            device.ack(seq)
        assert device.effects == [Acked(2, awaited=True), Acked(3)]

    @pytest.mark.parametrize(
        ("ack", "code"),
        [
            ("", "position_malformed"),
            ("latest", "position_malformed"),
            ("abcdefgh-4", "position_malformed"),
            (pos(4), "frame_invalid"),
            (pos(10**15), "frame_invalid"),
            (pos(3, "zzzzzzzz"), "frame_invalid"),
        ],
    )
    def test_what_was_never_sent_is_refused(self, ack: str, code: str) -> None:
        device = live(3)
        device.session.receive(Ack(ack), 0.0)
        device.carry()
        assert device.closed is not None
        assert device.closed.code == code
        assert device.acked == [3]

    def test_before_the_welcome_nothing_was_sent(self) -> None:
        device = DeviceModel()
        device.hello()
        device.session.receive(Ack(pos(0)), 0.0)
        device.carry()
        assert device.closed is not None
        assert device.closed.code == "frame_invalid"


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


class TestTime:
    def test_ping_and_pong(self) -> None:
        device = live()
        device.session.receive(Ping(), 1.0)
        device.carry()
        assert device.controls == [Pong()]

    @pytest.mark.parametrize(("at", "effects"), [(0.0, 0), (limits.HELLO_TIMEOUT_S - 0.1, 0), (limits.HELLO_TIMEOUT_S, 2)])
    def test_hello_is_awaited(self, at: float, effects: int) -> None:
        device = DeviceModel(now=100.0)
        device.session.tick(100.0 + at)
        device.carry()
        assert len(device.effects) == effects
        assert effects == 0 or (device.closed is not None and device.closed.code == "hello_timeout")

    def test_silence_is_probed_once_and_then_ends_it(self) -> None:
        device = live()
        for now in (limits.PING_INTERVAL_S - 1, limits.PING_INTERVAL_S, limits.PING_INTERVAL_S + 1, limits.DEAD_AFTER_S - 1):
            device.session.tick(now)
        device.carry()
        assert device.effects == [Probe()]
        device.session.tick(limits.DEAD_AFTER_S)
        device.carry()
        assert device.closed is not None
        assert device.closed.code == "silent"

    def test_anything_heard_begins_it_anew(self) -> None:
        device = live()
        device.session.tick(limits.PING_INTERVAL_S)
        device.session.heard(30.0)
        device.session.tick(limits.DEAD_AFTER_S)
        device.session.tick(30.0 + limits.PING_INTERVAL_S)
        device.carry()
        assert device.effects == [Probe(), Probe()]

    def test_draining_tells_feeds_and_closes(self) -> None:
        device = live()
        device.session.drain(reconnect_in_s=0.5, grace_s=2.0, now=10.0)
        device.session.drain(reconnect_in_s=0.7, grace_s=9.0, now=11.0)
        device.carry()
        assert device.controls == [Drain(500, "this edge is stopping")]
        device.publish()
        assert device.got == [1, 2, 3, 4]
        device.ack(4)
        assert device.acked[-1] == 4
        device.session.tick(11.9)
        device.carry()
        assert device.closed is None
        device.session.tick(12.0)
        device.carry()
        assert device.closed is not None
        assert device.closed.code == "draining"

    def test_draining_before_hello_closes_at_once(self) -> None:
        device = DeviceModel()
        device.session.drain(reconnect_in_s=0.5, grace_s=2.0, now=10.0)
        device.carry()
        assert [type(effect) for effect in device.effects] == [Control, Control, Close]

    def test_draining_before_the_welcome_sends_no_data(self) -> None:
        device = DeviceModel()
        device.hello()
        device.session.drain(reconnect_in_s=0.5, grace_s=2.0, now=10.0)
        device.publish()
        device.open()
        assert (device.got, device.welcome) == ([], None)

    def test_draining_feeds_no_device_that_is_behind(self) -> None:
        device = behind()
        device.ack(device.session.sent)
        device.session.drain(reconnect_in_s=0.5, grace_s=2.0, now=10.0)
        device.carry()
        got = len(device.got)
        device.answer()
        device.publish()
        assert len(device.got) == got


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


def test_refresh_is_passed_on() -> None:
    device = live()
    device.session.receive(Refresh("new"), 0.0)
    device.carry()
    assert device.effects == [Reauthenticate("new")]


def test_refreshes_are_checked_one_at_a_time() -> None:
    device = live()
    for token in ("a", "b", "c"):
        device.session.receive(Refresh(token), 0.0)
    device.carry()
    assert device.effects == [Reauthenticate("a")]
    device.session.reauthenticated()
    device.carry()
    assert device.effects == [Reauthenticate("a"), Reauthenticate("c"), Control(Refreshed())]
    device.session.receive(Refresh("d"), 40.0)
    device.session.gone()
    device.session.reauthenticated()
    device.carry()
    assert device.effects == [Reauthenticate("a"), Reauthenticate("c"), Control(Refreshed())], "nothing follows the end"


def test_both_codecs_are_served() -> None:
    for codec in CODECS.values():
        device = DeviceModel(codec)
        device.publish(MANY)
        device.hello()
        device.open()
        device.settle()
        assert device.got == [1]


# --- snapshots, merged reads, devices that stall ---


def snapshot_of(runs: int, size: int = 30_000) -> Snapshot:
    fold = Fold()
    for number in range(runs):
        fold.add(Event(id=str(number), user_message=UserMessage(text="x" * size)))
    return fold.finish()


def within(number: int) -> str:
    return pos(number, SNAPSHOT_EPOCH)


def frames_of(device: DeviceModel) -> list[Batch]:
    frames = [device.codec.decode_server(effect.payload) for effect in device.session.take_effects() if isinstance(effect, Data)]
    return [frame for frame in frames if isinstance(frame, Batch)]


def open_with(snapshot: Snapshot, *, tip: int = 500) -> tuple[DeviceModel, Welcome]:
    device = DeviceModel()
    device.hello()
    device.session.opened(USER, EPOCH, Plan("snapshot", "", tip, proof=False), tip, snapshot)
    effect = device.session._effects.pop(0)
    assert isinstance(effect, Control)
    assert isinstance(effect.frame, Welcome)
    return device, effect.frame


def test_a_snapshot_leads_through_positions_of_its_own_to_the_stream() -> None:
    device, welcome = open_with(snapshot_of(8))
    session = device.session
    assert (welcome.outcome, welcome.position, welcome.tip) == ("snapshot", within(0), pos(500))
    frames = frames_of(device)
    for _ in range(3):
        session.socket_bytes(0)
        frames += frames_of(device)
    assert [(frame.prev, frame.pos) for frame in frames] == [(within(0), within(1)), (within(1), within(2)), (within(2), pos(500))]
    assert [event.id for frame in frames for event in frame.events] == [str(number) for number in range(8)]
    assert session.sent == 500
    assert not session.gives_snapshot
    assert session.state is State.LIVE
    session.receive(Ack(within(1)), 1.0)
    assert session.take_effects() == []
    session.receive(Ack(pos(500)), 1.0)
    assert session.take_effects() == [Acked(500, awaited=True)]  # a receipt may be awaited of anything before
    session.receive(Ack(within(3)), 1.0)
    assert session.close_code == "frame_invalid"


def test_a_snapshot_is_paced_by_acknowledgements() -> None:
    device, _ = open_with(snapshot_of(100))
    session = device.session
    sent = len(frames := frames_of(device))
    assert sum(len(device.codec.encode(frame)) for frame in frames) < limits.SOCKET_BYTES_MAX + 2 * limits.MERGED_BYTES_MAX
    for _ in range(100):
        session.socket_bytes(0)
        frames += frames_of(device)
    assert len(frames) > sent
    assert session.gives_snapshot
    assert session.state is State.BEHIND
    session.offer(Entry(EPOCH, 500, 501, SMALL))
    assert frames_of(device) == []
    assert session.sent == 0  # nowhere in the stream
    for _ in range(200):
        session.receive(Ack(frames[-1].pos), 1.0)
        session.socket_bytes(0)
        frames += frames_of(device)
        if not session.gives_snapshot:
            break
    assert frames[-1].pos == pos(500)
    assert len({event.id for frame in frames for event in frame.events}) == 100
    session.receive(Ack(pos(500)), 1.0)
    session.socket_bytes(0)
    session.take_effects()
    session.history([Entry(EPOCH, 500, 501, SMALL)], proved=True)
    assert [(frame.prev, frame.pos) for frame in frames_of(device)] == [(pos(500), pos(501))]
    assert session.state is State.LIVE


def test_an_empty_snapshot_is_where_the_stream_is() -> None:
    device, welcome = open_with(snapshot_of(0))
    assert (welcome.outcome, welcome.position) == ("snapshot", pos(500))
    assert device.session.state is State.LIVE


def test_a_session_that_ends_holds_no_snapshot() -> None:
    device, _ = open_with(snapshot_of(100))
    device.session.close("internal", "the end")
    assert not device.session.gives_snapshot


def test_a_long_read_is_merged_and_counts_as_what_goes_out() -> None:
    device = DeviceModel()
    texts = [
        Event(id=f"r.1.{seq}", run_id="r", attempt=1, seq=seq, agent_response=AgentResponse(message_id="m", text="x", mode=TEXT_MODE_DELTA))
        for seq in range(1, 1201)
    ]
    for start in range(0, 1200, 10):
        device.publish(StoredBatch(events=texts[start : start + 10]).SerializeToString())
    device.hello()
    device.session.opened(USER, EPOCH, Plan("resumed", "", 0, proof=False), 120)
    device.session.take_effects()
    device.session.history(device.log, proved=True)
    (frame,) = frames_of(device)
    assert (frame.prev, frame.pos) == (pos(0), pos(120))
    (event,) = frame.events
    assert (event.first_seq, event.seq, event.agent_response.text) == (1, 1200, "x" * 1200)
    assert device.session.events_sent == 1
    assert device.session.state is State.LIVE


class Unmerged(JsonCodec):
    merges = False


def test_where_nothing_is_to_be_merged_a_long_read_is_not_either() -> None:
    device = live(0, codec=Unmerged())
    device.session._life.state = State.BEHIND
    for _ in range(limits.MERGE_BACKLOG_BATCHES):
        device.publish()
    device.session._reading = True
    device.session.history(device.log, proved=True)
    assert len(frames_of(device)) == limits.MERGE_BACKLOG_BATCHES


def test_a_short_read_is_not_merged() -> None:
    device = live(0)
    device.session._life.state = State.BEHIND
    for _ in range(limits.MERGE_BACKLOG_BATCHES - 1):
        device.publish()
    device.session._reading = True
    device.session.history(device.log, proved=True)
    assert len(frames_of(device)) == limits.MERGE_BACKLOG_BATCHES - 1


def test_a_device_that_acknowledges_nothing_while_more_waits_is_sent_away() -> None:
    device = behind()
    session = device.session
    session.tick(0.0)
    session.receive(Ping(), limits.STALL_S - 0.1)  # it is heard, and does not say the right thing
    session.tick(limits.STALL_S - 0.1)
    device.carry()
    assert device.closed is None
    session.tick(limits.STALL_S)
    device.carry()
    assert device.closed is not None
    assert device.closed.code == "slow"
    assert CODES["slow"].retry


def test_any_acknowledgement_gives_a_stalled_device_its_time_again() -> None:
    device = behind()
    device.session.tick(0.0)
    device.session.receive(Ack(pos(device.got[0])), limits.STALL_S - 1)
    device.session.tick(limits.STALL_S)
    device.session.tick(2 * limits.STALL_S - 1)
    device.carry()
    assert device.closed is None


def test_a_device_that_nothing_waits_for_may_be_silent_about_what_it_has() -> None:
    device = live()
    device.publish(MANY)
    for second in range(0, 200, 10):
        device.session.receive(Ping(), float(second))
        device.session.tick(float(second))
    device.carry()
    assert device.closed is None


@pytest.mark.parametrize("tip", [0, 3])
def test_nobody_stays_longer_than_the_token(tip: int) -> None:
    device = DeviceModel()
    for _ in range(tip):
        device.publish()
    device.hello()
    device.session.opened(USER, EPOCH, Plan("resumed", "", 0, proof=False), tip, expires_at=5.0)
    device.carry()
    device.session.tick(4.9)
    assert device.session.close_code == ""
    device.session.tick(5.0)
    device.carry()
    assert device.session.close_code == "token_expired"
    got = list(device.got)
    device.publish()
    if device.reading is not None:
        device.answer()
    assert device.got == got, "nothing follows"


def test_a_refresh_moves_the_end() -> None:
    device = live()
    device.session.reauthenticated(5.0)
    device.session.reauthenticated(9.0)
    device.session.tick(8.9)
    assert device.session.close_code == ""
    device.session.reauthenticated(8.95)  # never later than the newest token says
    device.session.tick(8.96)
    assert device.session.close_code == "token_expired"


@pytest.mark.parametrize(("expires_at", "told_ms"), [(65.0, 60_000), (5.0001, 1), (4.0, 1), (math.inf, 0)])
def test_a_device_is_told_how_long_its_token_counts(expires_at: float, told_ms: int) -> None:
    device = DeviceModel()
    device.hello()
    device.session.opened(USER, EPOCH, Plan("resumed", "", 0, proof=False), 0, now=5.0, expires_at=expires_at)
    device.carry()
    assert device.welcome is not None
    assert device.welcome.token_expires_in_ms == told_ms
    device.session.reauthenticated(expires_at + 10.0, now=15.0)
    answers = [effect.frame for effect in device.session.take_effects() if isinstance(effect, Control)]
    assert answers == [Refreshed(told_ms)]


def test_a_refresh_that_can_not_be_checked_now_leaves_the_token_before() -> None:
    device = live()
    device.session.reauthenticated(5.0)
    for token in ("a", "b"):
        device.session.receive(Refresh(token), 0.0)
    device.carry()
    device.session.not_reauthenticated(UnavailableError("its keys can't be had"))
    device.carry()
    assert device.effects[:2] == [Control(Refreshed()), Reauthenticate("a")]
    assert device.effects[-1] == Reauthenticate("b"), "the newer one is tried"
    assert device.session.close_code == ""
    device.session.tick(5.0)
    assert device.session.close_code == "token_expired"


@pytest.mark.parametrize("code", ["unauthenticated", "token_expired"])
def test_a_refresh_that_is_not_good_ends_the_session(code: str) -> None:
    device = live()
    device.session.receive(Refresh("a"), 0.0)
    device.session.not_reauthenticated(RuncastError("no", code=code))
    assert device.session.close_code == code
