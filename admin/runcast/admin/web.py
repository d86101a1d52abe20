"""The HTTP listener of an admin process: health, and the pages for operators."""

import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from runcast.admin.node import Node
from runcast.admin.settings import AdminSettings
from runcast.bus.process import PortInUseError
from runcast.bus.settings import host_of, port_of
from runcast.bus.tls import Certificates
from runcast.wire import VERSION

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

_STOP_S: Final = 1.0
"""For requests under way, when the process stops."""


class Pages:
    """What is served over HTTP.

    Args:
        node: of this process.
        settings: of this process.
    """

    def __init__(self, node: Node, settings: AdminSettings) -> None:
        self._node = node
        self._settings = settings

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[_headers])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        node = self._node
        now = time.monotonic()
        body = {"id": node.id, "version": VERSION, "uptime_s": int(now - node.started), **node.bus.health.report(now)}
        return web.json_response(body)

    async def _readyz(self, _: web.Request) -> web.Response:
        node = self._node
        reason = "" if node.bus.connected and node.shards.deployment else node.bus.health.reason or "waiting for the deployment"
        return web.json_response({"ready": not reason, "reason": reason}, status=503 if reason else 200)


async def open_pages(pages: Pages, settings: AdminSettings, certificates: Certificates | None) -> web.AppRunner:
    """Open the port; `cleanup` of what is returned closes it.

    Raises:
        PortInUseError: it can't be listened on.
    """
    runner = web.AppRunner(pages.app(), access_log=None, handle_signals=False, shutdown_timeout=_STOP_S)
    await runner.setup()
    tls = certificates.context() if certificates is not None else None
    host, port = host_of(settings.http_bind), port_of(settings.http_bind)
    try:
        await web.TCPSite(runner, host, port, reuse_port=True, ssl_context=tls).start()
    except OSError as exc:
        await runner.cleanup()
        raise PortInUseError(
            f"{settings.http_bind} can't be listened on ({exc.strerror}); set RUNCAST_HTTP_BIND to a free address"
        ) from exc
    return runner


@web.middleware
async def _headers(request: web.Request, handler: "Handler") -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
    return response
