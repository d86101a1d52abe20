"""Fuzz target: bytes on an edge's port. The real edge, less NATS: HTTP, the handshake, frames up to the point where a token is refused."""

import asyncio
import contextlib
import functools
import logging
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from runcast.bus.logs import configure_logs
from runcast.edge.addresses import Proxies
from runcast.edge.entrance import Entrance
from runcast.edge.httplog import http_log
from runcast.edge.node import Edge
from runcast.edge.origins import Origins, is_origin
from runcast.edge.routes import Routes
from runcast.edge.settings import EdgeSettings
from runcast.edge.transports import durable
from runcast.edge.transports.sse import read_last_id
from runcast.wire import limits_http
from runcast.wire.errors import FrameInvalidError, PositionMalformedError
from runcast.wire.position import EARLIEST, LATEST, parse_position
from tests.fuzz.identity import _AUTH

_QUIET_S: Final = 0.005
"""An answer that does not begin or go on within this is over: the edge waits for more of the request, or sends no more."""
_ANSWER_S: Final = 5.0
"""The same where the edge closes when it has answered, so that there is an end to wait for."""
_HANDSHAKE: Final = (
    b"GET /v1/ws HTTP/1.1\r\nHost: edge.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


_PATHS: Final = (b"/v1/stream", b"/v1/events", b"/v1/agui/r1")


class _Complaints(logging.Handler):
    """Keeps what anybody calls an error: in production that is a line in the log, here it is a find."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        gone = record.name == "asyncio" and "_call_connection_lost" in record.getMessage()  # CPython's own, when a file is under way
        if not isinstance(cause, HttpProcessingError) and not gone:  # what is no HTTP is answered with 400
            self.heard.append(f"{record.name}: {record.getMessage()}: {cause!r}")


class Port:
    """The edge's port, on an event loop of its own."""

    def __init__(self) -> None:
        path = Path(tempfile.mkdtemp(prefix="runcast-fuzz-")) / "auth.toml"
        path.write_text(_AUTH)
        settings = EdgeSettings(
            auth="jwt",
            auth_file=str(path),
            id="fuzz",
            cookie="__Host-runcast",
            origins="https://app.test",
            connects_per_s=0,
            strangers_per_address=0,
            log_level="error",
        )
        self.complaints = _Complaints()
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._open(settings))
        logging.getLogger().addHandler(self.complaints)

    async def _open(self, settings: EdgeSettings) -> None:
        """As `runcast.edge.app.serve`, without NATS."""
        log = configure_logs(settings, "edge")
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self.edge = Edge(settings, log, self._tasks)
        runner = web.AppRunner(Routes(self.edge).app(), access_log=None, handle_signals=False, logger=http_log(), auto_decompress=False)
        await runner.setup()
        assert runner.server is not None
        self.edge.entrance = Entrance(runner.server, settings.stranger_bounds, Proxies(["127.0.0.0/8"]), self._tasks, log)
        self._port = await self.edge.entrance.open("127.0.0.1", 0, None)

    def say(self, data: bytes, quiet_s: float) -> bytes:
        """What the edge answers to these bytes, then to the end of the connection, as far as it is not silent for so long."""
        return self.loop.run_until_complete(self._say(data, quiet_s))

    async def _say(self, data: bytes, quiet_s: float) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        answer = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(data)
            await asyncio.wait_for(writer.drain(), 1.0)
            while part := await asyncio.wait_for(reader.read(65536), quiet_s):
                answer += part
        writer.transport.abort()
        async with asyncio.timeout(5.0):
            while self.edge.connections:  # noqa: ASYNC110 # they end in turns of this loop, and tell nobody
                await asyncio.sleep(0.001)
        return answer


@functools.cache
def _port() -> Port:
    return Port()


def http(data: bytes) -> None:
    """HTTP requests, handshakes, and WebSocket frames behind them; queries of the transports that are plain HTTP."""
    port, kind = _port(), data[:1]
    port.edge.not_ready = "" if kind in (b"W", b"Q") else "waiting for NATS"  # which these ask, and which no token here gets as far as
    said, quiet_s = (_ask(data[1:]), _ANSWER_S) if kind == b"Q" else (_HANDSHAKE * (kind == b"W") + data[1:], _QUIET_S)
    answer = port.say(said, quiet_s)
    complaints, port.complaints.heard = port.complaints.heard, []
    assert not complaints, complaints
    assert b'"type":"welcome"' not in answer
    assert not answer.startswith(b"HTTP/1.1 5") or answer.startswith(b"HTTP/1.1 503"), answer[:80]
    if kind == b"Q":
        assert answer[9:12] in (b"400", b"401"), answer[:80]
        _read_query(data[1:])
    text = data.decode("latin-1")
    is_origin(text)
    for local in (False, True):
        Origins(["https://app.test"], local=local).allow(text, "edge.test", cookie=False)
        Origins(["https://app.test"], local=local).allow("https://app.test", text, cookie=True)


def _ask(data: bytes) -> bytes:
    """A request with this as its query; the first byte says of which transport."""
    path = _PATHS[data[0] % len(_PATHS)] if data else _PATHS[0]
    query = quote(data[1:], safe="%&=+/?:@!$'()*,;~").encode()
    return b"GET " + path + b"?" + query + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer a.b.c\r\n\r\n"


def _read_query(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(FrameInvalidError, PositionMalformedError):
        asked = durable.read_query(parse_qsl(text, keep_blank_values=True))
        assert 0.0 < asked.wait_s <= limits_http.PAGE_WAIT_S
        assert asked.position in (EARLIEST, LATEST) or parse_position(asked.position).seq
        assert durable.choose_cursor(2e9, asked.cursor, 1) > asked.cursor
    assert not durable.matches('W/"x\0y"', text.replace("*", "").replace("\0", ""))
    with contextlib.suppress(FrameInvalidError):
        assert len(read_last_id(text, "")) <= limits_http.POSITION_CHARS_MAX


def _frame(payload: bytes, opcode: int = 1) -> bytes:
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + b"\0\0\0\0" + payload


def seeds() -> dict[str, list[bytes]]:
    """Inputs to begin with, by target."""
    json_, proto = b"Sec-WebSocket-Protocol: runcast.v1.json\r\n", b"Sec-WebSocket-Protocol: runcast.v1.proto, runcast.token.a.b.c\r\n"
    hello = _frame(b'{"type":"hello","device":"d1","token":"a.b.c"}')
    return {
        "http": [
            b"GGET /healthz?x=1&token=y HTTP/1.1\r\nHost: a\r\n\r\n", b"GGET /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GGET /client/runcast.js HTTP/1.1\r\nHost: a\r\n\r\n", b"GGET /client/..%2f..%2fapp.py HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GPOST /v1/ws HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"W" + json_ + b"\r\n", b"W" + json_ + b"Origin: https://app.test\r\n\r\n" + hello,
            b"W" + json_ + b"Authorization: Bearer x\r\nCookie: __Host-runcast=abc\r\n\r\n" + hello + _frame(b"", 9),
            b"W" + proto + b"\r\n" + _frame(b"\x0a\x04\x0a\x02d1", 2) + _frame(b"\x03\xe8", 8),
            b"Q\0offset=-1", b"Q\0offset=now&live=sse&cursor=7", b"Q\0offset=abcdefgh-0000000000000007&live=long-poll&timeout=1&device=d",
            b"Q\0offset=-1&offset=-1", b"Q\x01position=earliest&snapshot=true&device=d", b"Q\x02position=abcdefgh-0000000000000007",
            b"GHEAD /v1/stream HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n",
            b"W" + json_ + b"Origin: null\r\nOrigin: https://b\r\n\r\n", b"WSec-WebSocket-Protocol: a,b,,c\r\n\r\n",
        ],
    }  # fmt: skip
