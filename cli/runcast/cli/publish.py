"""`runcast publish`: JSON lines from stdin become events of runs, by the client library; for anyone with a shell.

Rules:
- A line is an event in the JSON form that `runcast tail --json` prints. Only `kind` is needed. A run begins with its agent_started line; a
  line without `run_id` belongs to the run of the last agent_started line. What a run has in common (attempt, thread, parent_run_id,
  traceparent) is taken from that line; id, seq, agent and time are always set anew.
- A bad line is named on stderr, with its number, and skipped; the others still go, and the exit status says that there was one. (A bad
  line in the middle of a pipe should cost itself, not an hour of input.)
- A run that is open when the input ends is cancelled, and said: nobody could continue it, and screens would wait for ever.
- Lines of one run keep their order. Runs are sent side by side.
"""

import asyncio
import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import typer

from runcast.cli.addresses import DEFAULT_ROUTER
from runcast.cli.entry import InsecureToken, TlsCa, TlsCert, TlsFiles, TlsKey, check_exposure, router_targets
from runcast.cli.failures import FAILED, NOT_BEGUN, CommandError, Debugging, guarded, run_until_signal
from runcast.cli.stdin import read_lines
from runcast.client import Runcast, RuncastError
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.errors import FrameInvalidError
from runcast.wire.eventjson import EventJson, event_from_json
from runcast.wire.lifecycle import ends_run

LINE_BYTES_MAX: Final = 4 * limits.EVENT_BYTES_MAX
"""JSON may take more room than the event; a longer line can't be one."""
QUEUE_LINES_MAX: Final = 256
"""Lines of one run waiting to be emitted; then reading waits."""
QUIET_S: Final = 10.0
"""Between two lines about a router that is away."""
RUNS_MAX: Final = 1000
"""Runs open at once; the next is refused."""

_FIELDS: Final = frozenset(EventJson.__struct_fields__) | {"pos"}
_NOT_OURS: Final = frozenset({"user_message", "run_lost"})

EXAMPLES: Final = """
Examples:

  printf '%s\\n' '{"kind":"agent_started","data":{"title":"Backup"}}' \\
      '{"kind":"agent_thinking","data":{"text":"copying","progress":0.5}}' \\
      '{"kind":"agent_completed","data":{"summary":"done"}}' | runcast publish --user alice

  my-agent | runcast publish --user alice --json
      one line of JSON for each event that is stored, with its position

  runcast tail --user alice --from earliest --count 9 --json | grep -v user_message | runcast publish --user bob
      the same events for somebody else

  RUNCAST_TOKEN="$(cat key)" runcast publish --router https://router.example.com:7400 --user alice < events.jsonl
      with an agent's API key or token, over TLS

Kinds and fields: PROTOCOL.md. Several runs at once: give each line its run_id.
Exit status: 0 all stored; 1 a line was bad or something was not stored (stderr says which); 2 it could not begin.
"""


@dataclass(slots=True)
class Line:
    """An input line that is an event."""

    number: int
    form: EventJson
    event: Event


@dataclass(slots=True)
class _OpenRun:
    queue: "asyncio.Queue[Line | None]" = field(default_factory=lambda: asyncio.Queue(QUEUE_LINES_MAX))
    ended: bool = False


@guarded
def publish(
    user: str = typer.Option(..., "--user", "-u", help="In whose stream the events appear."),
    router: str = typer.Option(DEFAULT_ROUTER, "--router", "-r", help="Router(s), HOST:PORT or https://HOST:PORT, comma-separated."),
    thread: str = typer.Option("", help="Conversation of runs whose agent_started line names none."),
    agent: str = typer.Option("shell", help="The agent's name."),
    tenant: str = typer.Option("default", help="The user's tenant."),
    token: str = typer.Option("", envvar="RUNCAST_TOKEN", help="The agent's API key or token."),
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure_token: InsecureToken = False,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object for each stored event."),
) -> int:
    """Publish JSON lines from stdin as the events of an agent's runs."""
    files = TlsFiles(tls_ca, tls_cert, tls_key)
    targets, secure = router_targets(router, files)
    tls = files.agent() if secure else False
    if token and not secure:
        check_exposure([f"http://{target}" for target in targets.split(",")], insecure=insecure_token)

    async def main() -> int:
        logging.getLogger("runcast.client").addFilter(_Seldom())
        async with Runcast(
            targets, agent=agent, tenant=tenant, coalesce_s=0, tls=tls, token=token or None, insecure_token=insecure_token
        ) as runcast:
            await runcast.ready()
            session = _Session(runcast, user, thread, as_json=as_json)
            await session.publish_all(sys.stdin.fileno())
        return session.finish()

    try:
        return run_until_signal(main(), status=FAILED)
    except ValueError as exc:
        raise CommandError("usage", str(exc), status=NOT_BEGUN) from exc


def parse_line(number: int, raw: bytes) -> Line:
    """Read an input line.

    Raises:
        FrameInvalidError: it is no event that an agent may send; the message says why.
    """
    try:
        fields: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FrameInvalidError(f"not a JSON object: {exc}") from exc
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise FrameInvalidError(f"unknown field {unknown[0]!r}; the kind's own fields go into data")
    try:
        form = msgspec.convert({"id": "", **fields}, EventJson)
    except msgspec.ValidationError as exc:
        raise FrameInvalidError(str(exc)) from exc
    if form.kind in _NOT_OURS:
        raise FrameInvalidError(f"{form.kind} is not for agents to send")
    return Line(number, form, event_from_json(form))


class _Seldom(logging.Filter):
    """Lets one line of the client library through in `QUIET_S`: a router that is away is worth a word, not one for every try."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.monotonic()  # nothing at first: `ready` says it better

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 # every record counts alike
        """Whether to show this one."""
        if Debugging.wanted or time.monotonic() - self._last >= QUIET_S:
            self._last = time.monotonic()
            return True
        return False


class _Session:
    """One input: its runs, what was stored, and what was refused."""

    def __init__(self, runcast: Runcast, user: str, thread: str, *, as_json: bool) -> None:
        self._runcast = runcast
        self._user = user
        self._thread = thread
        self._json = as_json
        self._open: dict[str, _OpenRun] = {}
        self._newest: _OpenRun | None = None
        self._live: list[_OpenRun] = []
        self._stored = 0
        self._runs = 0
        self._refused = 0

    async def publish_all(self, fd: int) -> None:
        """Read the input to its end, and wait until everything is stored or refused."""
        async with asyncio.TaskGroup() as group:
            number = 0
            async for raw in read_lines(fd, LINE_BYTES_MAX):
                number += 1
                if raw is None:
                    self._refuse(number, CommandError("event_too_large", f"the line has more than {LINE_BYTES_MAX} bytes"))
                elif raw.strip():
                    await self._take(number, raw, group)
            for run in self._live:
                await run.queue.put(None)

    def finish(self) -> int:
        """Say what became of the input; returns the exit status."""
        lines = f"; {self._refused} {'line was' if self._refused == 1 else 'lines were'} not" if self._refused else ""
        print(f"{self._stored} events of {self._runs} runs stored{lines}", file=sys.stderr)
        return FAILED if self._refused else 0

    async def _take(self, number: int, raw: bytes, group: asyncio.TaskGroup) -> None:
        try:
            line = parse_line(number, raw)
        except RuncastError as exc:
            self._refuse(number, exc)
            return
        run = self._open.get(line.form.run_id) if line.form.run_id else self._newest
        if line.form.kind == "agent_started" and (run is None or run.ended or not line.form.run_id):
            self._live = [other for other in self._live if not other.ended]
            if len(self._live) >= RUNS_MAX:
                self._refuse(number, CommandError("rate_limited", f"{RUNS_MAX} runs are open; end some first"))
                return
            run = self._newest = _OpenRun()
            self._live.append(run)
            if line.form.run_id:
                self._open[line.form.run_id] = run
            group.create_task(self._carry(line, run))
        elif run is None or run.ended:
            which = f"run {line.form.run_id!r}" if line.form.run_id else "the run"
            self._refuse(number, CommandError("lifecycle_violation", f"{which} is not open; begin it with an agent_started line"))
        else:
            await run.queue.put(line)
            self._refuse_left(run)  # it may have ended while we waited for room

    async def _carry(self, first: Line, run: _OpenRun) -> None:
        """One run, from its agent_started line to its end or the input's."""
        form, started = first.form, first.event.agent_started
        waiting: list[Line] = [first]
        run_id = form.run_id
        try:
            async with self._runcast.run(
                user=self._user,
                thread=form.thread or self._thread,
                title=started.title,
                reply_to=started.reply_to,
                input=msgspec.json.decode(started.input_json) if started.input_json else None,
                run_id=form.run_id,
                attempt=form.attempt or 1,
                parent_run_id=form.parent_run_id,
                traceparent=form.traceparent,
            ) as open_run:
                run_id = open_run.id
                self._open[run_id] = run
                self._runs += 1
                while True:
                    if run.queue.empty() and waiting:
                        self._acknowledge(run_id, waiting, str(await open_run.flush() or ""))
                        waiting = []
                        continue
                    line = await run.queue.get()
                    if line is None:
                        break
                    try:
                        await open_run.emit(line.event)
                    except RuncastError as exc:
                        self._refuse(line.number, exc)
                        continue
                    waiting.append(line)
                    if ends_run(line.event):
                        run.ended = True
                        self._acknowledge(run_id, waiting, str(await open_run.flush() or ""))
                        return
                print(f"note: run {run_id} was open at the end of the input, and is cancelled", file=sys.stderr)
                raise asyncio.CancelledError  # the client library ends the run as cancelled; the task group takes it as done
        except RuncastError as exc:
            for line in waiting:
                self._refuse(line.number, exc)
        finally:
            run.ended = True
            if self._open.get(run_id) is run:
                del self._open[run_id]
            self._refuse_left(run)

    def _refuse_left(self, run: _OpenRun) -> None:
        """Of a run that has ended, refuse what still waits."""
        while run.ended and not run.queue.empty():
            line = run.queue.get_nowait()
            if line is not None:
                self._refuse(line.number, CommandError("lifecycle_violation", "the run has ended; start another run"))

    def _acknowledge(self, run_id: str, lines: list[Line], position: str) -> None:
        self._stored += len(lines)
        if self._json:
            for line in lines:
                print(msgspec.json.encode({"line": line.number, "run_id": run_id, "position": position}).decode(), flush=True)

    def _refuse(self, number: int, exc: RuncastError | CommandError) -> None:
        self._refused += 1
        code = exc.code if isinstance(exc.code, str) else exc.code.name
        print(f"error: line {number}: {code}: {exc.message}", file=sys.stderr, flush=True)


publish.__doc__ = f"{publish.__doc__}\n\n\b{EXAMPLES}"
