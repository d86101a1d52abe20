"""Which answers a question takes (PROTOCOL.md, "Questions").

Rules: an approval is answered by `true` or `false`, a question by a text, a choice by one of its options, exactly. A request of a type
that this version does not know takes any JSON value. The edge and the agent's client judge by this same function, so what an edge has let
through although it did not know the request is judged by the client all the same.

Pure: imports no asyncio, clock, random, logging; and no msgspec, for the client has none.
"""

import json
from collections.abc import Sequence
from typing import Any

from runcast.v1.event_pb2 import INPUT_TYPE_APPROVAL, INPUT_TYPE_CHOICE, INPUT_TYPE_QUESTION
from runcast.wire.errors import RuncastError


def read_answer(input_type: int, options: Sequence[str] | None, value_json: bytes) -> Any:
    """Read an answer.

    Args:
        input_type: the request's `InputType`.
        options: the request's; None when they are not known, and any text counts as one of them.
        value_json: the answer, JSON.

    Returns:
        True or False for an approval, a text for a question or a choice.

    Raises:
        RuncastError: `send_invalid`: it does not fit; the message says what would.
    """
    try:
        value = json.loads(value_json)
    except (ValueError, RecursionError) as exc:
        raise _unfit("JSON") from exc
    if input_type == INPUT_TYPE_APPROVAL and not isinstance(value, bool):
        raise _unfit("true or false")
    if input_type == INPUT_TYPE_QUESTION and not isinstance(value, str):
        raise _unfit("a text")
    if input_type == INPUT_TYPE_CHOICE:
        if not isinstance(value, str):
            raise _unfit("a text that is one of the options")
        if options is not None and value not in options:
            raise _unfit("one of the options, exactly")
    return value


def _unfit(wanted: str) -> RuncastError:
    return RuncastError(f"this question is answered by {wanted}", code="send_invalid")
