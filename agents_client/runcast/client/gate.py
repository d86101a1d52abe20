"""Where callers wait for room in the outbox: in the order in which they came.

Rules: while nobody waits, passing is one synchronous call of what the caller came for. Who is cancelled while it waits has done nothing.
Each so often a caller gives the event loop a turn, so that one that never waits starves nobody.

Never imports grpc.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from runcast.client.errors import OutboxFullError
from runcast.wire import limits_client as limits

T = TypeVar("T")


class Gate:
    """The gate of one outbox.

    Args:
        waits: callers wait for room; otherwise OutboxFullError is raised to them.
    """

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits
        self._line = asyncio.Lock()  # callers that wait, in order
        self._callers = 0  # of them
        self._room = asyncio.Event()
        self._turn = 0

    def look(self) -> None:
        """There may be room, or never any again: whoever waits tries anew."""
        self._room.set()

    async def pass_by(self, enter: Callable[[], T]) -> T:
        """What `enter` returns, as soon as it finds room.

        Raises:
            OutboxFullError: there is none, and callers do not wait.
            RuncastError: what else `enter` raises.
        """
        self._turn += 1
        if self._turn >= limits.TURN_APPENDS_MAX:
            self._turn = 0
            await asyncio.sleep(0)
        if not self._callers:
            try:
                return enter()
            except OutboxFullError:
                if not self._waits:
                    raise
        return await self._in_turn(enter)

    async def _in_turn(self, enter: Callable[[], T]) -> T:
        self._callers += 1
        try:
            async with self._line:
                while True:
                    try:
                        return enter()
                    except OutboxFullError:
                        self._room.clear()
                    await self._room.wait()
        finally:
            self._callers -= 1
