"""What an edge answers over HTTP: the WebSocket, the other transports, probes, and files. Nothing administrative."""

import math
import time
from pathlib import Path
from typing import Final

from aiohttp import web

from runcast.edge.connection import Connection
from runcast.edge.handshake import read_handshake
from runcast.edge.node import FULL, Edge
from runcast.edge.transports.http import HttpDoors
from runcast.wire import VERSION, limits, limits_floods
from runcast.wire.errors import RuncastError

STATIC: Final = Path(__file__).parent / "static"
NOT_READ: Final = "waiting to read who is revoked"
_USERS_SHOWN: Final = 50
_WS: Final = "/v1/ws"
_TOO_MANY: Final = "too many requests from this address; try again later"


class Routes:
    """Of one edge."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._doors = HttpDoors(edge)

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._let_in, _headers])
        app.router.add_get(_WS, self._ws)
        self._doors.add_to(app)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_static("/client", STATIC / "client")
        app.router.add_static("/react", STATIC / "react")
        if self._edge.settings.auth == "dev":
            app.router.add_get("/", _page)
            app.router.add_get("/statsz", self._statsz)
            app.router.add_static("/demo", STATIC / "demo")
        return app

    @web.middleware
    async def _let_in(self, request: web.Request, handler: "web.Handler") -> web.StreamResponse:  # type: ignore[name-defined]
        line = self._edge.entrance.line_of(request)
        refused = self._edge.entrance.ask(request)
        if refused is not None:
            if request.path.startswith("/v1/") and request.path != _WS:
                answer: web.StreamResponse = self._doors.refuse(
                    request, RuncastError(_TOO_MANY, code="rate_limited", retry_after_s=refused.retry_after_s)
                )
                answer.force_close()
                return answer
            return _refuse(web.HTTPTooManyRequests, _TOO_MANY, refused.retry_after_s)
        if request.path == _WS:
            try:
                answer = await handler(request)
            except web.HTTPException as exc:
                exc.force_close()  # what was sent after the handshake is none of a request's
                raise
            return answer
        line.opened()
        try:
            answer = await handler(request)
        finally:
            line.answered()
            self._edge.entrance.strangers.answered(line.stranger, time.monotonic())
        return answer

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if self._edge.not_ready:
            return _refuse(web.HTTPServiceUnavailable, f"{self._edge.not_ready}; try again", 1.0)
        if self._edge.memory.full:
            return _refuse(web.HTTPServiceUnavailable, FULL, limits_floods.MEMORY_RETRY_S)
        handshake = read_handshake(request, self._edge.origins, self._edge.settings.cookie)
        ws = web.WebSocketResponse(
            timeout=limits.CLOSE_WAIT_S,
            autoping=False,
            compress=False,
            protocols=(handshake.foreign or handshake.codec.subprotocol,),
            max_msg_size=limits.FRAME_BYTES_MAX + 1,  # what is larger was refused before it
            writer_limit=limits.SOCKET_BUFFER_BYTES_MAX,
            decode_text=False,
        )
        line = self._edge.entrance.line_of(request)
        if not line.alone:
            raise web.HTTPBadRequest(text="the handshake came with something else; send it alone\n")
        await ws.prepare(request)
        await self._edge.serve(Connection(self._edge, ws, handshake, line), ws)
        return ws

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "id": self._edge.settings.id,
                "version": VERSION,
                "connections": len(self._edge.connections),
                "users": 0 if self._edge.not_ready else self._edge.hub.users,
                "uptime_s": int(time.monotonic() - self._edge.started),
                "auth": self._edge.auth.report(),
                "policy": self._edge.policy.report(),
                **self._edge.bus.health.report(time.monotonic()),
            }
        )

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = (
            self._edge.not_ready
            or ("" if self._edge.bus.connected else "NATS is not connected")
            or ("" if self._edge.guard.current else NOT_READ)
        )
        reason = reason or (FULL if self._edge.memory.full else "")
        body = {"ready": not reason, "reason": reason, **self._edge.bus.health.report(time.monotonic())}
        return web.json_response(body, status=503 if reason else 200)

    async def _statsz(self, _: web.Request) -> web.Response:
        return web.json_response({"id": self._edge.settings.id, **self._edge.collect(), "users_behind": self._users_behind()})

    def _users_behind(self) -> list[dict[str, object]]:
        """The connections that have left something unacknowledged for longest, by user."""
        now = time.monotonic()
        late = [each for each in self._edge.connections if each.user is not None and each.unacknowledged.oldest_s(now) > 0.0]
        late.sort(key=lambda each: each.unacknowledged.oldest_s(now), reverse=True)
        return [
            {
                "user": each.user.token if each.user else "",
                "device": each.session.device,
                "state": each.session.state.value,
                "sent": each.unacknowledged.sent,
                "acked": each.unacknowledged.acked,
                "oldest_unacked_s": round(each.unacknowledged.oldest_s(now), 3),
            }
            for each in late[:_USERS_SHOWN]
        ]


def _refuse(kind: type[web.HTTPException], text: str, retry_after_s: float) -> web.HTTPException:
    refusal = kind(text=f"{text}\n", headers={"Retry-After": str(max(1, math.ceil(retry_after_s)))})
    refusal.force_close()
    return refusal


@web.middleware
async def _headers(request: web.Request, handler: "web.Handler") -> web.StreamResponse:  # type: ignore[name-defined]
    response: web.StreamResponse = await handler(request)
    if not response.prepared:
        response.headers["Content-Security-Policy"] = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-cache")
    return response


async def _page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "demo" / "index.html")
