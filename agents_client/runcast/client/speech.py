"""What an agent says in a run, by name: thinking, tool calls, responses, errors, an end.

Rules: each method builds one event and emits it; a message is open from its first `respond` until `end_message`, `complete` or the
run's end. With `receipt`, a method returns what became of its event, and everything that it changes here is changed before it waits for
that.

Never imports grpc; all sending is the run's.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, overload

from runcast.client import events
from runcast.client.receipts import Receipt
from runcast.client.tool import ToolCall
from runcast.v1.event_pb2 import (
    SEVERITY_FATAL,
    TEXT_MODE_DELTA,
    TEXT_MODE_WHOLE,
    AgentCompleted,
    AgentError,
    AgentResponse,
    AgentThinking,
    Custom,
    Event,
)


class Speech(ABC):
    """What `Run` offers for speaking; it sends by the methods that `Run` has."""

    def __init__(self) -> None:
        self._message_id = ""  # the open message
        self._messages = 0
        self._tools = 0

    @abstractmethod
    async def emit(self, event: Event) -> int:
        """Emit any event."""

    @abstractmethod
    def emit_now(self, event: Event) -> int:
        """Queue a closing event at once."""

    @abstractmethod
    def is_open_tool(self, call_id: str) -> bool:
        """Whether a tool call was begun and not completed."""

    @abstractmethod
    async def _emit_awaited(self, event: Event, receipt: float | None) -> "asyncio.Future[Receipt] | None":
        """Emit an event; with `receipt` (seconds), the future tells what became of it."""

    @abstractmethod
    async def _await_all(self, receipt: float) -> Receipt:
        """What becomes of all that was emitted so far."""

    async def thinking(self, text: str, *, progress: float | None = None, step: int = 0, steps: int = 0) -> None:
        """Say what the agent is occupied with. A device that is behind may be shown only the newest.

        Args:
            text: for people.
            progress: share of the work done, 0.0 to 1.0.
            step: from 1, of `steps`; 0 when not counted.
            steps: how many there are.

        Raises:
            ValueError: `progress` is out of range.
            RuncastError: as `emit`.
        """
        if progress is not None and not 0.0 <= progress <= 1.0:
            raise ValueError(f"progress is {progress}; use 0.0 to 1.0")
        await self.emit(Event(agent_thinking=AgentThinking(text=text, progress=progress, step=step, steps=steps)))

    def tool(self, name: str, *, args: object = None, purpose: str = "", estimate_s: float | None = None) -> ToolCall:
        """A tool call, for `async with`: `tool_executing` when the block begins, `tool_completed` when it ends, however it ends.

        Args:
            name: the tool's, 1 to 128 bytes.
            args: JSON-like; None for nothing.
            purpose: why it is called, for people.
            estimate_s: how long it is expected to take, seconds.

        Returns:
            The call; set its `result` within the block.

        Raises:
            TypeError, ValueError: `args` can't be written as JSON.
            IdInvalidError: the name is empty or too long.
        """
        self._tools += 1
        return ToolCall(self, f"t{self._tools}", name, events.encode_json(args), purpose, events.to_ms(estimate_s))

    @overload
    async def respond(self, text: str, *, whole: bool = False) -> None: ...
    @overload
    async def respond(self, text: str, *, whole: bool = False, receipt: float) -> Receipt: ...
    async def respond(self, text: str, *, whole: bool = False, receipt: float | None = None) -> Receipt | None:
        """Add text to the open message, or begin one. An empty delta sends nothing.

        Args:
            text: for the user.
            whole: `text` is the message's whole text and replaces what came before.
            receipt: as `custom`.

        Raises:
            ValueError: `receipt` is out of range.
            RuncastError: as `emit`.
        """
        if not text and not whole:
            return None if receipt is None else await self._await_all(receipt)
        message_id = self._message_id or f"m{self._messages + 1}"
        mode = TEXT_MODE_WHOLE if whole else TEXT_MODE_DELTA
        ticket = await self._emit_awaited(Event(agent_response=AgentResponse(message_id=message_id, text=text, mode=mode)), receipt)
        if not self._message_id:
            self._messages += 1
            self._message_id = message_id
        return await ticket if ticket else None

    async def end_message(self) -> None:
        """Say that the open message is final; the next `respond` begins another. Does nothing when none is open."""
        if self._message_id:
            await self.emit(self._final())
            self._message_id = ""

    @overload
    async def error(
        self,
        message: str,
        *,
        severity: Literal["recoverable", "degraded"] = "recoverable",
        category: str = "unknown",
        suggestions: Sequence[str] = (),
        retrying: bool = False,
        retry_after_s: float | None = None,
    ) -> None: ...
    @overload
    async def error(
        self,
        message: str,
        *,
        severity: Literal["recoverable", "degraded"] = "recoverable",
        category: str = "unknown",
        suggestions: Sequence[str] = (),
        retrying: bool = False,
        retry_after_s: float | None = None,
        receipt: float,
    ) -> Receipt: ...
    async def error(
        self,
        message: str,
        *,
        severity: Literal["recoverable", "degraded"] = "recoverable",
        category: str = "unknown",
        suggestions: Sequence[str] = (),
        retrying: bool = False,
        retry_after_s: float | None = None,
        receipt: float | None = None,
    ) -> Receipt | None:
        """Tell of an error after which the run goes on; `fail` is for one that ends it.

        Args:
            message: for people: no traceback, no secret.
            severity: "recoverable": as before; "degraded": with less than was asked for.
            category: timeout, rate_limit, authentication, bad_input, dependency, unknown, or the agent's own word.
            suggestions: what the user can do.
            retrying: the agent tries again by itself.
            retry_after_s: when, seconds from now.
            receipt: as `custom`.

        Raises:
            ValueError: another severity, or `receipt` is out of range.
            RuncastError: as `emit`.
        """
        if severity not in events.SEVERITIES:
            raise ValueError(f"severity is {severity!r}; use one of {', '.join(events.SEVERITIES)}, or fail() to end the run")
        told = AgentError(
            severity=events.SEVERITIES[severity],
            category=category,
            message=message,
            suggestions=suggestions,
            retrying=retrying,
            retry_after_ms=events.to_ms(retry_after_s),
        )
        ticket = await self._emit_awaited(Event(agent_error=told), receipt)
        return await ticket if ticket else None

    @overload
    async def custom(self, name: str, data: object = None) -> None: ...
    @overload
    async def custom(self, name: str, data: object = None, *, receipt: float) -> Receipt: ...
    async def custom(self, name: str, data: object = None, *, receipt: float | None = None) -> Receipt | None:
        """Emit an application's own kind.

        Args:
            name: of the kind.
            data: JSON-like; None for nothing.
            receipt: wait until a device acknowledged it, at most so many seconds (up to 600) from its storing; None: do not wait.

        Returns:
            With `receipt`, what became of it.

        Raises:
            TypeError, ValueError: `data` can't be written as JSON, or `receipt` is out of range.
            RuncastError: as `emit`; with `receipt`, also when the run fails before it is stored.
        """
        ticket = await self._emit_awaited(Event(custom=Custom(name=name, data_json=events.encode_json(data))), receipt)
        return await ticket if ticket else None

    @overload
    async def complete(self, summary: str = "", *, result: object = None) -> None: ...
    @overload
    async def complete(self, summary: str = "", *, result: object = None, receipt: float) -> Receipt: ...
    async def complete(self, summary: str = "", *, result: object = None, receipt: float | None = None) -> Receipt | None:
        """End the run well; an open message becomes final first. Nothing can follow.

        Args:
            summary: outcome in a sentence, for people.
            result: JSON-like; None for nothing.
            receipt: as `custom`.

        Raises:
            TypeError, ValueError: `result` can't be written as JSON, or `receipt` is out of range.
            LifecycleError: a tool call is open, or the run has ended.
            RuncastError: as `emit`.
        """
        completed = AgentCompleted(summary=summary, result_json=events.encode_json(result))
        await self.end_message()
        ticket = await self._emit_awaited(Event(agent_completed=completed), receipt)
        return await ticket if ticket else None

    @overload
    async def fail(self, message: str, *, category: str = "unknown", suggestions: Sequence[str] = ()) -> None: ...
    @overload
    async def fail(self, message: str, *, category: str = "unknown", suggestions: Sequence[str] = (), receipt: float) -> Receipt: ...
    async def fail(
        self, message: str, *, category: str = "unknown", suggestions: Sequence[str] = (), receipt: float | None = None
    ) -> Receipt | None:
        """End the run by an error that the agent itself describes. Nothing can follow.

        Args:
            message: for people: no traceback, no secret.
            category: as `error`.
            suggestions: what the user can do.
            receipt: as `custom`.

        Raises:
            ValueError: `receipt` is out of range.
            LifecycleError: a tool call is open, or the run has ended.
            RuncastError: as `emit`.
        """
        told = AgentError(severity=SEVERITY_FATAL, category=category, message=message, suggestions=suggestions)
        ticket = await self._emit_awaited(Event(agent_error=told), receipt)
        return await ticket if ticket else None

    def _final(self) -> Event:
        return Event(agent_response=AgentResponse(message_id=self._message_id, mode=TEXT_MODE_DELTA, final=True))
