"""How a command fails: one clear line with a code and what to do, and an exit status; a traceback only with `runcast --debug`.

Exit statuses: 0 done; 1 it was tried and failed; 2 it could not begin (usage, configuration, a port in use, no nats-server); 3 time ran
out. Everything that other rooms raise is mapped here, once.
"""

import asyncio
import functools
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn, ParamSpec

import typer

from runcast.cli.typed import as_typed

FAILED: Final = 1
NOT_BEGUN: Final = 2
TIMED_OUT: Final = 3

P = ParamSpec("P")


class CommandError(Exception):
    """A command can't go on.

    Attributes:
        code: a word of the code table, or of this room.
        message: what is wrong and what to do.
        status: exit status.
    """

    def __init__(self, code: str, message: str, *, status: int = FAILED) -> None:
        self.code = code
        self.message = message
        self.status = status
        super().__init__(f"{code}: {message}")


class Debugging:
    """Whether tracebacks are wanted; set by `runcast --debug`."""

    wanted = False


def explain(exc: BaseException) -> CommandError:
    """The failure behind an exception of any room."""
    # Imported late: `runcast --help` should not wait for aiohttp.
    from runcast.testkit import ChainBrokenError, DeviceClosedError, ProcessError  # noqa: PLC0415
    from runcast.testkit.node import NatsServerMissingError  # noqa: PLC0415
    from runcast.testkit.ports import PortTakenError  # noqa: PLC0415
    from runcast.wire.errors import RuncastError  # noqa: PLC0415

    match exc:
        case CommandError():
            return exc
        case BaseExceptionGroup():
            return explain(exc.exceptions[0])
        case RuncastError():
            return CommandError(exc.code.name, exc.message)
        case PortTakenError():
            return CommandError("port_taken", str(exc), status=NOT_BEGUN)
        case NatsServerMissingError():
            return CommandError("nats_server_missing", str(exc), status=NOT_BEGUN)
        case ProcessError():
            return CommandError("process_failed", str(exc), status=NOT_BEGUN)
        case ChainBrokenError():
            return CommandError("chain_broken", f"{exc}: the edge left something out; please report this")
        case DeviceClosedError():
            return CommandError("disconnected", str(exc))
        case TimeoutError():
            return CommandError("timeout", str(exc) or "no answer in time", status=TIMED_OUT)
        case ModuleNotFoundError():
            return CommandError(
                "not_installed", f"{exc.name} is not installed; pip install 'runcast[server,local]' brings it", status=NOT_BEGUN
            )
        case OSError():
            return CommandError("system", f"{exc.strerror or exc}{f' ({exc.filename})' if exc.filename else ''}")
    return CommandError("internal", f"{type(exc).__name__}: {exc}; `runcast --debug ...` shows where. Please report this")


def guarded(command: Callable[P, int]) -> Callable[P, None]:
    """Turn a function that returns an exit status into a command that exits with it and never shows a traceback unasked."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            status = command(*args, **kwargs)
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
        except BrokenPipeError:
            _quiet_stdout()
            status = 128 + signal.SIGPIPE
        except Exception as exc:
            if Debugging.wanted:
                raise
            fail(explain(exc))
        raise typer.Exit(status)

    return run


def fail(failure: CommandError) -> NoReturn:
    """Say what is wrong and exit."""
    colour = sys.stderr.isatty()
    word = "\033[31merror\033[0m" if colour else "error"
    print(f"{word}: {failure.code}: {as_typed(failure.message)}", file=sys.stderr)
    raise typer.Exit(failure.status)


def run_until_signal(main: Coroutine[Any, Any, int], *, status: int = 0) -> int:
    """Run `main`; the first SIGINT, SIGTERM or SIGHUP cancels it, so that it cleans up; later ones are ignored meanwhile.

    Args:
        main: returns an exit status.
        status: what to return when a signal ended it.
    """

    async def watched() -> int:
        task = asyncio.current_task()
        stopped = False

        def stop() -> None:
            nonlocal stopped
            if not stopped and task is not None:
                stopped = True
                task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        try:
            return await main
        except asyncio.CancelledError:
            if not stopped:
                raise
            return status

    return asyncio.run(watched())


def _quiet_stdout() -> None:
    """The reader of our output is gone (`| head`): keep the interpreter from complaining when it flushes."""
    sys.stdout = open("/dev/null", "w")  # noqa: PTH123, SIM115 # lives until the process ends
