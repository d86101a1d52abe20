"""Carries the outbox to a router: one gRPC stream at a time, for all runs of the process.

Rules.
1. The outbox decides; this only carries out. All that is ready goes into one message.
2. A stream that breaks, a router that is silent while batches are unanswered (`Outbox.overdue`) and one that says goodbye are left, and
   the next router is tried: after a wait with full jitter, or at once when the stream had worked. What was unanswered is sent again.
3. A router that says goodbye is heard a little longer, for answers under way; nothing more is sent to it.
4. What can't get better by trying again (not let in) is raised by `run`.
5. A receipt, and a user's answer, is awaited over all streams: on each new one the router is asked for those that the one before did
   not give.

Invariant: between two awaits, everything the outbox concluded has been handed to those that wait for it (`settle`).

Never imports nats, aiohttp or msgspec.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import grpc.aio

from runcast.client.access import Access, Metadata
from runcast.client.answers import AnswerBook
from runcast.client.journal import Journal
from runcast.client.outbox import Outbox
from runcast.client.receipts import ReceiptBook
from runcast.client.rim import end_writing, open_channel, read, time_limit_at, write
from runcast.client.routers import Routers
from runcast.client.statistics import ConnectionState, State
from runcast.v1.ingest_pb2 import ProducerHello, PublishRequest, PublishResponse
from runcast.v1.ingest_pb2_grpc import IngestServiceStub
from runcast.wire import limits, limits_client
from runcast.wire.errors import RuncastError, UnavailableError

_log = logging.getLogger("runcast.client")
OnState = Callable[[ConnectionState], None]
_Call = grpc.aio.StreamStreamCall[PublishRequest, PublishResponse]


class Carrier:
    """The streams of one process, one after the other.

    Args:
        routers: where to go.
        hello: who we are.
        draw: randomness for waits, 0.0 to 1.0.
        outbox: what is to be sent.
        book: the receipts that are awaited.
        answers: the answers of users that are waited for.
        settle: tells those that wait what `outbox` and `book` concluded.
        hear: takes what a response says to runs (cancels); the rest of it was taken before.
        on_state: told of every change of `state`; what it raises is logged.
        journal: asked to commit before anything is sent.
        access: how each stream gets in.

    Attributes:
        state: how things are with the routers.
        streams: how many were opened.
        channel: while a stream is open on it.
        metadata: what that stream said about us.
        ready: set while a stream is open; by the owner too, when there never will be one.
    """

    def __init__(
        self,
        routers: Routers,
        hello: ProducerHello,
        draw: Callable[[], float],
        outbox: Outbox,
        book: ReceiptBook,
        answers: AnswerBook,
        *,
        settle: Callable[[], None],
        hear: Callable[[PublishResponse], None],
        on_state: OnState | None = None,
        journal: Journal | None = None,
        access: Access | None = None,
    ) -> None:
        self._routers = routers
        self._access = access or Access()
        self._hello = hello
        self._draw = draw
        self._outbox = outbox
        self._book = book
        self._answers = answers
        self._settle = settle
        self._hear = hear
        self._on_state = on_state
        self._journal = journal
        self._target = ""
        self._wake = asyncio.Event()  # something may have to be sent
        self._stopping = False
        self._leaving = False  # the router said goodbye: nothing more is sent on this stream
        self._progress = False  # a batch was stored by this stream
        self.state = ConnectionState("connecting", "", "")
        self.streams = 0
        self.channel: grpc.aio.Channel | None = None
        self.metadata: Metadata = ()
        self.ready = asyncio.Event()

    @property
    def stopping(self) -> bool:
        """`stop` was called."""
        return self._stopping

    def wake(self) -> None:
        """Something may have to be sent."""
        self._wake.set()

    def stop(self) -> None:
        """Say goodbye to the router; `run` returns after it."""
        self._stopping = True
        self._wake.set()

    def enter(self, state: State, reason: str = "") -> None:
        """The state changes; the owner says "closed"."""
        self.state = ConnectionState(state, self._target, reason)
        if self._on_state is not None:
            try:
                self._on_state(self.state)
            except Exception:
                _log.exception("on_state raised; the publisher goes on")

    async def run(self) -> None:
        """Carry until stopped.

        Raises:
            RuncastError: no router will ever let us in.
        """
        while not self._stopping:
            await self._carry()

    # --- inside ---

    async def _carry(self) -> None:
        """One stream to one router, and the wait after it."""
        target = self._target = self._routers.take()
        self.enter("connecting")
        self._leaving = self._progress = False
        try:
            metadata = await self._access.metadata()
            async with open_channel(target, self._routers.patience_s, self._access.tls) as channel:
                await self._stream(channel, metadata, target)
            why = "it said goodbye"
        except RuncastError as exc:
            if not exc.code.retry:
                raise
            why = str(exc)
        finally:
            self.ready.clear()
            self.channel = None
            self._outbox.disconnected()
            self._book.disconnected()
            self._answers.disconnected()
        if self._stopping:
            return
        wait_s = 0.0
        if self._progress:
            self._routers.worked()
        else:
            wait_s = self._routers.failed(self._draw())
        self.enter("waiting", why)
        level = logging.WARNING if self._routers.worth_telling else logging.INFO
        _log.log(level, "router %s was left (%s); going to the next in %.2f s, %d events wait", target, why, wait_s, self._outbox.events)
        await self._pause(wait_s)

    async def _stream(self, channel: grpc.aio.Channel, metadata: Metadata, target: str) -> None:
        call = IngestServiceStub(channel).Publish(metadata=metadata)
        await write(call, PublishRequest(hello=self._hello), target)
        first = await read(call, target, self._now() + self._routers.patience_s)
        if first is None or not first.HasField("hello"):
            raise UnavailableError(f"{target} did not say hello; is it a Runcast router?")
        self._outbox.connected(self._now(), first.hello)
        _log.info("connected to router %s at %s", first.hello.router, target)
        self.channel, self.metadata = channel, metadata
        self.streams += 1
        self.ready.set()
        self.enter("connected")
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
            asks, abandons, questions = self._book.take_asks(now), self._outbox.take_abandons(), self._answers.take_asks()
            open_runs = self._outbox.take_open_runs()
            self._settle()
            if batches or asks or abandons or questions or open_runs:
                if self._journal is not None:
                    self._journal.commit()
                request = PublishRequest(batches=batches, receipt_asks=asks, abandons=abandons, answer_asks=questions, open_runs=open_runs)
                await write(call, request, target)
                await asyncio.sleep(limits.MESSAGE_PACE_S)  # what comes meanwhile shares the next message
            else:
                await self._wait_wake(earlier(self._outbox.deadline(), self._book.deadline()))
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
                grace_s = min(response.go_away.grace_ms / 1000, limits_client.GOODBYE_S)
                leave_at = self._now() + grace_s
                self._leaving = True
                self._wake.set()

    def _take(self, response: PublishResponse) -> None:
        """Hand a response to the outbox, the receipts, the answers and the runs."""
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
        for answer in response.answers:
            self._answers.received(answer)
        self._hear(response)
        self._settle()
        self._wake.set()

    async def _pause(self, wait_s: float) -> None:
        """Wait between two streams, while time passes for the outbox too."""
        until = self._now() + wait_s
        while self._now() < until and not self._stopping:
            self._outbox.tick(self._now())
            self._book.tick(self._now())
            self._settle()
            deadline = earlier(self._outbox.deadline(), self._book.deadline())
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


def earlier(one: float | None, other: float | None) -> float | None:
    """The earlier of two times, None being never."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
