"""Events as JSON: the table is the proto's, and nothing is lost on the way there and back."""

import base64
import math
from typing import Any

import msgspec
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runcast.v1 import event_pb2
from runcast.v1.event_pb2 import Event
from runcast.wire.errors import FrameInvalidError
from runcast.wire.eventjson import KINDS, UNKNOWN, EventJson, event_from_json, event_to_json

ONEOF = {field.name: field for field in Event.DESCRIPTOR.oneofs_by_name["kind"].fields}
COMMON = [field for field in Event.DESCRIPTOR.fields if field.containing_oneof is None]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def values_of(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.name.endswith("_json"):
        one: st.SearchStrategy[Any] = json_values.map(msgspec.json.encode) | st.just(b"")
    elif field.type == FieldDescriptor.TYPE_STRING:
        one = st.text(max_size=10)
    elif field.type == FieldDescriptor.TYPE_DOUBLE:
        one = st.floats(allow_nan=False, allow_infinity=False)
    elif field.type == FieldDescriptor.TYPE_BOOL:
        one = st.booleans()
    elif field.type == FieldDescriptor.TYPE_UINT32:
        one = st.integers(0, 2**32 - 1)
    elif field.type == FieldDescriptor.TYPE_UINT64:
        one = st.integers(0, 2**64 - 1)
    elif field.type == FieldDescriptor.TYPE_INT64:
        one = st.integers(-(2**63), 2**63 - 1)
    elif field.type == FieldDescriptor.TYPE_ENUM:
        one = st.sampled_from([value.number for value in field.enum_type.values]) | st.integers(-(2**31), 2**31 - 1)
    else:
        raise AssertionError(f"{field.full_name} has a type that the JSON form has no rule for")
    return st.lists(one, max_size=3) if field.is_repeated else one


def fill(draw: st.DrawFn, message: Message, fields: list[FieldDescriptor]) -> None:
    for field in fields:
        if field.has_presence and not draw(st.booleans()):
            continue
        value = draw(values_of(field))
        if field.is_repeated:
            getattr(message, field.name).extend(value)
        else:
            setattr(message, field.name, value)


@st.composite
def events(draw: st.DrawFn, kind: str = "") -> Event:
    event = Event()
    fill(draw, event, COMMON)
    kind = kind or draw(st.sampled_from(sorted(ONEOF)))
    message = getattr(event, kind)
    message.SetInParent()
    fill(draw, message, list(message.DESCRIPTOR.fields))
    return event


def through_json(event: Event) -> Event:
    text = msgspec.json.encode(event_to_json(event))
    return event_from_json(msgspec.json.decode(text, type=EventJson))


def test_every_kind_of_the_proto_is_in_the_table() -> None:
    assert list(KINDS) == list(ONEOF)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_kind_is_in_its_table(kind: str) -> None:
    descriptor = ONEOF[kind].message_type
    assert {field.proto for field in KINDS[kind]} == {field.name for field in descriptor.fields}
    for field in KINDS[kind]:
        proto = descriptor.fields_by_name[field.proto]
        assert field.optional == proto.has_presence, f"{field.proto}: optional in the one, not in the other"
        assert field.name == proto.name.removesuffix("_json")
        assert (field.write is not None) == (proto.name.endswith("_json") or proto.enum_type is not None)
    assert len({field.name for field in KINDS[kind]}) == len(KINDS[kind])


def test_every_common_field_is_in_the_form() -> None:
    assert {field.name for field in COMMON} | {"kind", "data"} == {field.name for field in msgspec.structs.fields(EventJson)}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_events_come_back_equal(kind: str, data: st.DataObject) -> None:
    event = data.draw(events(kind))
    assert through_json(event) == event


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_event_of_each_kind_keeps_its_kind_and_presence(kind: str) -> None:
    event = Event(id="e")
    getattr(event, kind).SetInParent()
    assert msgspec.json.decode(msgspec.json.encode(event_to_json(event))) == {"id": "e", "kind": kind}
    assert through_json(event).WhichOneof("kind") == kind
    for field in ONEOF[kind].message_type.fields:
        if field.has_presence:
            setattr(getattr(event, kind), field.name, 0)
    assert through_json(event) == event


def test_the_form_is_pinned() -> None:
    event = Event(id="r.1.2", run_id="r", attempt=1, seq=2, time_unix_ms=1_700_000_000_000, agent="a", thread="t")
    event.tool_completed.tool_call_id = "c"
    event.tool_completed.tool = "search"
    event.tool_completed.status = event_pb2.TOOL_STATUS_OK
    event.tool_completed.result_json = b'{"hits":[1, 2]}'
    assert msgspec.json.encode(event_to_json(event)) == (
        b'{"id":"r.1.2","kind":"tool_completed","run_id":"r","attempt":1,"seq":2,"time_unix_ms":1700000000000,"agent":"a","thread":"t",'
        b'"data":{"tool_call_id":"c","tool":"search","status":"ok","result":{"hits":[1, 2]}}}'
    )


@pytest.mark.parametrize(
    ("enum", "words"),
    [
        (event_pb2.ToolStatus, ["unspecified", "ok", "error", "cancelled"]),
        (event_pb2.TextMode, ["unspecified", "whole", "delta"]),
        (event_pb2.Severity, ["unspecified", "recoverable", "degraded", "fatal"]),
        (event_pb2.InputType, ["unspecified", "approval", "question", "choice"]),
        (event_pb2.InputOutcome, ["unspecified", "answered", "defaulted", "withdrawn"]),
    ],
)
def test_enums_are_words(enum: Any, words: list[str]) -> None:
    field = next(f for fields in KINDS.values() for f in fields if f.write and _is_word_of(f, enum))
    assert field.write is not None
    assert [field.write(number) for number in enum.values()] == words
    assert [field.read(word) for word in words] == list(enum.values())


def _is_word_of(field: Any, enum: Any) -> bool:
    protos = [ONEOF[kind].message_type.fields_by_name[field.proto] for kind, fields in KINDS.items() if field in fields]
    return any(proto.enum_type is enum.DESCRIPTOR for proto in protos)


def event_from_later() -> bytes:
    """An event whose kind is field 32, which no version knows yet; kind's content: one text field."""
    return Event(id="e", run_id="r", seq=7).SerializeToString() + b"\x8a\x02\x05\x0a\x03new"


def test_an_unknown_kind_keeps_its_bytes() -> None:
    event = Event.FromString(event_from_later())
    form = msgspec.json.decode(msgspec.json.encode(event_to_json(event)))
    assert (form["kind"], form["id"], form["run_id"], form["seq"]) == (UNKNOWN, "e", "r", 7)
    assert base64.b64decode(form["data"]["raw"]) == event_from_later()
    assert through_json(event).SerializeToString() == event_from_later()


@pytest.mark.parametrize("raw", [None, 5, "", "not base64!", "AAAA", "////", [1]])
def test_an_unknown_kind_without_its_bytes_is_refused(raw: Any) -> None:
    form = EventJson(id="e", kind=UNKNOWN, data={} if raw is None else {"raw": raw})
    if raw == "":
        assert event_from_json(form) == Event()
        return
    with pytest.raises(FrameInvalidError, match=r"data\.raw"):
        event_from_json(form)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_left_out(value: float) -> None:
    event = Event(id="e")
    event.agent_thinking.progress = value
    assert not through_json(event).agent_thinking.HasField("progress")


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("agent_started", {"title": 5}, "agent_started.title: expected text, got int"),
        ("agent_started", {"title": None}, "agent_started.title: expected text, got NoneType"),
        ("agent_started", {"titel": "x"}, "agent_started has no field 'titel'; it has title, reply_to, input"),
        ("agent_started", {"input_json": "x"}, "no field 'input_json'"),
        ("agent_thinking", {"progress": "half"}, "agent_thinking.progress: expected a number"),
        ("agent_thinking", {"progress": True}, "agent_thinking.progress: expected a number, got bool"),
        ("agent_thinking", {"step": 1.5}, "agent_thinking.step: expected an integer, got float"),
        ("agent_thinking", {"step": True}, "agent_thinking.step: expected an integer, got bool"),
        ("agent_thinking", {"step": -1}, "agent_thinking.step: "),
        ("agent_thinking", {"step": 2**32}, "agent_thinking.step: "),
        ("agent_thinking", {"urgency": "dire"}, "agent_thinking.urgency: 'dire' is not one of high, low, normal, unspecified"),
        ("agent_response", {"final": 1}, "agent_response.final: expected true or false, got int"),
        ("agent_response", {"mode": "half"}, "agent_response.mode: 'half' is not one of delta, unspecified, whole"),
        ("agent_response", {"mode": 2}, "agent_response.mode: 2 is not one of"),
        ("agent_response", {"mode": ["whole"]}, "agent_response.mode: "),
        ("agent_response", {"mode": "99999999999"}, "agent_response.mode: "),
        ("agent_response", {"mode": "9" * 5000}, "agent_response.mode: "),
        ("agent_error", {"suggestions": "try again"}, "agent_error.suggestions: expected a list of texts"),
        ("agent_error", {"suggestions": ["a", 1]}, "agent_error.suggestions: expected a list of texts"),
        ("input_requested", {"expires_unix_ms": 2**63}, "input_requested.expires_unix_ms: "),
        ("nonsense", {}, "'nonsense' is not a kind; use one of agent_started"),
        ("", {}, "'' is not a kind"),
        ("kind", {}, "'kind' is not a kind"),
    ],
)
def test_bad_values_are_named(kind: str, data: dict[str, Any], says: str) -> None:
    with pytest.raises(FrameInvalidError) as caught:
        event_from_json(EventJson(id="e", kind=kind, data=data))
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [("attempt", -1), ("attempt", 2**32), ("seq", -1), ("seq", 2**64), ("time_unix_ms", 2**63), ("time_unix_ms", -(2**63) - 1)],
)
def test_numbers_out_of_range_are_named(field: str, value: int) -> None:
    with pytest.raises(FrameInvalidError) as caught:
        event_from_json(EventJson(id="e", kind="run_lost", **{field: value}))
    assert field in caught.value.message


def test_what_a_newer_peer_adds_is_skipped_when_reading_leniently() -> None:
    form = EventJson(id="e", kind="agent_started", data={"title": "x", "colour": "blue"})
    event = event_from_json(form, strict=False)
    assert event.agent_started.title == "x"
    later = event_from_json(EventJson(id="e", kind="agent_dreamed", run_id="r", seq=3, data={"of": "sheep"}), strict=False)
    assert later == Event(id="e", run_id="r", seq=3)


@settings(max_examples=60)
@given(
    st.sampled_from([*KINDS, UNKNOWN, "x"]),
    st.dictionaries(st.sampled_from([f.name for fs in KINDS.values() for f in fs] + ["raw"]), json_values),
)
def test_any_data_is_read_or_refused(kind: str, data: dict[str, Any]) -> None:
    try:
        event = event_from_json(EventJson(id="e", kind=kind, data=data))
    except FrameInvalidError:
        return
    assert through_json(event) == event or kind == UNKNOWN
