"""One run, as agent code sees it: events by name, tool calls in pairs, and an end whatever happens.

Rules.
1. `async with` begins the attempt with `agent_started` and ends it with exactly one of: what `complete` or `fail` said; `agent_completed`;
   `agent_error` (fatal) when the block raises; `run_cancelled` when it is cancelled. Open tool calls are closed first, and before them the
   runs that this one started (see `family.py`).
2. Closing events are queued at once, from the outbox's reserve, before anything but the ends of children is awaited: a second cancellation
   can't stop them.
3. A block that ended well waits until everything is stored; one that raised or was cancelled waits `limits.RUN_EXIT_S` at most, and what is
   not stored by then is still sent.
4. A cancel by the user cancels the task that runs the block, as `asyncio.timeout` does; the block's end swallows that cancellation, and
   no other. So does the end of the run that started this one, if it comes first.
5. An event that can't be sent as it is (too large, not JSON, against the run's life) raises to the caller, and nothing was queued.

Never imports grpc; all sending is the publisher's.
"""

import asyncio
import logging
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload

from runcast.client import events, tracing
from runcast.client.answers import GivenAnswer
from runcast.client.asking import Asks
from runcast.client.context import enter_run, leave_run, running_loop
from runcast.client.errors import OutboxFullError, RunKey
from runcast.client.estimates import Pace
from runcast.client.family import Family
from runcast.client.receipts import Receipt, check_receipt
from runcast.client.rim import time_limit
from runcast.client.speech import Speech
from runcast.client.stopping import Stop
from runcast.v1.event_pb2 import AgentCompleted, AgentStarted, Event
from runcast.wire import limits_client as limits
from runcast.wire.errors import LifecycleError, RuncastError
from runcast.wire.lifecycle import Lifecycle, ends_run
from runcast.wire.position import Position, parse_position

if TYPE_CHECKING:
    from runcast.client.workshop import RunContext, Workshop

_log = logging.getLogger("runcast.client")


class Run(Speech, Asks, Family):
    """One attempt of a run; made by `Runcast.run` or `Run.child`, used with `async with`.

    A block that went well is left when all of it is stored: with no router there, that takes until there is one, or until the task is
    cancelled (`asyncio.timeout`); what waits is sent on, until the Runcast is closed. Any other block waits 2 s at most.

    Attributes:
        id: the run's id.
        attempt: which try of it this is, from 1.
        cancelled: it was asked to stop: by the user, or because the run that started it was stopped or has ended. True from then on, also
            after the block.
        cancel_reason: what the user said, or why; "" before.
    """

    def __init__(
        self, workshop: "Workshop", key: RunKey, context: "RunContext", started: AgentStarted, parent: "Run | None" = None
    ) -> None:
        Speech.__init__(self, workshop.classifier, workshop.estimates)
        Asks.__init__(self, workshop.clock_ms)
        Family.__init__(self, parent)
        self._workshop = workshop
        self._publisher = workshop.publisher
        self._key = key
        self._context = context
        self._started = started
        self._token: Token[Run | None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._span: tracing.Span | None = None
        self._entered = False
        self._leaving = False
        self._ended = False
        self.id = key.run_id
        self.attempt = key.attempt

    @property
    def is_open(self) -> bool:
        """Whether its block is under way."""
        return self._entered and not self._exiting

    @property
    def ended(self) -> bool:
        """Whether its end was emitted, or it is ended from above: nothing can be said any more."""
        return self._ended or self._exiting or bool(self._doomed)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it lives in.

        Raises:
            LifecycleError: it has not begun.
        """
        if self._loop is None:
            raise LifecycleError("the run has not begun; use it with `async with`")
        return self._loop

    # --- runs below it ---

    def child(
        self,
        *,
        agent: str = "",
        title: str = "",
        input: object = None,  # noqa: A002 # the word of the event's field
        run_id: str = "",
        attempt: int = 1,
    ) -> "Run":
        """A run that this one starts, of the same user and thread; it begins with `async with`, here or in another task.

        If this run ends first, it ends its open children before itself (`run_cancelled`), and cancels their tasks as a user's stop would.

        Args:
            agent: the name of the agent that has it; "" for this run's.
            title: what it is about, for people.
            input: what the agent was given, JSON-like.
            run_id: "" for a new one; given, together with a higher `attempt`, to try a run again.
            attempt: from 1; a higher one supersedes the lower ones.

        Raises:
            LifecycleError: this run has not begun, or has ended.
            IdInvalidError: an id is empty or too long.
            TypeError, ValueError: `input` can't be written as JSON, or `attempt` is below 1.
        """
        self._check_may_start()
        context = self._context._replace(agent=agent or self._context.agent, parent_run_id=self.id)
        return self._workshop.make_run(
            self._key.user, context, title=title, reply_to="", input=input, run_id=run_id, attempt=attempt, parent=self
        )

    # --- events and receipts ---

    async def emit(self, event: Event) -> int:
        """Emit any event; the methods above are the usual way. Returns when it is queued, which needs no network.

        Args:
            event: with its kind set; identity and attributes are filled in here, and the event is the library's from now on.

        Returns:
            Its seq in the run: that of the waiting event that it was merged into, if it was; 0 when it was dropped (`when_full`).

        Raises:
            OutboxFullError: there is no room, and callers are not to wait for it (`when_full="raise"`).
            LifecycleError: the run's life does not allow it now, or the block has not begun or has ended.
            EventTooLargeError: over 256 KiB.
            RunRefusedError, RunIndeterminateError: the run failed before.
            OutboxClosedError: the Runcast was closed.
            RuncastError: the publisher died, and of what.
            TypeError, ValueError: it is no event, or has no kind.
        """
        self._check_open()
        events.check_event(event)
        ends = ends_run(event)
        if ends and self._children:
            await self._end_below(event)
        seq = await self._publisher.append(self._key, self._dress(event))
        self._ended = self._ended or ends
        return seq

    async def _emit_awaited(self, event: Event, receipt: float | None) -> "asyncio.Future[Receipt] | None":
        if receipt is None:
            await self.emit(event)
            return None
        check_receipt(receipt)
        self._check_open()
        ends = ends_run(event)
        if ends and self._children:
            await self._end_below(event)
        ticket = await self._publisher.append_awaited(self._key, self._dress(event), receipt)
        self._ended = self._ended or ends
        return ticket

    async def _await_all(self, receipt: float) -> Receipt:
        self._check_open()
        return await self._publisher.await_all(self._key, check_receipt(receipt))

    def _await_answer(self, request_id: str) -> "asyncio.Future[GivenAnswer]":
        self._check_open()
        return self._publisher.await_answer(self._key, request_id)

    def _drop_answer(self, request_id: str) -> None:
        self._publisher.drop_answer(self._key, request_id)

    def emit_now(self, event: Event, *, closing: bool = True) -> int:
        """Queue an event at once, one that closes something from the reserve if need be; raises as `emit`, and OutboxFullError."""
        self._check_open()
        return self._append_now(event, closing=closing)

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
        self._check_open()
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
        if self._parent is not None:
            self._parent._check_may_start()
        self._publisher.open_run(self._key)
        self._entered = True
        self._own_cancel = Stop(task)
        self._loop = task.get_loop()
        self._join()
        given = self._context.traceparent if self._parent is None else ""
        self._span = tracing.begin_run(self._context.agent, self._context.thread, self.id, self.attempt, given)
        try:
            await self.emit(Event(agent_started=self._started))
            self._begun = True
            self._check_open()  # what started it may have ended meanwhile
        except BaseException as exc:
            self._exc = exc
            self._end()
            self._exit()
            if self._own_cancel.take_back(exc):
                raise LifecycleError(f"run {self.id} did not begin: {self._doomed or self.cancel_reason}") from None
            raise
        self._pace = Pace(self._now())
        self._publisher.watch_cancel(self._key, self._stop_all)
        self._token = enter_run(self)
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        if self._publisher.forked:
            return False  # it is the parent's
        self._leaving = True
        self._exc = exc
        swallow = self._own_cancel is not None and self._own_cancel.take_back(exc)
        well = exc is None and not self.cancelled
        try:
            try:
                if self._children:
                    await self._end_all(self._reason_below())
            finally:
                failure = self._end()
            if well:
                await self._wait_end(failure)
                return False
            if self._own_cancel is not None and self._own_cancel.sent and not isinstance(exc, asyncio.CancelledError):
                await self._own_cancel.absorb()
            failure = await self._wait_end_shortly(failure)
            if failure is not None and failure is not exc:
                if exc is None or swallow:
                    raise failure
                exc.add_note(f"and the end of run {self.id} could not be stored: {failure}")
        finally:
            self._exit()
        return swallow

    # --- what its family asks of it ---

    @property
    def _ending(self) -> bool:
        return self._ended or self._leaving

    def _end_now(self) -> None:
        """Queue what ends the run, if it has begun and not ended."""
        failure = self._end()
        if failure is not None and failure is not self._publisher.failure:  # that one is raised to everybody
            _log.warning("the end of run %s can't be queued now: %s", self.id, failure)

    async def _wait_stored(self) -> None:
        """Wait until all of the run is stored; if that can't be, end it on the screen, if possible."""
        try:
            await self._publisher.wait_stored(self._key)
        except RuncastError as failure:
            self._close_failed(failure)
            raise

    # --- inside ---

    def _check_open(self) -> None:
        if not self._entered:
            raise LifecycleError("the run has not begun; use it with `async with`")
        if running_loop() is not self._loop:
            self._publisher.check_home()
        if self._exiting:
            raise LifecycleError("the run's block has ended; emit within it, or start another run")
        if self._doomed:
            raise LifecycleError(
                f"run {self.id} was ended before its block ({self._doomed}); leave the block, or keep its parent open longer"
            )

    async def _end_below(self, event: Event) -> None:
        """Make way for an event that ends the run, unless it will be refused."""
        if not self._ended and not self._publisher.open_tools(self._key):
            failed = event.HasField("agent_error")
            await self._end_all("the run that started it failed" if failed else "the run that started it has ended")

    def _dress(self, event: Event) -> Event:
        if self._span is not None:
            self._span.note(event)
        return self._workshop.dress(event, self._context)

    def _append_now(self, event: Event, *, closing: bool) -> int:
        seq = self._publisher.append_now(self._key, self._dress(event), closing=closing)
        self._ended = self._ended or ends_run(event)
        return seq

    def _end(self) -> RuncastError | None:
        """Queue what ends the run, if it has begun and not ended; return why that was not possible."""
        try:
            if self._begun and not self._ended:
                for event in self._closing():
                    self._append_now(event, closing=True)
        except RuncastError as failure:
            self._close_failed(failure)
            return failure
        return None

    def _closing(self) -> list[Event]:
        open_tools = self._publisher.open_tools(self._key)
        if self.cancelled:
            return events.cancelled(open_tools, self.cancel_reason)
        if self._exc is None:
            final = [self._final()] if self._message_id else []
            return [*events.close_tools(open_tools), *final, Event(agent_completed=AgentCompleted())]
        if isinstance(self._exc, Exception):
            return events.raised(open_tools, self._classifier.tell(self._exc))
        return events.cancelled(open_tools, "the agent was stopped")

    def _close_failed(self, failure: RuncastError) -> None:
        """If the run failed, end it on the screen, if that is still possible."""

        def closing(life: Lifecycle) -> list[Event]:
            return [self._dress(event) for event in events.refused(life, failure.code.name)]

        try:
            self._publisher.close_failed(self._key, closing)
        except RuncastError as exc:
            if exc is not self._publisher.failure:  # that one is raised to everybody
                _log.warning("run %s can't be ended on the screen: %s", self.id, exc)

    async def _wait_end(self, failure: RuncastError | None) -> None:
        """Wait until all is stored, the end included; for its room, if even the reserve was full."""
        if isinstance(failure, OutboxFullError):
            for event in self._closing():
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

    def _exit(self) -> None:
        self._leave()
        if self._token is not None:
            leave_run(self, self._token)
        if self._span is not None:
            self._span.end(self._exc)

    def _is_stored(self) -> bool:
        return self._publisher.is_stored(self._key)

    def _release(self) -> None:
        self._publisher.release_run(self._key)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
