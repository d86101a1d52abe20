"""Plain HTTP beside the WebSocket: a stream as server-sent events or as a Durable Stream, a run as AG-UI's, and what a reader says by POST.

    GET  /v1/events       the stream; `Last-Event-ID` or `?position=`, `?device=`, `?snapshot=true|false`
    GET  /v1/stream       the stream by offset (`durable`); `?offset=`, `?live=long-poll|sse`, `?device=`; HEAD: where it ends
    GET  /v1/agui/{run}   one run; `Last-Event-ID` or `?position=`
    POST /v1/ack          {"device": ..., "pos": ...}: the application handled everything up to there
    POST /v1/send         {"device": ..., and a send as over the WebSocket}

The same door as the WebSocket's: `Authorization: Bearer` or the cookie, never a token in the URL; the same origins, and CORS for them. The
same session machine feeds the streams (`sse_socket`). What is POSTed may go to any edge. An acknowledgement moves the cursor, and with it
receipts; that something was written to a stream moves nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from aiohttp import web

from runcast.bus.cursors import Acknowledged
from runcast.edge.connection import Connection
from runcast.edge.door import FOREIGN
from runcast.edge.feed import Feed
from runcast.edge.handshake import Handshake, read_credentials
from runcast.edge.transports import durable
from runcast.edge.transports.agui_socket import AguiSocket
from runcast.edge.transports.durable import StreamCodec, read_query
from runcast.edge.transports.durable_socket import LIVE_HEADERS, PageSocket, StreamSocket
from runcast.edge.transports.sse import AguiCodec, SseCodec, read_last_id
from runcast.edge.transports.sse_socket import SseSocket
from runcast.edge.transports.status import refusal, refuse
from runcast.wire import limits_http
from runcast.wire.errors import FrameInvalidError, RuncastError, UnavailableError
from runcast.wire.frames import Codec, Hello, Send, Sent
from runcast.wire.ids import UserKey, check_id
from runcast.wire.position import EARLIEST, Position, parse_position

if TYPE_CHECKING:
    from runcast.edge.node import Edge

Answer = Callable[[web.Request, Handshake], Awaitable[web.StreamResponse]]
T = TypeVar("T")
_SSE: Final = SseCodec()
_STREAM: Final = StreamCodec()
_DEVICE: Final = "http"
"""Of a reader that names none: all of them have one cursor."""
_EXPOSED: Final = ", ".join([durable.NEXT, durable.UP_TO_DATE, durable.CURSOR, "ETag", "Retry-After"])
_SNAPSHOT: Final = {"": None, "true": True, "false": False}


class _Posted(Send, tag="send", kw_only=True):
    """A send, and the device that it comes from."""

    device: str = _DEVICE


class _Ack(msgspec.Struct, kw_only=True):
    pos: str
    device: str = _DEVICE


class HttpDoors:
    """The routes of one edge."""

    def __init__(self, edge: "Edge") -> None:
        self._edge = edge

    def add_to(self, app: web.Application) -> None:
        """Serve them."""
        for method, path, answer in (
            ("GET", "/v1/events", self._events),
            ("GET", "/v1/stream", self._durable),
            ("GET", "/v1/agui/{run}", self._agui),
            ("POST", "/v1/ack", self._ack),
            ("POST", "/v1/send", self._send),
        ):
            app.router.add_route(method, path, self._guarded(answer))
            app.router.add_route("OPTIONS", path, self._preflight)
        app.router.add_route("HEAD", "/v1/stream", self._guarded(self._durable_end))

    def refuse(self, request: web.Request, error: RuncastError) -> web.Response:
        """The answer to who is refused before anything of the request is looked at."""
        return refuse(request, error, _cors(request, self._read_credentials(request)))

    # --- the door ---

    def _read_credentials(self, request: web.Request) -> Handshake:
        return read_credentials(request, self._edge.origins, self._edge.settings.cookie, ordinary=True)

    def _guarded(self, answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            handshake = self._read_credentials(request)
            cors = _cors(request, handshake)
            try:
                if self._edge.not_ready:
                    raise UnavailableError(f"{self._edge.not_ready}; try again")
                if not handshake.welcome:
                    raise RuncastError(FOREIGN, code="origin_refused")
                response = await answer(request, handshake)
            except RuncastError as exc:
                return refuse(request, exc, cors)
            if not response.prepared:
                response.headers.update(cors)
            return response

        return handle

    async def _preflight(self, request: web.Request) -> web.StreamResponse:
        handshake = self._read_credentials(request)
        if not handshake.welcome:
            return refusal(RuncastError(FOREIGN, code="origin_refused"), {})
        asked = {
            "Access-Control-Allow-Methods": "GET, HEAD, POST",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match, Last-Event-ID",
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers={**_cors(request, handshake), **asked})

    # --- streams ---

    async def _events(self, request: web.Request, handshake: Handshake) -> web.StreamResponse:
        position = read_last_id(request.headers.get("Last-Event-ID", ""), request.query.get("position", ""))
        snapshot = request.query.get("snapshot", "")
        if snapshot not in _SNAPSHOT:
            raise FrameInvalidError("snapshot: say true or false")
        hello = Hello(request.query.get("device", _DEVICE), position, "", _SNAPSHOT[snapshot])
        socket = SseSocket(request, hello, _cors(request, handshake))
        return await self._serve(socket, handshake, request, _SSE)

    async def _durable(self, request: web.Request, handshake: Handshake) -> web.StreamResponse:
        asked = read_query(request.query.items())
        if asked.offset == durable.NOW and not asked.live:
            return await self._durable_end(request, handshake)
        hello = Hello(request.query.get("device", _DEVICE), asked.position, "", snapshot=False)
        cors = _cors(request, handshake)
        socket: SseSocket | PageSocket = (
            StreamSocket(request, hello, cors, asked)
            if asked.live == durable.SSE
            else PageSocket(request, hello, cors, asked, self._edge.entrance.line_of(request))
        )
        return await self._serve(socket, handshake, request, _STREAM)

    async def _durable_end(self, request: web.Request, handshake: Handshake) -> web.StreamResponse:
        """Where it ends now: nothing is read, and nothing moves by it."""
        read_query(request.query.items())
        user = await self._enter(request, handshake, check_id(request.query.get("device", _DEVICE), "device"))
        async with self._edge.hub.visiting(user) as feed:
            told = {**LIVE_HEADERS, durable.NEXT: str(Position(feed.epoch, feed.pos)), durable.UP_TO_DATE: "true"}
        return web.Response(body=b"[]", content_type="application/json", headers=told)

    async def _agui(self, request: web.Request, handshake: Handshake) -> web.StreamResponse:
        seen = read_last_id(request.headers.get("Last-Event-ID", ""), request.query.get("position", ""))
        codec = AguiCodec(check_id(request.match_info["run"], "run id"), parse_position(seen) if seen else None)
        # A device of its own, which nobody acknowledges for: what is shown here is no delivery.
        hello = Hello(f"agui.{id(codec)}", EARLIEST, "", snapshot=False)
        socket = AguiSocket(request, hello, _cors(request, handshake), codec)
        return await self._serve(socket, handshake, request, codec)

    async def _serve(self, socket: SseSocket | PageSocket, handshake: Handshake, request: web.Request, codec: Codec) -> web.StreamResponse:
        line = self._edge.entrance.line_of(request)
        connection = Connection(self._edge, socket, handshake._replace(codec=codec), line, framed=False)
        await self._edge.serve(connection, socket)
        return socket.response or refuse(request, UnavailableError("the stream ended before it began; try again"), {})

    # --- what readers say ---

    async def _enter(self, request: web.Request, handshake: Handshake, device: str) -> UserKey:
        line = self._edge.entrance.line_of(request)
        identity = await self._edge.door.enter(handshake, "", device, line.stranger.address)
        self._edge.entrance.strangers.leave(line.stranger)
        line.known()
        return identity.user

    async def _ack(self, request: web.Request, handshake: Handshake) -> web.StreamResponse:
        ack = await _read(request, _Ack)
        device, position = check_id(ack.device, "device"), parse_position(ack.pos)
        user = await self._enter(request, handshake, device)
        for listener in self._edge.hub.listeners(user):
            if isinstance(listener, Connection) and listener.device == device and listener.acknowledge(position):
                return web.Response(status=204)
        self._edge.allowance.send(user, time.monotonic())
        async with self._edge.hub.visiting(user) as feed:
            await self._note(feed, device, position)
        return web.Response(status=204)

    async def _note(self, feed: Feed, device: str, position: Position) -> None:
        """Move the cursor of a device whose stream is on another edge, or nowhere."""
        if position.epoch != feed.epoch or position.seq > feed.pos:
            raise RuncastError("there is nothing at this position; acknowledge what events gave as their id", code="position_malformed")
        cursors = self._edge.cursors
        known = await cursors.find(feed.user, feed.shard, device)
        if known is not None and known.epoch != feed.epoch:
            known = None
        if known is not None and known.seq > position.seq:
            return
        # Of a device of which nothing is known, nobody knows what it was shown before this.
        acknowledged: Acknowledged = feed.acknowledged(known.since if known is not None else position.seq, position.seq)
        cursors.note(feed.user, feed.shard, device, acknowledged, urgent=True)

    async def _send(self, request: web.Request, handshake: Handshake) -> web.StreamResponse:
        send = await _read(request, _Posted)
        device = check_id(send.device, "device")
        user = await self._enter(request, handshake, device)
        try:
            check_id(send.id, "send id")
            self._edge.allowance.send(user, time.monotonic())
            async with self._edge.hub.visiting(user) as feed:
                with self._edge.erasures.storing(user):
                    duplicate = await self._edge.upstream.store(user, feed.shard, device, send, feed.requests)
        except RuncastError as exc:
            return refusal(exc, {}, send.id)
        return web.Response(body=msgspec.json.encode(Sent(send.id, duplicate)) + b"\n", content_type="application/json")


async def _read(request: web.Request, kind: type[T]) -> T:
    if request.content_type != "application/json":
        raise FrameInvalidError("send JSON, with Content-Type: application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(limits_http.POST_READ_S):
            # it comes in as many pieces as the network likes
            while piece := await request.content.read(limits_http.POST_BYTES_MAX + 1 - len(body)):
                body += piece
    except TimeoutError as exc:
        raise FrameInvalidError(f"send the whole body within {limits_http.POST_READ_S:.0f} s") from exc
    if len(body) > limits_http.POST_BYTES_MAX:
        raise FrameInvalidError(f"send at most {limits_http.POST_BYTES_MAX // 1024} KiB")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FrameInvalidError(f"not what is expected here: {exc}; see PROTOCOL.md, Plain HTTP") from exc


def _cors(request: web.Request, handshake: Handshake) -> dict[str, str]:
    origin = request.headers.get("Origin")
    if origin is None or not handshake.welcome:
        return {}
    told = {"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Expose-Headers": _EXPOSED}
    return {**told, "Access-Control-Allow-Credentials": "true"} if handshake.cookie_welcome else told
