"""How values, exceptions and ends become events."""

import pytest

from runcast.client import events
from runcast.client.events import describe_exception, encode_json, make_run_id
from runcast.wire import limits


def test_run_ids_sort_by_time_and_differ_by_randomness() -> None:
    ids = [make_run_id(time_ms, 2**80 - 1 if time_ms % 2 else 0) for time_ms in (0, 1, 2, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1)]
    assert ids == sorted(ids)
    assert len({*ids, make_run_id(0, 1)}) == len(ids) + 1
    assert all(len(run_id) == 26 for run_id in ids)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, b""), ({"a": [1, "é"]}, '{"a":[1,"é"]}'.encode()), ("", b'""'), (nested(limits.JSON_DEPTH_MAX), None), ([[]] * 200, None)],
)
def test_json_is_written_compactly(value: object, text: bytes | None) -> None:
    written = encode_json(value)
    assert text is None or written == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", nested(limits.JSON_DEPTH_MAX + 1), nested(100_000)])
def test_what_browsers_can_not_read_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_json(value)


def test_what_json_has_no_form_for_is_refused() -> None:
    with pytest.raises(TypeError):
        encode_json(object())


def test_exceptions_are_told_by_name_and_text() -> None:
    assert describe_exception(ValueError("no such file")) == "ValueError: no such file"
    assert describe_exception(KeyError()) == "KeyError"
    assert describe_exception(ValueError("\ud800")) == "ValueError: ?"
    long = describe_exception(ValueError("x" * 10_000))
    assert len(long) == limits.ERROR_TEXT_CHARS_MAX
    assert long.endswith("…")


def test_ends_close_open_tools_first() -> None:
    kinds = [event.WhichOneof("kind") for event in events.cancelled({"t1": "search", "t2": "read"}, "because")]
    assert kinds == ["tool_completed", "tool_completed", "run_cancelled"]
