"""The door to Runcast for agents that block: `runcast.client.Runcast` on a loop in a thread of its own.

Rules: nothing of Runcast's is decided here. Leaving the block ends, as cancelled, the runs that other threads have still open; sends what
is left; and ends the thread. Interrupted in that (a second Ctrl-C) it ends the thread at once. A Runcast that is open when the process ends
is closed then.

Never imports grpc.
"""

import contextlib
import logging
from types import TracebackType
from typing import Any, Self

from runcast.client.errors import OutboxClosedError
from runcast.client.inbox import Inbox as AsyncInbox
from runcast.client.run import Run as AsyncRun
from runcast.client.runcast import Runcast as AsyncRuncast
from runcast.client.statistics import Statistics
from runcast.client.sync.block import Block, as_made_by, close_blocks, opens, waits
from runcast.client.sync.inbox import Inbox
from runcast.client.sync.run import Run
from runcast.client.sync.thread import LoopThread
from runcast.wire import limits_client as limits
from runcast.wire.errors import RuncastError

_log = logging.getLogger("runcast.client")


class Runcast(Block):
    """A connection to Runcast's routers, for `with`; its methods may be called by any thread of the process that opened it.

    Args and errors are those of `runcast.client.Runcast`; callbacks are called in Runcast's own thread.
    """

    @as_made_by(AsyncRuncast)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._runcast = AsyncRuncast(*args, **kwargs)
        super().__init__(LoopThread("runcast client", self._close_at_exit), self._runcast, "runcast", set())

    def _wrap_run(self, run: AsyncRun) -> Run:
        return Run(self._thread, run, self._family)

    def _wrap_inbox(self, inbox: AsyncInbox) -> Inbox:
        return Inbox(self._thread, inbox)

    run = opens(AsyncRuncast.run, _wrap_run)
    inbox = opens(AsyncRuncast.inbox, _wrap_inbox)
    is_online = waits(AsyncRuncast.is_online)
    ready = waits(AsyncRuncast.ready)
    close = waits(AsyncRuncast.close)

    def stats(self) -> Statistics:
        """As `runcast.client.Runcast.stats`."""
        if not self._thread.ending:
            with contextlib.suppress(OutboxClosedError):  # it ends just now
                return self._thread.call(self._runcast.stats)
        return self._runcast.stats()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            return super().__enter__()
        except BaseException:
            self._thread.stop()
            raise

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        if self._thread.forked:
            return False
        try:
            self._thread.call(self._close_family)
            return super().__exit__(exc_type, exc, traceback)
        finally:
            self._thread.stop()

    async def _close_family(self) -> None:
        """End what other threads have still open; what they wait for is answered."""
        try:
            await close_blocks(self._family - {self}, limits.RUN_EXIT_S + limits.GOODBYE_S)
        except TimeoutError:
            _log.warning("%d runs and tool calls did not end in time; they are left as they are", len(self._family) - 1)

    def _close_at_exit(self) -> None:
        _log.warning("the process ends, and a Runcast is open: it is closed now; leave its block before")
        try:
            self.__exit__(None, None, None)
        except RuncastError as exc:
            _log.warning("%s", exc)
