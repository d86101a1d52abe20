"""Keeps the processes of a local cluster alive: one that ends is started again, with backoff, a bounded number of times.

Rules: a process that ends is named on the terminal, with its exit status. One that says by exit status 2 that it can't start as configured
is not tried again: it would say the same. When one can't be kept alive, all end: a cluster that limps in silence helps nobody.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from runcast.cli.failures import FAILED, CommandError
from runcast.testkit import Process, ProcessError
from runcast.wire import limits_client as limits

NOT_CONFIGURED: Final = 2
"""Exit status of a service that can't start as configured (`runcast.bus.process`)."""


async def keep_alive(processes: list[Process], say: Callable[[str], None]) -> None:
    """Watch over `processes`, which are running, until cancelled.

    Raises:
        CommandError: one of them could not be kept alive.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for process in processes:
                group.create_task(_keep(process, say))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _keep(process: Process, say: Callable[[str], None]) -> None:
    restarts = 0
    while True:
        began = time.monotonic()
        status = await process.wait()
        while True:
            if time.monotonic() - began > limits.CHILD_STABLE_S:
                restarts = 0
            if status == NOT_CONFIGURED or restarts >= limits.CHILD_RESTARTS_MAX:
                raise CommandError(
                    "process_failed",
                    f"{process.name} ended {_how(status)}{f' after {restarts} restarts' if restarts else ''}, so everything ends;"
                    f" its last words:\n{process.tail() or '(none)'}",
                    status=FAILED,
                )
            wait_s = limits.CHILD_BACKOFF_S * 2**restarts
            restarts += 1
            say(f"{process.name} ended {_how(status)}; starting it again in {wait_s:g} s")
            await asyncio.sleep(wait_s)
            try:
                await process.start()
            except ProcessError as exc:
                say(str(exc).partition(";")[0])
                status = process.returncode or 0
                continue
            say(f"{process.name} is back (process {process.pid})")
            break


def _how(status: int) -> str:
    return f"by signal {-status}" if status < 0 else f"with exit status {status}"
