"""What holds for every HTTP request to an admin process, and every answer.

Rules
1. A page of another site does nothing here: a request that changes something must name this origin as its own, the cookie is
   `SameSite=Strict`, and nothing may frame these pages. Reading changes nothing.
2. Scripts and styles are files of this origin; none is in a page's text, and none is made of text by a script (CSP, Trusted Types).
3. In development mode, which wants no key, only this machine's own names reach it: a site whose name was pointed at loopback (DNS
   rebinding) is turned away.
4. Nothing of an operator's is kept by browsers or proxies.
"""

import html
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from runcast.bus.settings import is_loopback
from runcast.wire.errors import RuncastError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

CSP: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Server": "runcast",
}
_READING: Final = ("GET", "HEAD")
_HSTS: Final = "max-age=31536000"
_HTTP: Final = {
    "unauthenticated": 401,
    "permission_denied": 403,
    "request_invalid": 400,
    "id_invalid": 400,
    "run_unknown": 404,
    "rate_limited": 429,
}
_REFUSED: Final = Path(__file__).parent / "static" / "refused.html"


def refusal(error: RuncastError, *, page: bool = False) -> web.Response:
    """An error of the tree, as JSON; or as a page, for a browser that was led to it."""
    status = _HTTP.get(error.code.name, 503 if error.code.retry else 500)
    if page:
        text = _REFUSED.read_text().replace("{code}", error.code.name).replace("{message}", html.escape(error.message))
        response = web.Response(text=text, content_type="text/html", status=status)
    else:
        body = {"code": error.code.name, "message": error.message, "retry_after_ms": round(error.retry_after_s * 1000)}
        response = web.json_response(body, status=status)
    if error.retry_after_s:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return response


def rules(*, dev: bool, tls: bool) -> "Middleware":
    """The middleware that keeps the rules.

    Args:
        dev: development mode.
        tls: the port has TLS.
    """

    @web.middleware
    async def keep(request: web.Request, handler: "Handler") -> web.StreamResponse:
        try:
            response = await _answer(request, handler, dev=dev)
        except web.HTTPException as exc:
            _dress(exc, tls=tls)
            raise
        if not response.prepared:
            _dress(response, tls=tls)
        return response

    return keep


async def _answer(request: web.Request, handler: "Handler", *, dev: bool) -> web.StreamResponse:
    if dev and not is_loopback(_host(request)):
        return refusal(RuncastError("in development mode this is for 127.0.0.1 and localhost alone", code="permission_denied"))
    if request.method not in _READING and not is_own_page(request):
        return refusal(RuncastError("this is for this service's own pages alone", code="permission_denied"))
    try:
        return await handler(request)
    except RuncastError as exc:
        return refusal(exc, page=request.headers.get("Sec-Fetch-Mode") == "navigate")


def _dress(response: web.StreamResponse, *, tls: bool) -> None:
    response.headers.update(HEADERS)
    if tls:
        response.headers["Strict-Transport-Security"] = _HSTS


def _host(request: web.Request) -> str:
    """The name by which the browser reaches this port, without the port."""
    try:
        return urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return ""


def is_own_page(request: web.Request) -> bool:
    """Whether a page of this very origin asks. Of a proxy that ends TLS in front, the scheme is hidden, so host and port are compared."""
    origin = request.headers.get("Origin", "")
    scheme, slashes, host = origin.partition("://")
    return bool(slashes) and scheme in ("http", "https") and host.lower() == request.host.lower()


def check_own(request: web.Request) -> None:
    """For what only reads, but is written down in an operator's name: see that no page of another origin asked for it.

    `SameSite=Strict` lets a page of another port of this host through; browsers say where it came from.

    Raises:
        RuncastError: `permission_denied`.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise RuncastError("this is for this service's own pages alone", code="permission_denied")


def network_of(address: str) -> str:
    """By which logins are counted: an IPv4 address, or a network of IPv6 as one customer has it."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
