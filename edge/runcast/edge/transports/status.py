"""What a refusal is over plain HTTP: the status for the code of the table, and its row as JSON, as in the WebSocket's `error`.

But a browser's `EventSource` gives up for good after any status but 200. So who asks for an event stream, and may come back, is told so in
one: 200, `retry:`, an `end`. AG-UI is left out: its clients ask for event streams too, and take every event for one of the run's.
"""

import math
import random
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from runcast.edge.effects import error_frame
from runcast.edge.transports.durable import SSE
from runcast.edge.transports.sse import encode_refusal
from runcast.wire import limits_http
from runcast.wire.codes import CODES
from runcast.wire.errors import RuncastError

_STATUS: Final = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "OUT_OF_RANGE": 410,
    "FAILED_PRECONDITION": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_BY_CLOSE: Final = {row.close: row.name for row in CODES.values() if row.close}
_LATER: Final = frozenset({429, 500, 503, 504})
"""Refusals that pass by themselves; a browser that came back after the others would do so for ever."""
_RETRY_S: Final = 1
"""Told to who may come back and was told no time."""


def name_of_close(code: int) -> str:
    """The name of the row that a WebSocket close code stands for; "internal" for those of no row."""
    return _BY_CLOSE.get(code, "internal")


def refuse(request: web.Request, error: RuncastError, headers: Mapping[str, str]) -> web.Response:
    """The answer to who is refused, in the form in which it is heard; arguments as for `refusal`."""
    row = error.code
    if not (row.retry and _STATUS.get(row.grpc, 500) in _LATER and listens(request)):
        return refusal(error, headers)
    wait_ms = max(limits_http.SSE_REFUSED_RETRY_MS, math.ceil(error.retry_after_s * 1000))
    wait_ms += random.randrange(wait_ms // 2)  # noqa: S311 # jitter, not a secret
    told = {**headers, "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
    return web.Response(body=encode_refusal(error_frame(error, ""), wait_ms), headers=told)


def listens(request: web.Request) -> bool:
    """Whether it is an `EventSource`'s, or like one."""
    if request.method != "GET" or "text/event-stream" not in request.headers.get("Accept", ""):
        return False
    return request.path == "/v1/events" or (request.path == "/v1/stream" and request.query.get("live") == SSE)


def refusal(error: RuncastError, headers: Mapping[str, str], send_id: str = "") -> web.Response:
    """The answer to who is refused.

    Args:
        error: why.
        headers: further ones.
        send_id: of the send that it is about.
    """
    row = error.code
    told = dict(headers)
    if row.retry:
        told["Retry-After"] = str(max(_RETRY_S, math.ceil(error.retry_after_s)))
    if row.grpc == "UNAUTHENTICATED":
        told["WWW-Authenticate"] = "Bearer"
    body = msgspec.json.encode(error_frame(error, send_id)) + b"\n"
    return web.Response(status=_STATUS.get(row.grpc, 500), body=body, content_type="application/json", headers=told)
