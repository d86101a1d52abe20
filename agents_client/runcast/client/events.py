"""How what an agent says becomes events: JSON, ids, texts of errors, and the events that end a run.

Rules: what can't be written raises to the caller, before anything is queued; a run that ends closes its open tool calls first; an
exception is told by its class name and its text alone, no traceback.

Pure: time and randomness are arguments. Never imports asyncio, a clock, randomness, logging or grpc.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from runcast.v1.event_pb2 import (
    SEVERITY_DEGRADED,
    SEVERITY_FATAL,
    SEVERITY_RECOVERABLE,
    TOOL_STATUS_CANCELLED,
    AgentError,
    Event,
    RunCancelled,
    Severity,
    ToolCompleted,
)
from runcast.wire import limits
from runcast.wire.lifecycle import Lifecycle

SEVERITIES: Final[dict[str, Severity]] = {"recoverable": SEVERITY_RECOVERABLE, "degraded": SEVERITY_DEGRADED}
"""Severities after which the agent goes on."""

_TOO_DEEP = f"the value is nested deeper than {limits.JSON_DEPTH_MAX} levels; flatten it"
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def make_run_id(time_unix_ms: int, randomness: int) -> str:
    """Make a run id: 26 characters of `[0-9a-z]`, that sort by time.

    Args:
        time_unix_ms: milliseconds since the Unix epoch, 48 bits of it are used.
        randomness: 80 bits of it are used.
    """
    number = ((time_unix_ms & (1 << 48) - 1) << 80) | (randomness & (1 << 80) - 1)
    return "".join([_DIGITS[(number >> shift) & 31] for shift in range(125, -1, -5)])


def encode_json(value: object) -> bytes:
    """Write a value as JSON text; None as nothing at all.

    Raises:
        TypeError: it holds what JSON has no form for.
        ValueError: it holds itself, a NaN or an infinity, or text that is not Unicode, or is nested too deep.
    """
    if value is None:
        return b""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except RecursionError as exc:
        raise ValueError(_TOO_DEEP) from exc
    if text.count(b"[") + text.count(b"{") > limits.JSON_DEPTH_MAX:
        _check_depth(value)
    return text


def _check_depth(value: object) -> None:
    """Look level by level, so that no value costs stack."""
    level = [value]
    for _ in range(limits.JSON_DEPTH_MAX + 1):
        containers = [item for item in level if isinstance(item, dict | list | tuple)]
        if not containers:
            return
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    raise ValueError(_TOO_DEEP)


def describe_exception(exc: BaseException) -> str:
    """Class name and text of an exception, cut to `limits.ERROR_TEXT_CHARS_MAX` characters."""
    text = str(exc)
    told = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    if len(told) > limits.ERROR_TEXT_CHARS_MAX:
        told = told[: limits.ERROR_TEXT_CHARS_MAX - 1] + "…"
    return told.encode(errors="replace").decode()


def to_ms(seconds: float | None) -> int | None:
    """Seconds as whole milliseconds; None stays None."""
    return None if seconds is None else round(seconds * 1000)


def close_tools(open_tools: Mapping[str, str]) -> list[Event]:
    """`tool_completed` of every call that is still open, as cancelled."""
    return [
        Event(tool_completed=ToolCompleted(tool_call_id=call, tool=tool, status=TOOL_STATUS_CANCELLED)) for call, tool in open_tools.items()
    ]


def cancelled(open_tools: Mapping[str, str], reason: str) -> list[Event]:
    """What ends a run that was cancelled."""
    return [*close_tools(open_tools), Event(run_cancelled=RunCancelled(reason=reason))]


def fatal(open_tools: Mapping[str, str], message: str, category: str = "unknown", suggestions: Sequence[str] = ()) -> list[Event]:
    """What ends a run by an error."""
    error = AgentError(severity=SEVERITY_FATAL, category=category, message=message, suggestions=suggestions)
    return [*close_tools(open_tools), Event(agent_error=error)]


def refused(life: Lifecycle, code: str) -> list[Event]:
    """What ends a run whose later events were refused."""
    return fatal(life.open_tools, f"The agent's further events could not be stored ({code}).", category="bad_input")
