"""Asking the inbox for messages, for one Receive stream: one pull at a time, for as many as there is room for.

Rules: a pull is over when all that it asked for came, when the inbox says so, or when its time and a margin are over: it may have been lost
with a server. When the inbox can't be reached, its consumer is looked for again, with backoff.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final

from structlog.stdlib import BoundLogger

from runcast.bus.queue import GroupQueue
from runcast.wire import limits, limits_client
from runcast.wire.errors import UnavailableError

_MARGIN_S: Final = 0.5
"""How much later than a pull's end it counts as lost."""


class Puller:
    """Of one Receive stream.

    Args:
        queue: the group's.
        room: how many more may be asked for.
        require_storage: raises UnavailableError while storage is away.
        log: of the stream.
    """

    def __init__(self, queue: GroupQueue, room: Callable[[], int], require_storage: Callable[[], None], log: BoundLogger) -> None:
        self._queue = queue
        self._room = room
        self._require_storage = require_storage
        self._log = log
        self._credit = 0
        self._problem = ""
        self._wake = asyncio.Event()
        self._stopped = False

    def came(self) -> None:
        """One of those that were asked for is here."""
        self._credit -= 1
        self._wake.set()

    def ended(self, problem: str) -> None:
        """The inbox ended the pull; `problem` says why, "" when its time was over."""
        self._credit, self._problem = 0, problem
        self._wake.set()

    def wake(self) -> None:
        """There may be room."""
        self._wake.set()

    def stop(self) -> None:
        """Ask for no more."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> None:
        """Keep one pull under way while there is room; returns when stopped."""
        wait_s = limits_client.BACKOFF_FIRST_S
        opened = False
        while not self._stopped:
            self._wake.clear()
            room = self._room()
            if not room:
                await self._wake.wait()
                continue
            try:
                self._require_storage()
                if not opened:
                    await self._queue.open()
                    opened = True
                self._credit, self._problem = room, ""
                await self._queue.pull(room, limits.INBOX_PULL_S)
                await self._over()
                if self._problem:
                    raise UnavailableError(f"the inbox answered {self._problem}")
                wait_s = limits_client.BACKOFF_FIRST_S
            except UnavailableError as exc:
                opened = False
                self._log.debug("inbox_unavailable", error=exc.message)
                await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311 # jitter, not a secret
                wait_s = min(2 * wait_s, limits_client.BACKOFF_MAX_S)

    async def _over(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.INBOX_PULL_S + _MARGIN_S):
                while self._credit > 0 and not self._stopped:
                    self._wake.clear()
                    await self._wake.wait()
