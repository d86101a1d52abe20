"""Each rule of a batch is broken once; what passes is really strict JSON."""

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runcast.router.asks import read_user
from runcast.router.validation import JSON_FIELDS, NOT_FOR_AGENTS, check_batch
from runcast.v1.event_pb2 import Batch, Event, User
from runcast.wire import limits
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey


def make_event(seq: int = 1, run_id: str = "r", attempt: int = 1, **fields: object) -> Event:
    event = Event(id=f"{run_id}.{attempt}.{seq}", run_id=run_id, attempt=attempt, seq=seq, agent="a")
    if not fields:
        event.agent_thinking.text = "..."
    for name, value in fields.items():
        kind, _, field = name.partition("__")
        if field:
            setattr(getattr(event, kind), field, value)
        else:
            getattr(event, kind).SetInParent()
    return event


def make_batch(*events: Event, number: int = 1) -> Batch:
    return Batch(
        user=User(tenant="default", id="alice"),
        producer="p",
        run_id="r",
        attempt=1,
        number=number,
        events=events or (make_event(1, agent_started__title="x"),),
    )


def check(batch: Batch) -> UserKey:
    user = read_user(batch.user)
    check_batch(batch, batch.ByteSize(), "p")
    return user


def refusal(batch: Batch) -> RuncastError:
    with pytest.raises(RuncastError) as raised:
        check(batch)
    return raised.value


def changed(change: Callable[[Batch], object]) -> Batch:
    batch = make_batch(make_event(1, agent_started__title="x"), make_event(2))
    change(batch)
    return batch


def test_a_sound_batch_names_its_user() -> None:
    assert check(changed(lambda batch: None)) == UserKey("default", "alice")


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("id_invalid", lambda b: b.user.Clear()),
        ("id_invalid", lambda b: setattr(b.user, "tenant", "t" * 129)),
        ("id_invalid", lambda b: setattr(b.user, "id", "\u00e9" * 65)),
        ("id_invalid", lambda b: setattr(b, "run_id", "")),
        ("id_invalid", lambda b: setattr(b, "producer", "")),
        ("id_invalid", lambda b: setattr(b.events[0], "agent", "")),
        ("id_invalid", lambda b: setattr(b.events[1], "agent", "a" * 129)),
        ("id_invalid", lambda b: setattr(b.events[1], "thread", "t" * 129)),
        ("id_invalid", lambda b: setattr(b.events[1], "parent_run_id", "t" * 129)),
        ("id_invalid", lambda b: setattr(b.events[1], "traceparent", "t" * 129)),
        ("id_invalid", lambda b: b.events[1].tool_executing.SetInParent()),
        ("id_invalid", lambda b: b.events[1].tool_completed.SetInParent()),
        ("id_invalid", lambda b: setattr(b.events[1].tool_executing, "tool", "t" * 129)),
        ("id_invalid", lambda b: setattr(b.events[1].agent_response, "message_id", "m" * 129)),
        ("id_invalid", lambda b: b.events[1].input_requested.SetInParent()),
        ("batch_invalid", lambda b: setattr(b, "producer", "another")),
        ("batch_invalid", lambda b: setattr(b, "attempt", 0)),
        ("batch_invalid", lambda b: setattr(b, "number", 0)),
        ("batch_invalid", lambda b: setattr(b, "number", 2)),
        ("batch_invalid", lambda b: b.ClearField("events")),
        ("batch_invalid", lambda b: setattr(b.events[0], "seq", 2)),
        ("batch_invalid", lambda b: setattr(b.events[1], "seq", 3)),
        ("batch_invalid", lambda b: setattr(b.events[1], "seq", 1)),
        ("batch_invalid", lambda b: setattr(b.events[1], "run_id", "s")),
        ("batch_invalid", lambda b: setattr(b.events[1], "attempt", 2)),
        ("batch_invalid", lambda b: setattr(b.events[1], "id", "r.1.1")),
        ("batch_invalid", lambda b: b.events[1].ClearField("agent_thinking")),
        ("batch_invalid", lambda b: b.events[1].user_message.SetInParent()),
        ("batch_invalid", lambda b: b.events[1].run_lost.SetInParent()),
        ("batch_invalid", lambda b: setattr(b.events[1].agent_thinking, "progress", 1.5)),
        ("batch_invalid", lambda b: setattr(b.events[1].agent_thinking, "progress", float("nan"))),
        ("batch_invalid", lambda b: setattr(b.events[1].custom, "data_json", b"{} {}")),
        ("batch_too_large", lambda b: b.events.extend(make_event(seq) for seq in range(3, 258))),
        ("event_too_large", lambda b: setattr(b.events[1].agent_thinking, "text", "x" * limits.EVENT_BYTES_MAX)),
        ("batch_too_large", lambda b: b.events.extend(make_event(seq, agent_thinking__text="x" * 200_000) for seq in range(3, 6))),
    ],
)
def test_what_is_wrong_is_named(code: str, change: Callable[[Batch], object]) -> None:
    assert refusal(changed(change)).code.name == code


def test_the_largest_batch_passes() -> None:
    events = [make_event(1, agent_started__title="x"), *(make_event(seq) for seq in range(2, limits.BATCH_EVENTS_MAX + 1))]
    assert check(make_batch(*events))


def test_a_later_batch_begins_at_its_number_or_later() -> None:
    assert check(make_batch(make_event(3), number=3))
    assert refusal(make_batch(make_event(2), number=3)).code.name == "batch_invalid"


def test_a_kind_to_come_is_kept_but_an_unknown_attribute_is_no_kind() -> None:
    def raw(tag: bytes) -> Event:
        event = make_event(1)
        event.ClearField("agent_thinking")
        return Event.FromString(event.SerializeToString() + tag + b"\x02\x08\x01")

    batch = make_batch(raw(b"\xc2\x02"))  # field 40
    assert check(batch)
    assert batch.SerializeToString().endswith(b"\x02\x08\x01")
    assert refusal(make_batch(raw(b"\x62"))).code.name == "batch_invalid"  # field 12


def test_the_tables_name_every_kind_with_json() -> None:
    kinds = Event.DESCRIPTOR.oneofs_by_name["kind"].fields
    with_json = {kind.name: field.name for kind in kinds for field in kind.message_type.fields if field.name.endswith("_json")}
    assert with_json == JSON_FIELDS
    assert set(NOT_FOR_AGENTS) <= {kind.name for kind in kinds}


def accepted(text: bytes) -> bool:
    try:
        check(make_batch(make_event(1, custom__data_json=text)))
    except RuncastError as exc:
        assert exc.code.name == "batch_invalid"  # noqa: PT017 # the other branch is as good
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        b"{} {}", b"1,", b"[1,]", b'{"a":1,}', b"NaN", b"Infinity", b"-", b"01", b"1.", b".5", b"+1", b"'a'", b"undefined", b"tru",
        b'"a', b'"\n"', b'"\x00"', b'"\x1f"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'"\\x41"', b"\xef\xbb\xbf1", b"\xff\xfe1\x00",
        b"// x\n1", b"/**/1", b"1//", b" ", b"\x0c1", b"{a:1}", b"]", b"[" * 101 + b"]" * 101, b"[" * 100_000,
        b'{"a":' * 101 + b"1" + b"}" * 101,
    ],
)  # fmt: skip
def test_what_is_not_one_strict_json_value_is_refused(text: bytes) -> None:
    assert not accepted(text)


@pytest.mark.parametrize(
    "text", [b"null", b" 1 ", b'"<script>"', b'{"a":[1,2.5e3,true]}', b"[" * 100 + b"]" * 100, b'"[[["', b"[" + b"[]," * 200 + b"[]]"]
)
def test_strict_json_passes(text: bytes) -> None:
    assert accepted(text)


@given(
    st.one_of(st.binary(max_size=40), st.text(alphabet='[]{}",:0123456789.eE+-truefalsn \\u\n\t\x00\ud7ff', max_size=40).map(str.encode))
)
@example(b'"\\ud800"')
def test_whatever_passes_another_strict_parser_reads_too(text: bytes) -> None:
    if text and accepted(text):
        json.loads(text.decode("utf-8", "strict"), parse_constant=pytest.fail)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        st.lists,
        max_leaves=20,
    )
)
def test_whatever_python_writes_passes(value: object) -> None:
    assert accepted(json.dumps(value).encode())
    assert accepted(msgspec.json.encode(value))
