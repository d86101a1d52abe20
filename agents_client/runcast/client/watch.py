"""One call of an instrumented function, as a tool call of the current run, from whatever thread and event loop it is made in.

Rules.
1. A run lives in its event loop. A call in the thread of that loop goes to it directly; one in any other thread goes by way of the loop,
   and waits for it. A thread waits no longer than there is a loop.
2. Sync code in the loop's own thread can't wait: its beginning needs room in the outbox, or is refused.
3. When the run has ended meanwhile, its end has completed the call: then there is nothing to do, and no error.

Never imports grpc; all sending is the run's.
"""

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from runcast.client.context import current_run, running_loop
from runcast.client.errors import OutboxFullError
from runcast.client.payload import encode_leniently
from runcast.client.run import Run
from runcast.client.tool import ToolCall
from runcast.wire import limits_client as limits
from runcast.wire.errors import LifecycleError, RuncastError

_log = logging.getLogger("runcast.client")
Result = TypeVar("Result")
_LOOP_ENDED: Final = "the event loop of the run has ended; leave the run's block before"
_OWNERS: Final = ("self", "cls")


class Words(NamedTuple):
    """What the calls of a function are shown with.

    Attributes:
        function: it.
        signature: its; None when it tells none.
        name: the tool's.
        purpose: for people.
        estimate_s: how long it is expected to take, seconds; None when unknown.
    """

    function: Callable[..., Any]
    signature: inspect.Signature | None
    name: str
    purpose: str
    estimate_s: float | None


class Watch:
    """One call; for `with` and `async with`, around it.

    Args:
        words: of the function.
        args: what it is called with.
        kwargs: the same.
    """

    def __init__(self, words: Words, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._words = words
        self._given = (args, kwargs)
        self._run: Run | None = None
        self._call: ToolCall | None = None
        self._followed = False

    def show(self, result: object) -> None:
        """Say what came out."""
        if self._call is not None:
            self._call.set_result_json(encode_leniently(result, limits.INSTRUMENT_BYTES_MAX))

    def follow(self, result: Awaitable[Any]) -> Awaitable[Any]:
        """The call goes on until what it returned is done; returns what stands for that."""
        if self._call is None:
            return result
        self._followed = True
        if isinstance(result, asyncio.Future):
            result.add_done_callback(self._end_of)
            return result
        return self._await(result)

    def __enter__(self) -> Self:
        run, make = self._prepare()
        if run is not None and make is not None:
            if _here(run):
                call = make()
                call.begin_now()
            else:
                call = _wait(run, _begin(make))
            self._run, self._call = run, call
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        run, call = self._run, self._call
        if run is None or call is None or (self._followed and exc is None):
            return
        with suppress(LifecycleError):
            if not _here(run):
                _wait(run, _end(call, exc))
            else:
                with suppress(OutboxFullError):  # then the run's end does it
                    call.end_now(exc)

    async def __aenter__(self) -> Self:
        run, make = self._prepare()
        if run is not None and make is not None:
            self._call = await (_begin(make) if _here(run) else _elsewhere(run, _begin(make)))
            self._run = run
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        run, call = self._run, self._call
        if run is None or call is None:
            return
        with suppress(LifecycleError):
            await (_end(call, exc) if _here(run) else _elsewhere(run, _end(call, exc)))

    # --- inside ---

    def _prepare(self) -> tuple[Run | None, Callable[[], ToolCall] | None]:
        """The run, and what makes the tool call, for use in its loop."""
        run = current_run(None)
        if run is None or run.ended:
            return None, None
        words = self._words
        args_json = encode_leniently(_arguments(words, *self._given), limits.INSTRUMENT_BYTES_MAX)
        return run, functools.partial(run.tool_of_json, words.name, args_json, words.purpose, words.estimate_s)

    async def _await(self, result: Awaitable[Any]) -> Any:
        try:
            value = await result
        except BaseException as exc:
            await self.__aexit__(type(exc), exc, None)
            raise
        self.show(value)
        await self.__aexit__(None, None, None)
        return value

    def _end_of(self, done: "asyncio.Future[Any]") -> None:
        """What was returned is done."""
        self._followed = False
        exc: BaseException | None = asyncio.CancelledError() if done.cancelled() else done.exception()
        if exc is None:
            self.show(done.result())
        try:
            self.__exit__(None, exc, None)
        except RuncastError as failure:
            _log.warning("the completion of tool %s could not be queued: %s", self._words.name, failure)


async def _begin(make: Callable[[], ToolCall]) -> ToolCall:
    call = make()
    await call.__aenter__()
    return call


async def _end(call: ToolCall, exc: BaseException | None) -> None:
    if exc is None:
        await call.__aexit__(None, None, None)
    else:
        call.end_now(exc)


def _here(run: Run) -> bool:
    """Whether this is the thread of the run's event loop, while that runs."""
    return running_loop() is run.loop


def _submit(run: Run, work: Coroutine[Any, Any, Result]) -> "Future[Result]":
    try:
        return asyncio.run_coroutine_threadsafe(work, run.loop)
    except RuntimeError as exc:
        work.close()
        raise LifecycleError(_LOOP_ENDED) from exc


def _wait(run: Run, work: Coroutine[Any, Any, Result]) -> Result:
    """Have the run's loop do something, and wait for it, in a thread."""
    answer = _submit(run, work)
    try:
        while not wait({answer}, limits.THREAD_WAIT_S).done:
            _check_loop(run)
        return answer.result()
    finally:
        answer.cancel()


async def _elsewhere(run: Run, work: Coroutine[Any, Any, Result]) -> Result:
    """Have the run's loop do something, and wait for it, in another loop."""
    answer = asyncio.wrap_future(_submit(run, work))
    try:
        while not (await asyncio.wait({answer}, timeout=limits.THREAD_WAIT_S))[0]:
            _check_loop(run)
        return answer.result()
    finally:
        answer.cancel()


def _check_loop(run: Run) -> None:
    if not run.loop.is_running():
        raise LifecycleError(_LOOP_ENDED)


def _arguments(words: Words, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """Arguments by name; without a signature, or when they don't fit it (the call itself will say so), as they were given."""
    try:
        bound = words.signature.bind(*args, **kwargs) if words.signature is not None else None
    except TypeError:
        bound = None
    if bound is None:
        return {"args": args, **kwargs} if args else kwargs or None
    given = dict(bound.arguments)
    for index, (name, parameter) in enumerate(bound.signature.parameters.items()):
        if index == 0 and name in _OWNERS and inspect.isfunction(words.function):
            given.pop(name, None)
        elif parameter.kind is parameter.VAR_KEYWORD:
            given.update(given.pop(name, {}))
    return given or None
