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
_WRITES_ONE: Final = "`runcast replay --into FILE` writes one, and Export on a user's page"


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
    importer = Importer()
    for raw in lines:
        importer.take(raw)
    return importer.done()


class Importer:
    """Reads a file line by line.

    Args:
        bytes_max: of the file.

    Attributes:
        head: once it came.
    """

    def __init__(self, bytes_max: int = EXPORT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._batches: list[RecordedBatch] = []
        self._size = self._number = 0
        self._whole = False
        self._broken = ""
        self.head: Head | None = None

    def take(self, raw: bytes) -> None:
        """The next line.

        Raises:
            ExportInvalidError: the file is no export.
        """
        self._number += 1
        self._size += len(raw)
        number = self._number
        if self._size > self._bytes_max:
            raise ExportInvalidError(f"it is larger than {self._bytes_max >> 20} MiB; export a run, or a span of time")
        if self._broken or self._whole:
            raise ExportInvalidError(self._broken or f"line {number} comes after the end")
        if len(raw) > EXPORT_LINE_BYTES_MAX:
            raise ExportInvalidError(f"line {number} is longer than any event's; is it an export?")
        try:
            line = _decoder.decode(raw)
            if isinstance(line, Head) != (self.head is None):
                raise ExportInvalidError(f"line {number}: the first line is the head, and no other; {_WRITES_ONE}")
            match line:
                case Head():
                    if line.form != FORM:
                        raise ExportInvalidError(f"line 1: it has form {line.form}, this version reads {FORM}")
                    self.head = line
                case _End():
                    self._whole = True
                case _:
                    _add(self._batches, line, number)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, FrameInvalidError, PositionMalformedError) as exc:
            self._broken = f"line {number} is no export's: {exc}"
            if self.head is None:
                raise ExportInvalidError(f"{self._broken}; {_WRITES_ONE}") from exc

    def done(self) -> Export:
        """What was read.

        Raises:
            ExportInvalidError: there was no line.
        """
        if self.head is None:
            raise ExportInvalidError(f"it is empty; {_WRITES_ONE}")
        return Export(self.head, self._batches, self._whole)


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
