"""The way from a framework's threads to the event loop that a run lives in.

Rules: on that loop a callback is called as it is; on another one (frameworks call back from worker threads, on loops of their own) it
is handed over, and waited for. A loop that does not turn is an error after `limits.ADAPTER_LOOP_S`, and soon for what follows, until it
turns again: it is blocked, mostly by the very call that calls back.

Never imports a framework.
"""

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any

from runcast.client.context import current_run
from runcast.client.run import Run
from runcast.wire import limits_client as limits
from runcast.wire.errors import LifecycleError


class Homing:
    """Brings callbacks home.

    Args:
        run: the run that they are for; None for the current one of whoever calls.
    """

    def __init__(self, run: Run | None) -> None:
        self._run = run
        self._blocked = False
        try:
            self._built_in: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._built_in = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """The one that the run lives in; of one that has not begun, the one in which this was made, or else the running one."""
        run = self._run or current_run(None)
        return run.loop if run is not None and run.is_open else self._built_in or asyncio.get_running_loop()

    async def bring(self, loop: asyncio.AbstractEventLoop, callback: Coroutine[Any, Any, None]) -> None:
        """Run a callback on `loop`, and wait until it is done.

        Raises:
            LifecycleError: the loop is blocked. Nothing was called.
            Exception: what the callback raised.
        """
        if loop is asyncio.get_running_loop():
            self._blocked = False
            await callback
            return
        begun: concurrent.futures.Future[None] = concurrent.futures.Future()

        async def begin() -> None:
            if begun.set_running_or_notify_cancel():
                begun.set_result(None)
                await callback

        handed_over = asyncio.run_coroutine_threadsafe(begin(), loop)
        await asyncio.wait({asyncio.wrap_future(begun)}, timeout=limits.ADAPTER_AGAIN_S if self._blocked else limits.ADAPTER_LOOP_S)
        self._blocked = begun.cancel()
        if self._blocked:
            callback.close()
            raise LifecycleError(
                "the event loop of the run is blocked, so this can't be told: use the framework's async calls, or make its sync ones in "
                "asyncio.to_thread"
            )
        await asyncio.wrap_future(handed_over)
