"""An event as one line of a terminal: time, run, kind, gist. Pure: no terminal is asked anything here.

Rules: always one line (line breaks and control characters are shown as signs, so no event can move the cursor); colours and width are the
caller's decision.
"""

from datetime import UTC, datetime, tzinfo
from typing import Final

import msgspec

from runcast.testkit.gist import RUN_WIDTH, gist, plain, short_run
from runcast.v1.event_pb2 import Event
from runcast.wire.eventjson import UNKNOWN, event_to_json

KIND_WIDTH: Final = 16

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
