"""Where a recording comes from: an admin process, or a file."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from runcast.admin.replay.export import FORM, Export, ExportInvalidError, Head, from_lines
from runcast.admin.replay.spans import Place
from runcast.cli.admin.line import Line
from runcast.cli.failures import NOT_BEGUN, CommandError
from runcast.v1.admin_pb2 import ReadStreamRequest, ReadStreamResponse
from runcast.v1.event_pb2 import User
from runcast.wire.limits_replay import EXPORT_BYTES_MAX, EXPORT_LINE_BYTES_MAX, READ_CALL_S
from runcast.wire.position import parse_position
from runcast.wire.recorded import RecordedBatch, Runs, Span
from runcast.wire.redaction import Redaction


class Wanted(NamedTuple):
    """What is wanted of a stream.

    Attributes:
        run_id: only this run; "" for all.
        begin: where it begins.
        end: where it ends.
    """

    run_id: str
    begin: Place
    end: Place


def read_stream(line: Line, user: str, tenant: str, wanted: Wanted, reason: str) -> Iterator[Head | RecordedBatch]:
    """Read a stream by an admin process: a head, then batches as they come.

    Raises:
        CommandError: it was refused, nobody answered, or it was cut off.
    """
    request = ReadStreamRequest(
        user=User(tenant=tenant, id=user),
        run_id=wanted.run_id,
        after=wanted.begin.position,
        upto=wanted.end.position,
        from_ms=wanted.begin.ms,
        to_ms=wanted.end.ms,
        reason=reason,
    )
    ended = False
    with line.open() as call:
        response: ReadStreamResponse
        for response in call.stream("ReadStream", request, within_s=READ_CALL_S):
            match response.WhichOneof("part"):
                case "head":
                    told = response.head
                    yield Head(
                        form=FORM,
                        version=told.version,
                        tenant=tenant,
                        user=user,
                        run_id=wanted.run_id,
                        after=request.after,
                        upto=request.upto,
                        from_ms=request.from_ms,
                        to_ms=request.to_ms,
                        read_ms=told.read_ms,
                        tip=told.tip,
                        incomplete=told.incomplete,
                        redacted=list(told.redacted),
                    )
                case "page":
                    for each in response.page.batches:
                        epoch, seq = parse_position(each.pos)
                        yield RecordedBatch(epoch, seq, each.stored_ms, list(each.events), each.unreadable)
                case "end":
                    ended = True
    if not ended:
        raise CommandError("unavailable", "the admin process ended in the midst of it; ask again")


def found(parts: Iterable[Head | RecordedBatch], what: str, advice: str) -> Iterator[Head | RecordedBatch]:
    """What was read of a run or a user, with the head once there is something behind it.

    Raises:
        CommandError: `run_unknown`: there is nothing.
    """
    head: list[Head | RecordedBatch] = []
    for part in parts:
        if isinstance(part, Head):
            head.append(part)
            continue
        yield from head
        head.clear()
        yield part
    if head:
        raise CommandError("run_unknown", f"nothing is recorded there of {what}; {advice}")


def read_export(file: Path, wanted: Wanted) -> Export:
    """Read a file, and keep what is wanted of it.

    Raises:
        CommandError: it is none, or a place is of other storage.
    """
    try:
        with file.open("rb") as lines:
            export = from_lines(iter(lambda: lines.readline(EXPORT_LINE_BYTES_MAX + 1), b""))
    except ExportInvalidError as exc:
        raise CommandError("request_invalid", f"{file}: {exc}", status=NOT_BEGUN) from exc
    except OSError as exc:
        raise CommandError("usage", f"{file} can't be read: {exc.strerror}", status=NOT_BEGUN) from exc
    epochs = {batch.epoch for batch in export.batches}
    for place in (wanted.begin.position, wanted.end.position):
        if place and epochs and parse_position(place).epoch not in epochs:
            raise CommandError("request_invalid", f"{place} is a position of other storage than {file} is from", status=NOT_BEGUN)
    span = Span(
        parse_position(wanted.begin.position).seq if wanted.begin.position else 0,
        parse_position(wanted.end.position).seq if wanted.end.position else math.inf,
        wanted.begin.ms,
        wanted.end.ms or math.inf,
    )
    runs = Runs(wanted.run_id)
    kept = [runs.of(batch) for batch in export.batches]
    return export._replace(batches=[each for each in kept if each is not None and span.holds(each.seq, each.stored_ms)])


def redacted(batch: RecordedBatch, redaction: Redaction) -> tuple[RecordedBatch, int]:
    """A batch without what the rules name, and how many values that were."""
    if not redaction.paths:
        return batch, 0
    found = [redaction.apply(event) for event in batch.events]
    return batch._replace(events=[each.event for each in found]), sum(each.taken for each in found)


def check_size(size: int) -> None:
    """Raises CommandError: what is held in memory is too much."""
    if size > EXPORT_BYTES_MAX:
        raise CommandError("request_invalid", f"it is larger than {EXPORT_BYTES_MAX >> 20} MiB; ask for a --run, or from --from to --to")
