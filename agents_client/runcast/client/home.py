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
            raise LifecycleError("this Runcast is used by a task of an event loop; for threads there is runcast.client.sync") from None
        if loop is not self._loop:
            state = "has been closed" if self._loop.is_closed() else "is another one than this"
            raise LifecycleError(f"the event loop in which this Runcast was opened {state}; open a Runcast in this loop")
