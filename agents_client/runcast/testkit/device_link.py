"""A device's line to the edges: connect, read, carry out what the session decides, come back, end. `device.py` is what tests see of it.

Rules: one task reads, and is awaited when the line is left; whatever it fails with reaches the listener, which fails whoever waits. A
connection that ends unasked is opened again only if `reconnect`. A broken chain ends a strict line for good.
"""

import asyncio
import contextlib
import os
import random
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from typing import Protocol

import aiohttp

from runcast.testkit.device_session import Answered, Broken, ChainBrokenError, Deliver, DeviceSession, GiveUp, Opened, Transmit
from runcast.v1.event_pb2 import Event
from runcast.wire import limits_client as limits
from runcast.wire.errors import FrameInvalidError
from runcast.wire.frames import Codec, Error, ServerFrame, Welcome

_DATA = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


class DeviceClosedError(Exception):
    """The connection ended, or could not be made, and the device does not come back by itself.

    Attributes:
        close_code: of the WebSocket; None when it ended without one or was never open.
    """

    def __init__(self, message: str, close_code: int | None) -> None:
        self.close_code = close_code
        super().__init__(message)


class Listener(Protocol):
    """Who is told what comes."""

    def take_frame(self, frame: ServerFrame) -> None:
        """A frame came; nothing is made of it yet."""

    def take_welcome(self, welcome: Welcome) -> None:
        """The session is open."""

    def take_events(self, events: Sequence[Event], pos: str) -> None:
        """Events for the application."""

    def take_answer(self, answered: Answered) -> None:
        """A send was answered."""

    def lose(self, why: str) -> None:
        """The connection ended, and the line is coming back."""

    def end(self, why: Exception) -> None:
        """Nothing more comes."""


class Link:
    """The line.

    Args:
        urls: of edges, to take in turn.
        token: of the user.
        codec: of the subprotocol.
        session: decides.
        listener: is told.
        reconnect: come back by itself.
        strict: a broken chain ends the line.
        http: a session to use; None for one of its own.
        tls: whom to believe, for wss:// URLs; None for the operating system's authorities.

    Attributes:
        chain_breaks: how the chain broke, should it have.
        close_code: of the last connection that ended.
        frame_s: at least so long per frame: a slow reader; seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        token: str,
        codec: Codec,
        session: DeviceSession,
        listener: Listener,
        *,
        reconnect: bool,
        strict: bool,
        http: aiohttp.ClientSession | None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._urls = list(urls)
        self._url_index = 0
        self._token = token
        self._codec = codec
        self._session = session
        self._listener = listener
        self._reconnect = reconnect
        self._strict = strict
        self._http = http
        self._tls = tls
        self._own_http = http is None
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._rng = random.Random()  # noqa: S311 # jitter, not a secret
        self._refusal: Error | None = None
        self._gave_up = ""
        self._close_frame: int | None = None
        self.chain_breaks: list[str] = []
        self.close_code: int | None = None
        self.frame_s = 0.0

    @property
    def connected(self) -> bool:
        """Whether a connection is open now."""
        return self._ws is not None and not self._ws.closed

    @property
    def alive(self) -> bool:
        """Whether a connection is open, or will be."""
        return self._task is not None and not self._task.done()

    def begin(self, url: str | None) -> None:
        """Begin to connect, to `url` or the next of the URLs."""
        if self._task is not None:
            raise RuntimeError("connected already; disconnect first")
        if url is not None:
            self._urls, self._url_index = [url], 0
        self._closing.clear()
        self._task = asyncio.get_running_loop().create_task(self._live(), name=f"device {self._session.device}")

    async def leave(self, *, abruptly: bool) -> None:
        """End the connection: with an acknowledgement and a WebSocket close, or by a reset of the TCP connection.

        Raises:
            Exception: what made the reading task fail, such as an exception of `on_event`.
        """
        self._closing.set()
        self._reading.set()
        if self._task is None:
            return
        ws = self._ws
        if ws is not None and not ws.closed:
            if abruptly:
                reset_connection(ws)
            else:
                if self._session.acknowledging and self._session.unacknowledged:
                    self._session.acknowledge()
                    await self.carry_out()
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
        """Give the HTTP session back, if it is the line's own."""
        if self._own_http and self._http is not None:
            await self._http.close()
            self._http = None

    async def wait_closed(self) -> None:
        """Wait until the connection ended for good; raises what made the reading task fail."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def freeze(self) -> None:
        """Read nothing from now on; the connection stays."""
        self._reading.clear()

    def thaw(self) -> None:
        """Read again."""
        self._reading.set()

    async def send_raw(self, payload: str | bytes) -> None:
        """Send a WebSocket message as it is."""
        if self._ws is None:
            raise self.why()
        if isinstance(payload, str):
            await self._ws.send_str(payload)
        else:
            await self._ws.send_bytes(payload)

    async def carry_out(self) -> None:
        """Do what the session wants done."""
        for effect in self._session.take_effects():
            match effect:
                case Transmit(frame):
                    if self._ws is not None and not self._ws.closed:
                        payload = self._codec.encode(frame)
                        # The reader sees the end of a broken connection; what has to go out again, does on the next one.
                        with contextlib.suppress(ConnectionError, aiohttp.ClientConnectionError):
                            await (self._ws.send_bytes(payload) if self._codec.binary else self._ws.send_str(payload.decode()))
                case Deliver(events, pos):
                    self._listener.take_events(events, pos)
                case Opened(welcome):
                    self._listener.take_welcome(welcome)
                case Answered():
                    self._listener.take_answer(effect)
                case Broken(message):
                    self.chain_breaks.append(message)
                    await self._give_up(f"the chain is broken: {message}")
                case GiveUp(reason):
                    await self._give_up(reason)

    def why(self) -> Exception:
        """Why nothing more comes."""
        name = f"device {self._session.device}"
        if self.chain_breaks and self._strict:
            return ChainBrokenError(f"{name}: {'; '.join(self.chain_breaks)}")
        why = self._gave_up or "the connection ended"
        if self.close_code is not None:
            why += f" (close code {self.close_code})"
        if self._refusal is not None:
            why += f": {self._refusal.code}: {self._refusal.message}"
        return DeviceClosedError(f"{name}: {why}", self.close_code)

    # --- the reading task ---

    async def _live(self) -> None:
        failure: BaseException | None = None
        try:
            while True:
                await self._one_connection(self._urls[self._url_index % len(self._urls)])
                self._url_index += 1
                if self._closing.is_set() or not self._reconnect or (self._strict and self.chain_breaks):
                    return
                wait_s = self._session.reconnect_wait(self.close_code, self._rng.random())
                if wait_s is None:
                    return
                self._listener.lose(str(self.why()))
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
            self._listener.end(failure if isinstance(failure, Exception) else self.why())

    async def _one_connection(self, url: str) -> None:
        """Connect, read until the end, and note how it ended."""
        self.close_code, self._refusal, self._gave_up, self._close_frame = None, None, "", None
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        try:
            async with asyncio.timeout(limits.CONNECT_TIMEOUT_S):
                ws = await self._http.ws_connect(
                    url,
                    ssl=self._tls or True,
                    protocols=(self._codec.subprotocol, f"runcast.token.{self._token}"),
                    max_msg_size=limits.DEVICE_FRAME_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=limits.DEVICE_CLOSE_S),
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            self._gave_up = f"{url} can't be reached: {reason_of(exc)}"
            return
        self._ws = ws
        try:
            self._session.connected(_now())
            await self.carry_out()
            await self._read(ws)
        except (ConnectionError, aiohttp.ClientConnectionError):
            pass  # the other side went away while we wrote; `close_code` says what is known
        finally:
            # What the edge said counts: over TLS aiohttp forgets it when its own close can't be written any more.
            said = self._close_frame or ws.close_code
            self.close_code = said if said != aiohttp.WSCloseCode.ABNORMAL_CLOSURE else None
            self._session.lost()
            if not ws.closed:
                await ws.close()
            self._ws = None

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        while not (self._gave_up and ws.closed):
            deadline = self._session.deadline()
            wait_s = None if deadline is None else max(deadline - _now(), 0.001)
            try:
                message = await ws.receive(timeout=wait_s)
            except TimeoutError:
                self._session.tick(_now())
            else:
                await self._reading.wait()
                if self.frame_s:
                    await asyncio.sleep(self.frame_s)
                if message.type not in _DATA:
                    if message.type is aiohttp.WSMsgType.CLOSE:
                        self._close_frame = message.data
                    return
                payload = message.data.encode() if isinstance(message.data, str) else message.data
                try:
                    frame = self._codec.decode_server(payload)
                except FrameInvalidError as exc:
                    self.chain_breaks.append(f"the edge sent what is not a frame: {exc.message}")
                    return
                self._listener.take_frame(frame)
                if isinstance(frame, Error) and not frame.id:
                    self._refusal = frame
                self._session.receive_frame(frame, _now())
                self._session.tick(_now())
            await self.carry_out()

    async def _give_up(self, reason: str) -> None:
        self._gave_up = reason
        if self._ws is not None:
            await self._ws.close()


def reason_of(exc: BaseException) -> str:
    """Why a connection failed, in few words."""
    if isinstance(exc, aiohttp.WSServerHandshakeError):
        return f"HTTP status {exc.status}"
    if isinstance(exc, aiohttp.ClientResponseError):  # its own words are the bytes that came
        return "what answers there does not speak HTTP"
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return f"no host is named {exc.host}"
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not believed: {getattr(exc.certificate_error, 'verify_message', '') or exc.certificate_error}"
    if isinstance(exc, aiohttp.ClientConnectorSSLError):  # its number is OpenSSL's, and would be read as the system's
        return f"no TLS that both can speak: {getattr(exc.os_error, 'reason', '') or exc.os_error}"
    if isinstance(exc, OSError) and exc.errno and exc.errno > 0:
        return os.strerror(exc.errno).lower()
    return str(exc) or type(exc).__name__


def _now() -> float:
    return time.monotonic()


def reset_connection(ws: aiohttp.ClientWebSocketResponse) -> None:
    """Tear the TCP connection down without a word: what the other side sees when a laptop goes to sleep, but at once."""
    transport_socket = ws.get_extra_info("socket")
    if transport_socket is None:
        return
    # It may have been reset from the other side just now; then there is nothing left to do.
    with contextlib.suppress(OSError), socket.socket(fileno=socket.dup(transport_socket.fileno())) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        twin.shutdown(socket.SHUT_RDWR)
