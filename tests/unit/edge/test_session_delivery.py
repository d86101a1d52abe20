"""The session machine: what it delivers, what it merges, and when it takes an acknowledgement."""

import pytest

from runcast.edge.effects import Acked, Close, Data, Read
from runcast.edge.life import State
from runcast.edge.replay import Plan
from runcast.v1.event_pb2 import TEXT_MODE_DELTA, AgentResponse, Event
from runcast.v1.event_pb2 import Batch as StoredBatch
from runcast.wire import limits
from runcast.wire.errors import UnavailableError
from runcast.wire.frames import Ack, JsonCodec
from tests.unit.edge.device_model import BIG, EPOCH, HUGE, NOTHING, SMALL, USER, DeviceModel
from tests.unit.edge.device_states import behind, device_in, frames_of, live, pos


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
