"""Frames: both codecs carry every frame unchanged, and whatever a stranger sends is a frame or a FrameInvalidError."""

import contextlib
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runcast.v1 import session_pb2
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.errors import FrameInvalidError
from runcast.wire.frames import (
    CODECS,
    JSON_SUBPROTOCOL,
    PROTO_SUBPROTOCOL,
    Ack,
    Batch,
    ClientFrame,
    Codec,
    Drain,
    Error,
    Hello,
    Limits,
    Ping,
    Pong,
    Refresh,
    Refreshed,
    Send,
    Sent,
    ServerFrame,
    Welcome,
)

JSON, PROTO = CODECS[JSON_SUBPROTOCOL], CODECS[PROTO_SUBPROTOCOL]
codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.subprotocol)

text = st.text(max_size=12)
uint32 = st.integers(0, 2**32 - 1)
raw_json = st.sampled_from([b"", b"null", b"0", b'"x"', b'{"a":[1,2.5,{}]}', b"[]"]).map(msgspec.Raw)


def _event(id_: str, kind: int, value: str) -> Event:
    event = Event(id=id_, run_id="r", attempt=1, seq=kind + 1)
    if kind == 0:
        event.agent_started.title = value
    elif kind == 1:
        event.agent_thinking.progress = 0.0
    elif kind == 2:
        event.custom.data_json = b'{"x":1}'
    elif kind == 3:
        event.run_lost.SetInParent()
    else:
        event = Event.FromString(Event(id=id_).SerializeToString() + b"\x8a\x02\x02\x0a\x00")  # a kind of a later version
    return event


sends = st.one_of(
    st.builds(Send, text, st.just("message"), group=text, thread=text, text=text, data=raw_json),
    st.builds(Send, text, st.just("cancel"), run_id=text, reason=text),
    st.builds(Send, text, st.just("answer"), group=text, thread=text, run_id=text, request_id=text, data=raw_json),
)
client_frames = st.one_of(
    st.builds(Hello, text, text, text, st.sampled_from([None, True, False])),
    st.builds(Ack, text),
    sends,
    st.builds(Refresh, text),
    st.builds(Ping),
)
server_frames = st.one_of(
    st.builds(
        Welcome,
        st.sampled_from(["resumed", "snapshot", "reset"]),
        text,
        text,
        text,
        text,
        text,
        st.builds(Limits, uint32, uint32, uint32, uint32),
        text,
        text,
        text,
        token_expires_in_ms=st.integers(0, 2**63 - 1),
        replay=st.booleans(),
    ),
    st.builds(Batch, text, text, st.lists(st.builds(_event, text, st.integers(0, 4), text), max_size=4)),
    st.builds(Sent, text, st.booleans()),
    st.builds(Error, text, text, text, st.booleans(), st.booleans(), uint32),
    st.builds(Drain, uint32, text),
    st.builds(Pong),
    st.builds(Refreshed, st.integers(0, 2**63 - 1)),
)


def test_the_codecs_are_the_subprotocols() -> None:
    assert list(CODECS) == ["runcast.v1.json", "runcast.v1.proto"]
    assert [codec.binary for codec in CODECS.values()] == [False, True]


def test_both_codecs_know_every_frame_of_the_proto() -> None:
    for union, message in ((ClientFrame, session_pb2.ClientFrame), (ServerFrame, session_pb2.ServerFrame)):
        assert {kind.__name__.lower() for kind in get_args(union)} == {f.name for f in message.DESCRIPTOR.oneofs_by_name["frame"].fields}


@codecs
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(frame=client_frames)
@example(Send("x", "message", data=msgspec.Raw(b"")))
def test_client_frames_come_back_equal(codec: Codec, frame: ClientFrame) -> None:
    assert codec.decode_client(codec.encode(frame)) == frame


@codecs
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(frame=server_frames)
def test_server_frames_come_back_equal(codec: Codec, frame: ServerFrame) -> None:
    assert codec.decode_server(codec.encode(frame)) == frame


@given(frame=client_frames | server_frames)
def test_json_frames_are_objects_that_name_their_type(frame: ClientFrame | ServerFrame) -> None:
    form = msgspec.json.decode(JSON.encode(frame))
    assert form["type"] == type(frame).__name__.lower()


def test_json_frames_leave_defaults_out() -> None:
    assert JSON.encode(Hello("d")) == b'{"type":"hello","device":"d"}'
    assert JSON.encode(Ack("p")) == b'{"type":"ack","pos":"p"}'
    assert JSON.encode(Send("i", "cancel", run_id="r")) == b'{"type":"send","id":"i","kind":"cancel","run_id":"r"}'
    assert JSON.encode(Sent("i")) == b'{"type":"sent","id":"i"}'
    assert JSON.encode(Error("c", "m")) == b'{"type":"error","code":"c","message":"m"}'
    assert JSON.encode(Error("c", "m", definite=False)) == b'{"type":"error","code":"c","message":"m","definite":false}'
    assert JSON.encode(Pong()) == b'{"type":"pong"}'
    assert JSON.encode(Batch("a", "b", [])) == b'{"type":"batch","prev":"a","pos":"b","events":[]}'


def test_json_text_may_come_as_str() -> None:
    assert JSON.decode_client('{"type":"ack","pos":"é"}') == Ack("é")  # type: ignore[arg-type] # what aiohttp hands over for text messages


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"hello","device":"d","later":1}',
        b'{"later":{"deep":[1,{"x":null}]},"type":"hello","device":"d"}',
    ],
)
def test_unknown_json_fields_are_skipped(payload: bytes) -> None:
    assert JSON.decode_client(payload) == Hello("d")


def test_unknown_proto_fields_are_skipped() -> None:
    frame = session_pb2.ClientFrame.FromString(PROTO.encode(Ack("p")) + b"\xa2\x06\x01x")  # field 100
    assert PROTO.decode_client(frame.SerializeToString()) == Ack("p")


def test_events_of_a_newer_server_are_read_as_far_as_they_are_known() -> None:
    payload = (
        b'{"type":"batch","prev":"a","pos":"b","later":1,"events":['
        b'{"id":"1","kind":"agent_started","data":{"title":"x","later":2}},{"id":"2","kind":"later","data":{"x":1}}]}'
    )
    frame = JSON.decode_server(payload)
    assert isinstance(frame, Batch)
    assert [event.WhichOneof("kind") for event in frame.events] == ["agent_started", None]
    assert frame.events[0].agent_started.title == "x"


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"null", "Expected `object`, got `null`"),
        (b"[]", "Expected `object`, got `array`"),
        (b'"hello"', "Expected `object`, got `str`"),
        (b"{}", "type"),
        (b'{"type":"welcome"}', "'welcome'"),
        (b'{"type":"Hello","device":"d"}', "'Hello'"),
        (b'{"type":5}', "type"),
        (b'{"type":"hello"}', "device"),
        (b'{"type":"hello","device":null}', "$.device"),
        (b'{"type":"hello","device":["d"]}', "$.device"),
        (b'{"type":"ack"}', "pos"),
        (b'{"type":"ack","pos":7}', "$.pos"),
        (b'{"type":"send","id":"x"}', "kind"),
        (b'{"type":"send","id":"x","kind":"shout"}', "'shout'"),
        (b'{"type":"hello","device":"d"} trailing', "trailing"),
        (b'{"type":"hello","device":"\xff"}', "utf-8"),
        (b'{"type":"hello","device":"\\ud800"}', "not a frame"),
        (b'{"type":"hello","device":"a\nb"}', "not a frame"),
        (b"\xef\xbb\xbf{}", "not a frame"),
        (b"\x00", "not a frame"),
    ],
)
def test_json_errors_say_what_is_wrong(payload: bytes, says: str) -> None:
    with pytest.raises(FrameInvalidError) as caught:
        JSON.decode_client(payload)
    assert says in caught.value.message
    assert "PROTOCOL.md" in caught.value.message


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"\x0a", b"\x0a\x7f", b"\x0a\x03\x0a\x01\xff", b"\xa2\x06\x01x", PROTO.encode(Pong()) + b"\x07", b'{"type":"ping"}'],
)
def test_proto_errors_say_what_is_wrong(payload: bytes) -> None:
    with pytest.raises(FrameInvalidError) as caught:
        PROTO.decode_client(payload)
    assert len(caught.value.message) > 20


def test_a_proto_send_needs_its_kind() -> None:
    with pytest.raises(FrameInvalidError, match="one of message, cancel, answer"):
        PROTO.decode_client(session_pb2.ClientFrame(send=session_pb2.SendFrame(id="x")).SerializeToString())


def test_a_proto_welcome_needs_its_outcome() -> None:
    with pytest.raises(FrameInvalidError, match="unknown outcome 9"):
        PROTO.decode_server(session_pb2.ServerFrame(welcome=session_pb2.WelcomeFrame(outcome=9)).SerializeToString())  # type: ignore[arg-type]


DEEP = [
    b"[" * 60_000,
    b'{"a":' * 12_000,
    b'{"type":"hello","device":"d","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b'{"type":"send","id":"x","kind":"message","data":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b'{"type":"batch","prev":"","pos":"","events":[{"id":"e","kind":"custom","data":{"data":' + b"[" * 30_000 + b"]" * 30_000 + b"}}]}",
]


@pytest.mark.parametrize("payload", DEEP)
def test_deep_json_is_refused_not_fatal(payload: bytes) -> None:
    assert len(payload) <= limits.FRAME_BYTES_MAX
    for decode in (JSON.decode_client, JSON.decode_server):
        with pytest.raises(FrameInvalidError):
            decode(payload)


def test_deep_proto_is_refused_not_fatal() -> None:
    groups = b"\xa3\x06" * 10_000 + b"\xa4\x06" * 10_000  # field 100 as nested groups
    for decode in (PROTO.decode_client, PROTO.decode_server):
        with pytest.raises(FrameInvalidError):
            decode(groups)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "device", "pos", "id", "kind", "data", "text", "events", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def _read_or_refuse(codec: Codec, payload: bytes) -> None:
    for decode in (codec.decode_client, codec.decode_server):
        with contextlib.suppress(FrameInvalidError):
            decode(payload)


@codecs
@settings(max_examples=120)
@given(payload=st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(codec: Codec, payload: bytes) -> None:
    _read_or_refuse(codec, payload)


@settings(max_examples=120)
@given(
    kind=st.sampled_from(["hello", "ack", "send", "refresh", "ping", "batch", "welcome", "sent", "error", "drain", "x"]),
    form=st.dictionaries(st.sampled_from(["device", "pos", "prev", "id", "kind", "data", "text", "token", "events", "limits"]), json_like),
)
def test_any_json_object_is_a_frame_or_refused(kind: str, form: dict[str, Any]) -> None:
    _read_or_refuse(JSON, msgspec.json.encode({"type": kind, **form}))


@codecs
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(frame=client_frames | server_frames, data=st.data())
def test_damaged_frames_are_frames_or_refused(codec: Codec, frame: ClientFrame | ServerFrame, data: st.DataObject) -> None:
    payload = bytearray(codec.encode(frame))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload)))
        payload[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    _read_or_refuse(codec, bytes(payload))


@given(event_field=st.sampled_from(["attempt", "seq", "time_unix_ms"]), value=st.integers(-(2**70), 2**70))
def test_numbers_of_any_size_are_read_or_refused(event_field: str, value: int) -> None:
    event = msgspec.json.encode({"id": "e", "kind": "run_lost", event_field: value})
    _read_or_refuse(JSON, b'{"type":"batch","prev":"","pos":"","events":[' + event + b"]}")
