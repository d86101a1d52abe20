"""What a connection needs of what carries it, whichever transport that is."""

from typing import Protocol

from aiohttp import WSCloseCode, WSMessage, WSMsgType


class Socket(Protocol):
    """What a connection uses of aiohttp's WebSocketResponse; transports that are no WebSockets have the same."""

    @property
    def close_code(self) -> int | None:
        """With which it ended; None before."""
        ...

    async def receive(self) -> WSMessage:
        """What the peer says next; CLOSED when it is gone."""
        ...

    async def send_frame(self, message: bytes, opcode: WSMsgType) -> None:
        """Write; waits while the peer takes nothing."""
        ...

    async def ping(self, message: bytes = b"") -> None:
        """Ask whether it is there."""
        ...

    async def pong(self, message: bytes = b"") -> None:
        """Yes, we are."""
        ...

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"") -> bool:
        """End it, and say why."""
        ...
