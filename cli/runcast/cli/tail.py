"""`runcast tail`: a user's stream in the terminal, by a real WebSocket device that comes back by itself."""

import asyncio
import shutil
import sys
import uuid
from typing import Final

import typer

from runcast.cli.addresses import DEFAULT_EDGE, development_token
from runcast.cli.entry import InsecureToken, TlsCa, TlsCert, TlsFiles, TlsKey, check_exposure, edge_urls
from runcast.cli.failures import NOT_BEGUN, TIMED_OUT, CommandError, guarded, run_until_signal
from runcast.cli.lines import human_line, json_line
from runcast.testkit.device import Device
from runcast.testkit.device_session import Received
from runcast.wire.errors import PositionMalformedError
from runcast.wire.frames import Welcome
from runcast.wire.lifecycle import ends_run
from runcast.wire.position import EARLIEST, LATEST, parse_position

EXAMPLES: Final = """
Examples:

  runcast tail --user alice
      what comes from now on, from an edge on this machine

  runcast tail --user alice --from earliest --json | jq .kind
      everything that is kept, as JSON lines

  runcast tail --edge ws://a:7480 --edge ws://b:7480 --user alice --until-end
      take turns between two edges; stop when a run ends

  RUNCAST_TOKEN="$(cat token)" runcast tail --edge wss://edge.example.com
      the stream of the user whose token that is, over TLS

Exit status: 0 stopped by --until-end, --count or Ctrl-C; 1 the edge said not to come back; 3 --timeout passed.
"""


class Printer:
    """Prints events as they come, in one of the two forms."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._tty = sys.stdout.isatty()

    def __call__(self, received: Received) -> None:
        """Print one event."""
        if self._json:
            line = json_line(received.event, received.pos)
        else:
            width = shutil.get_terminal_size().columns if self._tty else 0
            line = human_line(received.event, width=width, colours=self._tty)
        print(line, flush=True)


def note(text: str) -> None:
    """Say something that is not an event, on stderr."""
    print(f"-- {text}", file=sys.stderr, flush=True)


@guarded
def tail(
    user: str = typer.Option("", "--user", "-u", help="Whose stream; --token names its user itself."),
    edge: list[str] = typer.Option([DEFAULT_EDGE], "--edge", "-e", help="An edge, ws://HOST:PORT or wss://; may be given several times."),
    tenant: str = typer.Option("default", help="The user's tenant."),
    start: str = typer.Option(LATEST, "--from", help="earliest, latest, a position, or cursor: where --device stopped."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a line, with its position."),
    device: str = typer.Option("", help="Name of this device; the same name goes on with --from cursor."),
    token: str = typer.Option("", envvar="RUNCAST_TOKEN", help="A token, instead of a development token for --user."),
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure_token: InsecureToken = False,
    count: int = typer.Option(0, min=0, help="Stop after so many events."),
    until_end: bool = typer.Option(False, "--until-end", help="Stop when a run ends."),
    timeout: float = typer.Option(0.0, min=0.0, help="Give up after so many seconds; 0: never."),
) -> int:
    """Show what reaches a user: every event of their stream, in order, as it comes."""
    position = start_position(start, device)
    files = TlsFiles(tls_ca, tls_cert, tls_key)
    urls = edge_urls(edge, files)
    token = chosen_token(token, user, tenant, urls, insecure=insecure_token)
    finished = asyncio.Event()
    printed = 0
    printer = Printer(as_json=as_json)

    def show(received: Received) -> None:
        nonlocal printed
        if finished.is_set():
            return
        printer(received)
        printed += 1
        if (count and printed >= count) or (until_end and ends_run(received.event)):
            finished.set()

    async def main() -> int:
        watch = Watch()
        client = Device(
            urls,
            token,
            device=device or f"tail-{uuid.uuid4().hex[:8]}",
            position=position,
            reconnect=True,
            strict=False,
            record=False,
            on_event=show,
            on_opened=watch.opened,
            on_lost=watch.lost,
            tls=files.context() if files.given else None,
        )
        try:
            async with client:
                if not await wait_finished(finished, client, timeout or None):
                    return TIMED_OUT
                if not finished.is_set():
                    raise CommandError("disconnected", f"{client.ended}; the edge asks not to come back")
        finally:
            for broken in client.chain_breaks:
                note(f"the chain broke, and was taken up again: {broken}")
        return 0

    return run_until_signal(main())


class Watch:
    """Says when the connection goes and comes. The very first one must succeed, or the command fails at once."""

    def __init__(self) -> None:
        self._opened = False
        self._lost = False

    def opened(self, welcome: Welcome) -> None:
        """A connection is open."""
        if welcome.outcome == "reset":
            note(f"the stream could not be continued ({welcome.reason}); going on at {welcome.position}")
        elif self._lost:
            note(f"connected again, to {welcome.edge}; nothing is missing")
        self._opened, self._lost = True, False

    def lost(self, why: str) -> None:
        """It ended, and is opened again."""
        if not self._opened:
            raise CommandError("unreachable", f"{why}. Is an edge running there? `runcast up` starts one")
        if not self._lost:
            note(f"{why}; coming back")
        self._lost = True


async def wait_finished(finished: asyncio.Event, client: Device, timeout: float | None) -> bool:
    """Wait for the end of the command or of the device; False when time ran out first."""
    try:
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
            waits = [group.create_task(finished.wait()), group.create_task(client.wait_closed(None))]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
    except TimeoutError:
        return False
    return True


def chosen_token(token: str, user: str, tenant: str, urls: list[str], *, insecure: bool) -> str:
    """What to show: the token that was given, or one of development for the user that was.

    Raises:
        CommandError: neither was given, or others would see the token.
    """
    if token:
        check_exposure(urls, insecure=insecure)
        return token
    if not user:
        raise CommandError("usage", "whose stream? Give --user, or --token (RUNCAST_TOKEN), which names its user", status=NOT_BEGUN)
    return development_token(user, tenant)


def start_position(start: str, device: str) -> str:
    """Where `--from` says to begin.

    Raises:
        CommandError: it is no place to begin.
    """
    if start == "cursor":
        if not device:
            raise CommandError("usage", "--from cursor needs --device: the cursor is the device's", status=NOT_BEGUN)
        return ""
    if start not in (EARLIEST, LATEST):
        try:
            parse_position(start)
        except PositionMalformedError as exc:
            raise CommandError("usage", f"--from: {exc.message}", status=NOT_BEGUN) from exc
    return start


tail.__doc__ = f"{tail.__doc__}\n\n\b{EXAMPLES}"
