"""The port of an edge: who may come in at all, before anything is read; and who has stayed a stranger for too long.

Connections are accepted here, not by asyncio, so that one too many of an address is closed before TLS or HTTP cost anything: in plain text
with a 429 that fits any socket's buffer, over TLS without a word. `strangers.Strangers` decides.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from aiohttp import web
from structlog.stdlib import BoundLogger

from runcast.edge.addresses import Proxies, counted
from runcast.edge.line import Line
from runcast.edge.strangers import Bounds, Refused, Strangers
from runcast.wire import limits_floods

_BACKLOG: Final = 1024
_REFUSAL: Final = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TELL_S: Final = 10.0


class Entrance:
    """Of one edge.

    Args:
        server: makes the HTTP server's protocol for each connection.
        bounds: of strangers.
        proxies: those that are trusted.
        tasks: where connections are opened.
        log: of the edge.

    Attributes:
        strangers: who is not known yet.
        proxies: as given.
    """

    def __init__(
        self, server: Callable[[], asyncio.Protocol], bounds: Bounds, proxies: Proxies, tasks: asyncio.TaskGroup, log: BoundLogger
    ) -> None:
        self.strangers = Strangers(bounds)
        self.proxies = proxies
        self._server = server
        self._tasks = tasks
        self._log = log
        self._sockets: list[socket.socket] = []
        self._tls: ssl.SSLContext | None = None
        self._told: Counter[str] = Counter()
        self._tell_at = 0.0
        self._refused_address = ""

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen; returns the port.

        Raises:
            OSError: the address can't be listened on.
        """
        self._tls = tls
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                listening = socket.socket(family, kind, protocol)
                self._sockets.append(listening)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits_floods.RECEIVE_BUFFER_BYTES)  # accepted ones inherit it
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.setblocking(False)
                listening.bind(address)
                listening.listen(_BACKLOG)
        except OSError:
            self.close()
            raise
        for listening in self._sockets:
            loop.add_reader(listening, self._accept, listening)
        return int(self._sockets[0].getsockname()[1])

    def close(self) -> None:
        """Accept nobody any more; a shared port goes to the others. Safe to call twice."""
        for listening in self._sockets:
            with contextlib.suppress(ValueError, RuntimeError):
                asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets.clear()

    async def run(self) -> None:
        """Cut those who stay strangers for too long, until cancelled."""
        while True:
            await asyncio.sleep(limits_floods.STRANGERS_LOOK_S)
            now = time.monotonic()
            for stranger in self.strangers.overdue(now):
                stranger.cut()
            self._tell(now)

    def line_of(self, request: web.BaseRequest) -> Line:
        """The connection that a request came on."""
        line = request.transport.get_protocol() if request.transport is not None else None
        if not isinstance(line, Line):
            raise ConnectionResetError("the connection is gone")
        return line

    def ask(self, request: web.BaseRequest) -> Refused | None:
        """Whether a request may be answered, by the address that it is for."""
        line = self.line_of(request)
        stranger = line.stranger
        address = stranger.address
        if not address and request.remote is not None:
            address = counted(self.proxies.find(request.remote, request.headers.getall("X-Forwarded-For", [])))
        refused = self.strangers.ask(stranger, address, time.monotonic())
        if refused is not None:
            self._refused_address = address
        return refused

    def _accept(self, listening: socket.socket) -> None:
        now = time.monotonic()
        for _ in range(limits_floods.ACCEPTS_AT_ONCE):
            try:
                accepted, (peer, *_) = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    self._pause(listening, exc)
                    return
                raise
            accepted.setblocking(False)
            self._admit(accepted, peer, now)

    def _admit(self, accepted: socket.socket, peer: str, now: float) -> None:
        address = "" if self.proxies.trusts(peer) else counted(peer)
        arrived = self.strangers.arrive(address, now)
        if isinstance(arrived, Refused):
            self._refused_address = address
            with contextlib.suppress(OSError):
                if self._tls is None:
                    accepted.send(_REFUSAL)
            accepted.close()
            return
        stranger, longest = arrived
        if longest is not None:
            longest.cut()
        self._tasks.create_task(self._open(accepted, Line(self._server(), stranger, self._gone)))

    async def _open(self, accepted: socket.socket, line: Line) -> None:
        try:
            loop = asyncio.get_running_loop()
            bound_s = limits_floods.TLS_HANDSHAKE_S if self._tls is not None else None
            await loop.connect_accepted_socket(lambda: line, accepted, ssl=self._tls, ssl_handshake_timeout=bound_s)
        except (OSError, TimeoutError):  # it left, or is no TLS; ssl.SSLError is an OSError
            self.strangers.leave(line.stranger)
            accepted.close()

    def _gone(self, line: Line) -> None:
        self.strangers.leave(line.stranger)

    def _pause(self, listening: socket.socket, exc: OSError) -> None:
        """There are no files or memory for another connection: those that wait stay in the kernel's queue."""
        self._log.error("accept_failed", error=exc.strerror, advice="raise the limit of open files (ulimit -n)")
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)

        def again() -> None:
            if listening in self._sockets:
                loop.add_reader(listening, self._accept, listening)

        loop.call_later(limits_floods.ACCEPT_PAUSE_S, again)

    def _tell(self, now: float) -> None:
        """Say once in a while how many were turned away: a line for each would be a flood of its own."""
        if now < self._tell_at:
            return
        self._tell_at = now + _TELL_S
        counts = Counter({f"refused_{why}": count for why, count in self.strangers.refused.items()})
        counts.update({f"cut_{why}": count for why, count in self.strangers.cut.items()})
        new = counts - self._told
        if new:
            self._told = counts
            advice = "if that is a proxy of yours, name it in RUNCAST_TRUSTED_PROXIES" if self._refused_address else ""
            self._log.warning("strangers_turned_away", **new, waiting=len(self.strangers), address=self._refused_address, advice=advice)
            self._refused_address = ""
