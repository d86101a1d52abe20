"""Playing a film to a page: the page's own files with a banner, what the banner says, and a WebSocket that carries out what `session.py`
decides.

Both who serves replays (`runcast replay`, the dashboard) use these, so that a replay looks and behaves the same. The page is the demo
page of the edge's room: its files are served as files, no code of that room is imported.
"""

import asyncio
import importlib.util
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiohttp import WSMsgType, web

from runcast.admin.replay.export import Export
from runcast.admin.replay.session import Film, PageSession
from runcast.admin.replay.spans import FASTEST
from runcast.wire import limits
from runcast.wire.errors import FrameInvalidError, RuncastError
from runcast.wire.frames import JSON_SUBPROTOCOL
from runcast.wire.limits_replay import PAGE_SEND_S

TOKEN: Final = "runcast.token."  # noqa: S105 # a prefix, not a token
FOLDERS: Final = ("client", "demo", "replay")
"""Of the page's files, each served under its own name."""
_BANNER: Final = b'<link rel="stylesheet" href="/replay/banner.css" /><script type="module" src="/replay/banner.js"></script></head>'


def static() -> Path:
    """Where the page's files are."""
    spec = importlib.util.find_spec("runcast.edge")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the page of replays is missing; install runcast as a whole")
    return Path(next(iter(spec.submodule_search_locations))) / "static"


def page() -> bytes:
    """The page, with the banner."""
    return (static() / "demo" / "index.html").read_bytes().replace(b"</head>", _BANNER, 1)


def words_of(export: Export, film: Film, speed: float, *, file: bool = False) -> dict[str, object]:
    """What the banner says, as JSON; `file`: it is from a file, whoever wrote that."""
    head = export.head
    return {
        "tenant": head.tenant,
        "user": head.user,
        "run": head.run_id,
        "events": export.events,
        "speed": "" if speed == FASTEST else f"{speed:g}",
        "first_ms": export.batches[0].stored_ms if export.batches else 0,
        "last_ms": export.batches[-1].stored_ms if export.batches else 0,
        "redacted": len(head.redacted),
        "unreadable": film.unreadable,
        "incomplete": head.incomplete,
        "whole": export.whole,
        "file": file,
    }


def token_offered(request: web.Request) -> str:
    """The token that a page offers beside the subprotocol; "" for none."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    return next((entry.strip().removeprefix(TOKEN) for entry in offered if entry.strip().startswith(TOKEN)), "")


async def show(
    request: web.Request, film: Film, still: Callable[[], None] = lambda: None, waits: set[asyncio.Timeout] | None = None
) -> web.WebSocketResponse:
    """Play a film to one page, until that goes.

    Args:
        request: a handshake of who may have it.
        film: what is played.
        still: asked before anything is sent; raises RuncastError when that page may not have it any more.
        waits: of pages; while this one waits it is among them, so that `wake` has it ask at once.

    Raises:
        HTTPException: it is no handshake.
    """
    ws = web.WebSocketResponse(protocols=(JSON_SUBPROTOCOL,), max_msg_size=limits.FRAME_BYTES_MAX + 1, timeout=1.0)
    await ws.prepare(request)
    await _play(ws, PageSession(film), still, set() if waits is None else waits)
    return ws


def wake(waits: set[asyncio.Timeout]) -> None:
    """Have the pages that wait ask whether they still may."""
    for wait in tuple(waits):
        with suppress(RuntimeError):  # its time was over anyway
            wait.reschedule(asyncio.get_running_loop().time())


async def _play(ws: web.WebSocketResponse, session: PageSession, still: Callable[[], None], waits: set[asyncio.Timeout]) -> None:
    """Carry out what the session decides, until the page goes."""
    while not ws.closed:
        try:
            still()
            for frame in session.take():
                still()
                async with asyncio.timeout(PAGE_SEND_S):
                    await ws.send_str(frame.decode())
        except RuncastError as exc:
            await ws.close(code=exc.code.close or 4501, message=exc.message.encode()[:100])
            return
        except (TimeoutError, ConnectionError):
            with suppress(ConnectionError):
                await ws.close(code=4010, message=b"slow")
            return
        until = session.deadline()
        try:
            async with asyncio.timeout(None if until is None else max(until - time.monotonic(), 0.0)) as wait:
                waits.add(wait)
                try:
                    message = await ws.receive()
                finally:
                    waits.discard(wait)
        except TimeoutError:
            session.tick(time.monotonic())
            continue
        if message.type is WSMsgType.TEXT:
            try:
                session.receive(message.data.encode(), time.monotonic())
            except FrameInvalidError as exc:
                await ws.close(code=exc.code.close, message=exc.message.encode()[:100])
        elif message.type is WSMsgType.BINARY:
            await ws.close(code=4503, message=b"send text: this is runcast.v1.json")
        session.tick(time.monotonic())
