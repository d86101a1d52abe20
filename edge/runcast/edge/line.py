"""One TCP connection of an edge: carries bytes between its socket and the HTTP server as `intake` lets them pass.

Thin: `intake.Intake` decides what goes on and when; this reads, stops reading, and waits. aiohttp may stop reading too: so reading is begun
again only by who stopped it, and before what waited goes on.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final, cast

from runcast.edge.framing import Fault
from runcast.edge.intake import Intake, Stage
from runcast.edge.strangers import Stranger
from runcast.wire import limits_floods

_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 40\r\n\r\n"
    b"the request's head is larger than 32 KiB"
)


class Line(asyncio.Protocol):
    """The way between a socket and the HTTP server's protocol.

    Args:
        server: the HTTP server's protocol for this connection.
        stranger: how it is counted until it is known who it is.
        gone: told when the connection is no more.

    Attributes:
        stranger: as given.
    """

    __slots__ = ("_dropped", "_gone", "_intake", "_on_fault", "_on_lost", "_paused", "_server", "_timer", "_transport", "stranger")

    def __init__(self, server: asyncio.Protocol, stranger: Stranger, gone: "Callable[[Line], None]") -> None:
        self.stranger = stranger
        stranger.cut = self.cut
        self._server = server
        self._gone = gone
        self._intake = Intake()
        self._transport: asyncio.Transport | None = None
        self._on_fault: Callable[[Fault], None] | None = None
        self._on_lost: Callable[[], None] | None = None
        self._timer: asyncio.Handle | None = None
        self._paused = False  # by us
        self._dropped = 0

    # --- what the application tells ---

    def opened(self) -> None:
        """The request is an ordinary one."""
        self._intake.opened()
        self._go_on()

    def answered(self) -> None:
        """It has its answer."""
        self._intake.answered()
        self._go_on()

    @property
    def alone(self) -> bool:
        """Nothing that came after the request's head went on: it may become a WebSocket's."""
        return self._intake.stage is Stage.ASKED

    def upgraded(self, on_fault: Callable[[Fault], None]) -> None:
        """It has: frames follow.

        Args:
            on_fault: told once when a rule is broken; what comes after that is dropped.
        """
        self._on_fault = on_fault
        self._intake.upgraded()
        self._go_on()

    def follow(self, on_lost: Callable[[], None] | None) -> None:
        """Tell a request that is not answered yet when the connection is no more; None: it is answered."""
        self._on_lost = on_lost

    def known(self) -> None:
        """The peer has proved who it is."""
        self._intake.known()
        self._go_on()

    def closing(self) -> None:
        """The session is over: read on until the peer has heard it."""
        self._intake.closing()
        self._go_on()

    def unfinished_s(self, now: float) -> float:
        """How long a message has been under way, seconds."""
        return self._intake.unfinished_s(now)

    def cut(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._intake.stage is Stage.ENDED:
            self._drop(len(data))
        else:
            self._carry(self._intake.receive(data, time.monotonic()))

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""
        return self._server.eof_received()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._server.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._server.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._intake.end()
        self._stop_timer()
        self._gone(self)
        if self._on_lost is not None:
            self._on_lost()
            self._on_lost = None
        self._server.connection_lost(exc)
        self._transport = None

    # --- carrying ---

    def _go_on(self) -> None:
        """Time passed, or more may pass than before."""
        self._timer = None
        if self._transport is not None:
            self._carry(self._intake.take(time.monotonic()))

    def _carry(self, passing: bytes) -> None:
        intake = self._intake
        if intake.waits:
            self._hold()
        else:
            self._release()
        if passing:
            self._server.data_received(passing)
        if intake.fault is not None and intake.stage is Stage.ENDED:
            self._tell(intake.fault)

    def _hold(self) -> None:
        transport, wait_s = self._transport, self._intake.wait_s
        if transport is not None and not self._paused and transport.is_reading():
            transport.pause_reading()
            self._paused = True
        self._stop_timer()
        if wait_s < math.inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait_s, self._go_on) if wait_s else loop.call_soon(self._go_on)

    def _release(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _drop(self, size: int) -> None:
        """What comes after the end is read, for a socket that is closed with something unread resets the connection, and the close code
        with it; but not for ever.
        """
        self._dropped += size
        if self._dropped > limits_floods.DROPPED_BYTES_MAX and self._transport is not None:
            self._transport.pause_reading()

    def _tell(self, fault: Fault) -> None:
        transport = self._transport
        if self._on_fault is not None:
            self._on_fault(fault)
        elif transport is not None:
            transport.write(_HEAD_TOO_LARGE)
            transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
