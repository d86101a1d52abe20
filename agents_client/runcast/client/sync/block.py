"""An `async with` block that a thread is in: entered, kept open and left by one task on the loop, its keeper.

Rules.
1. Entering and leaving are done by the same task, since runs, task groups and context variables want that. What entering changed in the
   keeper's context (the current run, a tracing span) is changed in the thread's, until the block is left.
2. A thread can't be cancelled. When the keeper is (the user pressed stop), the block is *stopped*: calls under way and later ones raise
   StoppedError in their threads, which leaves the block as a cancellation leaves an async one. Whether that error ends with the block is
   for the block to say, as ever.
3. A block that is still open when its Runcast is closed is left by a cancellation; its thread is told by its next call, or when it leaves.
4. In a process that was forked from its own, a block is left without a word: it is the parent's.

Invariant: a keeper ends when its block is left, whether or not its thread still waits for that.

Never imports grpc or anything of a run.
"""

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, cast

from runcast.client.errors import OutboxClosedError
from runcast.client.rim import time_limit
from runcast.client.sync.thread import LoopThread

_log = logging.getLogger("runcast.client")
Args = ParamSpec("Args")
Result = TypeVar("Result")
Inner = TypeVar("Inner")
Face = TypeVar("Face")
_MISSING: Final = object()
_CLOSED: Final = "this Runcast was closed before the block was left, which ended it as cancelled; leave the block first"


class StoppedError(BaseException):
    """The user pressed stop: leave the block. Not an Exception, as asyncio.CancelledError is none, so that nobody goes on by mistake."""


class Block:
    """What a thread has of an async context manager: enters and leaves it, and calls methods of it.

    Args:
        thread: whose loop it lives on.
        inner: the async context manager.
        name: of the keeper.
        family: the blocks that are open, this one included while it is; used on the loop alone.
    """

    def __init__(
        self, thread: LoopThread, inner: AbstractAsyncContextManager[object, bool | None], name: str, family: "set[Block]"
    ) -> None:
        self._thread = thread
        self._inner = inner
        self._name = name
        self._family = family
        self._keeper: asyncio.Task[object] | None = None  # once the block is entered
        self._leaving = asyncio.Event()
        self._left = asyncio.Event()
        self._exc: BaseException | None = None  # what the thread left with
        self._outcome: bool | BaseException = False  # what leaving came to
        self._cancelled: asyncio.CancelledError | None = None
        self._closing = False
        self._calls: set[asyncio.Task[object]] = set()
        self._tokens: list[tuple[contextvars.ContextVar[Any], contextvars.Token[Any]]] = []

    def __enter__(self) -> Self:
        before = contextvars.copy_context()
        for variable, value in self._thread.call(self._enter).items():
            if before.get(variable, _MISSING) is not value:
                self._tokens.append((variable, variable.set(value)))
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        while self._tokens:
            variable, token = self._tokens.pop()
            try:
                variable.reset(token)
            except ValueError:
                _log.debug("%s was left in another context than it was entered in", self._name)
        if self._thread.forked or self._keeper is None:
            return False
        if not self._left.is_set():
            self._thread.call(self._exit, exc)
        if self._closing:
            if exc is None:
                raise OutboxClosedError(_CLOSED)
            return isinstance(exc, StoppedError) and self._cancelled is not None
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of the inner object on the loop, and wait for what it returns.

        Raises:
            StoppedError: the user pressed stop.
            OutboxClosedError: the Runcast was closed.
        """
        return self._thread.call(self._carry, method, args, kwargs)

    # --- on the loop ---

    async def _carry(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._check()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 # for mypy: a coroutine runs in a task here
        self._calls.add(task)
        try:
            result = method(self._inner, *args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        except asyncio.CancelledError:
            self._check()
            raise
        finally:
            self._calls.discard(task)

    def _check(self) -> None:
        if self._closing:
            raise OutboxClosedError(_CLOSED)
        if self._cancelled is not None:
            raise StoppedError(*self._cancelled.args)

    async def _enter(self) -> contextvars.Context:
        entered: asyncio.Future[contextvars.Context] = asyncio.get_running_loop().create_future()
        keeper = self._thread.spawn(self._keep(entered), self._name)
        try:
            return await entered
        except asyncio.CancelledError:  # the thread was interrupted: nobody will leave
            keeper.cancel()
            raise

    async def _exit(self, exc: BaseException | None) -> None:
        self._exc = exc
        self._leaving.set()
        await self._left.wait()

    async def _keep(self, entered: "asyncio.Future[contextvars.Context]") -> None:
        try:
            await self._inner.__aenter__()
        except BaseException as exc:  # for whoever enters
            if not entered.done():
                entered.set_exception(exc)
            return
        self._keeper = asyncio.current_task()
        self._family.add(self)
        if not entered.done():
            entered.set_result(contextvars.copy_context())
        try:
            left_with = await self._wait_leaving()
            trace = left_with.__traceback__ if left_with else None
            self._outcome = bool(await self._inner.__aexit__(type(left_with) if left_with else None, left_with, trace))
        except BaseException as failure:  # for whoever leaves
            self._outcome = failure
            if not self._leaving.is_set():
                _log.warning("%s was ended: %s", self._name, failure)
        finally:
            self._family.discard(self)
            self._left.set()

    async def _wait_leaving(self) -> BaseException | None:
        """What the thread leaves with, as the inner block is to be told."""
        while not self._leaving.is_set():
            try:
                await self._leaving.wait()
            except asyncio.CancelledError as exc:
                if self._closing or self._thread.ending:
                    self._closing = True
                    return exc
                self._cancelled = exc
                for call in self._calls:
                    call.cancel()
        if isinstance(self._exc, StoppedError):
            return self._cancelled or asyncio.CancelledError(*self._exc.args)
        return self._exc


async def close_blocks(blocks: Iterable[Block], timeout_s: float) -> None:
    """Leave blocks in their threads' place. For use on the loop.

    Args:
        blocks: they are told all before any is waited for.
        timeout_s: for all of them together, seconds.

    Raises:
        TimeoutError: not all were left in time.
    """
    told = list(blocks)
    for block in told:
        block._closing = True
        for task in (block._keeper, *block._calls):
            if task is not None:
                task.cancel()
    async with time_limit(timeout_s):
        for block in told:
            await block._left.wait()


def waits(method: Callable[Concatenate[Any, Args], Coroutine[Any, Any, Result]]) -> Callable[Concatenate[Any, Args], Result]:
    """A method of a `Block` that calls this one of the inner object, and waits for its result."""
    return cast("Callable[Concatenate[Any, Args], Result]", asks(method))


def asks(method: Callable[Concatenate[Any, Args], Result]) -> Callable[Concatenate[Any, Args], Result]:
    """As `waits`, for a method that returns at once: it too is called on the loop, where all of a run happens."""

    @functools.wraps(method)
    def call(self: Block, *args: Args.args, **kwargs: Args.kwargs) -> Result:
        return cast("Result", self._call(method, *args, **kwargs))

    return cast("Callable[Concatenate[Any, Args], Result]", call)


def opens(method: Callable[Concatenate[Any, Args], Inner], face: Callable[[Any, Inner], Face]) -> Callable[Concatenate[Any, Args], Face]:
    """As `asks`, for a method that returns something that has a face of its own: `face` makes it, of the block and the inner object."""

    @functools.wraps(method)
    def call(self: Block, *args: Args.args, **kwargs: Args.kwargs) -> Face:
        return face(self, self._call(method, *args, **kwargs))

    return cast("Callable[Concatenate[Any, Args], Face]", call)


def as_made_by(make: Callable[Args, object]) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, Args], None]]:
    """An `__init__` that takes what `make` takes, a class."""

    def decorate(init: Callable[..., None]) -> Callable[Concatenate[Any, Args], None]:
        init.__wrapped__ = make.__init__  # type: ignore[attr-defined]  # for inspect and help
        return cast("Callable[Concatenate[Any, Args], None]", init)

    return decorate
