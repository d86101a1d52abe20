"""The dashboard: its page (`/dashboard`), and the figures that are pushed to it (`GET /dashboard/events`, server-sent events).

Rules
1. Figures are gathered whether somebody looks or not, so that a page shows the last minutes at once; nothing is stored. Streams are asked
   for only while somebody looks.
2. A message is encoded once a second for all pages, and only if there is one. A page that is slow is sent the newest when it can take it,
   and is cut off after `limits_dashboard.VIEWER_WRITE_S`.
3. Looking on is not using: a session ends when its operator does nothing, dashboard open or not. With it the stream ends (`event: ended`).
"""

import asyncio
import time
from pathlib import Path
from typing import Final

from aiohttp import web
from nats.aio.msg import Msg

from runcast.admin.board import Board
from runcast.admin.board.board import StreamFigures
from runcast.admin.logins import Logins
from runcast.admin.node import Node
from runcast.admin.sse import encode_event, write
from runcast.admin.web_rules import HEADERS
from runcast.bus.deployment import stream_states
from runcast.bus.statistics import Heard
from runcast.wire import limits_dashboard, subjects
from runcast.wire.errors import RuncastError, UnavailableError

PAGE: Final = Path(__file__).parent / "static" / "dashboard" / "index.html"
_RETRY_MS: Final = 2000


class Dashboard:
    """Of one process. Call `open` once, when the connection to NATS is open; `run` for as long as the process lasts.

    Args:
        node: of this process.
        logins: who is logged in.

    Attributes:
        board: the figures.
        viewers: pages that look on.
    """

    def __init__(self, node: Node, logins: Logins) -> None:
        self._node = node
        self._logins = logins
        self.board = Board()
        self.viewers = 0
        self._newest = b""
        self._turn = asyncio.Event()
        node.board.listeners.append(self._on_statistics)

    def add_to(self, app: web.Application) -> None:
        """Serve it."""
        app.router.add_get("/dashboard", _page)
        app.router.add_get("/dashboard/events", self._events)

    async def open(self) -> None:
        """Listen to alerts; statistics are heard by the node."""
        await self._node.bus.nc.subscribe(subjects.ALL_ALERTS, cb=self._on_alert)

    async def run(self) -> None:
        """Gather and push until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._push(), name="dashboard figures")
            group.create_task(self._ask_streams(), name="dashboard streams")

    async def _push(self) -> None:
        while True:
            await asyncio.sleep(limits_dashboard.PUSH_S)
            now = time.monotonic()
            self.board.tick(now)
            if self.viewers:
                self._newest = encode_event("now", self.board.newest(now, time.time_ns() // 1_000_000))
            turn, self._turn = self._turn, asyncio.Event()
            turn.set()

    async def _ask_streams(self) -> None:
        while True:
            deployment = self._node.shards.deployment
            if self.viewers and deployment is not None and self._node.bus.connected:
                try:
                    states = await stream_states(self._node.bus, deployment)
                except UnavailableError as exc:
                    self.board.streams_unknown(exc.message)
                else:
                    figures = [StreamFigures(each.name, each.messages, each.bytes, each.last_seq, each.replicas) for each in states]
                    self.board.hear_streams(figures, time.monotonic())
            elif self.viewers:
                self.board.streams_unknown("NATS is not connected, or no router has created the deployment yet")
            await asyncio.sleep(limits_dashboard.STREAMS_EVERY_S)

    def _on_statistics(self, heard: Heard) -> None:
        self.board.hear(heard.role, heard.id, heard.text, heard.at)

    async def _on_alert(self, msg: Msg) -> None:
        self.board.hear_alert(msg.data, time.time_ns() // 1_000_000)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        await self._logins.operator(request, "view", "Dashboard")
        if self.viewers >= limits_dashboard.VIEWERS_MAX:
            raise UnavailableError("too many dashboards look on at this process; close one, or try again later", retry_after_s=10.0)
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        self.viewers += 1
        try:
            await response.prepare(request)
            now = time.monotonic()
            await write(response, b"retry: %d\n\n" % _RETRY_MS)
            await write(response, encode_event("history", self.board.history(now)))
            await write(response, encode_event("now", self.board.newest(now, time.time_ns() // 1_000_000)))
            while True:
                await self._turn.wait()
                try:
                    self._logins.still(request, "view")
                except RuncastError as exc:
                    await write(response, encode_event("ended", {"code": exc.code.name, "message": exc.message}))
                    break
                await write(response, self._newest)
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.viewers -= 1
        return response


async def _page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGE)
