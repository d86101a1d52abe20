"""Replays from the dashboard: a user's recorded stream, or a part of it, is read into memory and played on a page (`/replay/`); or written
out as JSON lines (`/replay/export`); or such lines are played (`/replay/import`). None touches a cursor, a receipt or a lease: what it
can't reach it can't touch (`runcast.admin.replay`).

Rules
1. They take the role *view*, and are in the audit log (`Replay`, `Export`, `Import`) before anything is shown.
2. A film is for the operator who had it read, and for as long as their session lasts: it is asked before each frame.
3. A page names its film in place of a user: it is the same page that users have, and knows nothing else to say.
4. At most `limits_dashboard.FILMS_MAX` of `FILM_BYTES_MAX`; what nobody asks for is forgotten after `FILM_S`. What redaction rules say
   later does not change a film that was read before.
5. Who is erased is in no film any more: it ends on pages that play it. What is being read of them, for a film or an export, ends in the
   midst (`Node.showing`). A process that was cut off may not have heard who was erased, and drops and ends all.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from typing import Final, NamedTuple

from aiohttp import web

from runcast.admin.auth import Operator
from runcast.admin.desk import Desk
from runcast.admin.imports import Import
from runcast.admin.logins import Logins
from runcast.admin.node import Node
from runcast.admin.reading import Reading, Wish
from runcast.admin.replay import projector
from runcast.admin.replay.export import FORM, Export, Head, batch_lines, end_line, head_line
from runcast.admin.replay.session import Film
from runcast.admin.sse import write
from runcast.admin.web_rules import HEADERS, check_own, is_own_page
from runcast.admin.wishes import places_of, speed_of, target_of, wish_of
from runcast.wire import VERSION
from runcast.wire import limits_dashboard as bounds
from runcast.wire.errors import IdInvalidError, RuncastError, UnavailableError
from runcast.wire.ids import UserKey, check_id, decode_token
from runcast.wire.limits_replay import MAX_GAP_S
from runcast.wire.recorded import RecordedBatch

_GONE: Final = "this recording is not kept any more, or was never yours; play it again from the user's page"


class Kept(NamedTuple):
    """A film, who had it read, whom it is about, what pages that play it wait for, and whether nobody may any more."""

    film: Film
    words: dict[str, object]
    owner: str
    user: UserKey
    waits: set[asyncio.Timeout]
    over: asyncio.Event


class Films:
    """Of one process.

    Args:
        node: of this process.
        desk: writes down who looks.
        logins: who is logged in.
    """

    def __init__(self, node: Node, desk: Desk, logins: Logins) -> None:
        self._node = node
        self._desk = desk
        self._logins = logins
        self._kept: OrderedDict[str, tuple[Kept, float]] = OrderedDict()
        self._pages = self._importing = 0
        node.forgetting.append(self._drop)

    def add_to(self, app: web.Application) -> None:
        """Serve them."""
        app.router.add_get("/replay/places", self._places)
        app.router.add_get("/replay/open", self._open)
        app.router.add_get("/replay/export", self._export)
        app.router.add_post("/replay/import", self._import)
        app.router.add_get("/replay/", self._page)
        app.router.add_get("/replay/words.json", self._words)
        app.router.add_get("/v1/ws", self._play)
        for name in projector.FOLDERS:
            app.router.add_static(f"/{name}", projector.static() / name)

    async def _places(self, request: web.Request) -> web.Response:
        """How `from` and `to` are understood: for a page that says so before anything is played."""
        self._logins.who(request)
        begin, end = places_of(request)
        return web.json_response({"from": begin._asdict(), "to": end._asdict()})

    async def _open(self, request: web.Request) -> web.Response:
        check_own(request)
        operator = self._logins.who(request)
        wish, speed = wish_of(request), speed_of(request)
        async with (
            self._desk.doing(operator, "Replay", target=target_of(wish), reason="", role="view"),
            self._node.reading(wish) as reading,
        ):
            export = Export(_head(wish, reading), await _collected(reading))
            _check_known(wish, reading)
            name = self._keep(export, speed, operator, wish.user)  # within: an erasing waits for it, and then drops it
        return web.Response(status=303, headers={"Location": f"/replay/?user={name}"})

    async def _import(self, request: web.Request) -> web.Response:
        operator = self._logins.who(request)
        speed = speed_of(request)
        if self._importing >= bounds.IMPORTS_AT_ONCE_MAX:
            text = f"{bounds.IMPORTS_AT_ONCE_MAX} files are read just now; try again in a moment"
            raise RuncastError(text, code="rate_limited", retry_after_s=bounds.IMPORT_RETRY_S)
        self._importing += 1
        try:
            file = Import(request)
            head = await file.head()
            user = UserKey(check_id(head.tenant, "tenant id"), check_id(head.user, "user id"))
            target = f"user {user.tenant}/{user.user}, from a file"
            async with self._desk.doing(operator, "Import", target=target, reason="", role="view"), self._node.showing(user):
                name = self._keep(await file.rest(self._node.redactions.current()), speed, operator, user, file=True)
        finally:
            self._importing -= 1
        return web.json_response({"page": f"/replay/?user={name}"})

    async def _page(self, request: web.Request) -> web.Response:
        self._find(self._logins.who(request), request.query.get("user", ""))
        return web.Response(body=projector.page(), content_type="text/html", charset="utf-8")

    async def _words(self, request: web.Request) -> web.Response:
        return web.json_response(self._find(self._logins.who(request), request.query.get("user", "")).words)

    async def _play(self, request: web.Request) -> web.StreamResponse:
        operator = self._logins.who(request)
        if not is_own_page(request):
            raise RuncastError("this is for this service's own pages alone", code="permission_denied")
        try:
            name = decode_token(projector.token_offered(request).rpartition(".")[2])
        except IdInvalidError:
            name = ""
        kept = self._find(operator, name)
        if self._pages >= bounds.FILM_PAGES_MAX:
            raise UnavailableError("too many pages watch recordings at this process; close one", retry_after_s=10.0)
        self._pages += 1
        try:
            return await projector.show(request, kept.film, lambda: self._still(request, kept), kept.waits)
        finally:
            self._pages -= 1

    async def _export(self, request: web.Request) -> web.StreamResponse:
        check_own(request)
        operator = self._logins.who(request)
        wish = wish_of(request)
        name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-.") else "_" for letter in wish.user.user)[:64]
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "application/x-ndjson"})
        response.headers["Content-Disposition"] = f'attachment; filename="runcast-{name}.jsonl"'
        try:
            async with (
                self._desk.doing(operator, "Export", target=target_of(wish), reason="", role="view"),
                self._node.reading(wish) as reading,
            ):
                head = head_line(_head(wish, reading))
                try:
                    async for batches in reading.pages():
                        if not response.prepared:
                            await response.prepare(request)
                            await write(response, head)
                        await write(response, b"".join(line for batch in batches for line in batch_lines(batch)))
                    if not response.prepared:
                        _check_known(wish, reading)
                        await response.prepare(request)
                        await write(response, head)
                    await write(response, end_line(reading.batches, reading.events, reading.redacted))
                except (TimeoutError, ConnectionError) as exc:
                    raise UnavailableError("the download was cut off") from exc
        except RuncastError:
            if not response.prepared:
                raise
            if request.transport is not None:
                request.transport.abort()  # without its last line: who reads it sees that it is not whole
        return response

    def _still(self, request: web.Request, kept: Kept) -> None:
        self._logins.still(request, "view")
        if kept.over.is_set():
            raise RuncastError(_GONE, code="request_invalid")

    def _drop(self, user: UserKey | None) -> None:
        """The user is erased, or, for None, anybody may be."""
        for name, (kept, _) in list(self._kept.items()):
            if user in (None, kept.user):
                del self._kept[name]
                kept.over.set()
                projector.wake(kept.waits)

    def _keep(self, export: Export, speed: float, operator: Operator, user: UserKey, *, file: bool = False) -> str:
        """Keep a film; its name."""
        film = Film(export, speed, MAX_GAP_S)
        name = secrets.token_hex(12)
        self._forget(time.monotonic())
        kept = Kept(film, projector.words_of(export, film, speed, file=file), operator.name, user, set(), asyncio.Event())
        self._kept[name] = kept, time.monotonic()
        while len(self._kept) > bounds.FILMS_MAX:
            self._kept.popitem(last=False)
        return name

    def _find(self, operator: Operator, name: str) -> Kept:
        now = time.monotonic()
        self._forget(now)
        kept, _ = self._kept.get(name, (None, 0.0))
        if kept is None or kept.owner != operator.name:
            raise RuncastError(_GONE, code="request_invalid")
        self._kept[name] = kept, now
        self._kept.move_to_end(name)
        return kept

    def _forget(self, now: float) -> None:
        for name, (_, used) in list(self._kept.items()):
            if now - used > bounds.FILM_S:
                del self._kept[name]


async def _collected(reading: Reading) -> list[RecordedBatch]:
    found: list[RecordedBatch] = []
    size = 0
    async for batches in reading.pages():
        size += sum(event.ByteSize() for batch in batches for event in batch.events)
        if size > bounds.FILM_BYTES_MAX:
            text = f"it is larger than {bounds.FILM_BYTES_MAX >> 20} MiB; play a run, or a shorter time (From, To), or use `runcast replay`"
            raise RuncastError(text, code="request_invalid")
        found += batches
    return found


def _check_known(wish: Wish, reading: Reading) -> None:
    """See that a run that was asked for has been found."""
    if wish.run_id and not reading.batches:
        raise RuncastError(f"nothing is recorded there of the run {wish.run_id}; look for its id on the user's page", code="run_unknown")


def _head(wish: Wish, reading: Reading) -> Head:
    return Head(
        form=FORM,
        version=VERSION,
        tenant=wish.user.tenant,
        user=wish.user.user,
        run_id=wish.run_id,
        after=wish.after,
        upto=wish.upto,
        from_ms=wish.from_ms,
        to_ms=wish.to_ms,
        read_ms=time.time_ns() // 1_000_000,
        tip=reading.tip,
        incomplete=reading.incomplete,
        redacted=list(reading.redaction.paths),
    )
