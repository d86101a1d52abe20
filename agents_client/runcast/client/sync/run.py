"""Runs and tool calls for threads: `runcast.client.Run` and `ToolCall`, method by method, without `await`.

Rules: nothing is decided here; signatures and documentation are those of the async methods. A test compares the public names.

Never imports grpc.
"""

from typing import Final, TypeVar, overload
from weakref import WeakKeyDictionary

from runcast.client.context import current_run as current_async_run
from runcast.client.run import Run as AsyncRun
from runcast.client.sync.block import Block, asks, opens, waits
from runcast.client.sync.thread import LoopThread
from runcast.client.tool import ToolCall as AsyncToolCall
from runcast.wire.errors import LifecycleError

T = TypeVar("T")


class ToolCall(Block):
    """One call of a tool; made by `Run.tool`, used with `with`."""

    def __init__(self, thread: LoopThread, call: AsyncToolCall, family: set[Block]) -> None:
        super().__init__(thread, call, f"runcast tool {call.name}", family)
        self._tool = call
        self.id = call.id
        self.name = call.name

    @property
    def result(self) -> object:
        """As `runcast.client.ToolCall.result`."""
        return self._tool.result

    @result.setter
    def result(self, value: object) -> None:
        self._tool.result = value

    def fail(self, error: str | BaseException) -> None:
        """As `runcast.client.ToolCall.fail`."""
        self._tool.fail(error)


class Run(Block):
    """One attempt of a run; made by `Runcast.run`, used with `with`. Its methods may be called by any thread.

    When the user presses stop, `cancelled` is true from then on, and calls raise StoppedError: let it leave the block, which swallows it.
    An agent that is long in other code asks `cancelled` now and then.
    """

    def __init__(self, thread: LoopThread, run: AsyncRun, family: set[Block]) -> None:
        super().__init__(thread, run, f"runcast run {run.id}", family)
        self._run = run
        self.id = run.id
        self.attempt = run.attempt
        _faces[run] = self

    @property
    def is_open(self) -> bool:
        """Whether its block is under way."""
        return self._run.is_open

    @property
    def ended(self) -> bool:
        """As `runcast.client.Run.ended`."""
        return self._run.ended

    @property
    def cancelled(self) -> bool:
        """As `runcast.client.Run.cancelled`."""
        return self._run.cancelled

    @property
    def cancel_reason(self) -> str:
        """As `runcast.client.Run.cancel_reason`."""
        return self._run.cancel_reason

    def _wrap_tool(self, call: AsyncToolCall) -> ToolCall:
        return ToolCall(self._thread, call, self._family)

    def _wrap_child(self, run: AsyncRun) -> "Run":
        return Run(self._thread, run, self._family)

    tool = opens(AsyncRun.tool, _wrap_tool)
    child = opens(AsyncRun.child, _wrap_child)
    emit = waits(AsyncRun.emit)
    emit_now = asks(AsyncRun.emit_now)
    thinking = waits(AsyncRun.thinking)
    respond = waits(AsyncRun.respond)
    end_message = waits(AsyncRun.end_message)
    ask = waits(AsyncRun.ask)
    error = waits(AsyncRun.error)
    custom = waits(AsyncRun.custom)
    complete = waits(AsyncRun.complete)
    fail = waits(AsyncRun.fail)
    flush = waits(AsyncRun.flush)
    is_open_tool = asks(AsyncRun.is_open_tool)


_faces: "WeakKeyDictionary[AsyncRun, Run]" = WeakKeyDictionary()
_MISSING: Final = object()


@overload
def current_run() -> Run: ...
@overload
def current_run(default: T, /) -> Run | T: ...
def current_run(default: object = _MISSING, /) -> object:
    """The run whose block this thread is in, the innermost one. A thread that another one started begins outside of any.

    Args:
        default: what to return outside of a run; without it that is an error.

    Raises:
        LifecycleError: there is none, or it is one of the async client, and no `default`.
    """
    run = current_async_run(None)
    if run is not None and run in _faces:
        return _faces[run]
    if default is not _MISSING:
        return default
    if run is None:
        raise LifecycleError("no run is under way in this thread; call this within `with rc.run(user=…):`, or use current_run(None)")
    raise LifecycleError(f"run {run.id} belongs to the async client; use runcast.client.current_run")
