"""The HTTP listener of an admin process: health, and the pages for operators (`static/`)."""

import time
from pathlib import Path
from typing import Final

from aiohttp import web

from runcast.admin.dashboard import Dashboard
from runcast.admin.desk import Desk
from runcast.admin.films import Films
from runcast.admin.logins import Logins
from runcast.admin.node import Node
from runcast.admin.settings import AdminSettings
from runcast.admin.users import Users
from runcast.admin.web_rules import rules
from runcast.bus.process import PortInUseError
from runcast.bus.settings import host_of, port_of
from runcast.bus.tls import Certificates
from runcast.wire import VERSION, limits_admin

STATIC: Final = Path(__file__).parent / "static"


class Pages:
    """What is served over HTTP.

    Args:
        node: of this process.
        desk: lets operators in.
        settings: of this process.

    Attributes:
        logins: who is logged in.
        dashboard: what they look at.
    """

    def __init__(self, node: Node, desk: Desk, settings: AdminSettings) -> None:
        self._node = node
        self._settings = settings
        self.logins = Logins(node, desk, secure=settings.auth != "dev")
        self.dashboard = Dashboard(node, self.logins)
        self._users = Users(node, desk, self.logins)
        self._films = Films(node, desk, self.logins)

    def app(self) -> web.Application:
        """The routes."""
        settings = self._settings
        keep = rules(dev=settings.auth == "dev", tls=bool(settings.tls_cert))
        app = web.Application(middlewares=[keep], client_max_size=limits_admin.PAGE_BODY_BYTES)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/", _index)
        app.router.add_static("/static", STATIC)
        self.logins.add_to(app)
        self.dashboard.add_to(app)
        self._users.add_to(app)
        self._films.add_to(app)
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
    runner = web.AppRunner(
        pages.app(),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=limits_admin.ADMIN_STOP_S,
        keepalive_timeout=limits_admin.PAGE_KEEPALIVE_S,
    )
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


async def _index(_: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "index.html")
