"""The life of a service process: settings, logs, ready line, signals, exit codes.

Exit codes: 0 ended as asked; 1 a part died; 2 it can't start as configured (settings, port, NATS too old, deployment that differs).
The only line on stdout is `ready <role> <host>:<port>`, once the service takes work.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop
from structlog.stdlib import BoundLogger

from runcast.bus.connection import ServerTooOldError
from runcast.bus.deployment import DeploymentError
from runcast.bus.identity.authfile import AuthFileError
from runcast.bus.logs import configure_logs
from runcast.bus.policy.policyfile import PolicyFileError
from runcast.bus.sealing.keysfile import KeysFileError
from runcast.bus.settings import S, SettingsError, load_settings
from runcast.bus.tls import CertificateError


class PortInUseError(Exception):
    """The address to listen on is taken; the message names it."""


Service = Callable[[S, BoundLogger, asyncio.Event], Awaitable[None]]
"""Runs until the event (stop) is set, then drains and returns."""


def main(role: str, kind: type[S], service: Service[S]) -> None:
    """Run `service` in this process until SIGTERM or SIGINT; exits the interpreter."""
    try:
        settings = load_settings(kind, role)
    except SettingsError as exc:
        sys.exit(_refuse(role, str(exc)))
    log = configure_logs(settings, role)
    refusal = ""
    try:
        uvloop.run(_run(settings, log, service))
    except* (PortInUseError, ServerTooOldError, DeploymentError, CertificateError, AuthFileError, PolicyFileError, KeysFileError) as group:
        refusal = str(_first(group))
    if refusal:
        sys.exit(_refuse(role, refusal))
    log.info("stopped")


async def _run(settings: S, log: BoundLogger, service: Service[S]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await service(settings, log, stop)


def announce_ready(role: str, host: str, port: int) -> None:
    """Say on stdout that the service takes work.

    What there is by now stays: the garbage collector looks at it no more. Else it goes through all modules again and again, with everybody
    waiting: 150 ms on an edge, and most of it modules.
    """
    gc.collect()
    gc.freeze()
    print(f"ready {role} {host}:{port}", flush=True)  # noqa: T201 # the ready line is this process's stdout protocol


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _refuse(role: str, text: str) -> int:
    for line in text.splitlines():
        print(f"runcast {role}: {line}", file=sys.stderr)  # noqa: T201 # logs may not be configured yet
    return 2
