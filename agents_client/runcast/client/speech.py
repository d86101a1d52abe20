"""What an agent says in a run, by name: thinking, tool calls, responses, errors, an end.

Rules: each method builds one event and emits it; a message is open from its first `respond` until `end_message`, `complete` or the
run's end. With `receipt`, a method returns what became of its event, and everything that it changes here is changed before it waits for
that. An exception is told by what the classifier makes of it; what is given beside it goes before.

Never imports grpc; all sending is the run's.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, TypedDict, Unpack, overload

from runcast.client import events
from runcast.client.arguments import check_number, check_text, check_texts, check_whole
from runcast.client.classify import Classification, Classifier
from runcast.client.estimates import Estimates, Pace
from runcast.client.payload import encode_json
from runcast.client.receipts import Receipt
from runcast.client.tool import ToolCall
from runcast.v1.event_pb2 import (
    SEVERITY_FATAL,
    TEXT_MODE_DELTA,
    TEXT_MODE_WHOLE,
    AgentCompleted,
    AgentError,
    AgentResponse,
    Custom,
    Event,
    Severity,
)


class ErrorWords(TypedDict, total=False):
    """What `Run.fail` may be told beside the error; see there."""

    category: str
    suggestions: Sequence[str]


class ErrorDetails(ErrorWords, total=False):
    """What `Run.error` may be told beside the error; see there."""

    severity: Literal["recoverable", "degraded"]
    retrying: bool
    retry_after_s: float | None


class Speech(ABC):
    """What `Run` offers for speaking; it sends by the methods that `Run` has."""

    def __init__(self, classifier: Classifier, estimates: Estimates) -> None:
        self._classifier = classifier
        self._estimates = estimates
        self._pace: Pace | None = None  # from the run's beginning
        self._message_id = ""  # the open message
        self._messages = 0
        self._tools = 0

    @abstractmethod
    async def emit(self, event: Event) -> int:
        """Emit any event."""

    @abstractmethod
    def emit_now(self, event: Event, *, closing: bool = True) -> int:
        """Queue an event at once; `closing` ones from the reserve if need be."""

    @abstractmethod
    def is_open_tool(self, call_id: str) -> bool:
        """Whether a tool call was begun and not completed."""

    @abstractmethod
    def _now(self) -> float:
        """Monotonic seconds."""

    @abstractmethod
    async def _emit_awaited(self, event: Event, receipt: float | None) -> "asyncio.Future[Receipt] | None":
        """Emit an event; with `receipt` (seconds), the future tells what became of it."""

    @abstractmethod
    async def _await_all(self, receipt: float) -> Receipt:
        """What becomes of all that was emitted so far."""

    async def thinking(
        self,
        text: str,
        *,
        progress: float | None = None,
        step: int = 0,
        steps: int = 0,
        urgency: Literal["low", "normal", "high"] = "normal",
        remaining_s: float | None = None,
    ) -> None:
        """Say what the agent is occupied with. A device that is behind may be shown only the newest.

        Args:
            text: for people.
            progress: share of the work done, 0.0 to 1.0.
            step: from 1, of `steps`; 0 when not counted.
            steps: how many there are.
            urgency: how much it matters to the person.
            remaining_s: what is left of the run, seconds; None: reckoned from `progress`, if that is given.

        Raises:
            TypeError, ValueError: `progress`, `step`, `urgency` or `remaining_s` is out of range, or an argument of another type.
            RuncastError: as `emit`.
        """
        if progress is not None:
            progress = check_number(progress, "progress", "share, 0.0 to 1.0")
            if not 0.0 <= progress <= 1.0:
                raise ValueError(f"progress is {progress}; use 0.0 to 1.0")
            if remaining_s is None and self._pace is not None:
                remaining_s = self._pace.remaining_s(self._now(), progress)
        if urgency not in events.URGENCIES:
            raise ValueError(f"urgency is {urgency!r}; use one of {', '.join(events.URGENCIES)}")
        event = Event()
        thought = event.agent_thinking  # field by field: it is the call that has to be quick
        thought.text = check_text(text, "text")
        if progress is not None:
            thought.progress = progress
        if step or steps:
            thought.step, thought.steps = _count(step, steps)
        if urgency != "normal":
            thought.urgency = events.URGENCIES[urgency]
        if remaining_s is not None:
            thought.remaining_ms = events.to_ms(remaining_s, "remaining_s") or 0
        await self.emit(event)

    def tool(self, name: str, *, args: object = None, purpose: str = "", estimate_s: float | None = None) -> ToolCall:
        """A tool call, for `async with`: `tool_executing` when the block begins, `tool_completed` when it ends, however it ends.

        Args:
            name: the tool's, 1 to 128 bytes.
            args: JSON-like; None for nothing.
            purpose: why it is called, for people.
            estimate_s: how long it is expected to take, seconds; None: as long as calls of that name took before, if there were any.

        Returns:
            The call; set its `result` within the block.

        Raises:
            TypeError, ValueError: `args` can't be written as JSON, or an argument is of another type or out of range.
            IdInvalidError: the name is empty or too long.
        """
        return self.tool_of_json(name, encode_json(args), purpose, estimate_s)

    def tool_of_json(self, name: str, args_json: bytes, purpose: str, estimate_s: float | None) -> ToolCall:
        """As `tool`, of arguments that are JSON text already."""
        check_text(purpose, "purpose")
        if estimate_s is None:
            estimate_s = self._estimates.estimate_s(check_text(name, "name"))
        estimate_ms = events.to_ms(estimate_s, "estimate_s")
        self._tools += 1
        return ToolCall(self, self._classifier, self._estimates, f"t{self._tools}", name, args_json, purpose, estimate_ms)

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
            TypeError, ValueError: `text` is none, or `receipt` is out of range.
            RuncastError: as `emit`.
        """
        check_text(text, "text")
        if not text and not whole:
            return None if receipt is None else await self._await_all(receipt)
        message_id = self._message_id or f"m{self._messages + 1}"
        mode = TEXT_MODE_WHOLE if whole else TEXT_MODE_DELTA
        ticket = await self._emit_awaited(Event(agent_response=AgentResponse(message_id=message_id, text=text, mode=mode)), receipt)
        if not self._message_id:
            self._messages += 1
            self._message_id = message_id
        return None if ticket is None else await ticket

    async def end_message(self) -> None:
        """Say that the open message is final; the next `respond` begins another. Does nothing when none is open."""
        if self._message_id:
            await self.emit(self._final())
            self._message_id = ""

    @overload
    async def error(self, error: str | BaseException, **details: Unpack[ErrorDetails]) -> None: ...
    @overload
    async def error(self, error: str | BaseException, *, receipt: float, **details: Unpack[ErrorDetails]) -> Receipt: ...
    async def error(
        self,
        error: str | BaseException,
        *,
        severity: Literal["recoverable", "degraded"] | None = None,
        category: str | None = None,
        suggestions: Sequence[str] | None = None,
        retrying: bool = False,
        retry_after_s: float | None = None,
        receipt: float | None = None,
    ) -> Receipt | None:
        """Tell of an error after which the run goes on; `fail` is for one that ends it.

        Args:
            error: for people: no traceback, no secret; or an exception, of which the classifier says what it means, as far as you don't.
            severity: "recoverable", the default for a text: as before; "degraded": with less than was asked for.
            category: timeout, rate_limit, authentication, bad_input, dependency, unknown, or the agent's own word.
            suggestions: what the user can do.
            retrying: the agent tries again by itself.
            retry_after_s: when, seconds from now.
            receipt: as `custom`.

        Raises:
            ValueError: another severity, or `retry_after_s` or `receipt` is out of range.
            TypeError: `error` is neither a text nor an exception, or something else is of another type.
            RuncastError: as `emit`.
        """
        told = self._trouble(
            error, severity=severity, category=category, suggestions=suggestions, retrying=retrying, retry_after_s=retry_after_s
        )
        return await self._say(Event(agent_error=told), receipt)

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
            TypeError, ValueError: `name` is no text, `data` can't be written as JSON, or `receipt` is out of range.
            RuncastError: as `emit`; with `receipt`, also when the run fails before it is stored.
        """
        return await self._say(Event(custom=Custom(name=check_text(name, "name"), data_json=encode_json(data))), receipt)

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
        completed = AgentCompleted(summary=check_text(summary, "summary"), result_json=encode_json(result))
        await self.end_message()
        return await self._say(Event(agent_completed=completed), receipt)

    @overload
    async def fail(self, error: str | BaseException, **words: Unpack[ErrorWords]) -> None: ...
    @overload
    async def fail(self, error: str | BaseException, *, receipt: float, **words: Unpack[ErrorWords]) -> Receipt: ...
    async def fail(
        self,
        error: str | BaseException,
        *,
        category: str | None = None,
        suggestions: Sequence[str] | None = None,
        receipt: float | None = None,
    ) -> Receipt | None:
        """End the run by an error. Nothing can follow.

        Args:
            error: as `error`.
            category: as `error`.
            suggestions: what the user can do.
            receipt: as `custom`.

        Raises:
            ValueError: `receipt` is out of range.
            TypeError: `error` is neither a text nor an exception.
            LifecycleError: a tool call is open, or the run has ended.
            RuncastError: as `emit`.
        """
        told = self._trouble(error, category=category, suggestions=suggestions)
        told.severity = SEVERITY_FATAL
        return await self._say(Event(agent_error=told), receipt)

    # --- inside ---

    async def _say(self, event: Event, receipt: float | None) -> Receipt | None:
        """Emit an event, and wait for its receipt if one is asked for."""
        ticket = await self._emit_awaited(event, receipt)
        return None if ticket is None else await ticket

    def _trouble(
        self,
        error: str | BaseException,
        *,
        severity: str | None = None,
        category: str | None = None,
        suggestions: Sequence[str] | None = None,
        retrying: bool = False,
        retry_after_s: float | None = None,
    ) -> AgentError:
        if isinstance(error, BaseException):
            told = self._classifier.tell(error)
        elif isinstance(error, str):
            told = Classification("unknown", error, severity="recoverable")
        else:
            raise TypeError(f"{type(error).__name__} is no error; give a text for people, or an exception")
        if severity is not None and severity not in events.SEVERITIES:
            raise ValueError(f"severity is {severity!r}; use one of {', '.join(events.SEVERITIES)}, or fail() to end the run")
        if retry_after_s is None and retrying:
            retry_after_s = told.retry_after_s
        return AgentError(
            severity=_severity(severity or told.severity),
            category=check_text(category or told.category, "category"),
            message=told.message,
            suggestions=told.suggestions if suggestions is None else check_texts(suggestions, "suggestions"),
            retrying=retrying,
            retry_after_ms=events.to_ms(retry_after_s, "retry_after_s"),
        )

    def _final(self) -> Event:
        return Event(agent_response=AgentResponse(message_id=self._message_id, mode=TEXT_MODE_DELTA, final=True))


def _count(step: int, steps: int) -> tuple[int, int]:
    """Check "step n of m"."""
    if check_whole(step, "step") < 0 or check_whole(steps, "steps") < 0 or step > (steps or step):
        raise ValueError(f"step {step} of {steps}; count the steps from 1 to how many there are")
    return step, steps


def _severity(word: str) -> Severity:
    """Of an error after which the run goes on: less than fatal."""
    return events.SEVERITIES.get(word, events.SEVERITIES["degraded"])
