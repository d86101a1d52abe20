"""A tool call as agent code sees it: `tool_executing` and `tool_completed` in a pair, however the block ends.

Rules: the result is written as JSON when it is assigned, so that what can't be written raises within the block; a block that raises is
completed as ERROR (class name and text of the exception), a cancelled one as CANCELLED, and both at once, before anything is awaited.

Never imports grpc; all sending is the run's.
"""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self

from runcast.client import events
from runcast.client.errors import EventTooLargeError, OutboxFullError
from runcast.v1.event_pb2 import (
    TOOL_STATUS_CANCELLED,
    TOOL_STATUS_ERROR,
    TOOL_STATUS_OK,
    Event,
    ToolCompleted,
    ToolExecuting,
    ToolStatus,
)
from runcast.wire.errors import LifecycleError, RuncastError
from runcast.wire.ids import check_id

if TYPE_CHECKING:
    from runcast.client.speech import Speech

_DURATION_MS_MAX = 2**32 - 1


class ToolCall:
    """One call of a tool; made by `Run.tool`, used with `async with`.

    Attributes:
        id: unique in the run.
        name: the tool's.
    """

    def __init__(self, run: "Speech", call_id: str, name: str, args_json: bytes, purpose: str, estimate_ms: int | None) -> None:
        self._run = run
        self._executing = ToolExecuting(
            tool_call_id=call_id, tool=check_id(name, "tool name"), args_json=args_json, purpose=purpose, estimate_ms=estimate_ms
        )
        self._began = 0.0
        self._entered = False
        self._result: object = None
        self._result_json = b""
        self._failure = ""
        self.id = call_id
        self.name = name

    @property
    def result(self) -> object:
        """What came out, JSON-like; None for nothing. Written as JSON when it is set: later changes of the object are not seen.

        Raises:
            TypeError, ValueError: on setting, it can't be written as JSON.
        """
        return self._result

    @result.setter
    def result(self, value: object) -> None:
        self._result_json = events.encode_json(value)
        self._result = value

    def fail(self, message: str) -> None:
        """Have the call completed as an error, without raising.

        Args:
            message: what went wrong, for people.
        """
        self._failure = message or "failed"

    async def __aenter__(self) -> Self:
        if self._entered:
            raise LifecycleError("this tool call was used before; ask Run.tool for another one")
        self._entered = True
        await self._run.emit(Event(tool_executing=self._executing))
        self._began = asyncio.get_running_loop().time()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        if exc is None:
            status = TOOL_STATUS_ERROR if self._failure else TOOL_STATUS_OK
            try:
                await self._run.emit(self._completed(status, self._failure))
            except EventTooLargeError as too_large:
                self._result_json = b""
                self._complete_now(TOOL_STATUS_ERROR, events.describe_exception(too_large), too_large)
                raise
        elif isinstance(exc, Exception):
            self._complete_now(TOOL_STATUS_ERROR, events.describe_exception(exc), exc)
        else:
            self._complete_now(TOOL_STATUS_CANCELLED, "", exc)

    def _complete_now(self, status: ToolStatus, error: str, exc: BaseException) -> None:
        """Complete while `exc` is on its way. What is not possible now, the run's end does."""
        try:
            if self._run.is_open_tool(self.id):
                self._run.emit_now(self._completed(status, error))
        except OutboxFullError:
            return
        except RuncastError as failure:
            if failure is not exc:
                exc.add_note(f"and the completion of tool {self.name} could not be queued: {failure}")

    def _completed(self, status: ToolStatus, error: str) -> Event:
        took_ms = round((asyncio.get_running_loop().time() - self._began) * 1000)
        completed = ToolCompleted(
            tool_call_id=self.id,
            tool=self.name,
            status=status,
            result_json=self._result_json,
            error=error,
            duration_ms=min(took_ms, _DURATION_MS_MAX),
        )
        return Event(tool_completed=completed)
