"""Where a Runcast lives: the process and the event loop that opened it. Used anywhere else it would wait for what never comes.

Never imports grpc.
"""

import asyncio
import os

from runcast.wire.errors import LifecycleError


class Home:
    """The process and event loop in which it is made."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()

    @property
    def forked(self) -> bool:
        """This process is a copy of the one that it was made in."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """See that this is it.

        Raises:
            LifecycleError: this is another process or another loop; the message says what to do.
        """
        if self.forked:
            raise LifecycleError(
                f"this Runcast was opened by process {self._pid}, before the fork that made this one; open another one in this process"
            )
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise LifecycleError(
                "a Runcast is used within its event loop, and there is none in this thread: asyncio.run_coroutine_threadsafe(…, run.loop) "
                "brings a call there, and runcast.client.sync is for threads"
            ) from None
        if loop is not self._loop and self._loop.is_closed():
            raise LifecycleError("the event loop in which this Runcast was opened has been closed; open a Runcast in this loop")
        if loop is not self._loop:
            raise LifecycleError(
                "the event loop in which this Runcast was opened is another one than this; asyncio.run_coroutine_threadsafe(…, run.loop) "
                "brings a call there, or open a Runcast in this loop"
            )
