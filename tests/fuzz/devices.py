"""Fuzz targets: what devices say, and what they are shown of what is stored."""

import contextlib
import json
from collections.abc import Callable

from runcast.bus.cursors import read_cursor, write_cursor
from runcast.edge.conflate import merge
from runcast.edge.entry import Entry
from runcast.edge.life import State
from runcast.edge.open_requests import OpenRequests
from runcast.edge.replay import place_asked, plan_resume, prove_resume
from runcast.edge.snapshot import Fold
from runcast.edge.upstream import _checked_json
from runcast.edge.vigil import Vigil
from runcast.router.lost import Case, Outcome, parse_record
from runcast.router.validation import check_kind
from runcast.v1.event_pb2 import Batch, Event, UserMessage
from runcast.v1.inbox_pb2 import CancelRequest, InboxMessage
from runcast.wire import limits, subjects
from runcast.wire.errors import FrameInvalidError, IdInvalidError, PositionMalformedError, RuncastError, UnavailableError
from runcast.wire.fence import Fence
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, PROTO_SUBPROTOCOL, Ack, Codec, Hello, Ping, Refresh, Send
from runcast.wire.frames import Batch as BatchFrame
from runcast.wire.ids import UserKey, check_id, decode_token, encode_token
from runcast.wire.position import Position, parse_position
from tests.fuzz.reading import Reader, piece
from tests.unit.edge.device_model import EPOCH, MANY, NOTHING, SMALL, DeviceModel

_USER = UserKey("default", "alice")


def frames_json(data: bytes) -> None:
    """Text messages, through the session machine."""
    _session(CODECS[JSON_SUBPROTOCOL], Reader(data))


def frames_proto(data: bytes) -> None:
    """Binary messages, likewise."""
    _session(CODECS[PROTO_SUBPROTOCOL], Reader(data))


def _session(codec: Codec, reader: Reader) -> None:
    device, now = DeviceModel(codec), 0.0
    session = device.session
    while reader.left and session.state is not State.CLOSED:
        step = reader.byte() % 16
        now += reader.byte() / 16 if step == 15 else 0.0
        if step < 7:
            _hear(device, reader.piece()[: limits.FRAME_BYTES_MAX], now)
        elif step == 7:
            device.publish((SMALL, MANY, NOTHING)[reader.byte() % 3])
        elif step == 8 and device.opening:
            device.open()
        elif step == 9 and device.reading is not None:
            device.answer(1 + reader.byte())
        elif step == 10:
            device.flush(1 + reader.byte())
        elif step == 11 and device.to_store:
            session.stored(device.to_store.pop(0), duplicate=bool(reader.byte() % 2))
        elif step == 12 and device.to_store:
            session.refused(device.to_store.pop(0), UnavailableError("not now"))
        elif step == 13:
            session.hurry(reader.byte())
        elif step == 14:
            session.drain(reconnect_in_s=1.0, grace_s=2.0, now=now)
        elif step == 15:
            session.tick(now)
        device.carry()
    session.gone()
    assert not session.take_effects()


def _hear(device: DeviceModel, message: bytes, now: float) -> None:
    try:
        frame = device.codec.decode_client(message)
    except FrameInvalidError as exc:
        device.session.close("frame_invalid", exc.message)
        return
    again = device.codec.decode_client(device.codec.encode(frame))
    assert device.codec.encode(again) == device.codec.encode(frame)
    assert isinstance(frame, Hello | Ack | Send | Refresh | Ping)
    if isinstance(frame, Send):
        _upstream(frame)
    device.session.receive(frame, now)


def _upstream(send: Send) -> None:
    """What an edge makes of a send, but for storing it."""
    try:
        check_id(send.id, "send id")
        check_id(send.group, "group")
        data = _checked_json(send, limits.TEXT_BYTES_MAX)
    except RuncastError:
        return
    InboxMessage(id=send.id, group=send.group, thread=send.thread).text.text = send.text
    CancelRequest(run_id=send.run_id, reason=send.reason[: limits.ID_BYTES_MAX]).SerializeToString()
    event = Event(id=send.id, user_message=UserMessage(text=send.text, data_json=data, device="d", group=send.group))
    _shown([event])


def _shown(events: list[Event]) -> None:
    """Devices of both kinds can read it, and it says the same to both."""
    for codec in CODECS.values():
        frame = codec.encode(BatchFrame(str(Position(EPOCH, 0)), str(Position(EPOCH, 1)), events))
        read = codec.decode_server(frame)
        assert isinstance(read, BatchFrame)
        assert len(read.events) == len(events)
        if not codec.binary:
            json.loads(frame)


def positions(data: bytes) -> None:
    """Positions, cursors, and the other names and values that are read back."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(PositionMalformedError):
        assert str(parse_position(text)) == text
    for tip in (0, 1, 10**15):
        plan = plan_resume(text, None, EPOCH, tip)
        assert 0 <= plan.base <= tip
        prove_resume(plan, plan.base, whole=True)
        place_asked(text, None)
    cursor = read_cursor(data)
    if cursor is not None:
        assert read_cursor(write_cursor(cursor, 1)) == cursor
    parse_record(data)
    for read in (decode_token, subjects.user_of_subject, subjects.parse_run_key, subjects.device_of_cursor, subjects.producer_of):
        _read_name(read, text)


def _read_name(read: Callable[[str], object], text: str) -> None:
    try:
        found = read(text)
    except IdInvalidError:
        return
    if read is decode_token:
        assert encode_token(str(found)) == text
    if isinstance(found, subjects.RunPlace) and str(found.attempt) == text.split(".")[5] and str(found.shard) == text.split(".")[1]:
        assert found.key == text


def stored(data: bytes) -> None:
    """Messages of a user's stream, as the edge and the router read them."""
    reader = Reader(data)
    fence, requests, vigil, fold = Fence(), OpenRequests(), Vigil(), Fold()
    entries: list[Entry] = []
    case = Case(subjects.RunPlace("p", 0, _USER, "r", 1))
    while reader.left and len(entries) < 64:
        entry = Entry(EPOCH, len(entries), len(entries) + 1, reader.piece())
        entry.leave_out(fence)
        assert entry.cost > 0
        assert entry.awaited in (True, False)
        assert isinstance(entry.time_ms, int)
        critical = entry.critical
        if critical is not None:
            vigil.watch(entry.seq, critical.run_id, critical.id, "kind", 0.0)
        for event in entry.events:
            requests.note(event, entry.seq)
            fold.add(event)
        case.note(Batch(events=entry.events, run_id="r", attempt=1, number=entry.seq) if entry.events else Batch())
        if entry.events and all(map(_valid, entry.events)):
            _shown(entry.events)
        entries.append(entry)
    covered = [each for _, some in merge(entries) for each in some]
    assert [each.seq for each in covered] == [each.seq for each in entries]
    if case.outcome is Outcome.LOST and case.number < 2**60:
        case.closing("gone", 1).SerializeToString()
    if not fold.too_large:
        snapshot = fold.finish()
        while not snapshot.empty:
            snapshot.take()
    vigil.alerts(1e9)


def _valid(event: Event) -> bool:
    try:
        check_kind(event)
    except RuncastError:
        return False
    return True


def seeds() -> dict[str, list[bytes]]:
    """Inputs to begin with, by target."""
    data = [
        Hello("d1"),
        Hello("d1", "earliest", "token", snapshot=True),
        Ack(str(Position(EPOCH, 1))),
        Send("i", "message", group="g", thread="t", text="hello"),
        Send("c", "cancel", run_id="r", reason="enough"),
        Send("a", "answer", run_id="r", request_id="q"),
        Refresh("token"),
        Ping(),
    ]
    kinds = [field.name for field in Event.DESCRIPTOR.oneofs_by_name["kind"].fields]
    batches = [Batch(run_id="r", attempt=1, number=1, producer="p", events=[_event(kind, seq)]) for seq, kind in enumerate(kinds, 1)]
    found: dict[str, list[bytes]] = {"stored": [b"".join(piece(batch.SerializeToString()) for batch in batches)]}
    found["stored"] += [piece(batch.SerializeToString()) for batch in batches] + [piece(b"\xff") * 3]
    for name, codec in (("frames_json", CODECS[JSON_SUBPROTOCOL]), ("frames_proto", CODECS[PROTO_SUBPROTOCOL])):
        said = [b"\0" + piece(codec.encode(frame)) for frame in data]
        opened = said[0] + b"\x08\x07\0\x09\0\x0a\xff"
        found[name] = [*said, b"".join(opened + each for each in said[2:3]), opened + b"".join(said[2:]) + b"\x0b\x00\x0c\x0f\xff"]
    found["positions"] = [
        b"abcdefgh-0000000000000001", b"earliest", b"latest", b"snapshot-0000000000000003", b"a_2Eb", b"ev.3.acme.a_2Eb",
        b"run.1.acme.a_2Eb.r.2.p", b"lease.p_2E1", b'{"state":"open","after":1}', write_cursor_seed(),
    ]  # fmt: skip
    return found


def write_cursor_seed() -> bytes:
    """A cursor as edges write it."""
    return b'{"pos":"abcdefgh-0000000000000007","time_unix_ms":1,"since":2,"without":[3]}'


def _event(kind: str, seq: int) -> Event:
    event = Event(id=f"r.1.{seq}", run_id="r", attempt=1, seq=seq, agent="a", thread="t", time_unix_ms=1)
    getattr(event, kind).SetInParent()
    return event
