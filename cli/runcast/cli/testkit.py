"""`runcast testkit record` and `assert`: record what a user receives, and judge it, without pytest.

The file is a recording (`runcast.testkit.recording`), a JSON object a line; it can be made on one machine and judged on another.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import typer

from runcast.cli.addresses import DEFAULT_EDGE
from runcast.cli.entry import InsecureToken, TlsCa, TlsCert, TlsFiles, TlsKey, edge_urls
from runcast.cli.failures import FAILED, NOT_BEGUN, CommandError, guarded, run_until_signal
from runcast.cli.tail import Watch, chosen_token, note, start_position, wait_finished
from runcast.cli.typed import as_typed
from runcast.testkit.checker import check
from runcast.testkit.device import Device
from runcast.testkit.device_session import Received
from runcast.testkit.history import from_lines as history_from_lines
from runcast.testkit.quality import judge
from runcast.testkit.recording import Recording, RecordingInvalidError, event_line, foot_line, from_lines, head_line
from runcast.testkit.timeline import describe, draw
from runcast.testkit.validators import Violation
from runcast.testkit.verification import inspect
from runcast.testkit.waits import report, table
from runcast.wire.frames import Welcome
from runcast.wire.lifecycle import ends_run
from runcast.wire.position import parse_position

RECORD_EXAMPLES: Final = """
Examples:

  runcast testkit record --user alice --out alice.jsonl --until-end
      what alice receives from now on, until a run ends

  runcast testkit record --user alice --out alice.jsonl --from earliest --timeout 60
      everything that is kept, and what comes in the next minute

Exit status: 0 stopped by --until-end, --count, --timeout or Ctrl-C; 1 the edge said not to come back.
"""
ASSERT_EXAMPLES: Final = """
Examples:

  runcast testkit assert alice.jsonl
      runs begin and end once, tools come in pairs, nothing is missing

  runcast testkit assert a.jsonl --required tool_executing:sql --quality 0.8
      what must have come, and how useful it must be

  runcast testkit assert a.jsonl --order agent_started,agent_completed
      in which order it must have come

  runcast testkit assert *.jsonl --silence 2 --first 0.5
      how long one may wait; recordings of several users may share nothing

  runcast testkit assert --history seen.jsonl
      a history of `runcast verify --history`, by its checker

Exit status: 0 all is as it should be; 1 it is not; 2 a file can't be judged.
"""

testkit = typer.Typer(no_args_is_help=True, help="Record what a user receives, and check it.", rich_markup_mode="rich")


class _Writer:
    """Writes a recording as it comes, a line at once, so that a killed program leaves all it had."""

    def __init__(self, path: Path, user: str, tenant: str, device: str) -> None:
        self._file = path.open("wb", buffering=0)
        self._user, self._tenant, self._device = user, tenant, device
        self._begun = False
        self.events = 0

    def opened(self, welcome: Welcome) -> None:
        """A session is open: the recording begins, or begins anew."""
        if self._begun and welcome.outcome == "resumed":
            return
        whole = welcome.outcome != "resumed" or parse_position(welcome.position).seq == 0
        head = Recording(self._user, self._device, (), self._tenant, whole, time.time())
        self._file.write(head_line(head))
        self._begun = True

    def take(self, received: Received) -> None:
        """An event came."""
        self._file.write(event_line(received))
        self.events += 1

    def close(self, chain_breaks: Sequence[str]) -> None:
        """The recording is over."""
        if self._begun:
            self._file.write(foot_line(time.time(), chain_breaks))
        self._file.close()


@guarded
def record(
    user: str = typer.Option(..., "--user", "-u", help="Whose stream."),
    out: Path = typer.Option(..., "--out", "-o", dir_okay=False, help="The file to write."),
    edge: list[str] = typer.Option([DEFAULT_EDGE], "--edge", "-e", help="An edge, ws://HOST:PORT or wss://; may be given several times."),
    tenant: str = typer.Option("default", help="The user's tenant."),
    start: str = typer.Option("latest", "--from", help="earliest, latest, or a position."),
    token: str = typer.Option("", envvar="RUNCAST_TOKEN", help="A token, instead of a development token for --user."),
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure_token: InsecureToken = False,
    count: int = typer.Option(0, min=0, help="Stop after so many events."),
    until_end: bool = typer.Option(False, "--until-end", help="Stop when a run ends."),
    timeout: float = typer.Option(0.0, min=0.0, help="Stop after so many seconds; 0: never."),
) -> int:
    """Write down every event that reaches a user, with its time."""
    position = start_position(start, "")
    files = TlsFiles(tls_ca, tls_cert, tls_key)
    urls = edge_urls(edge, files)
    token = chosen_token(token, user, tenant, urls, insecure=insecure_token)
    name = f"record-{uuid.uuid4().hex[:8]}"
    writer = _Writer(out, user, tenant, name)
    finished = asyncio.Event()

    def take(received: Received) -> None:
        if not finished.is_set():
            writer.take(received)
        if (count and writer.events >= count) or (until_end and ends_run(received.event)):
            finished.set()

    async def main() -> int:
        watch = Watch()

        def opened(welcome: Welcome) -> None:
            watch.opened(welcome)
            writer.opened(welcome)

        client = Device(
            urls,
            token,
            device=name,
            position=position,
            reconnect=True,
            strict=False,
            record=False,
            on_event=take,
            on_opened=opened,
            on_lost=watch.lost,
            tls=files.context() if files.given else None,
        )
        try:
            async with client:
                if await wait_finished(finished, client, timeout or None) and not finished.is_set():
                    raise CommandError("disconnected", f"{client.ended}; the edge asks not to come back")
        finally:
            writer.close(client.chain_breaks)
            note(as_typed(f"{writer.events} events written to {out}; `runcast testkit assert {out}` judges them"))
        return 0

    return run_until_signal(main())


@guarded
def assert_(
    files: list[Path] = typer.Argument(None, exists=True, dir_okay=False, help="Recordings."),
    required: list[str] = typer.Option(
        [], "--required", help="An event that must have come: KIND or KIND:NAME; may be given several times."
    ),
    order: str = typer.Option("", help="Events that must have come in this order, with commas between them."),
    run: str = typer.Option("", help="Judge this run only."),
    silence: float | None = typer.Option(None, min=0.0, help="The longest that nothing may come while a run is under way, seconds."),
    first: float | None = typer.Option(None, min=0.0, help="The longest that a run's first event may take, seconds."),
    quality: float | None = typer.Option(None, min=0.0, max=1.0, help="The least score of usefulness, 0 to 1."),
    allow_open: bool = typer.Option(False, "--allow-open", help="A run may be without an end."),
    history: Path | None = typer.Option(None, exists=True, dir_okay=False, help="A history of `runcast verify --history`."),
    timeline: bool = typer.Option(False, "--timeline", help="Show the timeline of what is right, too."),
    json: bool = typer.Option(False, "--json", help="One JSON object on stdout."),
) -> int:
    """Check recordings, and say what is wrong and where."""
    if not files and history is None:
        raise CommandError("usage", "give a recording, or --history", status=NOT_BEGUN)
    recordings = [_read(path) for path in files or ()]
    verdict = check(history_from_lines(history.read_bytes().splitlines())) if history is not None else None
    try:
        found = [
            inspect(
                recording,
                run_id=run,
                required=required,
                order=[one.strip() for one in order.split(",") if one.strip()],
                ended=not allow_open,
                others=[other for other in recordings if other is not recording],
                silence_s=silence,
                first_s=first,
                quality=quality,
            )
            for recording in recordings
        ]
    except ValueError as exc:
        raise CommandError("usage", str(exc), status=NOT_BEGUN) from exc
    parts = [recording.of_run(run) if run else recording for recording in recordings]
    clean = not any(found) and (verdict is None or verdict.clean)
    if json:
        forms = [_form(path, part, violations) for path, part, violations in zip(files or (), parts, found, strict=True)]
        whole = {"clean": clean, "recordings": forms, **({"history": verdict} if verdict is not None else {})}
        print(msgspec.json.encode(whole).decode())
        return 0 if clean else FAILED
    for path, part, violations in zip(files or (), parts, found, strict=True):
        if violations:
            print(f"{path}: {describe(part, violations)}\n")
        elif timeline:
            print("\n".join([f"{path}:", *draw(part), ""]))
    if verdict is not None:
        print("\n".join(f"{history}: {kind}: {text}" for kind, texts in verdict.examples.items() for text in texts) or f"{history}: clean")
    if parts:
        print("\n".join(table(report(parts))))
        print("\n".join(f"quality {judge(part).score:.2f}  {part.name}" for part in parts))
    print("all is as it should be" if clean else "NOT all is as it should be")
    return 0 if clean else FAILED


def _read(path: Path) -> Recording:
    try:
        with path.open("rb") as file:
            return from_lines(file)
    except RecordingInvalidError as exc:
        raise CommandError("recording_invalid", f"{path}: {exc}", status=NOT_BEGUN) from exc


def _form(path: Path, recording: Recording, violations: list[Violation]) -> dict[str, object]:
    (timing,) = report([recording])
    quality = judge(recording)
    return {
        "file": str(path),
        "user": recording.user,
        "events": timing.events,
        "runs": timing.runs,
        "violations": [{"event": violation.at + 1, "kind": violation.kind, "text": violation.text} for violation in violations],
        "first_ms": timing.first,
        "gaps_ms": timing.gaps,
        "latency_ms": timing.latency,
        "quality": quality.score,
        "reasons": [{"event": reason.at + 1, "kind": reason.kind, "text": reason.text} for reason in quality.reasons],
    }


record.__doc__ = f"{record.__doc__}\n\n\b{RECORD_EXAMPLES}"
assert_.__doc__ = f"{assert_.__doc__}\n\n\b{ASSERT_EXAMPLES}"
testkit.command("record")(record)
testkit.command("assert")(assert_)
