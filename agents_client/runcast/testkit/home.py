"""Objects that live on one event loop, and can be called from any.

A cluster's processes and proxies belong to the loop that started them. Tests run on loops of their own, a new one for each test or one
for all, as their plugin has it. A method marked `at_home` runs on the loop of its object, wherever it is awaited. `HomeThread` is such a
loop, on a thread of its own, for pytest sessions and for programs without a loop.

Never imports the rest of the testkit.
"""

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

NOW_S: Final = 10.0
"""For a quick method's turn on its loop."""

P = ParamSpec("P")
T = TypeVar("T")


class Homed:
    """What lives on a loop: the one that its first marked method was awaited on.

    Attributes:
        home: the loop; None before.
    """

    home: asyncio.AbstractEventLoop | None = None


S = TypeVar("S", bound=Homed)


def at_home(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Run an async method on its object's loop, from any loop."""

    @functools.wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        here = asyncio.get_running_loop()
        if self.home is None or self.home.is_closed():
            self.home = here
        if self.home is here:
            return await method(self, *args, **kwargs)
        return await elsewhere(self.home, lambda: method(self, *args, **kwargs))

    return call


async def elsewhere(loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await a coroutine that runs on another thread's loop; whoever cancels cancels it there."""
    future = asyncio.run_coroutine_threadsafe(make(), loop)
    return await asyncio.wrap_future(future)


def at_home_now(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Run a quick method on its object's loop, from any thread; it waits for nothing but that loop's turn."""

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.home is None or self.home.is_closed() or self.home is _running():
            return method(self, *args, **kwargs)
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(method(self, *args, **kwargs))
            except BaseException as exc:  # carried over to the thread that waits, and raised there
                done.set_exception(exc)

        self.home.call_soon_threadsafe(run)
        return done.result(NOW_S)

    return call


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class HomeThread:
    """An event loop on a daemon thread, from construction to `stop`. Child processes that were started on it die with it."""

    def __init__(self, name: str = "runcast testkit") -> None:
        started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._main, args=(started,), name=name, daemon=True)
        self._thread.start()
        self._end: asyncio.Event
        self.loop = started.result()

    def run(self, make: Callable[[], Awaitable[T]]) -> T:
        """Run something on the loop and wait for its result."""

        async def whole() -> T:
            return await make()

        return asyncio.run_coroutine_threadsafe(whole(), self.loop).result()

    def stop(self) -> None:
        """End the loop and the thread. Does nothing the second time."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    def _main(self, started: "concurrent.futures.Future[asyncio.AbstractEventLoop]") -> None:
        async def until_end() -> None:
            self._end = asyncio.Event()
            started.set_result(asyncio.get_running_loop())
            await self._end.wait()

        asyncio.run(until_end())
