"""What one device received, as it can be judged, shown, and kept in a file. Pure: it is given times, and lines of text.

A recording begins where the device's view of the stream begins: whatever came before a `reset` or a snapshot is not in it, for a client
drops that too. As a file it is one JSON object a line: a head, an event each with its position and when it came, a foot. Another head
begins anew. A file without a foot (its writer was killed) is read as it is.

Never imports the clock or anything that does I/O.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from runcast.testkit.device_session import Received
from runcast.v1.event_pb2 import Event
from runcast.wire.errors import FrameInvalidError
from runcast.wire.eventjson import UNKNOWN, EventJson, event_from_json, event_to_json

VERSION: Final = 1
"""Of the file's form."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a device received.

    Attributes:
        user: whose device.
        device: its id.
        tenant: the user's.
        received: events in the order of their arrival.
        whole: it begins with the stream's beginning, so that of every run the first event is in it.
        began_s: when it began; seconds since the Unix epoch, like all times here.
        ended_s: when it ended, or was looked at.
        chain_breaks: how the chain of positions broke, should it have.
    """

    user: str
    device: str
    received: Sequence[Received]
    tenant: str = "default"
    whole: bool = True
    began_s: float = 0.0
    ended_s: float = 0.0
    chain_breaks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The device, for people."""
        return f"{self.user}/{self.device}"

    @property
    def events(self) -> list[Event]:
        """The events alone."""
        return [received.event for received in self.received]

    @property
    def runs(self) -> list[str]:
        """Ids of the runs, in the order in which they began."""
        return list(dict.fromkeys(event.run_id for event in self.events if event.run_id))

    def of_run(self, run_id: str) -> "Recording":
        """What of it belongs to one run."""
        return replace(self, received=[received for received in self.received if received.event.run_id == run_id])

    def text(self, run_id: str = "") -> str:
        """What the agent said, put together; of one run, or of all."""
        return "".join(
            event.agent_response.text
            for event in self.events
            if event.WhichOneof("kind") == "agent_response" and run_id in ("", event.run_id)
        )


def kind_of(event: Event) -> str:
    """The event's kind; "unknown" for one that this version does not know."""
    return event.WhichOneof("kind") or UNKNOWN


def fields_of(event: Event) -> dict[str, Any]:
    """The kind's own fields as plain JSON values. JSON that can't be read is given as the text that it is."""
    return {name: _plain(value) for name, value in event_to_json(event).data.items()}


def _plain(value: Any) -> Any:
    if not isinstance(value, msgspec.Raw):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return bytes(value).decode(errors="replace")


# --- as a file ---


class _Head(msgspec.Struct, tag_field="is", tag="recording", kw_only=True, omit_defaults=True):
    version: int
    user: str
    device: str
    tenant: str = "default"
    whole: bool = True
    began_s: float = 0.0


class _Line(msgspec.Struct, tag_field="is", tag="event", kw_only=True):
    at_s: float
    pos: str
    event: EventJson


class _Foot(msgspec.Struct, tag_field="is", tag="end", kw_only=True, omit_defaults=True):
    ended_s: float
    chain_breaks: list[str] = []


_decoder: Final = msgspec.json.Decoder(_Head | _Line | _Foot)


class RecordingInvalidError(Exception):
    """A file is no recording; the message says which line, and why."""


def head_line(recording: Recording) -> bytes:
    """The first line of a file."""
    head = _Head(
        version=VERSION,
        user=recording.user,
        device=recording.device,
        tenant=recording.tenant,
        whole=recording.whole,
        began_s=recording.began_s,
    )
    return msgspec.json.encode(head) + b"\n"


def event_line(received: Received) -> bytes:
    """An event's line. JSON of an agent may hold line breaks, so it is written anew."""
    line = msgspec.json.encode(_Line(at_s=received.time_s, pos=received.pos, event=event_to_json(received.event)))
    return msgspec.json.format(line, indent=-1) + b"\n"


def foot_line(ended_s: float, chain_breaks: Sequence[str]) -> bytes:
    """The last line of a file."""
    return msgspec.json.encode(_Foot(ended_s=ended_s, chain_breaks=list(chain_breaks))) + b"\n"


def to_lines(recording: Recording) -> Iterator[bytes]:
    """A recording as the lines of a file."""
    yield head_line(recording)
    for received in recording.received:
        yield event_line(received)
    yield foot_line(recording.ended_s, recording.chain_breaks)


def from_lines(lines: Iterable[bytes]) -> Recording:
    """A recording from the lines of a file. A last line that is cut off is left out.

    Raises:
        RecordingInvalidError: it is no recording.
    """
    head: _Head | None = None
    foot: _Foot | None = None
    received: list[Received] = []
    broken = ""
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        if broken:
            raise RecordingInvalidError(broken)
        try:
            line = _decoder.decode(raw)
            match line:
                case _Head():
                    head, foot = line, None
                    received.clear()
                case _Line() if head is not None:
                    received.append(Received(event_from_json(line.event, strict=False), line.pos, line.at_s))
                case _Foot() if head is not None:
                    foot = line
                case _:
                    raise RecordingInvalidError(f"line {number} comes before the recording's head; `runcast testkit record` writes one")
        except (msgspec.DecodeError, FrameInvalidError) as exc:
            if head is None:
                raise RecordingInvalidError(f"line {number} is no recording's: {exc}; `runcast testkit record` writes one") from exc
            broken = f"line {number} can't be read: {exc}"
    if head is None:
        raise RecordingInvalidError("it is empty; `runcast testkit record` writes a recording")
    if head.version != VERSION:
        raise RecordingInvalidError(f"it has version {head.version} of the form, this program reads {VERSION}")
    ended_s = foot.ended_s if foot else received[-1].time_s if received else head.began_s
    return Recording(
        head.user, head.device, received, head.tenant, head.whole, head.began_s, ended_s, tuple(foot.chain_breaks) if foot else ()
    )
