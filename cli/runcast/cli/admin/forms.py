"""What an admin process answered, for people and for programs. Pure: no terminal is asked anything here.

Rules: whatever came from users, agents or other processes is shown on one line, without anything that a terminal would obey; JSON is the
answer as it is, with bytes that hold JSON taken for what they are.
"""

from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec
from google.protobuf.message import Message
from rich.table import Table
from rich.text import Text

from runcast.testkit.gist import plain
from runcast.v1.admin_pb2 import AuditEntry, GetStatusResponse, ProcessStatistics, Revocation, Target

_LOADS = {
    "router": (("producers", "producers"), ("workers", "workers"), ("events_stored", "events stored")),
    "edge": (("users", "users"), ("devices", "devices"), ("devices_behind", "behind"), ("events_sent", "events sent")),
}
_COLOURS = {"ok": "green", "degraded": "yellow", "starting": "yellow", "unavailable": "red", "begun": "yellow"}


def to_data(message: Message) -> dict[str, Any]:
    """A message as JSON-like data: every field, numbers as numbers."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            found[field.name] = dict(value)
        elif field.is_repeated:
            found[field.name] = [to_data(each) if isinstance(each, Message) else each for each in value]
        elif isinstance(value, Message):
            found[field.name] = to_data(value)
        elif isinstance(value, bytes):
            found[field.name.removesuffix("_json")] = read_json(value)
        else:
            found[field.name] = value
    return found


def read_json(text: bytes) -> Any:
    """What JSON says; {} when it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}


def when(at_ms: int, zone: tzinfo | None = None) -> str:
    """A moment, in the machine's own zone unless told otherwise."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone):%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """Roughly how long: `45 s`, `12 min`, `3.5 h`, `2.1 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def size(count: int) -> str:
    """Bytes."""
    return f"{count / 1024**2:,.1f} MiB" if count >= 1024**2 else f"{count / 1024:,.0f} KiB"


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def cell(value: object, *, coloured: bool = False) -> Text:
    """What goes into a cell: no markup, nothing that a terminal would obey."""
    text = plain(str(value))
    return Text(text, style=_COLOURS.get(text, "red") if coloured and text else "")


def processes(status: GetStatusResponse) -> Table:
    """All processes, and how they are."""
    made = table("role", "process", "version", "up", "health", "load", right=("up",))
    for process in sorted(status.processes, key=lambda each: (each.role, each.id)):
        told = read_json(process.statistics_json)
        told = told if isinstance(told, dict) else {}
        state = _state(told)
        up = told.get("uptime_s")
        made.add_row(
            cell(process.role),
            cell(process.id),
            cell(told.get("version", "")),
            cell(duration(up) if isinstance(up, int | float) else ""),
            cell(state, coloured=True),
            cell(_load(process, told)),
        )
    return made


def _state(told: dict[str, Any]) -> str:
    """Of a process: what it depends on, or which of its files is not in force."""
    states = {name: part.get("state", "") for name in ("health", "auth", "policy") if isinstance(part := told.get(name), dict)}
    if states.get("health", "") not in ("", "ok"):
        return str(states["health"])
    bad = [name for name in ("auth", "policy") if states.get(name, "ok") != "ok"]
    return f"degraded ({', '.join(bad)})" if bad else str(states.get("health", ""))


def _load(process: ProcessStatistics, told: dict[str, Any]) -> str:
    parts = [f"{told[name]:,} {words}" for name, words in _LOADS.get(process.role, ()) if isinstance(told.get(name), int)]
    refused = told.get("refusals")
    count = sum(each for each in refused.values() if isinstance(each, int)) if isinstance(refused, dict) else 0
    return ", ".join([*parts, *([f"{count:,} refused"] if count else [])])


def dependencies(status: GetStatusResponse) -> Table:
    """What who answers depends on."""
    made = table("depends on", "state", "for", "why", right=("for",))
    for each in status.dependencies:
        made.add_row(cell(each.name), cell(each.state, coloured=True), cell(duration(each.for_s)), cell(each.reason))
    return made


def streams(status: GetStatusResponse) -> Table:
    """All streams and buckets."""
    made = table("stream", "messages", "size", "first", "last", "replicas", right=("messages", "size", "first", "last", "replicas"))
    for each in status.streams:
        made.add_row(cell(each.name), f"{each.messages:,}", size(each.bytes), str(each.first_seq), str(each.last_seq), str(each.replicas))
    return made


def target_words(target: Target) -> str:
    """Whom a target names: `user acme/alice`."""
    match target.WhichOneof("target"):
        case "user":
            return f"user {target.user.tenant}/{target.user.id}"
        case "device":
            return f"device {target.device.device} of {target.device.user.tenant}/{target.device.user.id}"
        case "token_id":
            return f"token {target.token_id}"
        case "agent":
            return f"agent {target.agent}"
    return ""


def revocations(listed: list[Revocation], zone: tzinfo | None = None) -> Table:
    """Who is kept out."""
    made = table("id", "who", "since", "until", "by", "reason")
    for each in listed:
        until = when(each.ends_at_ms, zone) + (", or a new token" if each.until_new_token else "")
        made.add_row(
            cell(each.id), cell(target_words(each.target)), cell(when(each.at_ms, zone)), cell(until), cell(each.by), cell(each.reason)
        )
    return made


def audit(entries: list[AuditEntry], zone: tzinfo | None = None) -> Table:
    """What operators did."""
    made = table("when", "who", "from", "what", "about", "outcome", "reason")
    for each in entries:
        made.add_row(
            cell(when(each.at_ms, zone)),
            cell(each.by or "?"),
            cell(each.address),
            cell(each.action),
            cell(each.target),
            cell(each.outcome, coloured=True),
            cell(each.reason),
        )
    return made
