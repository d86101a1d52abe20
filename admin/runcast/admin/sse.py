"""Server-sent events to pages for operators."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from runcast.wire import limits_dashboard


def encode_event(name: str, value: dict[str, Any]) -> bytes:
    """One event."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(value))


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Send to a page.

    Raises:
        TimeoutError: it does not take it.
        ConnectionError: it went.
    """
    async with asyncio.timeout(limits_dashboard.VIEWER_WRITE_S):
        await response.write(data)


async def write_event(response: web.StreamResponse, name: str, value: dict[str, Any]) -> None:
    """Both; raises like `write`."""
    await write(response, encode_event(name, value))
