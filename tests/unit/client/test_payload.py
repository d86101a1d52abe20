"""Values as JSON text, and what is cut."""

import array
import dataclasses
import enum
import json
import types
import uuid
from collections import OrderedDict, UserDict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.client.payload import CUT, cut_json, cut_text, encode_json, encode_leniently, fit_event
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from runcast.wire import limits

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@dataclasses.dataclass
class Point:
    x: int
    tags: set[str]


@dataclasses.dataclass(slots=True)
class Node:
    below: "Node | None" = None


class Colour(enum.Enum):
    RED = "red"


class Modelled:
    def model_dump(self) -> dict[str, Any]:
        return {"at": date(2026, 11, 21)}


class Broken:
    def model_dump(self) -> object:
        raise RuntimeError("no")


Pair = namedtuple("Pair", "a b")
UUID = uuid.UUID(int=1)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, b""),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'.encode()),
        ("", b'""'),
        (nested(limits.JSON_DEPTH_MAX), None),
        ([[]] * 200, None),
    ],
)
def test_json_is_written_compactly(value: object, text: bytes | None) -> None:
    written = encode_json(value)
    assert text is None or written == text


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Point(1, {"b", "a"}), {"x": 1, "tags": ["a", "b"]}),
        (datetime(2026, 11, 21, 8, 30, tzinfo=UTC), "2026-11-21T08:30:00+00:00"),
        (date(2026, 11, 21), "2026-11-21"),
        (time(8, 30), "08:30:00"),
        (timedelta(minutes=2), 120.0),
        (Decimal("0.10"), "0.10"),
        (UUID, str(UUID)),
        (Path("/tmp/x"), "/tmp/x"),  # noqa: S108 # a path as any other
        (b"\x00\xff", "AP8="),
        (bytearray(b"a"), "YQ=="),
        (memoryview(b"a"), "YQ=="),
        ({1, 2}, [1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (Colour.RED, "red"),
        (Pair(1, 2), [1, 2]),
        (deque([1]), [1]),
        (range(3), [0, 1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (array.array("i", [1, 2]), [1, 2]),
        (Modelled(), {"at": "2026-11-21"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_everybody_means_the_same_by_is_converted(value: object, plain: object) -> None:
    assert json.loads(encode_json({"value": value})) == {"value": plain}


def test_a_set_of_several_types_is_a_list() -> None:
    assert sorted(json.loads(encode_json({1, "a"})), key=str) == [1, "a"]


def chain(length: int) -> Node:
    node = Node()
    for _ in range(length):
        node = Node(node)
    return node


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        "\ud800",
        nested(limits.JSON_DEPTH_MAX + 1),
        nested(100_000),
        chain(limits.JSON_DEPTH_MAX),
        chain(100_000),
    ],
    ids=["nan", "inf", "surrogate", "deep", "very deep", "dataclasses", "many dataclasses"],
)
def test_what_browsers_can_not_read_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_json(value)


def test_what_holds_itself_is_refused() -> None:
    node = Node()
    node.below = node
    with pytest.raises(ValueError, match="holds itself"):
        encode_json(node)


@pytest.mark.parametrize("value", [object(), object, Point, ValueError("x"), lambda: 1, iter([])])
def test_what_has_no_form_is_refused_with_what_to_do(value: object) -> None:
    with pytest.raises(TypeError, match=r"no form in JSON; give its fields as a dict"):
        encode_json([value])


def test_keys_are_text() -> None:
    with pytest.raises(TypeError, match="write the keys of dicts as text"):
        encode_json({(1, 2): 3})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, b""),
        ({"db": object(), "n": 1}, b'{"db":"<object>","n":1}'),
        ([Broken()], b'["<Broken>"]'),
        ({(1, 2): 3}, b'"<dict>"'),
        (float("nan"), b'"<float>"'),
        (nested(1000), b'"<list>"'),
    ],
)
def test_leniently_nothing_is_refused(value: object, text: bytes) -> None:
    assert encode_leniently(value, 1000) == text


@given(value=JSON, bytes_max=st.integers(0, 300))
def test_cut_json_is_json_and_says_how_large_it_was(value: object, bytes_max: int) -> None:
    text = encode_json(value)
    cut = cut_json(text, bytes_max)
    if len(text) <= bytes_max:
        assert cut == text
        return
    told = json.loads(cut)
    assert (told["truncated"], told["bytes"]) == (True, len(text))
    assert text.decode().startswith(told["head"])
    assert len(cut) <= max(bytes_max, len(cut_json(text, 0)))


def test_as_much_is_kept_as_fits() -> None:
    text = encode_json(["x" * 5000])
    assert len(cut_json(text, 1000)) == 1000
    quotes = encode_json(['"' * 5000])
    assert 990 <= len(cut_json(quotes, 1000)) <= 1000


@given(text=st.text(), bytes_max=st.integers(0, 100))
def test_cut_text_says_how_long_it_was(text: str, bytes_max: int) -> None:
    cut = cut_text(text, bytes_max)
    size = len(text.encode())
    if size <= bytes_max:
        assert cut == text
        return
    marker = f"… [cut: {size} bytes in all]"
    assert cut.endswith(marker)
    assert text.startswith(cut.removesuffix(marker))
    assert len(cut.encode()) <= max(bytes_max, len(marker.encode()))


@pytest.mark.parametrize("kind", CUT)
def test_any_event_can_be_made_to_fit(kind: str) -> None:
    event = Event(run_id="r", agent="a")
    message = getattr(event, kind)
    for name in CUT[kind]:
        setattr(message, name, encode_json("ü" * 150_000) if name.endswith("_json") else "ü" * 150_000)
    whole = event.ByteSize()
    fit_event(event, 200_000)
    assert whole > 300_000
    assert 190_000 < event.ByteSize() <= 200_000


def test_only_what_is_too_long_is_cut() -> None:
    event = Event(tool_completed=pb.ToolCompleted(tool_call_id="t1", result_json=encode_json("x" * 5000), error="it broke"))
    fit_event(event, 1000)
    assert event.tool_completed.error == "it broke"
    assert json.loads(event.tool_completed.result_json)["bytes"] == 5002
    before = event.SerializeToString()
    fit_event(event, 1000)
    assert event.SerializeToString() == before


def test_what_must_not_be_cut_stays() -> None:
    asked = pb.InputRequested(request_id="i", prompt="?" * 500, options=["x" * 2000])
    event = Event(input_requested=asked)
    fit_event(event, 1000)
    assert event.ByteSize() > 1000
    assert list(event.input_requested.options) == ["x" * 2000]
    unknown = Event(run_id="r" * 2000)
    fit_event(unknown, 1000)
    assert unknown.run_id == "r" * 2000
