"""One run, as agent code sees it: events by name, tool calls in pairs, and an end whatever happens.

Rules.
1. `async with` begins the attempt with `agent_started` and ends it with exactly one of: what `complete` or `fail` said; `agent_completed`;
   `agent_error` (fatal) when the block raises; `run_cancelled` when it is cancelled. Open tool calls are closed first.
2. Closing events are queued at once, from the outbox's reserve, before anything is awaited: a second cancellation can't stop them.
3. A block that ended well waits until everything is stored; one that raised or was cancelled waits `limits.RUN_EXIT_S` at most, and what is
   not stored by then is still sent.
4. A cancel by the user cancels the task that runs the block, as `asyncio.timeout` does; the block's end swallows that cancellation, and
   no other.
5. An event that can't be sent as it is (too large, not JSON, against the run's life) raises to the caller, and nothing was queued.

Never imports grpc; all sending is the publisher's.
"""

import asyncio
import logging
from collections.abc import Callable
from contextvars import Token
from types import TracebackType
from typing import NamedTuple, Self, overload

from runcast.client import events
from runcast.client.answers import GivenAnswer
from runcast.client.asking import Asks
from runcast.client.context import enter_run, leave_run
from runcast.client.errors import OutboxFullError, RunKey
from runcast.client.publisher import Publisher
from runcast.client.receipts import Receipt
from runcast.client.rim import time_limit
from runcast.client.speech import Speech
from runcast.v1.event_pb2 import (
    AgentCompleted,
    AgentStarted,
    Event,
)
from runcast.wire import limits
from runcast.wire.errors import LifecycleError, RuncastError
from runcast.wire.lifecycle import Lifecycle, ends_run
from runcast.wire.position import Position, parse_position

_log = logging.getLogger("runcast.client")


class RunContext(NamedTuple):
    """What all events of a run have in common.

    Attributes:
        agent: the agent's name.
        thread: the conversation; "" for none.
        parent_run_id: the run that started this one; "" for none.
        traceparent: W3C trace context; "" for none.
    """

    agent: str
    thread: str
    parent_run_id: str
    traceparent: str


class Run(Speech, Asks):
    """One attempt of a run; made by `Runcast.run`, used with `async with`.

    Attributes:
        id: the run's id.
        attempt: which try of it this is, from 1.
        cancelled: the user asked it to stop. True from then on, also after the block.
        cancel_reason: what the user said; "" before.
    """

    def __init__(self, publisher: Publisher, key: RunKey, context: RunContext, started: AgentStarted, clock_ms: Callable[[], int]) -> None:
        Speech.__init__(self)
        Asks.__init__(self, clock_ms)
        self._publisher = publisher
        self._key = key
        self._context = context
        self._started = started
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0  # cancellations that the task had when the block began
        self._token: Token[Run | None] | None = None
        self._entered = False
        self._exiting = False
        self._ended = False
        self.id = key.run_id
        self.attempt = key.attempt
        self.cancelled = False
        self.cancel_reason = ""

    @property
    def is_open(self) -> bool:
        """Whether its block is under way."""
        return self._entered and not self._exiting

    # --- events and receipts ---

    async def emit(self, event: Event) -> int:
        """Emit any event; the methods above are the usual way. Returns when it is queued, which needs no network.

        Args:
            event: with its kind set; identity and attributes are filled in here, and the event is the library's from now on.

        Returns:
            Its seq in the run.

        Raises:
            LifecycleError: the run's life does not allow it now, or the block has not begun or has ended.
            EventTooLargeError: over 256 KiB.
            RunRefusedError, RunIndeterminateError: the run failed before.
            OutboxClosedError: the Runcast was closed.
            RuncastError: the publisher died, and of what.
        """
        self._check_entered()
        seq = await self._publisher.append(self._key, self._dress(event))
        self._ended = self._ended or ends_run(event)
        return seq

    async def _emit_awaited(self, event: Event, receipt: float | None) -> "asyncio.Future[Receipt] | None":
        if receipt is None:
            await self.emit(event)
            return None
        self._check_entered()
        ticket = await self._publisher.append_awaited(self._key, self._dress(event), _check_receipt(receipt))
        self._ended = self._ended or ends_run(event)
        return ticket

    async def _await_all(self, receipt: float) -> Receipt:
        self._check_entered()
        return await self._publisher.await_all(self._key, _check_receipt(receipt))

    def _await_answer(self, request_id: str) -> "asyncio.Future[GivenAnswer]":
        self._check_entered()
        return self._publisher.await_answer(self._key, request_id)

    def _drop_answer(self, request_id: str) -> None:
        self._publisher.drop_answer(self._key, request_id)

    def emit_now(self, event: Event) -> int:
        """Queue a closing event at once, from the reserve if need be; raises as `emit`, and OutboxFullError."""
        self._check_entered()
        seq = self._publisher.append_now(self._key, self._dress(event), closing=True)
        self._ended = self._ended or ends_run(event)
        return seq

    @overload
    async def flush(self) -> Position | None: ...
    @overload
    async def flush(self, *, receipt: float) -> Receipt: ...
    async def flush(self, *, receipt: float | None = None) -> Position | Receipt | None:
        """Wait until all events of the run so far are stored; with `receipt`, until a device acknowledged them.

        Args:
            receipt: how long a device may take to acknowledge, seconds, from their storing.

        Returns:
            The position of the last one in the user's stream; with `receipt`, what became of it.

        Raises:
            ValueError: `receipt` is out of range.
            RunRefusedError, RunIndeterminateError: they could not be; the run failed.
            RuncastError: the publisher died, and of what.
        """
        self._check_entered()
        if receipt is not None:
            return await self._await_all(receipt)
        position = await self._publisher.wait_stored(self._key)
        return parse_position(position) if position else None

    def is_open_tool(self, call_id: str) -> bool:
        """Whether a tool call was begun and not completed."""
        return call_id in self._publisher.open_tools(self._key)

    # --- begin and end ---

    async def __aenter__(self) -> Self:
        if self._entered:
            raise LifecycleError("this run was used before; ask Runcast.run for another one")
        task = asyncio.current_task()
        if task is None:
            raise LifecycleError("a run needs a task; use it within a coroutine")
        self._publisher.open_run(self._key)
        self._entered = True
        try:
            await self.emit(Event(agent_started=self._started))
        except BaseException:
            self._exiting = True
            self._publisher.release_run(self._key)
            raise
        self._task = task
        self._cancelling = task.cancelling()
        self._publisher.watch_cancel(self._key, self._on_cancel)
        self._token = enter_run(self)
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        swallow = self._take_own_cancel(exc)
        well = exc is None and not self.cancelled
        try:
            failure = self._end(exc)
            if well:
                await self._wait_end(failure)
                return False
            if self.cancelled and not isinstance(exc, asyncio.CancelledError):
                await self._absorb_cancel()
            failure = await self._wait_end_shortly(failure)
            if failure is not None and failure is not exc:
                if exc is None or swallow:
                    raise failure
                exc.add_note(f"and the end of run {self.id} could not be stored: {failure}")
        finally:
            self._exiting = True
            self._publisher.release_run(self._key)
            if self._token is not None:
                leave_run(self, self._token)
        return swallow

    # --- inside ---

    def _check_entered(self) -> None:
        if not self._entered:
            raise LifecycleError("the run has not begun; use it with `async with`")
        if self._exiting:
            raise LifecycleError("the run's block has ended; emit within it, or start another run")

    def _dress(self, event: Event) -> Event:
        event.time_unix_ms = self._clock_ms()
        event.agent, event.thread, event.parent_run_id, event.traceparent = self._context
        return event

    def _on_cancel(self, reason: str) -> None:
        """The user asked the run to stop."""
        if self.cancelled or self._ended or self._exiting or self._task is None:
            return
        self.cancelled = True
        self.cancel_reason = reason
        self._task.cancel(f"the user stopped run {self.id}")

    def _take_own_cancel(self, exc: BaseException | None) -> bool:
        """Take back the cancellation that `_on_cancel` made; True when `exc` is that one, and no other came (as asyncio.timeout does)."""
        if not self.cancelled or self._task is None:
            return False
        return self._task.uncancel() <= self._cancelling and isinstance(exc, asyncio.CancelledError)

    async def _absorb_cancel(self) -> None:
        """The block ended before it met our cancellation: meet it here, where it means nothing any more."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self._task is not None and self._task.cancelling() > self._cancelling:
                raise

    def _end(self, exc: BaseException | None) -> RuncastError | None:
        """Queue what ends the run; return why that was not possible."""
        try:
            if not self._ended:
                for event in self._closing(exc):
                    self.emit_now(event)
        except RuncastError as failure:
            self._close_failed(failure)
            return failure
        return None

    def _closing(self, exc: BaseException | None) -> list[Event]:
        open_tools = self._publisher.open_tools(self._key)
        if self.cancelled:
            return events.cancelled(open_tools, self.cancel_reason)
        if exc is None:
            final = [self._final()] if self._message_id else []
            return [*events.close_tools(open_tools), *final, Event(agent_completed=AgentCompleted())]
        if isinstance(exc, Exception):
            return events.fatal(open_tools, events.describe_exception(exc))
        return events.cancelled(open_tools, "the agent was stopped")

    def _close_failed(self, failure: RuncastError) -> None:
        """If the run failed, end it on the screen, if that is still possible."""

        def closing(life: Lifecycle) -> list[Event]:
            return [self._dress(event) for event in events.refused(life, failure.code.name)]

        try:
            self._publisher.close_failed(self._key, closing)
        except RuncastError as exc:
            _log.warning("run %s can't be ended on the screen: %s", self.id, exc)

    async def _wait_end(self, failure: RuncastError | None) -> None:
        """Wait until all is stored, the end included; for its room, if even the reserve was full."""
        if isinstance(failure, OutboxFullError):
            for event in self._closing(None):
                await self.emit(event)
        elif failure is not None:
            raise failure
        await self._wait_stored()

    async def _wait_end_shortly(self, failure: RuncastError | None) -> RuncastError | None:
        """Wait a little for the closing events; return why they are not stored for certain."""
        try:
            async with time_limit(limits.RUN_EXIT_S):
                await self._wait_stored()
        except TimeoutError:
            _log.warning("the end of run %s is not stored after %g s; it is still being sent", self.id, limits.RUN_EXIT_S)
        except RuncastError as exc:
            return failure or exc
        return failure

    async def _wait_stored(self) -> str:
        try:
            return await self._publisher.wait_stored(self._key)
        except RuncastError as failure:
            self._close_failed(failure)
            raise


def _check_receipt(receipt: float) -> float:
    if not 0.0 < receipt <= limits.RECEIPT_DEADLINE_MAX_S:
        raise ValueError(f"receipt is {receipt}; give seconds, above 0 and up to {limits.RECEIPT_DEADLINE_MAX_S:g}")
    return receipt
