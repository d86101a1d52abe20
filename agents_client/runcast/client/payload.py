"""Values as JSON text, and what is done with what is too large for an event (PROTOCOL.md, "Limits").

Rules: None is nothing at all. What JSON has no form for but everybody means the same by is converted (`to_plain`); anything else raises and
says what to do. What is cut says so, and how large it was: JSON becomes `{"truncated": true, "bytes": …, "head": "…"}`, text ends in
`… [cut: … bytes in all]`. Ids, names and what the user is to choose from are never cut.

Pure: never imports asyncio, a clock, randomness, logging or grpc. (UUIDs and paths are told by their class, so that no such module is
needed.)
"""

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from runcast.v1.event_pb2 import Event
from runcast.wire import limits

CUT: Final[dict[str, tuple[str, ...]]] = {
    "agent_started": ("title", "input_json"),
    "agent_thinking": ("text",),
    "tool_executing": ("args_json", "purpose"),
    "tool_completed": ("result_json", "error"),
    "agent_response": ("text",),
    "agent_completed": ("summary", "result_json"),
    "agent_error": ("message",),
    "run_cancelled": ("reason",),
    "input_requested": ("prompt",),
    "custom": ("data_json",),
}
"""Fields that may be cut, by kind."""

_TOO_DEEP: Final = f"the value is nested deeper than {limits.JSON_DEPTH_MAX} levels; flatten it"


def encode_json(value: object) -> bytes:
    """Write a value as JSON text; None as nothing at all.

    Raises:
        TypeError: it holds what has no form in JSON, and none that everybody agrees on.
        ValueError: it holds itself, a NaN or an infinity, or text that is not Unicode, or is nested too deep.
    """
    return b"" if value is None else _write(_STRICT, value)


def encode_leniently(value: object, bytes_max: int) -> bytes:
    """Write a value as JSON text whatever it holds: objects that have no form in it as `<class name>`; cut to `bytes_max`."""
    if value is None:
        return b""
    try:
        text = _write(_LENIENT, value)
    except (TypeError, ValueError):
        text = json.dumps(_placeholder(value)).encode()
    return cut_json(text, bytes_max)


def to_plain(value: object) -> object:
    """The nearest that JSON has a form for: of dataclasses and objects with `model_dump` their fields, of dates and times the ISO form,
    of durations seconds, of decimals, UUIDs and paths their text, of bytes base64, of sets a list, of enums their value, of arrays (objects
    with `tolist`) a list.

    Raises:
        TypeError: there is none.
    """
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return str(value)
        case Enum():
            return value.value
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return dict(value)
        case AbstractSet():
            return _in_order(value)
        case Sequence():
            return list(value)
    return _plain_object(value)


def cut_json(text: bytes, bytes_max: int) -> bytes:
    """JSON text of at most `bytes_max` bytes (or so few that it says no more than that it was cut): itself, or its beginning as a text."""
    if len(text) <= bytes_max:
        return text
    frame = len(_STRICT.encode({"truncated": True, "bytes": len(text), "head": ""}))
    kept = max(0, bytes_max - frame)
    while kept and (over := kept + text.count(b'"', 0, kept) + text.count(b"\\", 0, kept) - (bytes_max - frame)) > 0:
        kept -= (over + 1) // 2  # a byte takes at most two when it is written again
    head = text[:kept].decode(errors="ignore")  # not half a character
    return _STRICT.encode({"truncated": True, "bytes": len(text), "head": head}).encode()


def cut_text(text: str, bytes_max: int) -> str:
    """Text of at most `bytes_max` bytes (or the marker alone): itself, or its beginning and a marker."""
    whole = text.encode()
    if len(whole) <= bytes_max:
        return text
    marker = f"… [cut: {len(whole)} bytes in all]"
    return whole[: max(0, bytes_max - len(marker.encode()))].decode(errors="ignore") + marker


def fit_event(event: Event, bytes_max: int) -> None:
    """Cut the longest fields of an event until it has at most `bytes_max` bytes, or nothing is left that may be cut."""
    kind = event.WhichOneof("kind") or ""
    if event.ByteSize() <= bytes_max or kind not in CUT:
        return
    message = getattr(event, kind)
    for name in sorted(CUT[kind], key=lambda name: _bytes(getattr(message, name)), reverse=True):
        over = event.ByteSize() - bytes_max
        if over <= 0:
            return
        value = getattr(message, name)
        room = max(0, _bytes(value) - over)
        setattr(message, name, cut_json(value, room) if isinstance(value, bytes) else cut_text(value, room))


# --- inside ---


def _write(encoder: json.JSONEncoder, value: object) -> bytes:
    try:
        text = encoder.encode(value).encode()
    except RecursionError as exc:
        raise ValueError(_TOO_DEEP) from exc
    except TypeError as exc:
        if str(exc).startswith("keys must be"):
            raise TypeError(f"{exc}; write the keys of dicts as text") from exc
        raise
    except UnicodeEncodeError:
        raise
    except ValueError as exc:
        if str(exc).startswith("Circular"):
            raise ValueError("the value holds itself; give what JSON can say, without that") from exc
        if str(exc).startswith("Out of range"):
            raise ValueError("the value holds a NaN or an infinity, for which JSON has no form; give None, or a text") from exc
        raise
    if text.count(b"[") + text.count(b"{") > limits.JSON_DEPTH_MAX:
        _check_depth(text)
    return text


def _check_depth(text: bytes) -> None:
    """Look level by level, so that no value costs stack."""
    try:
        level = [json.loads(text)]
    except RecursionError as exc:
        raise ValueError(_TOO_DEEP) from exc
    for _ in range(limits.JSON_DEPTH_MAX + 1):
        level = [child for item in level if isinstance(item, dict | list) for child in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _plain_object(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if not isinstance(value, type):
        if hasattr(value, "__fspath__") or any((base.__module__, base.__name__) == ("uuid", "UUID") for base in type(value).__mro__):
            return str(value)
        for method in ("model_dump", "tolist"):
            convert = getattr(value, method, None)
            if callable(convert):
                converted: object = convert()
                return converted
    raise TypeError(
        f"{type(value).__qualname__} has no form in JSON; give its fields as a dict, or its text "
        "(dataclasses, dates, decimals, UUIDs, paths, sets, bytes and objects with model_dump() are written by themselves)"
    )


def _plain_or_placeholder(value: object) -> object:
    try:
        return to_plain(value)
    except Exception:  # whatever an object does when it is asked: it is shown by its class alone
        return _placeholder(value)


def _placeholder(value: object) -> str:
    return f"<{type(value).__qualname__}>"


def _in_order(values: AbstractSet[Any]) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:  # of several types
        return list(values)


def _bytes(value: str | bytes) -> int:
    return len(value.encode() if isinstance(value, str) else value)


_STRICT: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=to_plain)
_LENIENT: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain_or_placeholder)
