"""A recording on a page: the demo page's files, with a banner, and a WebSocket that plays (`runcast.admin.replay`).

Rules
1. Loopback alone, and only who has the link: what is shown is a user's content, and other people may be on this machine. The link has a
   secret of this process, which becomes a cookie that no script sees; without it nothing is answered (403). `Host` must be this machine's,
   so no site can point its name here.
2. There is no way from here to the real system: this process holds no connection to it any more when it begins to serve.
"""

import hmac
import secrets
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from runcast.admin.replay import projector
from runcast.admin.replay.session import Film
from runcast.bus.settings import is_loopback
from runcast.cli.failures import NOT_BEGUN, CommandError
from runcast.wire.limits_replay import PAGES_MAX

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Screen:
    """Serves one film.

    Args:
        film: what is played.
        words: what the banner says of it, as JSON.

    Attributes:
        secret: of the link.
        url: of the page, once it is open.
    """

    def __init__(self, film: Film, words: dict[str, object]) -> None:
        self._film = film
        self._words = words
        self._pages = 0
        self._runner: web.AppRunner | None = None
        self._cookie = ""
        self.secret = secrets.token_urlsafe(24)
        self.url = ""

    async def open(self, host: str, port: int) -> None:
        """Listen.

        Args:
            host: of loopback.
            port: 0 for any.

        Raises:
            CommandError: the address can't be listened on.
        """
        app = web.Application(middlewares=[self._let_in])
        app.router.add_get("/", self._index)
        app.router.add_get(f"/open/{self.secret}", self._open)
        app.router.add_get("/v1/ws", self._ws)
        app.router.add_get("/replay/words.json", self._tell)
        for name in projector.FOLDERS:
            app.router.add_static(f"/{name}", projector.static() / name)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, host, port)
            await site.start()
        except OSError as exc:
            await self._runner.cleanup()
            raise CommandError(
                "port_taken", f"{host}:{port} can't be listened on: {exc.strerror}; choose another port", status=NOT_BEGUN
            ) from exc
        port = self._runner.addresses[0][1]
        self._cookie = f"runcast-replay-{port}"
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/open/{self.secret}"

    async def close(self) -> None:
        """Stop."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _let_in(self, request: web.Request, handler: "web.Handler") -> web.StreamResponse:  # type: ignore[name-defined]
        host = request.host.rpartition(":")[0].strip("[]") or request.host
        if not is_loopback(host) or not (request.path == f"/open/{self.secret}" or self._knows(request)):
            raise web.HTTPForbidden(text="open the link that `runcast replay` printed\n", headers=_HEADERS)
        answer: web.StreamResponse = await handler(request)
        if not answer.prepared:
            answer.headers.update(_HEADERS)
        return answer

    def _knows(self, request: web.Request) -> bool:
        shown = request.cookies.get(self._cookie, "")
        if request.path == "/v1/ws" and not shown:
            shown = projector.token_offered(request)
        return hmac.compare_digest(shown.encode(), self.secret.encode())

    async def _open(self, _: web.Request) -> web.Response:
        to = web.Response(status=303, headers={"Location": f"/?{urlencode({'user': self._film.head.user})}"})
        to.set_cookie(self._cookie, self.secret, httponly=True, samesite="Strict", path="/")
        return to

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(body=projector.page(), content_type="text/html", charset="utf-8")

    async def _tell(self, _: web.Request) -> web.Response:
        return web.json_response(self._words)

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        if origin and origin != f"http://{request.host}":
            raise web.HTTPForbidden(text="a replay is for its own page\n")
        if self._pages >= PAGES_MAX:
            raise web.HTTPServiceUnavailable(text=f"{PAGES_MAX} pages watch already; close one\n")
        self._pages += 1
        try:
            return await projector.show(request, self._film)
        finally:
            self._pages -= 1
