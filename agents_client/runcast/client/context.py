"""What the running code belongs to: the run, found without handing it through, and the event loop.

Rules: `Run.__aenter__` sets it and `Run.__aexit__` sets back what was before; tasks and `asyncio.to_thread` inherit it, as all context
variables. A run whose block has ended is nobody's current run, also in a task that outlived it.

Never imports the publisher or grpc.
"""

import asyncio
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Final, TypeVar, overload

from runcast.wire.errors import LifecycleError

if TYPE_CHECKING:
    from runcast.client.run import Run

T = TypeVar("T")
_MISSING: Final = object()
_current: ContextVar["Run | None"] = ContextVar("runcast_run", default=None)


@overload
def current_run() -> "Run": ...
@overload
def current_run(default: T, /) -> "Run | T": ...
def current_run(default: object = _MISSING, /) -> object:
    """The run whose block the running code is in, the innermost one.

    Args:
        default: what to return outside of a run; without it that is an error.

    Raises:
        LifecycleError: there is none, and no `default`.
    """
    run = _current.get()
    if run is not None and run.is_open:
        return run
    if default is not _MISSING:
        return default
    what = "no run is under way here" if run is None else f"the block of run {run.id} has ended, and this code outlived it"
    raise LifecycleError(f"{what}; call this within `async with rc.run(user=…):`, or use current_run(None)")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread; None when there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def enter_run(run: "Run") -> Token["Run | None"]:
    """Make `run` the current one; give the token to `leave_run`."""
    return _current.set(run)


def leave_run(run: "Run", token: Token["Run | None"]) -> None:
    """Set back what was current before `run`. In a context other than the one it was set in, only what that one sees of it."""
    try:
        _current.reset(token)
    except ValueError:  # entered in one task, left in another
        if _current.get() is run:
            _current.set(None)
