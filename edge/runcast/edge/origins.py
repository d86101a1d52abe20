"""Which pages may connect: the defence against cross-site WebSocket hijacking. Pure.

Theory. A browser lets any page open a WebSocket to anywhere, and sends this site's cookies with it; the only thing that it does not let the
page forge is `Origin`. A token that the page itself brings proves that the page has it; a cookie proves nothing of the kind. So: a page's
origin must be the edge's own or on the list; a device that names no origin is no page, and may connect, but not with a cookie. But for one:
a browser names no origin when a page reads from where it came from (`EventSource`, `fetch` by GET). There `Sec-Fetch-Site: same-origin`
stands in for it: no page can forge that either. "same-site" is a neighbour, "none" a person at the address bar.

Rules: an origin is compared whole (scheme, host, port), but for the edge's own, of which a proxy that ends TLS hides the scheme; "*"
allows every origin, and never one with a cookie; in development mode the pages of this machine are allowed, and no others, since pages of
the web reach loopback too. `Origin: null` (files, sandboxed frames) is an origin like any other, and on no list.

RFC 6454, 7; RFC 6455, 10.2; Fetch Metadata, 2.4. Imports no asyncio, clock, random, logging, nats, aiohttp.
"""

import ipaddress
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}


class Origins:
    """The list of one edge.

    Args:
        allowed: origins, such as "https://app.example.com", or "*".
        local: allow the pages of this machine too (development mode).
    """

    def __init__(self, allowed: Iterable[str], *, local: bool = False) -> None:
        self._allowed = {origin.lower().rstrip("/") for origin in allowed}
        self._local = local

    def allow(self, origin: str | None, host: str, *, cookie: bool, fetch_site: str = "") -> bool:
        """Whether a handshake is answered.

        Args:
            origin: its `Origin`; None when it has none.
            host: its `Host`: what the device takes this edge for.
            cookie: its token is in a cookie.
            fetch_site: `Sec-Fetch-Site` of an ordinary read; "" for none, and for what does more than read.
        """
        if origin is None:
            return not cookie or (fetch_site == "same-origin" and self._is_own(host))
        if origin.lower() in self._allowed or ("*" in self._allowed and not cookie):
            return True
        parts = _split(origin)
        if parts is None or not parts.hostname:
            return False
        if self._local:
            return _loopback(parts.hostname)
        own = _split(f"{parts.scheme}://{host}")
        return own is not None and (parts.hostname, _port(parts)) == (own.hostname, _port(own))

    def _is_own(self, host: str) -> bool:
        """Whether pages of the host that a device takes this edge for are its own; a page that had its name rebound to loopback is not."""
        own = _split(f"http://{host}")
        return own is not None and bool(own.hostname) and (not self._local or _loopback(str(own.hostname)))


def is_origin(text: str) -> bool:
    """Whether it can be on the list."""
    parts = _split(text)
    return text == "*" or (parts is not None and bool(parts.hostname) and not (parts.path.strip("/") or parts.query or parts.fragment))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in _PORTS and parts.port != 0 else None
    except ValueError:
        return None


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
