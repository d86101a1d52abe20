"""A tool call as agent code sees it: `tool_executing` and `tool_completed` in a pair, however the block ends.

Rules.
1. The result is written as JSON when it is assigned, so that what can't be written raises within the block.
2. A block that raises is completed as ERROR, with what the classifier says of the exception; a cancelled one as CANCELLED; both at once,
   before anything is awaited. So is one that is cancelled while its completion waits for room.
3. What took how long is remembered by the tool's name, if it ended well.
4. `begin_now` and `end_now` are the block for code that can't await, in the thread of the run's event loop.

Never imports grpc; all sending is the run's.
"""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self

from runcast.client import tracing
from runcast.client.arguments import check_text
from runcast.client.classify import Classifier
from runcast.client.errors import EventTooLargeError, OutboxFullError
from runcast.client.estimates import Estimates
from runcast.client.payload import encode_json
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

    def __init__(
        self,
        run: "Speech",
        classifier: Classifier,
        estimates: Estimates,
        call_id: str,
        name: str,
        args_json: bytes,
        purpose: str,
        estimate_ms: int | None,
    ) -> None:
        self._run = run
        self._classifier = classifier
        self._estimates = estimates
        self._executing = ToolExecuting(
            tool_call_id=call_id, tool=check_id(name, "tool name"), args_json=args_json, purpose=purpose, estimate_ms=estimate_ms
        )
        self._began = 0.0
        self._entered = False
        self._result: object = None
        self._result_json = b""
        self._failure = ""
        self._span: tracing.Span | None = None
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
        self._result_json = encode_json(value)
        self._result = value

    def set_result_json(self, text: bytes) -> None:
        """Set the result as JSON text; b"" for nothing."""
        self._result_json = text

    def fail(self, error: str | BaseException) -> None:
        """Have the call completed as an error, without raising.

        Args:
            error: what went wrong, for people; or an exception, of which the classifier says what it means.

        Raises:
            TypeError: it is neither.
        """
        self._failure = self._tell(error) if isinstance(error, BaseException) else check_text(error, "error") or "failed"

    async def __aenter__(self) -> Self:
        self._enter()
        try:
            await self._run.emit(Event(tool_executing=self._executing))
        except BaseException as exc:
            self._end_span(exc)
            raise
        self._began = self._now()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            await self._complete(exc)
        finally:
            self._end_span(exc)

    async def _complete(self, exc: BaseException | None) -> None:
        if exc is not None:
            self._complete_raised(exc)
            return
        status = self._status()
        try:
            await self._run.emit(self._completed(status, self._failure))
        except EventTooLargeError as too_large:
            self._complete_too_large(too_large)
            raise
        except asyncio.CancelledError as cancelled:  # while it waited for room
            self._complete_now(status, self._failure, cancelled)
            raise

    def begin_now(self) -> None:
        """Begin without waiting; to be followed by `end_now`.

        Raises:
            OutboxFullError: there is no room.
            RuncastError: as `Run.emit`.
        """
        self._enter()
        try:
            self._run.emit_now(Event(tool_executing=self._executing), closing=False)
        except BaseException as exc:
            self._end_span(exc)
            raise
        self._began = self._now()

    def end_now(self, exc: BaseException | None = None) -> None:
        """End without waiting, `exc` being what the call raised; raises as `Run.emit` when there is none."""
        try:
            if exc is not None:
                self._complete_raised(exc)
            else:
                self._run.emit_now(self._completed(self._status(), self._failure))
        except EventTooLargeError as too_large:
            self._complete_too_large(too_large)
            raise
        finally:
            self._end_span(exc)

    # --- inside ---

    def _enter(self) -> None:
        if self._entered:
            raise LifecycleError("this tool call was used before; ask Run.tool for another one")
        self._entered = True
        self._span = tracing.begin_tool(self.name, self.id)

    def _end_span(self, exc: BaseException | None) -> None:
        if self._span is not None:
            self._span.end(exc)

    def _status(self) -> ToolStatus:
        return TOOL_STATUS_ERROR if self._failure else TOOL_STATUS_OK

    def _tell(self, exc: BaseException) -> str:
        return self._classifier.tell(exc).message

    def _complete_raised(self, exc: BaseException) -> None:
        if isinstance(exc, Exception):
            self._complete_now(TOOL_STATUS_ERROR, self._tell(exc), exc)
        else:
            self._complete_now(TOOL_STATUS_CANCELLED, "", exc)

    def _complete_too_large(self, too_large: EventTooLargeError) -> None:
        self._result_json = b""
        self._complete_now(TOOL_STATUS_ERROR, self._tell(too_large), too_large)

    def _complete_now(self, status: ToolStatus, error: str, exc: BaseException) -> None:
        """Complete while `exc` is on its way. What is not possible now, the run's end does, or has done."""
        try:
            if self._run.is_open_tool(self.id):
                self._run.emit_now(self._completed(status, error))
        except (OutboxFullError, LifecycleError):
            return
        except EventTooLargeError as too_large:
            if self._result_json:
                self._complete_too_large(too_large)
        except RuncastError as failure:
            if failure is not exc:
                exc.add_note(f"and the completion of tool {self.name} could not be queued: {failure}")

    def _completed(self, status: ToolStatus, error: str) -> Event:
        took_s = self._now() - self._began
        if status == TOOL_STATUS_OK:
            self._estimates.record(self.name, took_s)
        completed = ToolCompleted(
            tool_call_id=self.id,
            tool=self.name,
            status=status,
            result_json=self._result_json,
            error=error,
            duration_ms=min(round(took_s * 1000), _DURATION_MS_MAX),
        )
        event = Event(tool_completed=completed)
        if self._span is not None:
            self._span.note(event)
        return event

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
