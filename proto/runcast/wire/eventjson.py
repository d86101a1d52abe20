"""Events as JSON: the form that browsers, `runcast tail --json` and `runcast publish` use.

One table maps every kind's fields in both directions. Rules: JSON names are the proto names, except that `..._json` loses its suffix
and holds the JSON value itself; enum values are lower-case words (`SEVERITY_FATAL` is "fatal"); fields that are empty (the proto default)
are left out, except optional ones that are set; numbers that JSON lacks (NaN, infinities) are left out too. An event of a kind that
this version does not know has `kind` "unknown" and carries the serialized event as base64 in `data.raw`, so that nothing is lost on the
way through.

JSON that came from an agent is embedded as it is: the router has checked that it is JSON before it stored it.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError, Message

from runcast.v1 import event_pb2
from runcast.v1.event_pb2 import Event
from runcast.wire.errors import FrameInvalidError

UNKNOWN: Final = "unknown"
"""`kind` of an event whose kind this version does not know."""


class EventJson(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One event as JSON. Fields as in event.proto; `data` holds the kind's own fields."""

    id: str
    kind: str
    run_id: str = ""
    attempt: int = 0
    seq: int = 0
    time_unix_ms: int = 0
    agent: str = ""
    thread: str = ""
    parent_run_id: str = ""
    traceparent: str = ""
    first_seq: int = 0
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class Field(NamedTuple):
    """One field of a kind: its JSON and proto names, how to write it, how to read it, and whether absence is told apart."""

    name: str
    proto: str
    write: Callable[[Any], Any] | None
    read: Callable[[Any], Any]
    optional: bool


def _typed(what: str, *types: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, types) and not (isinstance(value, bool) and bool not in types):
            return value
        raise FrameInvalidError(f"expected {what}, got {type(value).__name__}")

    return read


def _texts(value: Any) -> list[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise FrameInvalidError("expected a list of texts")


_text = _typed("text", str)
_integer = _typed("an integer", int)
_number = _typed("a number", int, float)
_truth = _typed("true or false", bool)


_NUMBER: Final = re.compile(r"-?[0-9]{1,10}", re.ASCII)


def _words(enum: Any, prefix: str) -> tuple[Callable[[int], str], Callable[[Any], int]]:
    to_word: dict[int, str] = {number: name.removeprefix(prefix).lower() for name, number in enum.items()}
    to_number: dict[str, int] = {word: number for number, word in to_word.items()}

    def write(number: int) -> str:
        return to_word.get(number, str(number))

    def read(word: Any) -> int:
        if isinstance(word, str):
            if word in to_number:
                return to_number[word]
            if _NUMBER.fullmatch(word):  # of a version that has more words
                return int(word)
        raise FrameInvalidError(f"{word!r} is not one of {', '.join(sorted(to_number))}")

    return write, read


def _field(name: str, read: Callable[[Any], Any], *, optional: bool = False) -> Field:
    return Field(name, name, None, read, optional)


def _json(name: str) -> Field:
    return Field(name, f"{name}_json", msgspec.Raw, msgspec.json.encode, False)


def _enum(name: str, enum: Any, prefix: str) -> Field:
    write, read = _words(enum, prefix)
    return Field(name, name, write, read, False)


KINDS: Final[dict[str, tuple[Field, ...]]] = {
    "agent_started": (_field("title", _text), _field("reply_to", _text), _json("input")),
    "agent_thinking": (
        _field("text", _text),
        _field("progress", _number, optional=True),
        _field("step", _integer),
        _field("steps", _integer),
        _enum("urgency", event_pb2.Urgency, "URGENCY_"),
        _field("remaining_ms", _integer, optional=True),
    ),
    "tool_executing": (
        _field("tool_call_id", _text),
        _field("tool", _text),
        _json("args"),
        _field("purpose", _text),
        _field("estimate_ms", _integer, optional=True),
    ),
    "tool_completed": (
        _field("tool_call_id", _text),
        _field("tool", _text),
        _enum("status", event_pb2.ToolStatus, "TOOL_STATUS_"),
        _json("result"),
        _field("error", _text),
        _field("duration_ms", _integer),
    ),
    "agent_response": (
        _field("message_id", _text),
        _field("text", _text),
        _enum("mode", event_pb2.TextMode, "TEXT_MODE_"),
        _field("final", _truth),
    ),
    "agent_completed": (_field("summary", _text), _json("result")),
    "agent_error": (
        _enum("severity", event_pb2.Severity, "SEVERITY_"),
        _field("category", _text),
        _field("message", _text),
        _field("suggestions", _texts),
        _field("retrying", _truth),
        _field("retry_after_ms", _integer, optional=True),
    ),
    "user_message": (_field("text", _text), _json("data"), _field("device", _text), _field("group", _text)),
    "run_cancelled": (_field("reason", _text),),
    "run_lost": (_field("reason", _text),),
    "input_requested": (
        _field("request_id", _text),
        _enum("type", event_pb2.InputType, "INPUT_TYPE_"),
        _field("prompt", _text),
        _field("options", _texts),
        _json("default"),
        _field("expires_unix_ms", _integer, optional=True),
    ),
    "custom": (_field("name", _text), _json("data")),
    "input_resolved": (
        _field("request_id", _text),
        _enum("outcome", event_pb2.InputOutcome, "INPUT_OUTCOME_"),
        _json("value"),
        _field("device", _text),
    ),
}
"""Fields by kind; the kinds are exactly those of `Event.kind` (a test compares them)."""


def event_to_json(event: Event) -> EventJson:
    """Project an event for JSON encoding (by `msgspec.json`: `data` may hold `msgspec.Raw`)."""
    kind = event.WhichOneof("kind")
    data: dict[str, Any] = {}
    if kind is None:
        data["raw"] = event.SerializeToString()
    else:
        message = getattr(event, kind)
        for name, proto, write, _, optional in KINDS[kind]:
            if optional:
                if message.HasField(proto) and math.isfinite(getattr(message, proto)):
                    data[name] = getattr(message, proto)
                continue
            value = getattr(message, proto)
            if value:
                data[name] = write(value) if write else value if isinstance(value, str | int | float) else list(value)
    return EventJson(
        id=event.id,
        kind=kind or UNKNOWN,
        run_id=event.run_id,
        attempt=event.attempt,
        seq=event.seq,
        time_unix_ms=event.time_unix_ms,
        agent=event.agent,
        thread=event.thread,
        parent_run_id=event.parent_run_id,
        traceparent=event.traceparent,
        first_seq=event.first_seq,
        data=data,
    )


def event_from_json(form: EventJson, *, strict: bool = True) -> Event:
    """The event that `form` describes; `event_to_json` reversed.

    Args:
        form: as decoded.
        strict: refuse kinds and fields that are not known here, as for what people write; otherwise they are skipped, as for what a
            newer peer sends (an unknown kind leaves an event without one).

    Raises:
        FrameInvalidError: unknown kind or field, or a value of the wrong type or size; the message names it.
    """
    if form.kind == UNKNOWN:
        return _event_from_raw(form.data.get("raw"))
    event = Event(
        id=form.id, run_id=form.run_id, agent=form.agent, thread=form.thread, parent_run_id=form.parent_run_id, traceparent=form.traceparent
    )
    for name in ("attempt", "seq", "time_unix_ms", "first_seq"):
        _set(event, name, getattr(form, name), name)
    fields = KINDS.get(form.kind)
    if fields is None:
        if strict:
            raise FrameInvalidError(f"{form.kind!r} is not a kind; use one of {', '.join(KINDS)}")
        return event
    message = getattr(event, form.kind)
    message.SetInParent()
    by_name = {field.name: field for field in fields}
    for name, value in form.data.items():
        field = by_name.get(name)
        if field is None:
            if strict:
                raise FrameInvalidError(f"{form.kind} has no field {name!r}; it has {', '.join(by_name)}")
            continue
        try:
            plain = field.read(value)
        except FrameInvalidError as exc:
            raise FrameInvalidError(f"{form.kind}.{name}: {exc.message}") from exc
        _set(message, field.proto, plain, f"{form.kind}.{name}")
    return event


def _set(message: Message, field: str, value: Any, name: str) -> None:
    try:
        if isinstance(value, list):
            getattr(message, field).extend(value)
        else:
            setattr(message, field, value)
    except (ValueError, TypeError) as exc:  # out of the field's range, or text that UTF-8 can't carry
        raise FrameInvalidError(f"{name}: {exc}") from exc


def _event_from_raw(raw: Any) -> Event:
    try:
        return Event.FromString(raw if isinstance(raw, bytes) else msgspec.convert(raw, bytes))
    except (DecodeError, msgspec.ValidationError) as exc:
        raise FrameInvalidError("an event of an unknown kind needs its serialized form, base64, in data.raw") from exc
