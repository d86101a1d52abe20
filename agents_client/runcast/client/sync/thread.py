"""An event loop in a thread of its own, which carries out what other threads ask for while they wait.

Rules.
1. A call is a task on the loop, with a copy of its caller's context; it returns what the task returns, and raises what it raises.
2. A caller that is interrupted while it waits (KeyboardInterrupt) cancels its task.
3. A thread that runs an event loop may not wait here: its loop would stand still. A process that was forked has no such thread; it is told
   to open its own, and nothing that it does here touches the parent's.
4. The thread ends with `stop`, or with the process: what is open then is closed by `at_exit` (see there). It is a daemon, so that nothing
   that hangs keeps a process alive.

Invariants: every call is answered, also when the loop ends; after `stop` no task and no thread is left, unless a call would not end.

Never imports grpc or anything of a run.
"""

import asyncio
import atexit
import contextlib
import contextvars
import functools
import inspect
import logging
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, ParamSpec, TypeVar, overload

from runcast.client.errors import OutboxClosedError
from runcast.wire import limits_client as limits
from runcast.wire.errors import LifecycleError

_log = logging.getLogger("runcast.client")
Args = ParamSpec("Args")
Result = TypeVar("Result")
_CLOSED: Final = "this Runcast was closed; open a new one"


class LoopThread:
    """The thread and its loop. Made where it is used first; started by `start`.

    Args:
        name: of the thread.
        on_exit: called by `at_exit` when the process ends while the thread runs.
    """

    def __init__(self, name: str, on_exit: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._on_exit = on_exit
        self._pid = os.getpid()
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: set[Future[Any]] = set()
        self._end: asyncio.Event | None = None

    @property
    def ending(self) -> bool:
        """The loop takes no calls any more."""
        return self._group is None

    @property
    def forked(self) -> bool:
        """This process is not the one that made the thread."""
        return os.getpid() != self._pid

    def start(self) -> None:
        """Start it, and wait until its loop runs.

        Raises:
            LifecycleError: it was started before, or as `call`.
            OutboxClosedError: it has ended.
        """
        self._check_caller()
        if self._started.is_set():
            if self.ending:
                raise OutboxClosedError(_CLOSED)
            raise LifecycleError("this Runcast is open already; share it, or open another one")
        self._thread.start()
        _open.add(self)
        self._started.wait()

    @overload
    def call(self, function: Callable[Args, Coroutine[Any, Any, Result]], *args: Args.args, **kwargs: Args.kwargs) -> Result: ...
    @overload
    def call(self, function: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Result: ...
    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function on the loop, and wait for what it returns; a coroutine is awaited.

        Raises:
            LifecycleError: this thread runs an event loop, or this process was forked.
            OutboxClosedError: the loop has ended, or ends before the call.
        """
        self._check_caller()
        loop = self._loop
        if loop is None:
            raise LifecycleError("this Runcast is not open; use it with `with`")
        answer: Future[Any] = Future()
        self._waiting.add(answer)
        begin = functools.partial(self._begin, answer, contextvars.copy_context(), functools.partial(function, *args, **kwargs))
        try:
            try:
                loop.call_soon_threadsafe(begin)
            except RuntimeError as exc:
                raise OutboxClosedError(_CLOSED) from exc
            return answer.result()
        finally:
            if not answer.done():  # interrupted while it waited
                with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                    loop.call_soon_threadsafe(answer.cancel)
            self._waiting.discard(answer)
            del answer  # it may hold the exception that holds this frame

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str, context: contextvars.Context | None = None) -> "asyncio.Task[None]":
        """Run a coroutine, which raises nothing, until the loop ends. For use on the loop.

        Raises:
            OutboxClosedError: it ends.
        """
        if self._group is None:
            coroutine.close()
            raise OutboxClosedError(_CLOSED)
        task = self._group.create_task(coroutine, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self, timeout_s: float = limits.GOODBYE_S) -> None:
        """Cancel what is left, and wait for the thread's end, for `timeout_s` seconds at most. Does nothing the second time."""
        _open.discard(self)
        if self.forked or self._loop is None or self._end is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.warning("the thread %r did not end within %g s; it ends with the process", self._thread.name, timeout_s)

    def at_exit(self) -> None:
        """The process ends, and the thread runs: have it closed by whoever made it."""
        if not self.forked:
            try:
                self._on_exit()
            finally:
                self.stop()

    # --- inside ---

    def _check_caller(self) -> None:
        if self.forked:
            raise LifecycleError(
                f"this Runcast was opened by process {self._pid}, before the fork that made this one; open another one in this process"
            )
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise LifecycleError(
            "runcast.client.sync waits in its caller's thread, and this one runs an event loop: "
            "use runcast.client.Runcast with `async with` here, or call from a thread (asyncio.to_thread)"
        )

    def _begin(self, answer: Future[Any], context: contextvars.Context, function: Callable[[], Any]) -> None:
        """On the loop: make a task of a call."""
        try:
            task = self.spawn(_carry(answer, function), "runcast call", context)
        except OutboxClosedError as exc:
            answer.set_exception(exc)
            return
        answer.add_done_callback(functools.partial(_cancel_if_cancelled, task))

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException:
            _log.exception("the thread %r died", self._thread.name)
        finally:
            self._started.set()
            for answer in tuple(self._waiting):  # they came while the loop was being closed
                if not answer.done():
                    answer.set_exception(OutboxClosedError(_CLOSED))

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._started.set()
            await self._end.wait()
            self._group = None  # what comes now is refused
            for _ in range(limits.LOOP_END_CANCELS_MAX):
                for task in self._tasks:
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=limits.LOOP_END_S)


async def _carry(answer: Future[Any], function: Callable[[], Any]) -> None:
    """Do what a call asks for, and answer it; both on the loop, so that nothing races."""
    try:
        result = function()
        if inspect.isawaitable(result):
            result = await result
    except asyncio.CancelledError:
        if not answer.cancelled():
            answer.set_exception(OutboxClosedError(_CLOSED))
    except BaseException as exc:  # carried over to the thread that waits, and raised there
        if not answer.cancelled():
            answer.set_exception(exc)
    else:
        if not answer.cancelled():
            answer.set_result(result)


def _cancel_if_cancelled(task: "asyncio.Task[None]", answer: Future[Any]) -> None:
    if answer.cancelled():
        task.cancel()


def _close_all() -> None:
    for thread in list(_open):
        thread.at_exit()


_open: "weakref.WeakSet[LoopThread]" = weakref.WeakSet()
atexit.register(_close_all)
