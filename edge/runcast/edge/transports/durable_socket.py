"""What a Durable Stream's reader gets, a page or server-sent events, dressed as the WebSocket that `Connection` carries frames over.

Thin: `durable` decides what is said and when. A page is written while its session still counts: so what a slow reader holds is bounded, and
a revocation cuts it off. Its last chunk goes out when the session is over: who has all of a page can't come back before that, with the next
request on the same connection, or with an acknowledgement. A reader that goes away while it waits for its page ends the session at once: it
is soon back as the same device, and would be one too many.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from runcast.edge.line import Line
from runcast.edge.transports import durable
from runcast.edge.transports.durable import Asked, GoneError, Page, Reading
from runcast.edge.transports.sse_socket import SseSocket
from runcast.edge.transports.status import name_of_close, refusal
from runcast.wire import limits_http
from runcast.wire.codes import CODES
from runcast.wire.errors import RuncastError
from runcast.wire.frames import Hello

LIVE_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of what may be another the next time."""
_PAGE_HEADERS: Final = {**LIVE_HEADERS, "Cache-Control": "private, no-cache"}
"""A reader may keep its pages, and asks each time whether they still hold, with the token that it has then."""
_WAITS: Final = WSMessage(WSMsgType.PONG, b"", None)
_GONE: Final = WSMessage(WSMsgType.CLOSED, None, None)


def choose_cursor(asked: Asked) -> int:
    """See `durable.choose_cursor`; now."""
    ahead = random.randint(1, limits_http.STREAM_CURSOR_AHEAD_MAX)  # noqa: S311 # jitter, not a secret
    return durable.choose_cursor(time.time(), asked.cursor, ahead)


def gone(error: GoneError, headers: Mapping[str, str]) -> web.Response:
    """The answer to who asks for an offset that can't be gone on from."""
    return refusal(error, {**headers, **LIVE_HEADERS, durable.NEXT: error.offset})


class PageSocket:
    """One page. What `Connection` uses of aiohttp's WebSocketResponse is here under its names.

    Args:
        request: that asked for it.
        hello: what the reader says, in its place.
        headers: further ones of the answer.
        asked: by the request.
        line: below it.

    Attributes:
        response: the answer; None before it is known.
        close_code: with which it ended; None before.
    """

    def __init__(self, request: web.Request, hello: Hello, headers: Mapping[str, str], asked: Asked, line: Line) -> None:
        self.response: web.StreamResponse | None = None
        self.close_code: int | None = None
        self._request = request
        self._hello: bytes | None = msgspec.json.encode(hello)
        self._headers = headers
        self._asked = asked
        self._line = line
        self._page = Page(asked, time.monotonic())
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        line.follow(self._lost)

    async def receive(self) -> WSMessage:
        """First the hello; then nothing, until the page is there, and taken."""
        if self._hello is not None:
            hello, self._hello = self._hello, None
            return WSMessage(WSMsgType.TEXT, hello, None)
        while self.response is None and not self._over.is_set():
            due_s = self._page.due_s(time.monotonic())
            if due_s <= 0.0:
                await self._answer()
                break
            self._news.clear()
            try:
                async with asyncio.timeout(min(due_s, limits_http.SSE_HEARTBEAT_S)):
                    await self._news.wait()
            except TimeoutError:
                return _WAITS
        self._end()
        return _GONE

    async def send_frame(self, message: bytes, opcode: WSMsgType) -> None:  # noqa: ARG002 # a WebSocket's
        """Take a frame into the page; waits for its end when it takes no more."""
        if self._page.due_s(time.monotonic()) <= 0.0:
            await self._over.wait()
            return
        try:
            self._page.add(message, time.monotonic())
        except GoneError as exc:
            self.response = gone(exc, self._headers)
        self._news.set()

    async def ping(self, message: bytes = b"") -> None:
        """Nobody would hear it."""

    async def pong(self, message: bytes = b"") -> None:
        """Nobody pings here."""

    async def close(self, *, code: int = 1000, message: bytes = b"") -> bool:
        """End it: with what is there, if the reader may have it and come back; else with a status."""
        self.close_code = code
        name = name_of_close(code)
        if self.response is None and not (self._page.worth and CODES[name].retry and name != "token_expired"):
            self.response = refusal(RuncastError(message.decode(errors="replace"), code=name), self._headers)
        self._page.finish()
        self._news.set()
        return True

    # --- inside ---

    def _lost(self) -> None:
        self._over.set()
        self._news.set()

    def _end(self) -> None:
        self._line.follow(None)
        self._over.set()

    async def _answer(self) -> None:
        self.response = response = self._make()
        if isinstance(response, web.Response):  # nothing to wait for
            return
        try:
            async with asyncio.timeout(limits_http.PAGE_WRITE_S):
                await response.prepare(self._request)
                await response.write(self._page.body)
        except TimeoutError:
            self._line.cut()
        except ConnectionError:
            return

    def _make(self) -> web.StreamResponse:
        page = self._page
        if not page.worth:
            return refusal(RuncastError("the stream could not be read in time; try again", code="unavailable"), self._headers)
        told = {**self._headers, **_PAGE_HEADERS, durable.NEXT: page.end}
        told["Vary"] = ", ".join(["Authorization", "Cookie", *([self._headers["Vary"]] if "Vary" in self._headers else [])])
        if page.up_to_date:
            told[durable.UP_TO_DATE] = "true"
        if self._asked.live:
            told |= {**LIVE_HEADERS, durable.CURSOR: str(choose_cursor(self._asked))}
            if page.empty:
                return web.Response(status=204, headers=told)
        if self._asked.offset != durable.NOW:
            told["ETag"] = page.etag
            if durable.matches(page.etag, self._request.headers.get("If-None-Match", "")):
                return web.Response(status=304, headers=told)
        return web.StreamResponse(headers={**told, "Content-Type": "application/json"})


class StreamSocket(SseSocket):
    """The stream as server-sent events; see `SseSocket`.

    Args:
        request: that asked for it.
        hello: what the reader says, in its place.
        headers: further ones of the answer.
        asked: by the request.
    """

    def __init__(self, request: web.Request, hello: Hello, headers: Mapping[str, str], asked: Asked) -> None:
        super().__init__(request, hello, {**headers, **LIVE_HEADERS}, lasts_s=limits_http.STREAM_SSE_LASTS_S)
        self._reading = Reading(asked)
        self._cursor = choose_cursor(asked)

    async def send_frame(self, message: bytes, opcode: WSMsgType) -> None:
        """See `SseSocket.send_frame`."""
        if self._over.is_set():
            return
        before = self._reading.end
        try:
            said = self._reading.receive(message)
        except GoneError as exc:
            self.response = gone(exc, self._headers)
            self._over.set()
            return
        if self._reading.end == before or (not before and not self._reading.up_to_date):
            return  # neither further than before, nor at the end already
        self._cursor = max(self._cursor, durable.choose_cursor(time.time(), -1, 0))
        await super().send_frame(durable.sse_data(said or b"") + durable.sse_control(self._reading, self._cursor), opcode)
