"""What a refusal is over plain HTTP: the status for the code of the table, and its row as JSON, as in the WebSocket's `error`."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from runcast.edge.effects import error_frame
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
_RETRY_S: Final = 1
"""Told to who may come back and was told no time."""


def name_of_close(code: int) -> str:
    """The name of the row that a WebSocket close code stands for; "internal" for those of no row."""
    return _BY_CLOSE.get(code, "internal")


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
