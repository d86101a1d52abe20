"""An event as one line of a terminal: time, run, kind, gist. Pure: no terminal is asked anything here.

Rules: always one line (line breaks and control characters are shown as signs, so no event can move the cursor); colours and width are the
caller's decision.
"""

import unicodedata
from datetime import UTC, datetime, tzinfo
from typing import Final

import msgspec

from runcast.v1 import event_pb2
from runcast.v1.event_pb2 import Event
from runcast.wire.eventjson import UNKNOWN, event_to_json

RUN_WIDTH: Final = 8
KIND_WIDTH: Final = 16
JSON_CHARS_MAX: Final = 100
"""Of arguments and results."""

_COLOURS: Final[dict[str, str]] = {
    "agent_started": "36",
    "agent_thinking": "2",
    "tool_executing": "33",
    "tool_completed": "33",
    "agent_response": "0",
    "agent_completed": "32",
    "agent_error": "31",
    "run_cancelled": "35",
    "run_lost": "31",
    "user_message": "34",
    "input_requested": "35",
    "input_resolved": "35",
}


def plain(text: str) -> str:
    """`text` on one line, without anything that a terminal would obey."""
    out = []
    for sign in text:
        if sign in "\n\r":
            out.append("\u21b5")
        elif sign == "\t":
            out.append(" ")
        elif unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp", "Cs"):
            out.append("\ufffd")
        else:
            out.append(sign)
    return "".join(out)


def short_run(run_id: str) -> str:
    """The end of a run id: with generated ids that is where they differ."""
    return plain(run_id)[-RUN_WIDTH:] or "-"


def gist(event: Event) -> str:
    """What an event says, in few words."""
    kind = event.WhichOneof("kind")
    match kind:
        case "agent_started":
            return event.agent_started.title
        case "agent_thinking":
            m = event.agent_thinking
            marks = [f"{round(100 * m.progress)} %"] if m.HasField("progress") else []
            marks += [f"{m.step}/{m.steps}"] if m.steps else []
            marks += [f"{m.remaining_ms / 1000:.1f} s left"] if m.HasField("remaining_ms") else []
            marks += ["urgent"] if m.urgency == event_pb2.URGENCY_HIGH else []
            return f"{m.text} ({', '.join(marks)})" if marks else m.text
        case "tool_executing":
            t = event.tool_executing
            return f"{t.tool} {_text(t.args_json)}" + (f"  # {t.purpose}" if t.purpose else "")
        case "tool_completed":
            c = event.tool_completed
            if c.status == event_pb2.TOOL_STATUS_ERROR:
                return f"{c.tool} failed: {c.error} ({c.duration_ms} ms)"
            word = " cancelled" if c.status == event_pb2.TOOL_STATUS_CANCELLED else ""
            return f"{c.tool}{word} ({c.duration_ms} ms) {_text(c.result_json)}"
        case "agent_response":
            r = event.agent_response
            return r.text if r.text else "(end of message)" if r.final else ""
        case "agent_completed":
            return event.agent_completed.summary
        case "agent_error":
            e = event.agent_error
            word = event_pb2.Severity.Name(e.severity).removeprefix("SEVERITY_").lower()
            return f"{word}: {e.message}" + (f" ({'; '.join(e.suggestions)})" if e.suggestions else "")
        case "user_message":
            return event.user_message.text
        case "run_cancelled":
            return event.run_cancelled.reason
        case "run_lost":
            return event.run_lost.reason
        case "input_requested":
            i = event.input_requested
            return i.prompt + (f" [{' / '.join(i.options)}]" if i.options else "")
        case "input_resolved":
            s = event.input_resolved
            word = event_pb2.InputOutcome.Name(s.outcome).removeprefix("INPUT_OUTCOME_").lower()
            return " ".join(filter(None, (word, _text(s.value_json), s.device and f"on {s.device}")))
        case "custom":
            return f"{event.custom.name} {_text(event.custom.data_json)}"
    return f"(a kind that this version does not know, {event.ByteSize()} bytes)"


def human_line(event: Event, *, width: int = 0, colours: bool = False, zone: tzinfo | None = None) -> str:
    """One event for people.

    Args:
        event: any.
        width: cut to so many columns; 0 for no cut.
        colours: colour the kind by ANSI codes.
        zone: of the time; None for the machine's own.
    """
    kind = event.WhichOneof("kind") or UNKNOWN
    moment = datetime.fromtimestamp(event.time_unix_ms / 1000, UTC).astimezone(zone)
    head = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}  {short_run(event.run_id):<{RUN_WIDTH}}  "
    said = plain(gist(event)).rstrip()
    room = width - len(head) - KIND_WIDTH - 2
    if width and len(said) > room:
        said = said[: max(room - 1, 1)] + "\u2026"
    shown = f"{kind:<{KIND_WIDTH}}"
    if colours:
        shown = f"\033[{_COLOURS.get(kind, '0')}m{shown}\033[0m"
    return f"{head}{shown}  {said}".rstrip()


def json_line(event: Event, pos: str) -> str:
    """One event for programs: its JSON form, with the position of its frame added."""
    form = msgspec.to_builtins(event_to_json(event), builtin_types=(msgspec.Raw,))
    return msgspec.json.format(msgspec.json.encode({"pos": pos, **form}), indent=-1).decode()  # an agent's JSON may hold line breaks


def _text(raw: bytes) -> str:
    """JSON of any size, as much of it as a line bears; `--json` shows all."""
    text = raw.decode(errors="replace")
    return text if len(text) <= JSON_CHARS_MAX else f"{text[: JSON_CHARS_MAX - 1]}\u2026"
