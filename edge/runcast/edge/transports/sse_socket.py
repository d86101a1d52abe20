"""A server-sent event stream, dressed as the WebSocket that `Connection` carries frames over.

The reader can't say anything, so what it would say is in its request: `hello`. After that it is heard when it takes bytes: what was
written to it is confirmed by TCP, or TCP gives it up (`SSE_UNHEARD_MS`).

The answer's head waits for the first frame: a refusal is an HTTP status with a body of JSON (but for a browser's EventSource that is to
come back, see `status.refuse`), and only what begins with `welcome` goes on.
"""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from runcast.edge.transports.sse import HEARTBEAT
from runcast.edge.transports.status import name_of_close, refuse
from runcast.wire import limits_http
from runcast.wire.errors import RuncastError
from runcast.wire.frames import Hello

_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}
_TOOK: Final = WSMessage(WSMsgType.PONG, b"", None)
"""The reader takes what is written."""
_GONE: Final = WSMessage(WSMsgType.CLOSED, None, None)


class SseSocket:
    """One stream. What `Connection` uses of aiohttp's WebSocketResponse is here under its names.

    Args:
        request: that asked for it.
        hello: what the reader says, in its place.
        headers: further ones of the answer.
        lasts_s: it ends by itself after this.

    Attributes:
        response: the answer; None before the first frame.
        close_code: with which it ended; None before.
    """

    def __init__(self, request: web.Request, hello: Hello, headers: Mapping[str, str], *, lasts_s: float = limits_http.SSE_LASTS_S) -> None:
        self.response: web.StreamResponse | None = None
        self.close_code: int | None = None
        self._request = request
        self._hello: bytes | None = msgspec.json.encode(hello)
        self._headers = headers
        self._over = asyncio.Event()
        self._written_at = time.monotonic()
        jitter = random.uniform(1 - limits_http.SSE_LASTS_JITTER, 1.0)  # noqa: S311 # jitter, not a secret
        self._ends_at = self._written_at + lasts_s * jitter

    async def receive(self) -> WSMessage:
        """First the hello; then nothing, until the reader is gone or the stream has lasted long enough. Says heartbeats meanwhile."""
        if self._hello is not None:
            hello, self._hello = self._hello, None
            return WSMessage(WSMsgType.TEXT, hello, None)
        while not self._over.is_set():
            until = min(time.monotonic() + limits_http.SSE_HEARTBEAT_S, self._ends_at)
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    await self._over.wait()
            except TimeoutError:
                now = time.monotonic()
                if now >= self._ends_at:
                    break
                if self.response is not None:
                    if now - self._written_at >= limits_http.SSE_HEARTBEAT_S / 2:
                        await self.ping()
                    return _TOOK
        return _GONE

    async def send_frame(self, message: bytes, opcode: WSMsgType) -> None:  # noqa: ARG002 # a WebSocket's
        """Write an event; waits while the reader takes none.

        Raises:
            ConnectionError: it is gone.
        """
        if not message or self._over.is_set():
            return
        if self.response is None:
            if message.startswith(b"event: end\n"):
                return  # `close` answers with a status
            await self._begin()
        await self._write(message)

    async def ping(self, message: bytes = b"") -> None:  # noqa: ARG002 # a WebSocket's
        """Ask whether the reader is there: what TCP confirms, or does not."""
        if self.response is not None and not self._over.is_set():
            with contextlib.suppress(ConnectionError):
                await self._write(HEARTBEAT)

    async def pong(self, message: bytes = b"") -> None:
        """Nobody pings here."""

    async def close(self, *, code: int = 1000, message: bytes = b"") -> bool:
        """End the stream; before it began, answer with a refusal."""
        self.close_code = code
        if self.response is None:
            self.response = refuse(self._request, RuncastError(message.decode(errors="replace"), code=name_of_close(code)), self._headers)
        self._over.set()
        return True

    # --- inside ---

    async def _begin(self) -> None:
        transport = self._request.transport
        plug = transport.get_extra_info("socket") if transport is not None else None
        if plug is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits_http.SSE_UNHEARD_MS)
        self.response = web.StreamResponse(headers={**_HEADERS, **self._headers})
        await self.response.prepare(self._request)

    async def _write(self, payload: bytes) -> None:
        assert self.response is not None  # noqa: S101 # begun
        try:
            await self.response.write(payload)
        except ConnectionError:
            self._over.set()
            raise
        self._written_at = time.monotonic()
