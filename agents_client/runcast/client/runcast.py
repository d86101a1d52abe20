"""The door to Runcast for an agent process: one connection for all its runs and inboxes.

Rules: a Runcast is used with `async with`; leaving the block sends what is left, for `limits_client.CLOSE_TIMEOUT_S` at most, and tells
what could not be sent. The publisher's task lives in a task group that ends with the block. A publisher that died is told by the next call.
Randomness and the wall clock are read here, and given to what needs them.
"""

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self, get_args

from runcast.client.access import Access, Token
from runcast.client.arguments import check_number, check_whole
from runcast.client.carrier import OnState
from runcast.client.classify import Classifier, Rule
from runcast.client.errors import UnsentError
from runcast.client.home import Home
from runcast.client.inbox import Inbox
from runcast.client.publisher import Publisher, WhenFull
from runcast.client.rim import time_limit
from runcast.client.routers import Routers, parse_targets
from runcast.client.run import Run
from runcast.client.statistics import Statistics
from runcast.client.tls import Tls
from runcast.client.workshop import Oversize, RunContext, Workshop
from runcast.v1.inbox_pb2 import WorkerHello
from runcast.v1.ingest_pb2 import ProducerHello
from runcast.wire import VERSION, limits, limits_client
from runcast.wire.errors import LifecycleError, RuncastError, UnavailableError
from runcast.wire.ids import UserKey, check_id

if TYPE_CHECKING:
    from runcast.client.journal import Journal
    from runcast.client.recovery import Recovery
    from runcast.client.spill import Spill

_log = logging.getLogger("runcast.client")


class Runcast:
    """A connection to Runcast's routers, for `async with`.

    It connects, and connects again, by itself; events are queued meanwhile, up to `limits_client.OUTBOX_EVENTS_MAX`, and then callers wait.

    Args:
        target: routers as "host:port", several with commas between them.
        agent: the agent's name, 1 to 128 bytes.
        tenant: of the users, unless a run says otherwise.
        coalesce_s: text deltas and thinking of a run leave at most this often, merged, seconds; the first leaves at once, and whatever else
            is emitted takes along what waits. 0.0 to 1.0; 0 sends every one as it is.
        when_full: what emitting does when the outbox is full: "block": it waits for room; "drop_progress": `thinking` does nothing (`stats`
            counts how often), all else waits; "raise": it raises OutboxFullError. What ends tool calls and runs has room in reserve.
        on_state: called with every change of the connection, in the event loop; it is not to block.
        oversize: what happens to an event over 256 KiB: "refuse": EventTooLargeError; "truncate": its longest fields are cut, and say so.
        classify: what your own exceptions mean to people; asked before the library's own table, see `Classification`.
        error_detail: add class name and text of exceptions to what people are told. Without it nothing of them leaves the process.
        spill: path of a SQLite file that keeps what is accepted and not stored yet, should this process be killed: the next Runcast with
            this path sends it, and ends the runs that were open. For one process at a time; entering raises SpillError if it can't be used.
        tls: True, or a `Tls` that says which authorities to believe and which certificate to show; files are read at each connection.
        token: says who this agent is; or what returns it, called for each stream, in the event loop (`async def`, or quick).
        insecure_token: send it in plain text to other machines too. Without this only loopback gets it without TLS.

    Raises:
        ValueError: `target` is not an address, an argument is out of range, or the token would be seen by others.
        TypeError: a rule of `classify` is none, or an argument is of another type.
        IdInvalidError: a name is empty or too long.
    """

    def __init__(
        self,
        target: str,
        *,
        agent: str,
        tenant: str = "default",
        coalesce_s: float = limits_client.COALESCE_S,
        when_full: WhenFull = "block",
        on_state: OnState | None = None,
        oversize: Oversize = "refuse",
        classify: Iterable[Rule] = (),
        error_detail: bool = False,
        spill: "str | os.PathLike[str] | None" = None,
        tls: bool | Tls = False,
        token: Token | None = None,
        insecure_token: bool = False,
    ) -> None:
        if not 0.0 <= check_number(coalesce_s, "coalesce_s", "number of seconds") <= limits_client.COALESCE_MAX_S:
            raise ValueError(f"coalesce_s is {coalesce_s}; give seconds, 0 to {limits_client.COALESCE_MAX_S:g}")
        if when_full not in get_args(WhenFull):
            raise ValueError(f"when_full is {when_full!r}; use one of {', '.join(get_args(WhenFull))}")
        if on_state is not None and not callable(on_state):
            raise TypeError(f"on_state is {on_state!r}; give a function that takes a ConnectionState")
        self._targets = parse_targets(target)
        self._access = Access(self._targets, tls=tls, token=token, insecure_token=insecure_token)
        self._agent = check_id(agent, "agent")
        self._tenant = check_id(tenant, "tenant id")
        self._random = random.SystemRandom()
        self._producer = f"{socket.gethostname()[:64]}-{os.getpid()}-{self._random.getrandbits(64):016x}"
        hello = ProducerHello(producer=check_id(self._producer, "producer id"), agent=agent, client_version=VERSION)
        self._spill, journal = _make_spill(spill, self._producer)
        self._publisher = Publisher(
            self._routers(),
            hello,
            self._random.random,
            coalesce_s=coalesce_s,
            when_full=when_full,
            on_state=on_state,
            journal=journal,
            access=self._access,
        )
        self._workshop = Workshop(
            self._publisher,
            Classifier(classify, detail=error_detail, on_broken_rule=_tell_broken_rule),
            clock_ms=_clock_ms,
            draw_bits=self._random.getrandbits,
            oversize=oversize,
        )
        self._home: Home | None = None
        self._tasks = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None
        self._inboxes: list[Inbox] = []

    def run(
        self,
        *,
        user: str,
        agent: str = "",
        thread: str = "",
        title: str = "",
        reply_to: str = "",
        input: object = None,  # noqa: A002 # the word of the event's field
        tenant: str = "",
        run_id: str = "",
        attempt: int = 1,
        parent_run_id: str = "",
        traceparent: str = "",
    ) -> Run:
        """A run for a user; it begins with `async with`.

        Args:
            user: whose stream it appears in.
            agent: the name of the agent that has it; "" for the Runcast's.
            thread: the conversation that it belongs to.
            title: what it is about, for people.
            reply_to: id of the message that it answers.
            input: what the agent was given, JSON-like.
            tenant: the user's; "" for the Runcast's.
            run_id: "" for a new one; given, together with a higher `attempt`, to try a run again.
            attempt: from 1; a higher one supersedes the lower ones.
            parent_run_id: the run that started this one.
            traceparent: W3C trace context.

        Raises:
            IdInvalidError: an id is empty or too long.
            TypeError, ValueError: `input` can't be written as JSON, or `attempt` is below 1.
        """
        self._check_entered()
        owner = UserKey(tenant or self._tenant, user)
        context = RunContext(agent or self._agent, thread, parent_run_id, traceparent)
        return self._workshop.make_run(owner, context, title=title, reply_to=reply_to, input=input, run_id=run_id, attempt=attempt)

    def inbox(self, group: str, *, in_flight: int = 8) -> Inbox:
        """What users send to an agent group, for `async for`; each message goes to one worker of the group.

        Args:
            group: the agent group.
            in_flight: how many unsettled messages this worker takes at once, 1 to 1,000. A worker that handles one after the other
                keeps the rest from other workers meanwhile: give it 1.

        Raises:
            IdInvalidError: the group's name is empty or too long.
            ValueError: `in_flight` is out of range.
        """
        self._check_entered()
        if not 1 <= check_whole(in_flight, "in_flight") <= limits.INBOX_IN_FLIGHT_MAX:
            raise ValueError(f"in_flight is {in_flight}; use 1 to {limits.INBOX_IN_FLIGHT_MAX}")
        hello = WorkerHello(group=check_id(group, "group"), worker=self._producer, in_flight_max=in_flight)
        inbox = Inbox(self._routers(), hello, self._random.random, self._home or Home(), self._access)
        self._inboxes = [*(other for other in self._inboxes if not other.closed), inbox]
        return inbox

    async def is_online(self, user: str, *, tenant: str = "") -> bool:
        """Whether any device of a user is connected just now, to any edge.

        Args:
            user: who.
            tenant: the user's; "" for the Runcast's.

        Raises:
            IdInvalidError: an id is empty or too long.
            UnavailableError: no router is connected, or it can't say.
        """
        self._check_entered()
        return await self._publisher.is_online(UserKey(check_id(tenant or self._tenant, "tenant id"), check_id(user, "user id")))

    def stats(self) -> Statistics:
        """What this Runcast has done so far: how the connection is, what waits, what was stored, and how quickly. Also after its end."""
        return self._publisher.stats()

    async def ready(self, timeout_s: float = limits_client.CONNECT_TIMEOUT_S) -> None:
        """Wait until a router is connected. Nobody has to: runs may begin before.

        Raises:
            UnavailableError: none was within `timeout_s` seconds.
            RefusedError: no router will ever let this agent in.
        """
        self._check_entered()
        try:
            async with time_limit(timeout_s):
                await self._publisher.wait_ready()
        except TimeoutError as exc:
            raise UnavailableError(
                f"no router at {','.join(self._targets)} within {timeout_s:g} s; start one there, or correct the address"
            ) from exc

    async def close(self, timeout_s: float = limits_client.CLOSE_TIMEOUT_S) -> None:
        """Send what is left and say goodbye; does nothing the second time.

        Args:
            timeout_s: for sending, seconds.

        Raises:
            UnsentError: not all could be sent; it holds the rest. With a spill that is kept there instead, and logged.
            RuncastError: the publisher had died, and of what; nothing was left.
            LifecycleError: it was opened in another process or event loop.
        """
        if self._home is not None:
            self._home.check()
        task, self._task = self._task, None
        if task is None:
            return
        try:
            for inbox in self._inboxes:
                await inbox.aclose()
            until = asyncio.get_running_loop().time() + timeout_s
            leftovers = await self._publisher.drain(timeout_s)
            await asyncio.wait({task}, timeout=limits_client.GOODBYE_S)
            if self._recovering is not None:
                await asyncio.wait({self._recovering}, timeout=max(0.0, until - asyncio.get_running_loop().time()))
        finally:
            task.cancel()
            if self._recovering is not None:
                self._recovering.cancel()
        failure = self._publisher.failure
        if leftovers and self._spill is not None and not self._spill.broken:
            _log.warning("what could not be sent of %d runs stays in %s, and goes out at the next start", len(leftovers), self._spill.path)
            leftovers = []
        if leftovers:
            raise UnsentError(leftovers, self._publisher.why_unsent(timeout_s)) from failure
        if failure is not None:
            raise failure

    async def __aenter__(self) -> Self:
        self._publisher.check()
        if self._task is not None:
            raise LifecycleError("this Runcast is open already; share it, or open another one")
        recovery = self._open_spill()
        self._home = Home()
        self._publisher.move_in(self._home)
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self._publisher.run(), name="runcast publisher")
        if recovery is not None:
            self._recovering = self._tasks.create_task(recovery.run(), name="runcast recovery")
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        if self._home is not None:
            if self._home.forked:
                return  # it is the parent's
            self._home.check()
        try:
            await self.close()
        except RuncastError as failure:
            if exc is None:
                raise
            if str(failure) != str(exc):  # an inbox and the publisher are told the same by their streams
                exc.add_note(str(failure))
        finally:
            try:
                await self._tasks.__aexit__(None, None, None)
            finally:
                if self._spill is not None:
                    self._spill.close()

    def _open_spill(self) -> "Recovery | None":
        """Lock the spill, and see what is in it."""
        if self._spill is None:
            return None
        from runcast.client.recovery import Recovery  # noqa: PLC0415 # as `_make_spill`

        self._spill.open()
        self._spill.on_room = self._publisher.look_for_room
        return Recovery(self._spill, self._routers, self._random.random, _clock_ms, self._access)

    def _check_entered(self) -> None:
        if self._home is not None:
            self._home.check()
        if self._task is None:
            self._publisher.check()
            raise LifecycleError("this Runcast is not open; use it with `async with`")

    def _routers(self) -> Routers:
        return Routers(self._targets, self._random.random())


def _make_spill(path: "str | os.PathLike[str] | None", producer: str) -> "tuple[Spill | None, Journal | None]":
    """The file, not opened yet, and this process's journal in it."""
    if path is None:
        return None, None
    from runcast.client.spill import Spill  # noqa: PLC0415 # SQLite takes time to import, and most agents do without
    from runcast.client.spill_journal import SpillJournal  # noqa: PLC0415 # the same

    spill = Spill(path)
    return spill, SpillJournal(spill, producer)


def _tell_broken_rule(exc: Exception) -> None:
    _log.error("a rule of `classify` raised; the next one was asked", exc_info=exc)


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000
