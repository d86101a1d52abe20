"""A WebSocket client that may break every rule: frames written by hand, onto a plain socket. For trying what an edge does with them.

Nothing is checked, and nothing is sent that was not asked for: no pong, no close.
"""

import asyncio
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from runcast.wire import limits

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="


class Got(NamedTuple):
    """A frame of the server's: its first byte's opcode, and its payload."""

    opcode: int
    payload: bytes


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x11\x22\x33\x44",
    length: int | None = None,
    form: int | None = None,
) -> bytes:
    """The bytes of one frame.

    Args:
        opcode: of it.
        payload: before masking.
        fin: it is the last of its message.
        reserved: the three reserved bits, as a number.
        mask: four bytes; None for a frame without one.
        length: that it says it has; None for the truth.
        form: of the length: 7, 16 or 64 bits; None for the shortest.
    """
    size = len(payload) if length is None else length
    form = form or (7 if size < 126 else 16 if size < 65_536 else 64)
    masked = 0x80 if mask is not None else 0
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if form == 7:
        head += bytes([masked | size])
    elif form == 16:
        head += bytes([masked | 126]) + struct.pack(">H", size)
    else:
        head += bytes([masked | 127]) + struct.pack(">Q", size)
    if mask is None:
        return head + payload
    whole = mask * (len(payload) // 4 + 1)
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(whole[: len(payload)], "big")).to_bytes(len(payload), "big")


def request(
    path: str = "/v1/ws", protocols: Sequence[str] = ("runcast.v1.json",), headers: Sequence[str] = (), *, host: str = "edge"
) -> bytes:
    """The bytes of a WebSocket handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {_KEY}",
        *([f"Sec-WebSocket-Protocol: {', '.join(protocols)}"] if protocols else []),
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class RawSocket:
    """A TCP connection to an edge. `async with RawSocket(url) as raw:` connects, and sends nothing.

    Args:
        url: of the edge, ws:// or http://; its path is not used.
        source: address to come from, such as "127.0.0.2"; "" for any.
        narrow: the smallest receive buffer that the system allows, for a peer that does not read.
    """

    def __init__(self, url: str, *, source: str = "", narrow: bool = False) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._source = source
        self._limit = 1024 if narrow else 2 * limits.MIB
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        """Connect."""
        local = (self._source, 0) if self._source else None
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port, limit=self._limit, local_addr=local)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        """Cut the connection."""
        self.writer.transport.abort()

    async def send(self, *pieces: bytes) -> None:
        """Send bytes, as they are. A connection that is gone takes them in silence."""
        try:
            self.writer.write(b"".join(pieces))
            await self.writer.drain()
        except ConnectionError:
            return

    async def response(self) -> tuple[int, str]:
        """The status and the head of an HTTP answer; (0, "") when the connection ended without one."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, ""
        return int(head.split(" ", 2)[1]), head

    async def open(self, token: str = "", *, hello: bool = True, device: str = "raw", protocol: str = "runcast.v1.json") -> Self:
        """Make a handshake, and say hello and wait for the welcome.

        Raises:
            ConnectionError: it was refused.
        """
        await self.send(request(protocols=[protocol, *([f"runcast.token.{token}"] if token else [])]))
        status, head = await self.response()
        if status != 101:
            raise ConnectionRefusedError(f"the handshake was answered {head or 'by the end of the connection'}")
        if hello:
            await self.send(frame(TEXT, f'{{"type":"hello","device":"{device}","position":"latest"}}'.encode()))
            got = await self.receive()
            if got is None or b'"welcome"' not in got.payload:
                raise ConnectionRefusedError(f"no welcome but {got}")
        return self

    async def receive(self) -> Got | None:
        """The next frame; None when the connection ended."""
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            return Got(first & 0x0F, await self.reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def ended(self) -> int:
        """Read to the end; returns the close code, 0 when there was none."""
        code = 0
        while (got := await self.receive()) is not None:
            if got.opcode == CLOSE:
                code = int.from_bytes(got.payload[:2], "big")
                await self.send(frame(CLOSE, got.payload[:2]))
        return code
