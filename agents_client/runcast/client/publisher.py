"""What runs append to, and what they wait for: the outbox and the receipts of one process, and the carrier that empties them.

Rules.
1. The outbox and the book of receipts decide; this only hands over: events in, results out.
2. What ends the carrier (not let in), and an unexpected exception by name, ends the publisher: that error is raised by every later
   call, and by those that wait.
3. When the outbox is full, callers wait for room at its gate (`gate.py`), or are told at once (`when_full`).
4. Who waits for something to be stored does not wait for it to be merged first.

Invariant: between two awaits, everything the outbox concluded has been handed to those that wait for it (`_settle`).

Never imports nats, aiohttp or msgspec.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Literal

from runcast.client.access import Access
from runcast.client.answers import AnswerBook, GivenAnswer
from runcast.client.carrier import Carrier, OnState
from runcast.client.errors import Leftover, OutboxClosedError, RunKey
from runcast.client.gate import Gate
from runcast.client.home import Home
from runcast.client.journal import Journal
from runcast.client.outbox import Outbox
from runcast.client.receipts import Receipt, ReceiptBook
from runcast.client.rim import ask, time_limit
from runcast.client.routers import Routers
from runcast.client.run_queue import Closing, Left
from runcast.client.statistics import Statistics
from runcast.client.tickets import Tickets
from runcast.v1.event_pb2 import Event, User
from runcast.v1.ingest_pb2 import IsOnlineRequest, ProducerHello, PublishResponse
from runcast.v1.ingest_pb2_grpc import IngestServiceStub
from runcast.wire import limits_client as limits
from runcast.wire.errors import LifecycleError, RuncastError, UnavailableError
from runcast.wire.ids import UserKey

_log = logging.getLogger("runcast.client")
_TOO_LATE = "this Runcast was closed before the event was stored"
OnCancel = Callable[[str], None]
"""Told the reason when the user asked the run to stop."""
WhenFull = Literal["block", "drop_progress", "raise"]
"""What to do with an event when the outbox has no room."""


class Publisher:
    """Sends events and tells what became of them. `run` must be running, in a task of the owner.

    Args:
        routers: where to go.
        hello: who we are.
        draw: randomness for waits, 0.0 to 1.0.
        coalesce_s: how long text deltas and thinking may rest, to be merged, seconds; 0 for not at all.
        when_full: what `append` does when there is no room: "block": it waits; "drop_progress": it drops thinking, and waits with all else;
            "raise": it raises OutboxFullError.
        on_state: told of every change of the connection, from the publisher's task; it is not to block.
        journal: keeps what is not stored beyond the process.
        access: how each stream gets in.
    """

    def __init__(
        self,
        routers: Routers,
        hello: ProducerHello,
        draw: Callable[[], float],
        *,
        coalesce_s: float = limits.COALESCE_S,
        when_full: WhenFull = "block",
        on_state: OnState | None = None,
        journal: Journal | None = None,
        access: Access | None = None,
    ) -> None:
        self._gate = Gate(waits=when_full != "raise")
        self._outbox = Outbox(hello.producer, coalesce_s=coalesce_s, drop_progress=when_full == "drop_progress", journal=journal)
        self._book = ReceiptBook()
        self._asked = AnswerBook()
        self._tickets = Tickets(self._book, self._asked)
        self._carrier = Carrier(
            routers,
            hello,
            draw,
            self._outbox,
            self._book,
            self._asked,
            settle=self._settle,
            hear=self._hear,
            on_state=on_state,
            journal=journal,
            access=access,
        )
        self._empty = asyncio.Event()
        self._cancels: dict[tuple[UserKey, str], OnCancel] = {}
        self._home: Home | None = None
        self._failure: RuncastError | None = None
        self._over: RuncastError | None = None  # what waits is told, when nothing is carried any more
        self._closed = False
        self._last_state = ""  # of the connection, when time was up

    # --- for runs ---

    def open_run(self, key: RunKey) -> None:
        """Begin a run's attempt; raises as `Outbox.open_run`, and when the publisher is closed or dead."""
        self.check()
        self._outbox.open_run(key)

    def restore_run(self, left: Left) -> None:
        """Take up what another process left of a run; raises as `Outbox.restore_run`."""
        self.check()
        self._outbox.restore_run(self._now(), left)
        self._empty.clear()
        self._carrier.wake()

    def watch_cancel(self, key: RunKey, on_cancel: OnCancel) -> None:
        """Have `on_cancel` called when the user asks the run to stop, until it is released."""
        self._cancels[key.user, key.run_id] = on_cancel

    def release_run(self, key: RunKey) -> None:
        """Say that nothing more will be appended; what is queued is still sent."""
        self._cancels.pop((key.user, key.run_id), None)
        self._outbox.release_run(key)
        self._asked.failed(key, LifecycleError("the run ended while it waited for an answer; ask within the run's block"))
        self._tickets.settle_books()

    def await_answer(self, key: RunKey, request_id: str) -> "asyncio.Future[GivenAnswer]":
        """The user's answer to what a run asks; raises as `AnswerBook.ask`, and when the publisher is closed or dead."""
        self.check()
        ticket: asyncio.Future[GivenAnswer] = self._tickets.make()
        self._asked.ask(ticket, key, request_id)
        self._carrier.wake()
        return ticket

    def drop_answer(self, key: RunKey, request_id: str) -> None:
        """That answer is not waited for any more."""
        self._asked.drop(key, request_id)
        self._carrier.wake()

    async def append(self, key: RunKey, event: Event, *, receipt_ms: int = 0) -> int:
        """Queue an event, waiting for room if need be.

        Returns:
            Its seq, as `Outbox.append`.

        Raises:
            OutboxFullError: there is no room, and callers are not to wait for it.
            RuncastError: as `Outbox.append`, and when the publisher is closed or dead.
        """
        return await self._gate.pass_by(partial(self.append_now, key, event, receipt_ms=receipt_ms))

    def append_now(self, key: RunKey, event: Event, *, closing: bool = False, receipt_ms: int = 0) -> int:
        """Queue an event at once.

        Raises:
            OutboxFullError: there is no room; with `closing` not even in the reserve.
        """
        self.check()
        outbox = self._outbox
        seq = outbox.append(self._now(), key, event, closing=closing, receipt_ms=receipt_ms)
        if outbox.stirred:
            self._carrier.wake()
        return seq

    async def append_awaited(self, key: RunKey, event: Event, receipt_s: float) -> "asyncio.Future[Receipt]":
        """Queue an event as `append` does; the future tells what became of it."""
        unwatched = self._book.full
        seq = await self.append(key, event, receipt_ms=0 if unwatched else _to_ms(receipt_s))
        ticket: asyncio.Future[Receipt] = self._tickets.make()
        self._book.expect(ticket, key, seq, receipt_s, unwatched=unwatched)
        return ticket

    def await_all(self, key: RunKey, receipt_s: float) -> "asyncio.Future[Receipt]":
        """What becomes of the newest event of a run, and all before it.

        Raises:
            RunRefusedError, RunIndeterminateError: the run failed.
            RuncastError: the publisher died.
        """
        self.check()
        appended, stored, position = self._outbox.progress(key)
        ticket: asyncio.Future[Receipt] = self._tickets.make()
        if appended == stored:
            self._book.expect_stored(ticket, key, self._outbox.last_number(key), position, self._now(), receipt_s)
            self._carrier.wake()
            self._settle()
        else:
            unwatched = self._book.full
            if not unwatched:
                self._outbox.ask_receipt(key, _to_ms(receipt_s))
            self._hurry(key)
            self._book.expect(ticket, key, appended, receipt_s, unwatched=unwatched)
        return ticket

    async def is_online(self, user: UserKey) -> bool:
        """Whether a device of the user is connected, as the connected router finds out.

        Raises:
            UnavailableError: no router is connected, or it can't say.
        """
        self.check()
        channel = self._carrier.channel
        if channel is None:
            raise UnavailableError("no router is connected just now, so nobody can say who is online; ask again")
        request = IsOnlineRequest(user=User(tenant=user.tenant, id=user.user))
        call = IngestServiceStub(channel).IsOnline(request, timeout=limits.CONNECT_TIMEOUT_S, metadata=self._carrier.metadata)
        return bool((await ask(call)).online)

    def close_failed(self, key: RunKey, closing: Closing) -> bool:
        """End a failed run on the user's screen if that is safe; raises as `Outbox.close_failed`."""
        self.check()
        queued = self._outbox.close_failed(self._now(), key, closing)
        self._carrier.wake()
        return queued

    def open_tools(self, key: RunKey) -> dict[str, str]:
        """Tool name by call id, of the run's open calls."""
        return self._outbox.open_tools(key)

    def is_stored(self, key: RunKey) -> bool:
        """Whether all that was appended to the run is stored, or nothing more of it will be."""
        try:
            appended, stored, _ = self._outbox.progress(key)
        except RuncastError:
            return True
        return appended == stored

    async def wait_stored(self, key: RunKey) -> str:
        """Wait until all that was appended to the run is stored.

        Returns:
            The position of the last of it; "" when nothing was appended.

        Raises:
            RunRefusedError, RunIndeterminateError: the run failed.
            RuncastError: the publisher died.
            LifecycleError: it lives in another process or event loop.
        """
        self.check_home()
        if self._failure is not None:
            raise self._failure
        appended, stored, position = self._outbox.progress(key)
        if appended == stored:
            return position
        if self._over is not None:
            raise self._over
        self._hurry(key)
        return await self._tickets.until_stored(key, appended)

    # --- for the owner ---

    @property
    def forked(self) -> bool:
        """This process is a copy of the one that it lives in."""
        return self._home is not None and self._home.forked

    def check_home(self) -> None:
        """Raise LifecycleError in another process or event loop than it lives in."""
        if self._home is not None:
            self._home.check()

    def move_in(self, home: Home) -> None:
        """From now on it is used there alone."""
        self._home = home

    @property
    def failure(self) -> RuncastError | None:
        """What the publisher died of."""
        return self._failure

    def check(self) -> None:
        """Raise what ended the publisher.

        Raises:
            LifecycleError: it lives in another process or event loop.
            OutboxClosedError: it was closed.
            RuncastError: it died; the message names what of.
        """
        self.check_home()
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise OutboxClosedError("this Runcast was closed; open a new one")

    async def wait_ready(self) -> None:
        """Wait until a router is connected. Raises what ended the publisher."""
        await self._carrier.ready.wait()
        self.check()

    def look_for_room(self) -> None:
        """There may be room again for those that wait for it."""
        self._gate.look()

    async def drain(self, timeout_s: float) -> list[Leftover]:
        """Take nothing more, wait until all is answered, say goodbye; `run` returns after it.

        Returns:
            What is still unanswered after `timeout_s` seconds.
        """
        self._closed = True
        self._asked.close(OutboxClosedError("this Runcast was closed before the answer came"))
        self._gate.look()  # who waits for room is told
        self._outbox.rouse()
        self._carrier.wake()
        self._settle()
        try:
            async with time_limit(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            state, router, reason = self._carrier.state
            self._last_state = f"{state}, router {router}{': ' if reason else ''}{reason}"
            _log.warning("closing with %d events unanswered (%s)", self._outbox.events, self._last_state)
        finally:
            self._carrier.stop()
        return self._outbox.leftovers()

    def why_unsent(self, timeout_s: float) -> str:
        """Why `drain` could not send everything, after so many seconds; continues "closed"."""
        if self._failure is not None:
            return f"({self._failure})"
        return f"after {timeout_s:g} s ({self._last_state})"

    async def run(self) -> None:
        """Carry until drained, cancelled or dead. Raises nothing but a cancellation: the next call tells of a failure."""
        try:
            await self._carrier.run()
            self._settle()
            self._end_all("this Runcast was closed", OutboxClosedError(_TOO_LATE))
        except asyncio.CancelledError:
            if self._carrier.stopping:
                self._end_all("this Runcast was closed", OutboxClosedError(_TOO_LATE))
            else:
                self._die(RuncastError("the task 'runcast publisher' was cancelled; open a new Runcast"))
            raise
        except RuncastError as exc:
            self._die(exc)
        except Exception as exc:
            _log.exception("the publisher died")
            failure = RuncastError(f"the task 'runcast publisher' died of {type(exc).__name__}: {exc}; open a new Runcast, and report this")
            failure.__cause__ = exc
            self._die(failure)

    def stats(self) -> Statistics:
        """What was done so far."""
        outbox, carrier = self._outbox, self._carrier
        in_flight = outbox.in_flight
        return outbox.counts.tell(carrier.state, outbox.events - in_flight, in_flight, outbox.bytes, max(0, carrier.streams - 1))

    # --- inside ---

    def _hurry(self, key: RunKey) -> None:
        self._outbox.hurry(self._now(), key)
        self._carrier.wake()

    def _hear(self, response: PublishResponse) -> None:
        """Hand cancels to their runs."""
        for cancel in response.cancels:
            on_cancel = self._cancels.get((UserKey(cancel.user.tenant, cancel.user.id), cancel.run_id))
            if on_cancel is not None:
                on_cancel(cancel.reason)

    def _settle(self) -> None:
        """Tell those that wait what the outbox concluded."""
        results = self._outbox.take_results()
        self._tickets.settle(self._now(), results)
        if results:
            self._gate.look()
        if self._failure is None and self._outbox.events:
            self._empty.clear()
        else:
            self._empty.set()  # nothing more will be answered

    def _die(self, failure: RuncastError) -> None:
        self._failure = failure
        self._end_all(str(failure), failure)

    def _end_all(self, why: str, failure: RuncastError) -> None:
        """Nothing will be stored or answered any more: tell those that wait."""
        self._over = failure
        self._carrier.enter("closed", why)
        self._tickets.fail_all(self._now(), failure)
        self._gate.look()
        self._carrier.ready.set()
        self._empty.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _to_ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
