"""Asking the user, as agent code does it: a question goes out, and its answer comes back to the process that asked.

Theory. `input_requested` shows the question on all devices; whoever answers first is heard; `input_resolved` says what the run goes on
with, so that all devices drop the question. An answer belongs to the run and the request, not to the process: the request's id is made of
what is asked (a digest, and how often this attempt has asked the same), so an attempt that comes in another's place and asks the same
thing gets the answer that was given meanwhile, and one that asks something else never does.

Rules.
1. Every `input_requested` is followed by one `input_resolved`, however the wait ends; when it ends by an exception or a cancellation it
   is queued at once, from the outbox's reserve, before anything is awaited. (What a run leaves open when it ends, its end settles.)
2. An answer that is there when the time is over counts.
3. An answer that does not fit the question (the edge refuses those, if it knows the question) withdraws the request; the question is asked
   again, as a new one, `limits.ASK_TRIES_MAX` times at most and within the same time.

Never imports grpc; all sending is the run's.
"""

import asyncio
import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar, overload

from runcast.client.answers import GivenAnswer
from runcast.client.arguments import check_number, check_text
from runcast.client.errors import NoAnswerError, OutboxFullError
from runcast.client.payload import encode_json
from runcast.v1.event_pb2 import (
    INPUT_OUTCOME_ANSWERED,
    INPUT_OUTCOME_DEFAULTED,
    INPUT_OUTCOME_WITHDRAWN,
    INPUT_TYPE_APPROVAL,
    INPUT_TYPE_CHOICE,
    INPUT_TYPE_QUESTION,
    Event,
    InputRequested,
    InputResolved,
    InputType,
)
from runcast.wire import limits_client as limits
from runcast.wire.asking import read_answer
from runcast.wire.errors import RuncastError

T = TypeVar("T")

_TYPES: Final[dict[str, InputType]] = {"approval": INPUT_TYPE_APPROVAL, "question": INPUT_TYPE_QUESTION, "choice": INPUT_TYPE_CHOICE}


class _NoDefault:
    """Given instead of a default: there is none."""


_NO_DEFAULT: Final = _NoDefault()


class Question(NamedTuple):
    """What is asked, checked.

    Attributes:
        prompt: for people.
        input_type: how it is answered.
        options: of a choice.
        default_json: what is assumed when nobody answers; b"" for nothing.
    """

    prompt: str
    input_type: InputType
    options: tuple[str, ...]
    default_json: bytes

    @property
    def digest(self) -> str:
        """The same for the same thing asked."""
        asked = json.dumps([int(self.input_type), self.prompt, self.options], separators=(",", ":"))
        return hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest()[:16]


def check_question(prompt: str, kind: str | None, options: Sequence[str], default: object) -> Question:
    """Check what is to be asked.

    Raises:
        TypeError, ValueError: it makes no question; the message says what is wrong.
    """
    if not check_text(prompt, "prompt").strip():
        raise ValueError("the prompt is empty; say what you ask")
    if isinstance(options, str):
        raise TypeError(f"options is the text {options!r}; give a list of texts")
    options = tuple(options)
    kind = kind or ("choice" if options else "question")
    if kind not in _TYPES:
        raise ValueError(f"kind is {kind!r}; use one of {', '.join(_TYPES)}")
    if bool(options) != (kind == "choice"):
        raise ValueError(f"a {kind} with {len(options)} options; give options to a choice, and only there")
    if not all(isinstance(option, str) and option for option in options) or len(set(options)) < len(options):
        raise ValueError(f"the options are {list(options)!r}; give texts, each of them once")
    if len(options) > limits.ASK_OPTIONS_MAX:
        raise ValueError(f"{len(options)} options; give at most {limits.ASK_OPTIONS_MAX}")
    default_json = b""
    if not isinstance(default, _NoDefault):
        default_json = encode_json(default) or b"null"
        if default is not None:
            try:
                read_answer(_TYPES[kind], options, default_json)
            except RuncastError as exc:
                raise ValueError(f"the default is {default!r}; {exc.message}") from exc
    return Question(prompt, _TYPES[kind], options, default_json)


class _Outcome(NamedTuple):
    """What came of a question: an answer and its value, or one that does not fit, or (neither) nothing in time."""

    answered: bool
    unfit: bool = False
    value: Any = None


class Asks(ABC):
    """What `Run` offers for asking; it sends by the methods that `Run` has.

    Args:
        clock_ms: the time of day, milliseconds since the Unix epoch.
    """

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._asked: Counter[str] = Counter()  # how often, by digest

    @abstractmethod
    async def emit(self, event: Event) -> int:
        """Emit any event."""

    @abstractmethod
    def emit_now(self, event: Event, *, closing: bool = True) -> int:
        """Queue an event at once, a closing one from the reserve if need be."""

    @abstractmethod
    def _await_answer(self, request_id: str) -> "asyncio.Future[GivenAnswer]":
        """The answer to a request, when it comes; an error when none can come any more."""

    @abstractmethod
    def _drop_answer(self, request_id: str) -> None:
        """It is not waited for any more."""

    @overload
    async def ask(self, prompt: str, *, kind: Literal["approval"], timeout_s: float | None = None) -> bool: ...
    @overload
    async def ask(self, prompt: str, *, kind: Literal["approval"], default: T, timeout_s: float | None = None) -> bool | T: ...
    @overload
    async def ask(
        self,
        prompt: str,
        *,
        kind: Literal["question", "choice"] | None = None,
        options: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> str: ...
    @overload
    async def ask(
        self,
        prompt: str,
        *,
        kind: Literal["question", "choice"] | None = None,
        options: Sequence[str] = (),
        default: T,
        timeout_s: float | None = None,
    ) -> str | T: ...
    async def ask(
        self,
        prompt: str,
        *,
        kind: Literal["approval", "question", "choice"] | None = None,
        options: Sequence[str] = (),
        default: object = _NO_DEFAULT,
        timeout_s: float | None = None,
    ) -> Any:
        """Ask the user, on all devices, and wait for the first answer. Several questions may be open at once, from several tasks.

        A later attempt of the run that asks the same thing (kind, prompt and options) gets the answer that was given before, for
        an hour: put into the prompt what makes one approval another.

        Args:
            prompt: for people.
            kind: "approval": yes or no; "question": a text; "choice": one of `options`. Default: a choice when there are options,
                otherwise a question.
            options: of a choice, at most 64, each of them once.
            default: what to go on with when nobody answers in time: what an answer could be, or None. Devices are shown it.
            timeout_s: how long to wait, seconds; None: as long as devices are shown the question, 24 h.

        Returns:
            True or False for an approval, otherwise the text; or the default.

        Raises:
            NoAnswerError: nobody answered in time, and there is no default. It is a TimeoutError too.
            TypeError, ValueError: what is asked makes no question.
            LifecycleError: the run ended while it waited; and as `emit`.
            RuncastError: `rate_limited`: 1,024 questions are open in this process; and as `emit`.
        """
        question = check_question(prompt, kind, options, default)
        if timeout_s is not None and not 0.0 < check_number(timeout_s, "timeout_s", "number of seconds") <= limits.ASK_WAIT_MAX_S:
            raise ValueError(f"timeout_s is {timeout_s}; give seconds, above 0 and up to {limits.ASK_WAIT_MAX_S:g}")
        wait_s = limits.ASK_WAIT_MAX_S if timeout_s is None else timeout_s
        until = asyncio.get_running_loop().time() + wait_s
        expires = None if timeout_s is None else self._clock_ms() + round(timeout_s * 1000)
        for number in range(1, limits.ASK_TRIES_MAX + 1):
            outcome = await self._ask_once(question, until, expires, last=number == limits.ASK_TRIES_MAX)
            if outcome.answered:
                return outcome.value
            if not outcome.unfit:
                break
        if question.default_json:
            return default
        raise NoAnswerError(f"nobody answered {prompt!r} within {wait_s:g} s; ask again, or give a default to go on with")

    async def _ask_once(self, question: Question, until: float, expires: int | None, *, last: bool) -> "_Outcome":
        """Ask under an id of its own; `last`: there will be no other try."""
        digest = question.digest
        self._asked[digest] += 1
        request_id = f"{digest}-{self._asked[digest]}"
        requested = InputRequested(
            request_id=request_id,
            type=question.input_type,
            prompt=question.prompt,
            options=question.options,
            default_json=question.default_json,
            expires_unix_ms=expires,
        )
        ticket = self._await_answer(request_id)
        resolved = InputResolved(request_id=request_id, outcome=INPUT_OUTCOME_WITHDRAWN)
        try:
            await self.emit(Event(input_requested=requested))
        except BaseException:
            self._drop(request_id, ticket)
            raise
        try:
            answer = await _wait(ticket, until)
        except BaseException:
            self._resolve_at_once(resolved)
            raise
        finally:
            self._drop(request_id, ticket)
        outcome = _judge(question, answer)
        if answer is not None and outcome.answered:
            resolved.outcome, resolved.value_json, resolved.device = INPUT_OUTCOME_ANSWERED, answer.value_json, answer.device
        elif question.default_json and (last or not outcome.unfit):
            resolved.outcome, resolved.value_json = INPUT_OUTCOME_DEFAULTED, question.default_json
        try:
            self.emit_now(Event(input_resolved=resolved))
        except OutboxFullError:
            await self.emit(Event(input_resolved=resolved))
        return outcome

    def _drop(self, request_id: str, ticket: "asyncio.Future[GivenAnswer]") -> None:
        self._drop_answer(request_id)
        if not ticket.cancel() and not ticket.cancelled():
            ticket.exception()  # seen: it may have come together with what ended the wait

    def _resolve_at_once(self, resolved: InputResolved) -> None:
        """Withdraw the request while an exception is on its way. What is not possible now, the run's end does."""
        try:
            self.emit_now(Event(input_resolved=resolved))
        except RuncastError:
            return


async def _wait(ticket: "asyncio.Future[GivenAnswer]", until: float) -> GivenAnswer | None:
    """The answer, if it comes in time; raises what keeps it from coming."""
    await asyncio.wait({ticket}, timeout=max(until - asyncio.get_running_loop().time(), 0.0))
    return ticket.result() if ticket.done() else None


def _judge(question: Question, answer: GivenAnswer | None) -> _Outcome:
    if answer is None:
        return _Outcome(answered=False)
    try:
        return _Outcome(answered=True, value=read_answer(question.input_type, question.options, answer.value_json))
    except RuncastError:
        return _Outcome(answered=False, unfit=True)
