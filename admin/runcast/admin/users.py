"""Looking at one user: the page (`/dashboard/user`), and what is pushed to it (`GET /dashboard/user/events`, server-sent events).

Rules
1. It takes the role *view*, and is written to the audit log before anything is shown: once for each time that a page begins to look,
   however long it looks on (`FindUser`).
2. A page is told every `limits_dashboard.FOUND_EVERY_S`, if anything is new; otherwise the time, so that it knows that it is not
   forgotten.
3. Looking on is not using, as at the dashboard: the stream ends with the session.
4. What goes wrong later is told in `problem`, and what was known stays; but of who is erased nothing does: their page begins anew.
"""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from runcast.admin.desk import Desk
from runcast.admin.found.search import Search
from runcast.admin.logins import Logins
from runcast.admin.node import Node
from runcast.admin.sse import write, write_event
from runcast.admin.web_rules import HEADERS, check_own
from runcast.wire import limits_dashboard as bounds
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey, check_id

PAGE: Final = Path(__file__).parent / "static" / "dashboard" / "user.html"
_AGAIN_MS: Final = 4000


class Users:
    """Of one process.

    Args:
        node: of this process.
        desk: writes down who looks.
        logins: who is logged in.

    Attributes:
        viewers: pages that look on.
    """

    def __init__(self, node: Node, desk: Desk, logins: Logins) -> None:
        self._node = node
        self._desk = desk
        self._logins = logins
        self.viewers = 0

    def add_to(self, app: web.Application) -> None:
        """Serve it."""
        app.router.add_get("/dashboard/user", _page)
        app.router.add_get("/dashboard/user/events", self._events)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        check_own(request)
        operator = self._logins.who(request)
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        self.viewers += 1
        search: Search | None = None
        try:
            try:
                if self.viewers > bounds.FOUND_VIEWERS_MAX:
                    raise UnavailableError("too many pages look at users at this process; close one, or try again later")
                user = wanted_user(request)
                search = Search(self._node, user)
                self._node.forgetting.append(search.forget)
                async with self._desk.doing(operator, "FindUser", target=f"user {user.tenant}/{user.user}", reason="", role="view"):
                    first = await search.look(_now_ms())
            except RuncastError as exc:
                if exc.code.name in ("unauthenticated", "permission_denied"):
                    raise
                await response.prepare(request)  # a page can't read the body of a refused stream
                await write_event(response, "refused", {"code": exc.code.name, "message": exc.message, "retry": exc.code.retry})
                return response
            await response.prepare(request)
            await write(response, b"retry: %d\n\n" % _AGAIN_MS)
            await write_event(response, "user", {"at_ms": _now_ms(), **first})
            await self._look_on(request, response, search, first)
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.viewers -= 1
            if search is not None:
                self._node.forgetting.remove(search.forget)
        return response

    async def _look_on(self, request: web.Request, response: web.StreamResponse, search: Search, known: dict[str, Any]) -> None:
        """Until the page goes, or the session ends."""
        said = msgspec.json.encode({**known, "problem": ""})
        forgotten = search.forgotten
        while True:
            await asyncio.sleep(bounds.FOUND_EVERY_S)
            try:
                self._logins.still(request, "view")
            except RuncastError as exc:
                await write_event(response, "ended", {"code": exc.code.name, "message": exc.message})
                return
            try:
                known = {**await search.look(_now_ms()), "problem": ""}
            except RuncastError as exc:
                if forgotten != search.forgotten:
                    known = search.nothing(_now_ms())
                known = {**known, "problem": exc.message}
            forgotten = search.forgotten
            told = msgspec.json.encode(known)
            if told == said:
                await write_event(response, "same", {"at_ms": _now_ms()})
            else:
                said = told
                await write_event(response, "user", {"at_ms": _now_ms(), **known})


def wanted_user(request: web.Request) -> UserKey:
    """Whom a request's query is about.

    Raises:
        IdInvalidError: nobody can be called so.
    """
    return UserKey(check_id(request.query.get("tenant", ""), "tenant id"), check_id(request.query.get("user", ""), "user id"))


async def _page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGE)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
