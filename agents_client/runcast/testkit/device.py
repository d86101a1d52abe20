"""A real WebSocket client of one user, as tests see it: `DeviceSession` decides, `Link` keeps the line, this records, waits and controls.

Rules: every event is recorded in the order of its arrival; a broken chain fails whoever waits and, when `strict`, the closing of the
device; a connection that ends unasked fails whoever waits, unless the device comes back by itself (`reconnect=True`).
"""

import asyncio
import ssl
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from runcast.testkit.device_link import Link
from runcast.testkit.device_session import Answered, ChainBrokenError, DeviceSession, Received
from runcast.v1.event_pb2 import Event
from runcast.wire.codes import CODES
from runcast.wire.errors import RefusedError
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, Error, Send, ServerFrame, Welcome


class Device:
    """A device of a user. `async with Device(url, token) as device:` connects and waits for the welcome.

    Args:
        urls: an edge's WebSocket URL, or several to take in turn.
        token: of the user.
        device: this client's id.
        position: where to begin: a position, "earliest", "latest"; None or "" for the device's cursor, else earliest.
        subprotocol: `runcast.v1.json` or `runcast.v1.proto`.
        ack: acknowledge what was delivered; if not, only `acknowledge` does.
        snapshot: True: ask for a snapshot to begin with; False: never have one; None: as the edge decides.
        reconnect: come back by itself, with backoff, taking the next URL each time.
        strict: a broken chain is raised when the device closes.
        record: keep events and frames; off for devices that live long.
        on_event: called with every event as it comes.
        on_frame: called with every frame as it comes, before anything is made of it.
        on_opened: called with every welcome.
        on_lost: called with a text when a connection ended and the device is coming back.
        http: a session to use; None for one of its own.
        tls: whom to believe, for wss:// URLs; None for the operating system's authorities.

    Attributes:
        received: what was delivered, with position and time.
        frames: every frame from the edge.
        session: the machine; its position, repeats and resets may be read.
        welcome: the newest one.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        token: str,
        *,
        device: str = "d1",
        position: str | None = None,
        subprotocol: str = JSON_SUBPROTOCOL,
        ack: bool = True,
        snapshot: bool | None = False,
        reconnect: bool = False,
        strict: bool = True,
        record: bool = True,
        on_event: Callable[[Received], None] | None = None,
        on_frame: Callable[[ServerFrame], None] | None = None,
        on_opened: Callable[[Welcome], None] | None = None,
        on_lost: Callable[[str], None] | None = None,
        http: aiohttp.ClientSession | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._strict = strict
        self._record = record
        self._on_event = on_event
        self._on_frame = on_frame
        self._on_opened = on_opened
        self._on_lost = on_lost
        self._waiters: list[tuple[Callable[[Event], bool], asyncio.Future[Event]]] = []
        self._opened_waiters: list[asyncio.Future[Welcome]] = []
        self._answers: dict[str, asyncio.Future[Answered]] = {}
        self.session = DeviceSession(device, position or "", ack=ack, snapshot=snapshot)
        urls = [urls] if isinstance(urls, str) else urls
        self._link = Link(urls, token, CODECS[subprotocol], self.session, self, reconnect=reconnect, strict=strict, http=http, tls=tls)
        self.received: list[Received] = []
        self.frames: list[ServerFrame] = []
        self.welcome: Welcome | None = None

    async def __aenter__(self) -> Self:
        """Connect; see `connect`."""
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        """Disconnect; raises ChainBrokenError when strict, unless another exception is on its way."""
        await self.close()
        if exc is None:
            self.check_chain()

    @property
    def device(self) -> str:
        """This client's id."""
        return self.session.device

    @property
    def position(self) -> str:
        """Where the device is in the stream."""
        return self.session.position

    @property
    def events(self) -> list[Event]:
        """Every event in the order of its arrival."""
        return [received.event for received in self.received]

    @property
    def connected(self) -> bool:
        """Whether a connection is open now."""
        return self._link.connected

    @property
    def chain_breaks(self) -> list[str]:
        """How the chain broke, should it have."""
        return self._link.chain_breaks

    @property
    def close_code(self) -> int | None:
        """Of the last connection that ended; None when it ended without one."""
        return self._link.close_code

    def check_chain(self) -> None:
        """Raise ChainBrokenError when the chain broke and the device is strict."""
        if self.chain_breaks and self._strict:
            raise ChainBrokenError(f"device {self.device}: {'; '.join(self.chain_breaks)}")

    async def connect(self, url: str | None = None, *, timeout: float = 10.0) -> Welcome:
        """Open a connection, to `url` or the next of the URLs, and wait for the welcome.

        Raises:
            DeviceClosedError: refused, or ended before the welcome.
            TimeoutError: no welcome in time.
        """
        opened: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._opened_waiters.append(opened)
        try:
            self._link.begin(url)
            async with asyncio.timeout(timeout):
                return await opened
        finally:
            opened.cancel()
            self._opened_waiters = [waiter for waiter in self._opened_waiters if waiter is not opened]

    async def reconnect(self, url: str | None = None, *, abruptly: bool = False) -> Welcome:
        """Disconnect, and connect again from where the device is, to `url` or the next of the URLs."""
        await self.disconnect(abruptly=abruptly)
        return await self.connect(url)

    async def disconnect(self, *, abruptly: bool = False) -> None:
        """End the connection: with an acknowledgement and a WebSocket close, or by a reset of the TCP connection.

        Raises:
            Exception: what made the reading task fail, such as an exception of `on_event`.
        """
        await self._link.leave(abruptly=abruptly)

    async def close(self) -> None:
        """Disconnect and give everything back. Safe to call twice."""
        try:
            await self.disconnect()
        finally:
            await self._link.close()

    async def wait_for(self, predicate: Callable[[Event], bool], timeout: float = 10.0, *, start: int = 0) -> Event:
        """The first event that satisfies `predicate`, among those received from index `start` on, or to come.

        Raises:
            TimeoutError: none came within `timeout` seconds; the message says what did.
            DeviceClosedError: the connection ended.
            ChainBrokenError: the chain broke.
        """
        for received in self.received[start:]:
            if predicate(received.event):
                return received.event
        if not self._link.alive:
            raise self._link.why()
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._waiters.append((predicate, future))
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            kinds = [event.WhichOneof("kind") for event in self.events[start:]]
            raise TimeoutError(
                f"device {self.device} got no such event in {timeout:g} s; it got {len(kinds)}, the last: {kinds[-10:]}"
            ) from None
        finally:
            self._waiters = [waiter for waiter in self._waiters if waiter[1] is not future]

    async def wait_kind(self, kind: str, timeout: float = 10.0, *, run_id: str = "", start: int = 0) -> Event:
        """The first event of a kind, of any run or of `run_id`; see `wait_for`."""
        return await self.wait_for(lambda e: e.WhichOneof("kind") == kind and run_id in ("", e.run_id), timeout, start=start)

    async def wait_count(self, count: int, timeout: float = 10.0) -> list[Event]:
        """Wait until `count` events have come; returns all that have."""
        if len(self.received) < count:
            await self.wait_for(lambda _: len(self.received) >= count, timeout, start=len(self.received))
        return self.events

    @property
    def ended(self) -> str:
        """Why the last connection ended, for people."""
        return str(self._link.why())

    async def wait_closed(self, timeout: float | None = 10.0) -> int | None:
        """Wait until the connection ended for good; returns its close code.

        Raises:
            TimeoutError: it did not within `timeout` seconds (None: any time).
            Exception: what made the reading task fail, such as an exception of `on_event`.
        """
        async with asyncio.timeout(timeout):
            await self._link.wait_closed()
        return self.close_code

    async def send_message(
        self,
        group: str,
        thread: str,
        text: str,
        *,
        id: str | None = None,  # noqa: A002 # the frame's own word
        data: object = None,
        timeout: float = 10.0,
    ) -> Answered:
        """Send a message to an agent group and wait until it is stored; see `send`."""
        frame = Send(id or str(uuid.uuid4()), "message", group, thread, text)
        if data is not None:
            frame.data = msgspec.Raw(msgspec.json.encode(data))
        return await self.send(frame, timeout=timeout)

    async def cancel(self, run_id: str, reason: str = "", *, id: str | None = None, timeout: float = 10.0) -> Answered:  # noqa: A002
        """Ask for the end of a run and wait until the wish is stored; see `send`."""
        return await self.send(Send(id or str(uuid.uuid4()), "cancel", run_id=run_id, reason=reason), timeout=timeout)

    async def answer(
        self,
        run_id: str,
        request_id: str,
        value: object,
        *,
        group: str = "",
        thread: str = "",
        id: str | None = None,  # noqa: A002 # the frame's own word
        timeout: float = 10.0,
    ) -> Answered:
        """Answer an input_requested and wait until the answer is stored; see `send`.

        Without `group` it is for the process that asked, otherwise for the inbox of that group.
        """
        raw = msgspec.Raw(msgspec.json.encode(value))
        frame = Send(id or str(uuid.uuid4()), "answer", group, thread, run_id=run_id, request_id=request_id, data=raw)
        return await self.send(frame, timeout=timeout)

    async def send(self, frame: Send, *, timeout: float = 10.0) -> Answered:
        """Send something for an agent and wait for the answer. It goes out again, unchanged, after a reconnect.

        Raises:
            RefusedError: it was refused; its code says why and whether it may have been stored.
            TimeoutError: no answer in time: it may have been stored.
            DeviceClosedError: the connection ended: it may have been stored.
        """
        if not self._link.alive:
            raise self._link.why()
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._answers[frame.id] = future
        try:
            self.session.send(frame)
            await self._link.carry_out()
            async with asyncio.timeout(timeout):
                answered = await future
        finally:
            self._answers.pop(frame.id, None)
            self.session.forget_send(frame.id)
        if answered.error is not None:
            raise _refused(answered.error)
        return answered

    async def acknowledge(self) -> None:
        """Acknowledge everything received so far."""
        self.session.acknowledge()
        await self._link.carry_out()

    async def send_raw(self, payload: str | bytes) -> None:
        """Send a WebSocket message as it is, text or binary; for trying what an edge does with nonsense."""
        await self._link.send_raw(payload)

    # --- control ---

    def hold_acks(self) -> None:
        """Acknowledge nothing from now on: the edge sends on until its window is full, and receipts wait."""
        self.session.acknowledging = False

    async def release_acks(self) -> None:
        """Acknowledge everything received so far, and what comes as it comes."""
        self.session.acknowledging = True
        await self.acknowledge()

    def freeze(self) -> None:
        """Read nothing from now on, as a page does whose machine is too busy; the connection stays."""
        self._link.freeze()

    def thaw(self) -> None:
        """Read again."""
        self._link.thaw()

    def go_slow(self, frame_s: float) -> None:
        """Take so long for each frame, seconds; 0 for as quick as can be."""
        self._link.frame_s = frame_s

    # --- what the line tells ---

    def take_frame(self, frame: ServerFrame) -> None:
        """A frame came; called by the line."""
        if self._record:
            self.frames.append(frame)
        if self._on_frame is not None:
            self._on_frame(frame)

    def take_welcome(self, welcome: Welcome) -> None:
        """The session is open; called by the line."""
        self.welcome = welcome
        for waiter in self._opened_waiters:
            if not waiter.done():
                waiter.set_result(welcome)
        if self._on_opened is not None:
            self._on_opened(welcome)

    def take_events(self, events: Sequence[Event], pos: str) -> None:
        """Events came; called by the line."""
        at = time.time()
        for event in events:
            received = Received(event, pos, at)
            if self._record:
                self.received.append(received)
            if self._on_event is not None:
                self._on_event(received)
            for predicate, future in self._waiters:
                if not future.done() and predicate(event):
                    future.set_result(event)

    def take_answer(self, answered: Answered) -> None:
        """A send was answered; called by the line."""
        future = self._answers.get(answered.id)
        if future is not None and not future.done():
            future.set_result(answered)

    def lose(self, why: str) -> None:
        """The connection ended and is opened again; called by the line."""
        if self._on_lost is not None:
            self._on_lost(why)

    def end(self, why: Exception) -> None:
        """Nothing more comes: fail whoever waits; called by the line."""
        futures: list[asyncio.Future[Event] | asyncio.Future[Welcome] | asyncio.Future[Answered]] = []
        futures += [future for _, future in self._waiters]
        futures += self._opened_waiters
        futures += self._answers.values()
        for future in futures:
            if not future.done():
                future.set_exception(why)


def _refused(error: Error) -> RefusedError:
    code = error.code if error.code in CODES else "internal"
    return RefusedError(error.message, code=code, retry_after_s=error.retry_after_ms / 1000)
