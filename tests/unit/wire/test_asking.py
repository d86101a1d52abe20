"""What answers what."""

import json
from typing import Any

import pytest

from runcast.v1.event_pb2 import INPUT_TYPE_APPROVAL, INPUT_TYPE_CHOICE, INPUT_TYPE_QUESTION, INPUT_TYPE_UNSPECIFIED
from runcast.wire.asking import read_answer
from runcast.wire.errors import RuncastError

VALUES: list[Any] = [True, False, None, 0, 1, "", "yes", "a", ["a"], {"a": True}]
TAKEN: dict[int, list[Any]] = {
    INPUT_TYPE_APPROVAL: [True, False],
    INPUT_TYPE_QUESTION: ["", "yes", "a"],
    INPUT_TYPE_CHOICE: ["a"],
    INPUT_TYPE_UNSPECIFIED: VALUES,
    99: VALUES,
}


@pytest.mark.parametrize("input_type", TAKEN)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_every_type_with_every_value(input_type: int, value: Any) -> None:
    text = json.dumps(value).encode()
    if any(value is taken or (type(value) is type(taken) and value == taken) for taken in TAKEN[input_type]):
        assert read_answer(input_type, ["a", "b"], text) == value
    else:
        with pytest.raises(RuncastError, match="answered by") as caught:
            read_answer(input_type, ["a", "b"], text)
        assert (caught.value.code.name, caught.value.code.definite) == ("send_invalid", True)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_no_answer(text: bytes) -> None:
    with pytest.raises(RuncastError, match="JSON"):
        read_answer(INPUT_TYPE_UNSPECIFIED, (), text)


def test_options_that_are_not_known_let_any_text_through() -> None:
    assert read_answer(INPUT_TYPE_CHOICE, None, b'"c"') == "c"
    with pytest.raises(RuncastError):
        read_answer(INPUT_TYPE_CHOICE, None, b"1")
