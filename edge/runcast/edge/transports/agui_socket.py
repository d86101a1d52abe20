"""A run's AG-UI stream: ends with the run, and answers 404 when the run is nowhere to be found."""

import asyncio
import time
from collections.abc import Mapping

from aiohttp import WSMessage, WSMsgType, web

from runcast.edge.transports.sse import NOTHING_LEFT, AguiCodec
from runcast.edge.transports.sse_socket import SseSocket
from runcast.edge.transports.status import refusal
from runcast.wire import limits_http
from runcast.wire.errors import RuncastError
from runcast.wire.frames import Hello


class AguiSocket(SseSocket):
    """See `SseSocket`.

    Args:
        request: that asked for it.
        hello: what the reader says, in its place.
        headers: further ones of the answer.
        codec: of this stream; it knows whether the run was found, and whether it has ended.
    """

    def __init__(self, request: web.Request, hello: Hello, headers: Mapping[str, str], codec: AguiCodec) -> None:
        super().__init__(request, hello, headers)
        self._codec = codec
        self._found_by = time.monotonic() + limits_http.AGUI_WAIT_S

    async def receive(self) -> WSMessage:
        """See `SseSocket.receive`."""
        while self._hello is None and not self._codec.started and not self._over.is_set():
            try:
                async with asyncio.timeout(max(0.0, self._found_by - time.monotonic())):
                    await self._over.wait()
            except TimeoutError:
                if not self._codec.started:
                    missing = RuncastError(
                        "the stream of this user has no such run, or no longer; check its id, and whose token this is", code="run_unknown"
                    )
                    self.response = refusal(missing, self._headers)
                    self._over.set()
                break
        return await super().receive()

    async def send_frame(self, message: bytes, opcode: WSMsgType) -> None:
        """See `SseSocket.send_frame`."""
        if message is not NOTHING_LEFT:
            await super().send_frame(message, opcode)
        if message and message is self._codec.final:
            if self.response is None:  # a browser does not come back after this status
                self.response = web.Response(status=204, headers=self._headers)
            self._over.set()
