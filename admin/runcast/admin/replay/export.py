"""A user's stream as JSON lines: what `runcast replay` writes and reads. Pure: it is given lines.

The first line is a head: whose, which part, when, by which version, what was taken out. Then a line for each event, in its JSON form, with
`pos` and `stored_ms` of its batch; lines of one position are one batch. What could not be opened has a line that says why. The last line
is an end: without it the file was cut off, and is read as far as it goes.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from runcast.v1.event_pb2 import Event
from runcast.wire.errors import FrameInvalidError, PositionMalformedError
from runcast.wire.eventjson import EventJson, event_from_json, event_to_json
from runcast.wire.limits_replay import EXPORT_BYTES_MAX, EXPORT_LINE_BYTES_MAX
from runcast.wire.position import Position, parse_position
from runcast.wire.recorded import RecordedBatch

FORM: Final = 1
"""Of the file."""


class ExportInvalidError(Exception):
    """A file is no export; the message says which line, and why."""


class Head(msgspec.Struct, tag_field="is", tag="replay", kw_only=True, omit_defaults=True):
    """The first line.

    Attributes:
        form: of the file.
        version: of the admin process that read the log.
        tenant: the user's.
        user: whose stream.
        run_id: only this run; "" for all.
        after: behind this position; "" for the beginning.
        upto: up to this position; "" for no end.
        from_ms: stored then or later, Unix milliseconds; 0 for no bound.
        to_ms: stored then or before; 0 for no bound.
        read_ms: when it was read, Unix milliseconds.
        tip: the stream's newest position then.
        incomplete: what came right behind `after` may have left the log before.
        redacted: paths that were taken out.
    """

    form: int
    version: str
    tenant: str
    user: str
    run_id: str = ""
    after: str = ""
    upto: str = ""
    from_ms: int = 0
    to_ms: int = 0
    read_ms: int = 0
    tip: str = ""
    incomplete: bool = False
    redacted: list[str] = []


class _Line(EventJson, tag_field="is", tag="event", kw_only=True, omit_defaults=True):
    pos: str
    stored_ms: int = 0


class _Unreadable(msgspec.Struct, tag_field="is", tag="unreadable", kw_only=True):
    pos: str
    stored_ms: int
    why: str


class _End(msgspec.Struct, tag_field="is", tag="end", kw_only=True):
    batches: int
    events: int
    redacted: int = 0


class Export(NamedTuple):
    """What was read.

    Attributes:
        head: whose, and what of it.
        batches: in their order.
        whole: its end is there.
    """

    head: Head
    batches: list[RecordedBatch]
    whole: bool = True

    @property
    def events(self) -> int:
        """How many."""
        return sum(len(batch.events) for batch in self.batches)


_decoder: Final = msgspec.json.Decoder(Head | _Line | _Unreadable | _End)
_FIELDS: Final = EventJson.__struct_fields__


def head_line(head: Head) -> bytes:
    """The first line of a file."""
    return msgspec.json.encode(head) + b"\n"


def batch_lines(batch: RecordedBatch) -> Iterator[bytes]:
    """A batch's lines."""
    pos = str(Position(batch.epoch, batch.seq))
    if batch.unreadable:
        yield msgspec.json.encode(_Unreadable(pos=pos, stored_ms=batch.stored_ms, why=batch.unreadable)) + b"\n"
    for event in batch.events:
        form = event_to_json(event)
        fields = {name: getattr(form, name) for name in _FIELDS}
        line = msgspec.json.encode(_Line(pos=pos, stored_ms=batch.stored_ms, **fields))
        yield msgspec.json.format(line, indent=-1) + b"\n"  # an agent's JSON may hold line breaks


def end_line(batches: int, events: int, redacted: int) -> bytes:
    """The last line of a file."""
    return msgspec.json.encode(_End(batches=batches, events=events, redacted=redacted)) + b"\n"


def to_lines(export: Export) -> Iterator[bytes]:
    """An export as the lines of a file."""
    yield head_line(export.head)
    for batch in export.batches:
        yield from batch_lines(batch)
    if export.whole:
        yield end_line(len(export.batches), export.events, 0)


def from_lines(lines: Iterable[bytes]) -> Export:
    """An export from the lines of a file; a last line that is cut off is left out.

    Raises:
        ExportInvalidError: it is none.
    """
    head: Head | None = None
    batches: list[RecordedBatch] = []
    whole = False
    size = 0
    broken = ""
    for number, raw in enumerate(lines, 1):
        size += len(raw)
        if size > EXPORT_BYTES_MAX:
            raise ExportInvalidError(f"it is larger than {EXPORT_BYTES_MAX >> 20} MiB; export a run, or a span of time")
        if broken or whole:
            raise ExportInvalidError(broken or f"line {number} comes after the end")
        try:
            if len(raw) > EXPORT_LINE_BYTES_MAX:
                raise ExportInvalidError(f"line {number} is longer than any event's; is it an export?")
            line = _decoder.decode(raw)
            if isinstance(line, Head) != (head is None):
                raise ExportInvalidError(
                    f"line {number}: the first line is the head, and no other; `runcast replay --into FILE` writes one"
                )
            match line:
                case Head():
                    head = line
                    if head.form != FORM:
                        raise ExportInvalidError(f"it has form {head.form}, this version reads {FORM}")
                case _End():
                    whole = True
                case _:
                    _add(batches, line, number)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, FrameInvalidError, PositionMalformedError) as exc:
            broken = f"line {number} is no export's: {exc}"
            if head is None:
                raise ExportInvalidError(f"{broken}; `runcast replay --into FILE` writes one") from exc
    if head is None:
        raise ExportInvalidError("it is empty; `runcast replay --into FILE` writes an export")
    return Export(head, batches, whole)


def _add(batches: list[RecordedBatch], line: _Line | _Unreadable, number: int) -> None:
    epoch, seq = parse_position(line.pos)
    events: list[Event] = []
    why = ""
    if isinstance(line, _Unreadable):
        why = line.why or "it could not be opened"
    else:
        events = [event_from_json(EventJson(**{name: getattr(line, name) for name in _FIELDS}), strict=False)]
    last = batches[-1] if batches else None
    if last is not None and (last.epoch, last.seq) == (epoch, seq) and not why and not last.unreadable:
        last.events.extend(events)
    elif last is not None and (last.epoch != epoch or last.seq >= seq):
        raise ExportInvalidError(f"line {number}: {line.pos} does not come after the position before it; lines keep their order")
    else:
        batches.append(RecordedBatch(epoch, seq, line.stored_ms, events, why))
