"""Carries the outbox to a router: one gRPC stream at a time, for all runs of the process.

Rules.
1. The outbox decides; this only carries out. All that is ready goes into one message.
2. A stream that breaks, a router that is silent while batches are unanswered (`Outbox.overdue`) and one that says goodbye are left, and
   the next router is tried: after a wait with full jitter, or at once when the stream had worked. What was unanswered is sent again.
3. A router that says goodbye is heard a little longer, for answers under way; nothing more is sent to it.
4. What can't get better by trying again (not let in) ends the publisher; that error is raised by every later call, and by those that wait.
   An unexpected exception does the same, by name.
5. A receipt is awaited over all streams: on each new one the router is asked for those that the one before did not answer.
6. Callers wait for room in the order in which they came; one that is cancelled while it waits has queued nothing.

Invariant: between two awaits, everything the outbox concluded has been handed to those that wait for it (`_settle`).

Never imports nats, aiohttp or msgspec.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import grpc.aio

from runcast.client.errors import Leftover, OutboxClosedError, OutboxFullError, RunKey
from runcast.client.outbox import Closing, Outbox, Stored
from runcast.client.receipts import Receipt, ReceiptBook
from runcast.client.rim import ask, end_writing, open_channel, read, time_limit, time_limit_at, write
from runcast.client.routers import Routers
from runcast.v1.admin_pb2 import GetPresenceRequest
from runcast.v1.admin_pb2_grpc import AdminServiceStub
from runcast.v1.event_pb2 import Event, User
from runcast.v1.ingest_pb2 import ProducerHello, PublishRequest, PublishResponse
from runcast.v1.ingest_pb2_grpc import IngestServiceStub
from runcast.wire import limits
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey

_log = logging.getLogger("runcast.client")
_Call = grpc.aio.StreamStreamCall[PublishRequest, PublishResponse]
OnCancel = Callable[[str], None]
"""Told the reason when the user asked the run to stop."""


class Publisher:
    """Sends events and tells what became of them. `run` must be running, in a task of the owner.

    Args:
        routers: where to go.
        hello: who we are.
        draw: randomness for waits, 0.0 to 1.0.
    """

    def __init__(self, routers: Routers, hello: ProducerHello, draw: Callable[[], float]) -> None:
        self._routers = routers
        self._hello = hello
        self._draw = draw
        self._outbox = Outbox(hello.producer)
        self._book = ReceiptBook()
        self._channel: grpc.aio.Channel | None = None  # while a stream is open on it
        self._gate = asyncio.Lock()  # callers that append, in order; the first may wait for room
        self._room = asyncio.Event()
        self._wake = asyncio.Event()  # something may have to be sent
        self._ready = asyncio.Event()  # a stream is open, or never will be
        self._empty = asyncio.Event()
        self._turn = 0
        self._answers: dict[RunKey, list[tuple[int, asyncio.Future[str]]]] = {}
        self._cancels: dict[tuple[UserKey, str], OnCancel] = {}
        self._failure: RuncastError | None = None
        self._closed = False
        self._stopping = False  # drained, or out of time for it
        self._leaving = False  # the router said goodbye: nothing more is sent on this stream
        self._progress = False  # a batch was stored by this stream

    # --- for runs ---

    def open_run(self, key: RunKey) -> None:
        """Begin a run's attempt; raises as `Outbox.open_run`, and when the publisher is closed or dead."""
        self.check()
        self._outbox.open_run(key)

    def watch_cancel(self, key: RunKey, on_cancel: OnCancel) -> None:
        """Have `on_cancel` called when the user asks the run to stop, until it is released."""
        self._cancels[key.user, key.run_id] = on_cancel

    def release_run(self, key: RunKey) -> None:
        """Say that nothing more will be appended; what is queued is still sent."""
        self._cancels.pop((key.user, key.run_id), None)
        self._outbox.release_run(key)

    async def append(self, key: RunKey, event: Event, *, receipt_ms: int = 0) -> int:
        """Queue an event, waiting for room; return its seq. Raises as `Outbox.append`, and when the publisher is closed or dead."""
        self._turn += 1
        if self._turn >= limits.TURN_APPENDS_MAX:
            self._turn = 0
            await asyncio.sleep(0)
        async with self._gate:
            while True:
                try:
                    return self.append_now(key, event, receipt_ms=receipt_ms)
                except OutboxFullError:
                    self._room.clear()
                await self._room.wait()

    def append_now(self, key: RunKey, event: Event, *, closing: bool = False, receipt_ms: int = 0) -> int:
        """Queue an event at once.

        Raises:
            OutboxFullError: there is no room; with `closing` not even in the reserve.
        """
        self.check()
        seq = self._outbox.append(key, event, closing=closing, receipt_ms=receipt_ms)
        self._wake.set()
        return seq

    async def append_awaited(self, key: RunKey, event: Event, receipt_s: float) -> "asyncio.Future[Receipt]":
        """Queue an event as `append` does; the future tells what became of it."""
        unwatched = self._book.full
        seq = await self.append(key, event, receipt_ms=0 if unwatched else _to_ms(receipt_s))
        ticket: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
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
        ticket: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if appended == stored:
            self._book.expect_stored(ticket, key, self._outbox.last_number(key), position, self._now(), receipt_s)
            self._wake.set()
            self._settle()
        else:
            unwatched = self._book.full
            if not unwatched:
                self._outbox.ask_receipt(key, _to_ms(receipt_s))
            self._book.expect(ticket, key, appended, receipt_s, unwatched=unwatched)
        return ticket

    async def is_online(self, user: UserKey) -> bool:
        """Whether a device of the user is connected, as the connected router finds out.

        Raises:
            UnavailableError: no router is connected, or it can't say.
        """
        self.check()
        channel = self._channel
        if channel is None:
            raise UnavailableError("no router is connected just now, so nobody can say who is online; ask again")
        request = GetPresenceRequest(user=User(tenant=user.tenant, id=user.user), first=True)
        return bool((await ask(AdminServiceStub(channel).GetPresence(request, timeout=limits.CONNECT_TIMEOUT_S))).edges)

    def close_failed(self, key: RunKey, closing: Closing) -> bool:
        """End a failed run on the user's screen if that is safe; raises as `Outbox.close_failed`."""
        self.check()
        queued = self._outbox.close_failed(key, closing)
        self._wake.set()
        return queued

    def open_tools(self, key: RunKey) -> dict[str, str]:
        """Tool name by call id, of the run's open calls."""
        return self._outbox.open_tools(key)

    async def wait_stored(self, key: RunKey) -> str:
        """Wait until all that was appended to the run is stored.

        Returns:
            The position of the last of it; "" when nothing was appended.

        Raises:
            RunRefusedError, RunIndeterminateError: the run failed.
            RuncastError: the publisher died.
        """
        if self._failure is not None:
            raise self._failure
        appended, stored, position = self._outbox.progress(key)
        if appended == stored:
            return position
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers.setdefault(key, []).append((appended, answer))
        return await answer

    # --- for the owner ---

    @property
    def failure(self) -> RuncastError | None:
        """What the publisher died of."""
        return self._failure

    def check(self) -> None:
        """Raise what ended the publisher.

        Raises:
            OutboxClosedError: it was closed.
            RuncastError: it died; the message names what of.
        """
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise OutboxClosedError("this Runcast was closed; open a new one")

    async def wait_ready(self) -> None:
        """Wait until a router is connected. Raises what ended the publisher."""
        await self._ready.wait()
        self.check()

    async def drain(self, timeout_s: float) -> list[Leftover]:
        """Take nothing more, wait until all is answered, say goodbye; `run` returns after it.

        Returns:
            What is still unanswered after `timeout_s` seconds.
        """
        self._closed = True
        self._room.set()  # who waits for room is told
        self._settle()
        try:
            async with time_limit(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("closing with %d events unanswered", self._outbox.events)
        finally:
            self._stopping = True
            self._wake.set()
        return self._outbox.leftovers()

    async def run(self) -> None:
        """Carry until drained, cancelled or dead. Raises nothing but a cancellation: the next call tells of a failure."""
        try:
            while not self._stopping:
                await self._carry()
            self._book.close(self._now(), OutboxClosedError("this Runcast was closed before the event was stored"))
            self._settle()
        except asyncio.CancelledError:
            if not self._stopping:
                self._die(RuncastError("the task 'runcast publisher' was cancelled; open a new Runcast"))
            raise
        except RuncastError as exc:
            self._die(exc)
        except Exception as exc:
            _log.exception("the publisher died")
            failure = RuncastError(f"the task 'runcast publisher' died of {type(exc).__name__}: {exc}; open a new Runcast, and report this")
            failure.__cause__ = exc
            self._die(failure)

    # --- inside ---

    async def _carry(self) -> None:
        """One stream to one router, and the wait after it."""
        target = self._routers.take()
        self._leaving = self._progress = False
        try:
            async with open_channel(target) as channel:
                await self._stream(channel, target)
            why = "it said goodbye"
        except RuncastError as exc:
            if not exc.code.retry:
                raise
            why = str(exc)
        finally:
            self._ready.clear()
            self._channel = None
            self._outbox.disconnected()
            self._book.disconnected()
        if self._stopping:
            return
        wait_s = 0.0
        if self._progress:
            self._routers.worked()
        else:
            wait_s = self._routers.failed(self._draw())
        _log.warning("router %s was left (%s); going to the next in %.2f s, %d events wait", target, why, wait_s, self._outbox.events)
        await self._pause(wait_s)

    async def _stream(self, channel: grpc.aio.Channel, target: str) -> None:
        call = IngestServiceStub(channel).Publish()
        await write(call, PublishRequest(hello=self._hello), target)
        first = await read(call, target, self._now() + limits.CONNECT_TIMEOUT_S)
        if first is None or not first.HasField("hello"):
            raise UnavailableError(f"{target} did not say hello; is it a Runcast router?")
        self._outbox.connected(self._now(), first.hello)
        _log.info("connected to router %s at %s", first.hello.router, target)
        self._channel = channel
        self._ready.set()
        self._take(first)
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(_end_of(self._write(call, target)), name="runcast publisher: write")
            reading = tasks.create_task(_end_of(self._read(call, target)), name="runcast publisher: read")
            await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and writing.result() is None:  # nothing more is sent; answers still come
                await asyncio.wait({reading})
            writing.cancel()
            reading.cancel()
        for part in (writing, reading):
            error = None if part.cancelled() else part.result()
            if error is not None:
                raise error

    async def _write(self, call: _Call, target: str) -> None:
        while not (self._leaving or self._stopping):
            self._wake.clear()
            now = self._now()
            if self._outbox.overdue(now):
                raise UnavailableError(f"{target} was silent, or left a batch unanswered, for too long")
            batches = self._outbox.take_batches(now)
            self._book.tick(now)
            asks, abandons = self._book.take_asks(now), self._outbox.take_abandons()
            self._settle()
            if batches or asks or abandons:
                await write(call, PublishRequest(batches=batches, receipt_asks=asks, abandons=abandons), target)
                await asyncio.sleep(limits.MESSAGE_PACE_S)  # what comes meanwhile shares the next message
            else:
                await self._wait_wake(_earlier(self._outbox.deadline(), self._book.deadline()))
        if self._stopping:
            await end_writing(call, target)

    async def _read(self, call: _Call, target: str) -> None:
        leave_at: float | None = None
        while leave_at is None or self._outbox.unanswered[0]:
            response = await read(call, target, leave_at)
            if response is None:
                break
            self._take(response)
            if response.HasField("go_away"):
                grace_s = min(response.go_away.grace_ms / 1000, limits.GOODBYE_S)
                leave_at = self._now() + grace_s
                self._leaving = True
                self._wake.set()

    def _take(self, response: PublishResponse) -> None:
        """Hand a response to the outbox, and cancels to their runs."""
        now = self._now()
        outbox = self._outbox
        for ack in response.acks:
            self._progress = True
            outbox.acked(now, ack)
        for refusal in response.refusals:
            outbox.refused(now, refusal)
        if response.receipts:
            self._settle()  # acks come before receipts
            for receipt in response.receipts:
                self._book.received(receipt)
        for abandon in response.abandoned:
            outbox.abandoned(abandon)
        if response.HasField("window"):
            outbox.take_window(now, response.window)
        for cancel in response.cancels:
            on_cancel = self._cancels.get((UserKey(cancel.user.tenant, cancel.user.id), cancel.run_id))
            if on_cancel is not None:
                on_cancel(cancel.reason)
        self._settle()
        self._wake.set()

    def _settle(self) -> None:
        """Tell those that wait what the outbox concluded."""
        results = self._outbox.take_results()
        for result in results:
            if not isinstance(result, Stored):
                _log.warning("%s", result.error)
            if isinstance(result, Stored):
                self._book.stored(result.key, result.number, result.last_seq, result.position, self._now(), carried=result.awaited)
            else:
                self._book.failed(result.key, result.error)
            waiting = self._answers.pop(result.key, [])
            later = []
            for seq, answer in waiting:
                if answer.done():
                    continue
                if not isinstance(result, Stored):
                    answer.set_exception(result.error)
                elif seq <= result.last_seq:
                    answer.set_result(result.position)
                else:
                    later.append((seq, answer))
            if later:
                self._answers[result.key] = later
        if results:
            self._room.set()
        self._settle_receipts()
        if self._failure is None and self._outbox.events:
            self._empty.clear()
        else:
            self._empty.set()  # nothing more will be answered

    def _settle_receipts(self) -> None:
        for ticket, result in self._book.take_results():
            assert isinstance(ticket, asyncio.Future)  # noqa: S101 # all tickets are made here
            if ticket.done():
                continue  # whoever asked was cancelled
            if isinstance(result, Receipt):
                ticket.set_result(result)
            else:
                ticket.set_exception(result)

    def _die(self, failure: RuncastError) -> None:
        self._failure = failure
        self._book.close(self._now(), failure)
        self._settle_receipts()
        for waiting in self._answers.values():
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(failure)
        self._answers.clear()
        self._room.set()
        self._ready.set()
        self._empty.set()

    async def _pause(self, wait_s: float) -> None:
        """Wait between two streams, while time passes for the outbox too."""
        until = self._now() + wait_s
        while self._now() < until and not self._stopping:
            self._outbox.tick(self._now())
            self._book.tick(self._now())
            self._settle()
            deadline = _earlier(self._outbox.deadline(), self._book.deadline())
            self._wake.clear()
            await self._wait_wake(until if deadline is None else max(min(until, deadline), self._now() + 0.01))

    async def _wait_wake(self, until: float | None) -> None:
        try:
            async with time_limit_at(until):
                await self._wake.wait()
        except TimeoutError:
            return

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _end_of(part: Coroutine[Any, Any, None]) -> Exception | None:
    """Run a part of a stream to its end, and return what it died of: a task group is not to cancel the task that all streams run in."""
    try:
        await part
    except Exception as exc:
        return exc
    return None


def _to_ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
