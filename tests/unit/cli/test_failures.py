import asyncio
import os
import signal

import pytest
import typer

from runcast.cli.failures import FAILED, NOT_BEGUN, TIMED_OUT, CommandError, Debugging, explain, guarded, run_until_signal
from runcast.testkit import ChainBrokenError, DeviceClosedError, ProcessError
from runcast.testkit.node import NatsServerMissingError
from runcast.testkit.ports import PortTakenError
from runcast.wire.errors import PositionMalformedError


@pytest.mark.parametrize(
    ("exc", "code", "status"),
    [
        (CommandError("usage", "x", status=NOT_BEGUN), "usage", NOT_BEGUN),
        (ExceptionGroup("g", [ExceptionGroup("h", [PositionMalformedError("x")])]), "position_malformed", FAILED),
        (PortTakenError(7480), "port_taken", NOT_BEGUN),
        (NatsServerMissingError("x"), "nats_server_missing", NOT_BEGUN),
        (ProcessError("x"), "process_failed", NOT_BEGUN),
        (ChainBrokenError("x"), "chain_broken", FAILED),
        (DeviceClosedError("x", 4501), "disconnected", FAILED),
        (TimeoutError(), "timeout", TIMED_OUT),
        (ModuleNotFoundError("x", name="aiohttp"), "not_installed", NOT_BEGUN),
        (FileNotFoundError(2, "No such file", "/x"), "system", FAILED),
        (KeyError("x"), "internal", FAILED),
    ],
)
def test_explain(exc: BaseException, code: str, status: int) -> None:
    failure = explain(exc)
    assert (failure.code, failure.status) == (code, status)
    assert failure.message


def broken() -> int:
    raise PositionMalformedError("'x' is not a position")


def test_guarded_says_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exited:
        guarded(broken)()
    assert exited.value.exit_code == FAILED
    assert capsys.readouterr().err.splitlines() == ["error: position_malformed: 'x' is not a position"]


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Debugging, "wanted", True)
    with pytest.raises(PositionMalformedError):
        guarded(broken)()


def test_guarded_exits_with_the_status() -> None:
    with pytest.raises(typer.Exit) as exited:
        guarded(lambda: 3)()
    assert exited.value.exit_code == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_cancels_and_later_ones_do_not_break_the_cleanup(number: signal.Signals) -> None:
    cleaned = []

    async def main() -> int:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), number)
            await asyncio.to_thread(cleaned.append, True)
        return 0

    assert run_until_signal(main(), status=5) == 5
    assert cleaned == [True]
