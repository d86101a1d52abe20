"""The session machine: snapshots."""

from runcast.edge.effects import Acked, Control
from runcast.edge.entry import Entry
from runcast.edge.life import State
from runcast.edge.replay import Plan
from runcast.edge.snapshot import Fold, Snapshot
from runcast.v1.event_pb2 import Event, UserMessage
from runcast.wire import limits
from runcast.wire.frames import Ack, Welcome
from runcast.wire.position import SNAPSHOT_EPOCH
from tests.unit.edge.device_model import EPOCH, SMALL, USER, DeviceModel
from tests.unit.edge.device_states import frames_of, pos


def snapshot_of(runs: int, size: int = 30_000) -> Snapshot:
    fold = Fold()
    for number in range(runs):
        fold.add(Event(id=str(number), user_message=UserMessage(text="x" * size)))
    return fold.finish()


def within(number: int) -> str:
    return pos(number, SNAPSHOT_EPOCH)


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
