"""How what an agent says becomes events: ids, errors, and the events that end a run.

Rules: a run that ends closes its open tool calls first; of an exception only what was made of it for people is told (`classify.py`).

Pure: time and randomness are arguments. Never imports asyncio, a clock, randomness, logging or grpc.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.unknown_fields import UnknownFieldSet

from runcast.client.arguments import check_number
from runcast.client.classify import Classification
from runcast.v1.event_pb2 import (
    SEVERITY_DEGRADED,
    SEVERITY_FATAL,
    SEVERITY_RECOVERABLE,
    TOOL_STATUS_CANCELLED,
    URGENCY_HIGH,
    URGENCY_LOW,
    URGENCY_UNSPECIFIED,
    AgentError,
    Event,
    RunCancelled,
    Severity,
    ToolCompleted,
    Urgency,
)
from runcast.wire.lifecycle import Lifecycle

SEVERITIES: Final[dict[str, Severity]] = {"recoverable": SEVERITY_RECOVERABLE, "degraded": SEVERITY_DEGRADED}
"""Severities after which the agent goes on."""
URGENCIES: Final[dict[str, Urgency]] = {"low": URGENCY_LOW, "normal": URGENCY_UNSPECIFIED, "high": URGENCY_HIGH}
"""How much progress matters; normal is left out."""

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_MS_MAX = 2**32 - 1


def make_run_id(time_unix_ms: int, randomness: int) -> str:
    """Make a run id: 26 characters of `[0-9a-z]`, that sort by time.

    Args:
        time_unix_ms: milliseconds since the Unix epoch, 48 bits of it are used.
        randomness: 80 bits of it are used.
    """
    number = ((time_unix_ms & (1 << 48) - 1) << 80) | (randomness & (1 << 80) - 1)
    return "".join([_DIGITS[(number >> shift) & 31] for shift in range(125, -1, -5)])


def to_ms(seconds: float | None, what: str = "the time") -> int | None:
    """Seconds as whole milliseconds, at most what an event can say (49 days); None stays None.

    Raises:
        TypeError: no number.
        ValueError: below 0, or NaN.
    """
    if seconds is None:
        return None
    seconds = check_number(seconds, what, "number of seconds")
    if not seconds >= 0.0:
        raise ValueError(f"{what} is {seconds}; give seconds, 0 or more, or None when it is unknown")
    return _MS_MAX if seconds * 1000 >= _MS_MAX else round(seconds * 1000)


def check_event(event: object) -> None:
    """See that something can be emitted: an event that has a kind, be it one that only others know.

    Raises:
        TypeError, ValueError: it is no event, or has no kind.
    """
    if not isinstance(event, Event):
        raise TypeError(f"{type(event).__qualname__} is no event; give a runcast.v1.event_pb2.Event, or use the run's other methods")
    if event.WhichOneof("kind") is None and not len(UnknownFieldSet(event)):
        raise ValueError("the event has no kind; set exactly one, such as `custom`")


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


def raised(open_tools: Mapping[str, str], told: Classification) -> list[Event]:
    """What ends a run whose block raised."""
    return fatal(open_tools, told.message, told.category, told.suggestions)


def refused(life: Lifecycle, code: str) -> list[Event]:
    """What ends a run whose later events were refused."""
    return fatal(life.open_tools, f"The agent's further events could not be stored ({code}).", category="bad_input")
