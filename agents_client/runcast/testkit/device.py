"""A real WebSocket client of one user: `DeviceSession` decides, aiohttp carries out.

Rules: every event is recorded in the order of its arrival; a broken chain fails whoever waits and, when `strict`, the closing of the
device; a connection that ends unasked fails whoever waits, unless the device comes back by itself (`reconnect=True`). One task reads;
it is awaited when the device closes.
"""

import asyncio
import contextlib
import os
import random
import socket
import struct
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from runcast.testkit.device_session import (
    Answered,
    Broken,
    ChainBrokenError,
    Deliver,
    DeviceSession,
    GiveUp,
    Opened,
    Received,
    Transmit,
)
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.codes import CODES
from runcast.wire.errors import FrameInvalidError, RefusedError
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, Error, Send, ServerFrame, Welcome

_DATA = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


class DeviceClosedError(Exception):
    """The connection ended, or could not be made, and the device does not come back by itself.

    Attributes:
        close_code: of the WebSocket; None when it ended without one or was never open.
    """

    def __init__(self, message: str, close_code: int | None) -> None:
        self.close_code = close_code
        super().__init__(message)


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

    Attributes:
        received: what was delivered, with position and time.
        frames: every frame from the edge.
        session: the machine; its position, repeats and resets may be read.
        chain_breaks: how the chain broke, should it have.
        close_code: of the last connection that ended.
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
    ) -> None:
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        self._url_index = 0
        self._token = token
        self._codec = CODECS[subprotocol]
        self._ack = ack
        self._reconnect = reconnect
        self._strict = strict
        self._record = record
        self._on_event = on_event
        self._on_frame = on_frame
        self._on_opened = on_opened
        self._on_lost = on_lost
        self._http = http
        self._own_http = http is None
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._rng = random.Random()  # noqa: S311 # jitter, not a secret
        self._waiters: list[tuple[Callable[[Event], bool], asyncio.Future[Event]]] = []
        self._opened_waiters: list[asyncio.Future[Welcome]] = []
        self._answers: dict[str, asyncio.Future[Answered]] = {}
        self._refusal: Error | None = None
        self._gave_up = ""
        self.session = DeviceSession(device, position or "", ack=ack, snapshot=snapshot)
        self.received: list[Received] = []
        self.frames: list[ServerFrame] = []
        self.chain_breaks: list[str] = []
        self.close_code: int | None = None
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
        return self._ws is not None and not self._ws.closed

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
        if self._task is not None:
            raise RuntimeError("connected already; disconnect first")
        if url is not None:
            self._urls, self._url_index = [url], 0
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Welcome] = loop.create_future()
        self._opened_waiters.append(opened)
        self._closing.clear()
        self._task = loop.create_task(self._live(), name=f"device {self.device}")
        try:
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
        self._closing.set()
        if self._task is None:
            return
        ws = self._ws
        if ws is not None and not ws.closed:
            if abruptly:
                reset_connection(ws)
            else:
                if self._ack and self.session.unacknowledged:
                    self.session.acknowledge()
                    await self._carry_out()
                await ws.close()
        done, _ = await asyncio.wait((self._task,), timeout=limits.DEVICE_CLOSE_S)
        if not done:
            self._task.cancel()
            await asyncio.wait((self._task,))
        task, self._task = self._task, None
        if ws is not None and not abruptly:
            self.close_code = ws.close_code
        if not task.cancelled():
            task.result()

    async def close(self) -> None:
        """Disconnect and give everything back. Safe to call twice."""
        try:
            await self.disconnect()
        finally:
            if self._own_http and self._http is not None:
                await self._http.close()
                self._http = None

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
        if self._task is None or self._task.done():
            raise self._end()
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
        return str(self._end())

    async def wait_closed(self, timeout: float | None = 10.0) -> int | None:
        """Wait until the connection ended for good; returns its close code.

        Raises:
            TimeoutError: it did not within `timeout` seconds (None: any time).
            Exception: what made the reading task fail, such as an exception of `on_event`.
        """
        if self._task is not None:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._task)
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

    async def answer(self, group: str, thread: str, run_id: str, request_id: str, value: object, *, timeout: float = 10.0) -> Answered:
        """Answer an input_requested and wait until the answer is stored; see `send`."""
        raw = msgspec.Raw(msgspec.json.encode(value))
        frame = Send(str(uuid.uuid4()), "answer", group, thread, run_id=run_id, request_id=request_id, data=raw)
        return await self.send(frame, timeout=timeout)

    async def send(self, frame: Send, *, timeout: float = 10.0) -> Answered:
        """Send something for an agent and wait for the answer. It goes out again, unchanged, after a reconnect.

        Raises:
            RefusedError: it was refused; its code says why and whether it may have been stored.
            TimeoutError: no answer in time: it may have been stored.
            DeviceClosedError: the connection ended: it may have been stored.
        """
        if self._task is None or self._task.done():
            raise self._end()
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._answers[frame.id] = future
        try:
            self.session.send(frame)
            await self._carry_out()
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
        await self._carry_out()

    async def send_raw(self, payload: str | bytes) -> None:
        """Send a WebSocket message as it is, text or binary; for trying what an edge does with nonsense."""
        if self._ws is None:
            raise self._end()
        if isinstance(payload, str):
            await self._ws.send_str(payload)
        else:
            await self._ws.send_bytes(payload)

    # --- the reading task ---

    async def _live(self) -> None:
        failure: BaseException | None = None
        try:
            while True:
                await self._one_connection(self._urls[self._url_index % len(self._urls)])
                self._url_index += 1
                if self._closing.is_set() or not self._reconnect or (self._strict and self.chain_breaks):
                    return
                wait_s = self.session.reconnect_wait(self.close_code, self._rng.random())
                if wait_s is None:
                    return
                if self._on_lost is not None:
                    self._on_lost(str(self._end()))
                try:
                    async with asyncio.timeout(wait_s):
                        await self._closing.wait()
                    return
                except TimeoutError:
                    pass  # the wait is over: connect again
        except BaseException as exc:
            failure = exc
            raise
        finally:
            self._fail_waiters(failure if isinstance(failure, Exception) else self._end())

    async def _one_connection(self, url: str) -> None:
        """Connect, read until the end, and note how it ended."""
        self.close_code, self._refusal, self._gave_up = None, None, ""
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        try:
            async with asyncio.timeout(limits.CONNECT_TIMEOUT_S):
                ws = await self._http.ws_connect(
                    url,
                    protocols=(self._codec.subprotocol, f"runcast.token.{self._token}"),
                    max_msg_size=limits.DEVICE_FRAME_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=limits.DEVICE_CLOSE_S),
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            self._gave_up = f"{url} can't be reached: {reason_of(exc)}"
            return
        self._ws = ws
        try:
            self.session.connected(_now())
            await self._carry_out()
            await self._read(ws)
        except (ConnectionError, aiohttp.ClientConnectionError):
            pass  # the other side went away while we wrote; `close_code` says what is known
        finally:
            self.close_code = ws.close_code if ws.close_code != aiohttp.WSCloseCode.ABNORMAL_CLOSURE else None
            self.session.lost()
            if not ws.closed:
                await ws.close()
            self._ws = None

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        while not (self._gave_up and ws.closed):
            deadline = self.session.deadline()
            wait_s = None if deadline is None else max(deadline - _now(), 0.001)
            try:
                message = await ws.receive(timeout=wait_s)
            except TimeoutError:
                self.session.tick(_now())
            else:
                if message.type not in _DATA:
                    return
                payload = message.data.encode() if isinstance(message.data, str) else message.data
                try:
                    frame = self._codec.decode_server(payload)
                except FrameInvalidError as exc:
                    self.chain_breaks.append(f"the edge sent what is not a frame: {exc.message}")
                    return
                if self._record:
                    self.frames.append(frame)
                if self._on_frame is not None:
                    self._on_frame(frame)
                if isinstance(frame, Error) and not frame.id:
                    self._refusal = frame
                self.session.receive_frame(frame, _now())
                self.session.tick(_now())
            await self._carry_out()

    async def _carry_out(self) -> None:
        for effect in self.session.take_effects():
            match effect:
                case Transmit(frame):
                    if self._ws is not None and not self._ws.closed:
                        payload = self._codec.encode(frame)
                        # The reader sees the end of a broken connection; what has to go out again, does on the next one.
                        with contextlib.suppress(ConnectionError, aiohttp.ClientConnectionError):
                            await (self._ws.send_bytes(payload) if self._codec.binary else self._ws.send_str(payload.decode()))
                case Deliver(events, pos):
                    self._deliver(events, pos)
                case Opened(welcome):
                    self.welcome = welcome
                    for waiter in self._opened_waiters:
                        if not waiter.done():
                            waiter.set_result(welcome)
                    if self._on_opened is not None:
                        self._on_opened(welcome)
                case Answered():
                    future = self._answers.get(effect.id)
                    if future is not None and not future.done():
                        future.set_result(effect)
                case Broken(message):
                    self.chain_breaks.append(message)
                    await self._give_up(f"the chain is broken: {message}")
                case GiveUp(reason):
                    await self._give_up(reason)

    async def _give_up(self, reason: str) -> None:
        self._gave_up = reason
        if self._ws is not None:
            await self._ws.close()

    def _deliver(self, events: Sequence[Event], pos: str) -> None:
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

    def _end(self) -> Exception:
        """Why nothing more comes."""
        if self.chain_breaks and self._strict:
            return ChainBrokenError(f"device {self.device}: {'; '.join(self.chain_breaks)}")
        why = self._gave_up or "the connection ended"
        if self.close_code is not None:
            why += f" (close code {self.close_code})"
        if self._refusal is not None:
            why += f": {self._refusal.code}: {self._refusal.message}"
        return DeviceClosedError(f"device {self.device}: {why}", self.close_code)

    def _fail_waiters(self, exc: Exception) -> None:
        futures: list[asyncio.Future[Event] | asyncio.Future[Welcome] | asyncio.Future[Answered]] = []
        futures += [future for _, future in self._waiters]
        futures += self._opened_waiters
        futures += self._answers.values()
        for future in futures:
            if not future.done():
                future.set_exception(exc)


def reason_of(exc: BaseException) -> str:
    """Why a connection failed, in few words."""
    if isinstance(exc, aiohttp.WSServerHandshakeError):
        return f"HTTP status {exc.status}"
    if isinstance(exc, OSError) and exc.errno and exc.errno > 0:
        return os.strerror(exc.errno).lower()
    return str(exc) or type(exc).__name__


def _now() -> float:
    return time.monotonic()


def _refused(error: Error) -> RefusedError:
    code = error.code if error.code in CODES else "internal"
    return RefusedError(error.message, code=code, retry_after_s=error.retry_after_ms / 1000)


def reset_connection(ws: aiohttp.ClientWebSocketResponse) -> None:
    """Tear the TCP connection down without a word: what the other side sees when a laptop goes to sleep, but at once."""
    transport_socket = ws.get_extra_info("socket")
    if transport_socket is None:
        return
    # It may have been reset from the other side just now; then there is nothing left to do.
    with contextlib.suppress(OSError), socket.socket(fileno=socket.dup(transport_socket.fileno())) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        twin.shutdown(socket.SHUT_RDWR)
