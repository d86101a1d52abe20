"""`runcast replay`: read a user's recorded stream, and show it again: in the terminal, on a page, or as JSON lines in a file."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from runcast.admin.redacting import read_redaction
from runcast.admin.replay.export import Export, Head, batch_lines, end_line, head_line
from runcast.admin.replay.pace import due_at
from runcast.admin.replay.session import Film
from runcast.admin.replay.spans import Place, SpanError, parse_place, parse_speed
from runcast.bus.settings import is_loopback
from runcast.cli.admin.line import Line, connected
from runcast.cli.failures import NOT_BEGUN, CommandError, run_until_signal
from runcast.cli.lines import human_line, json_line
from runcast.cli.replay import source
from runcast.testkit.gist import plain
from runcast.wire.errors import RuncastError
from runcast.wire.ids import check_id
from runcast.wire.limits_replay import MAX_GAP_S
from runcast.wire.position import Position
from runcast.wire.recorded import RecordedBatch
from runcast.wire.redaction import Redaction, RedactionError

EXAMPLES: Final = """
Examples:

  runcast replay --user alice --from -10m
      the last ten minutes of a user's stream, in the terminal

  runcast replay --user alice --run RUN --speed 10x --into http://127.0.0.1:0
      a run on a page, ten times as fast; open the link that is printed

  runcast replay --user alice --redact agent_response.text --into alice.jsonl
      as JSON lines, without what was answered

  runcast replay alice.jsonl --speed max
      a file, without waits

What an operator may not see is taken out by the admin process (RUNCAST_REDACTION_FILE), whatever is asked for here. Reading is written to
the audit log, and changes nothing: no cursor, no receipt, no lease.

Exit status: 0 shown, or Ctrl-C; 1 refused, or it failed; 2 it could not begin; 3 no answer in time.
"""


@connected
def replay(
    line: Line,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="An export to play, instead of --user.", show_default=False)] = "",
    user: Annotated[str, typer.Option("--user", "-u", help="Whose stream is read.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", help="The user's tenant.")] = "default",
    run: Annotated[str, typer.Option("--run", help="Only this run, and those that it began.")] = "",
    begin: Annotated[
        str, typer.Option("--from", help="A time (2026-11-21T14:30), how long ago (-10m), or a position: what comes after it.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="The same: up to there, which included.")] = "",
    speed: Annotated[str, typer.Option("--speed", help="How many times as fast: 10x, 0.5x; max: without waits.")] = "1x",
    max_gap: Annotated[float, typer.Option("--max-gap", min=0.0, help="No wait is longer, in seconds of the replay.")] = MAX_GAP_S,
    into: Annotated[
        str, typer.Option("--into", help="A page: http://127.0.0.1:PORT (0: any); a file to write; or - for JSON lines on stdout.")
    ] = "",
    redact: Annotated[list[str], typer.Option("--redact", help="A path to take out besides, such as data.args.password or **.email.")] = [],  # noqa: B006 # typer's
    redact_file: Annotated[str, typer.Option("--redact-file", help="A file of such paths: TOML (rules = [...]) or a JSON list.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit log. At most 100 bytes.")] = "",
) -> int:
    """Play again what was stored of a user."""
    if bool(file) == bool(user):
        raise CommandError("usage", "say what to play: --user, or a FILE that was exported; one of them", status=NOT_BEGUN)
    now = time.time()
    wanted = source.Wanted(run, _place("--from", begin, now), _place("--to", end, now))
    rate = _speed(speed)
    rules = _rules(redact, redact_file)
    if not file:
        try:
            check_id(user, "--user"), check_id(tenant, "--tenant")
        except RuncastError as exc:
            raise CommandError(exc.code.name, exc.message, status=NOT_BEGUN) from exc
    address = _address(into)
    parts: Iterable[Head | RecordedBatch]
    whole = True
    if file:
        export = source.read_export(Path(file), wanted)
        whole = export.whole
        parts = [export.head, *export.batches]
    else:
        parts = source.read_stream(line, user, tenant, wanted, reason)
    if run:
        parts = source.found(parts, f"the run {run}", "look for its id in a replay without --run")
    elif not (file or begin or end):  # of a time nothing is an answer
        parts = source.found(parts, f"{tenant}/{user}", "look at --user and --tenant: ids are compared to the letter")
    if into and address is None:
        return _export(parts, into, rules, whole=whole)
    played = _collect(parts, rules, whole=whole)
    _tell(played)
    if address is not None:
        return _show(played, address, rate, max_gap, file=bool(file))
    return run_until_signal(_print(played, rate, max_gap, as_json=line.as_json))


def _export(parts: Iterable[Head | RecordedBatch], into: str, rules: Redaction, *, whole: bool) -> int:
    """Write JSON lines. A file appears when it is whole: it is written beside, and takes its name then."""
    if into == "-":
        for text in _lines(parts, rules, whole=whole):
            sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return 0
    target = Path(into)
    new = target.with_name(f".{target.name}.new")
    try:
        new.touch(0o600, exist_ok=False)  # nobody else of the machine is to read it: it is a user's content
        with new.open("wb") as out:
            out.writelines(_lines(parts, rules, whole=whole))
        new.replace(target)
    except FileExistsError as exc:
        raise CommandError(
            "usage", f"{new} is there already: another replay writes it, or one was killed; remove it", status=NOT_BEGUN
        ) from exc
    except OSError as exc:
        new.unlink(missing_ok=True)
        raise CommandError("usage", f"{target} can't be written: {exc.strerror}") from exc
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _say(f"written: {target}")
    return 0


def _lines(parts: Iterable[Head | RecordedBatch], rules: Redaction, *, whole: bool) -> Iterator[bytes]:
    batches = events = taken = 0
    for part in parts:
        if isinstance(part, Head):
            yield head_line(_with_rules(part, rules))
            continue
        batch, count = source.redacted(part, rules)
        batches += 1
        events += len(batch.events)
        taken += count
        yield from batch_lines(batch)
    if whole:  # what was cut off stays so
        yield end_line(batches, events, taken)


def _collect(parts: Iterable[Head | RecordedBatch], rules: Redaction, *, whole: bool) -> Export:
    head: Head | None = None
    batches: list[RecordedBatch] = []
    size = 0
    for part in parts:
        if isinstance(part, Head):
            head = _with_rules(part, rules)
            continue
        batch, _ = source.redacted(part, rules)
        size += sum(event.ByteSize() for event in batch.events)
        source.check_size(size)
        batches.append(batch)
    if head is None:
        raise CommandError("unavailable", "the admin process said nothing; ask again")
    return Export(head, batches, whole)


def _tell(export: Export) -> None:
    """Say on stderr what it is."""
    head = export.head
    part = f", run {head.run_id}" if head.run_id else ""
    _say(f"replay of {head.tenant}/{head.user}{part}: {export.events} events in {len(export.batches)} batches, read {_time(head.read_ms)}")
    if head.redacted:
        _say(f"taken out: {', '.join(head.redacted)}")
    if head.incomplete:
        _say("what came right after --from has left the log: there is a gap before the first event")
    if not export.whole:
        _say("the file was cut off; what is there is played")
    for batch in export.batches:
        if batch.unreadable:
            _say(f"at {Position(batch.epoch, batch.seq)}: {batch.unreadable}")


async def _print(export: Export, speed: float, gap_max_s: float, *, as_json: bool) -> int:
    tty = sys.stdout.isatty()
    batches = [batch for batch in export.batches if batch.events]
    began = time.monotonic()
    for due, batch in zip(due_at([each.stored_ms for each in batches], speed, gap_max_s), batches, strict=True):
        wait = began + due - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        for event in batch.events:
            if as_json:
                print(json_line(event, str(Position(batch.epoch, batch.seq))))
            else:
                print(human_line(event, width=shutil.get_terminal_size().columns if tty else 0, colours=tty))
        sys.stdout.flush()
    return 0


def _show(export: Export, address: tuple[str, int], speed: float, gap_max_s: float, *, file: bool) -> int:
    from runcast.admin.replay.projector import words_of  # noqa: PLC0415 # `runcast --help` does without aiohttp
    from runcast.cli.replay.page import Screen  # noqa: PLC0415 # likewise

    film = Film(export, speed, gap_max_s)
    words = words_of(export, film, speed, file=file)

    async def serve() -> int:
        screen = Screen(film, words)
        await screen.open(*address)
        try:
            print(f"open {screen.url}", flush=True)
            _say("each page plays it from the beginning; reload to play it again. Ctrl-C ends it")
            await asyncio.Event().wait()
        finally:
            await screen.close()
        return 0

    return run_until_signal(serve())


def _with_rules(head: Head, rules: Redaction) -> Head:
    head.redacted = list(dict.fromkeys([*head.redacted, *rules.paths]))
    return head


def _place(option: str, text: str, now: float) -> Place:
    try:
        return parse_place(text, now)
    except SpanError as exc:
        raise CommandError("usage", f"{option} {exc}", status=NOT_BEGUN) from exc


def _speed(text: str) -> float:
    try:
        return parse_speed(text)
    except SpanError as exc:
        raise CommandError("usage", f"--speed {exc}", status=NOT_BEGUN) from exc


def _rules(paths: list[str], file: str) -> Redaction:
    try:
        return Redaction([*paths, *(read_redaction(Path(file)).paths if file else ())])
    except RedactionError as exc:
        raise CommandError("usage", f"redaction: {'; '.join(str(exc).splitlines())}", status=NOT_BEGUN) from exc


def _address(into: str) -> tuple[str, int] | None:
    """Where a page is served; None when `into` is no address.

    Raises:
        CommandError: it is one that others reach.
    """
    if "://" not in into:
        return None
    try:
        parts = urlsplit(into)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = None, "", None
    if parts is None or parts.scheme not in ("http", "ws") or port is None or parts.path not in ("", "/", "/v1/ws"):
        raise CommandError("usage", f"--into {into}: write http://127.0.0.1:PORT (0 for any port), a file, or -", status=NOT_BEGUN)
    if not is_loopback(host):
        raise CommandError(
            "usage", f"--into {into}: it is a user's content, so it is shown on this machine alone: 127.0.0.1", status=NOT_BEGUN
        )
    return host, port


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().isoformat(sep=" ", timespec="seconds") if ms else "at an unknown time"


def _say(text: str) -> None:
    print(f"-- {plain(text)}", file=sys.stderr, flush=True)


replay.__doc__ = f"{replay.__doc__}\n\n\b{EXAMPLES}"
