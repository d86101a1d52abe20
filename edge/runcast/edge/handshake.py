"""What a device says while it opens its WebSocket: the subprotocol, where its token is, and which page it comes from.

A token is taken from, in this order: the subprotocol entry `runcast.token.<token>`, `Authorization: Bearer`, the first frame, the cookie
that the settings name. What was given on purpose goes before what a browser sends by itself. It is never taken from the URL: URLs are
written to logs, histories and referrers.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import web

from runcast.edge.origins import Origins
from runcast.wire import limits_floods, limits_identity
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, PROTO_SUBPROTOCOL, Codec

_ANY_VERSION: Final = re.compile(r"runcast\.v[0-9]{1,9}\.([a-z0-9]{1,16})")
_READS: Final = frozenset({"GET", "HEAD"})

TOKEN_PREFIX: Final = "runcast.token."  # noqa: S105 # a prefix, not a token
"""A WebSocket subprotocol entry with this prefix carries the token."""


class Handshake(NamedTuple):
    """Of one connection.

    Attributes:
        codec: of the subprotocol that was chosen.
        token: given on purpose; "" when it may follow in the first frame.
        cookie: the token that the browser sent by itself; "" for none.
        welcome: its page may connect.
        cookie_welcome: and with that cookie.
        headers: all of them.
        foreign: the subprotocol of another version, where the device offers none that is known here; "" otherwise. Browsers give up a
            connection whose subprotocol was not chosen without a word to the page, so it is chosen, and told what is wrong.
    """

    codec: Codec
    token: str
    cookie: str
    welcome: bool
    cookie_welcome: bool
    headers: Mapping[str, str]
    foreign: str = ""

    @property
    def upgrade(self) -> str:
        """What a device of another version is told."""
        return f"{self.foreign} is not spoken here, but {', '.join(CODECS)}; load the page again, or update the client"

    def choose(self, hello_token: str) -> str:
        """The token that counts, now that the first frame is there; "" for none."""
        return self.token or hello_token or (self.cookie if self.cookie_welcome else "")


def read_handshake(request: web.Request, origins: Origins, cookie_name: str) -> Handshake:
    """Read what the device says; choose the first of its subprotocols that is known here.

    Raises:
        web.HTTPBadRequest: no subprotocol that is known here, or too many.
    """
    headers = request.headers
    named = headers.getall("Sec-WebSocket-Protocol", [])
    offered = [part.strip() for part in named[0].split(",", limits_floods.SUBPROTOCOLS_MAX)] if len(named) == 1 else []
    if len(named) > 1 or len(offered) > limits_floods.SUBPROTOCOLS_MAX:
        raise web.HTTPBadRequest(
            text=f"offer at most {limits_floods.SUBPROTOCOLS_MAX} subprotocols, in one Sec-WebSocket-Protocol header\n"
        )
    codec = next((CODECS[entry] for entry in offered if entry in CODECS), None)
    foreign = next(filter(None, map(_ANY_VERSION.fullmatch, offered)), None) if codec is None else None
    if foreign is not None:
        codec = CODECS[PROTO_SUBPROTOCOL if foreign[1] == "proto" else JSON_SUBPROTOCOL]
    if codec is None:
        raise web.HTTPBadRequest(
            text=f"offer one of the WebSocket subprotocols {', '.join(CODECS)}, and the token as {TOKEN_PREFIX}TOKEN or in hello\n"
        )
    credentials = read_credentials(request, origins, cookie_name)
    token = next((entry.removeprefix(TOKEN_PREFIX) for entry in offered if entry.startswith(TOKEN_PREFIX)), "")
    if token:
        credentials = credentials._replace(token=token, cookie="")
    return credentials._replace(codec=codec, foreign=foreign[0] if foreign is not None else "")


def read_credentials(request: web.Request, origins: Origins, cookie_name: str, *, ordinary: bool = False) -> Handshake:
    """Read who a request is of: as a handshake, but for the subprotocol's entries; its codec is that of JSON.

    Args:
        request: the request.
        origins: whose pages may come in.
        cookie_name: of the cookie with the token; "" for none.
        ordinary: it becomes no WebSocket, so that GET and HEAD only read.
    """
    headers = request.headers
    scheme, _, bearer = headers.get("Authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else ""
    cookie = request.cookies.get(cookie_name, "") if cookie_name and not token else ""
    named = headers.getall("Origin", [])
    origin = named[0] if len(named) == 1 else ", ".join(named) if named else None  # several: an origin that is on no list
    welcome = origins.allow(origin, request.host, cookie=False)
    sites = headers.getall("Sec-Fetch-Site", [])
    site = sites[0] if ordinary and len(sites) == 1 and request.method in _READS else ""
    cookie_welcome = origins.allow(origin, request.host, cookie=True, fetch_site=site)
    return Handshake(CODECS[JSON_SUBPROTOCOL], token, cookie[: limits_identity.TOKEN_BYTES_MAX + 1], welcome, cookie_welcome, headers)
