"""The edge service: HTTP routes, start and stop.

Start: the port is opened first (a port in use is the operator's mistake and is said at once), then NATS and the deployment are
waited for; until then `/readyz` and new connections get 503. A shard that has no leader just now keeps only its own users waiting.
Stop, in this order: not ready (balancers look elsewhere); the listening socket closes (a shared port goes to the others); devices are told
to reconnect, spread over time, then closed; cursors are written; NATS is closed.
"""

import asyncio
import contextlib
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from aiohttp import web
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.denials import Denials
from runcast.bus.deployment import Shard, read_deployment
from runcast.bus.direct import DirectReader
from runcast.bus.erasure_watch import ErasureWatch
from runcast.bus.guard import Guard
from runcast.bus.policy.book import PolicyBook
from runcast.bus.process import PortInUseError, announce_ready
from runcast.bus.retention import retention_of
from runcast.bus.shards import Shards
from runcast.bus.statistics import tell_statistics
from runcast.bus.tls import Certificates
from runcast.edge.addresses import Proxies
from runcast.edge.alarm import Alarm
from runcast.edge.allowance import Allowance
from runcast.edge.auth import Authenticator, authenticator
from runcast.edge.cursors import Cursors
from runcast.edge.door import Door
from runcast.edge.entrance import Entrance
from runcast.edge.handshake import read_handshake
from runcast.edge.httplog import http_log
from runcast.edge.hub import Hub
from runcast.edge.life import State
from runcast.edge.memory import Memory, choose_bound
from runcast.edge.origins import Origins
from runcast.edge.resident import container_bytes, resident_bytes, trim
from runcast.edge.resume import Room
from runcast.edge.settings import EdgeSettings
from runcast.edge.socket import Connection, Socket
from runcast.edge.statistics import EdgeStatistics
from runcast.edge.transports.http import HttpDoors
from runcast.edge.upstream import Upstream
from runcast.wire import VERSION, limits, limits_floods
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey

STATIC: Final = Path(__file__).parent / "static"
TICK_S: Final = 1.0
"""How often sessions look at the clock."""
_USERS_SHOWN: Final = 50
_WS: Final = "/v1/ws"
_FULL: Final = "this edge has no memory for another session; try again, or another edge"
_NOT_READ: Final = "waiting to read who is revoked"


class Edge:
    """What the connections of one edge share.

    Attributes:
        settings: of this process.
        log: bound to role and id.
        auth: turns tokens into users.
        policy: what tenants may use.
        allowance: what devices use of it.
        memory: whether there is some for new sessions.
        entrance: the port, and who is not known yet; set before it is opened.
        origins: pages that may connect.
        tasks: work that outlives a connection.
        room: for snapshots.
        shards: what storage looks like, as far as it is verified just now.
        erasures: users who are being erased.
        retention: of tenants.
        hub: feeds; set once NATS is there, like the rest below.
        cursors: what devices acknowledged.
        upstream: stores what devices send.
        statistics: counts of this edge.
        refusals: of tokens and pages since the start, by code.
        denials: who was not let in.
        guard: keeps out whom operators revoke.
        door: who may come in.
    """

    entrance: Entrance
    hub: Hub
    cursors: Cursors
    upstream: Upstream

    def __init__(self, settings: EdgeSettings, log: BoundLogger, tasks: asyncio.TaskGroup) -> None:
        self.settings = settings
        self.log = log
        self.auth: Authenticator = authenticator(settings.auth, settings.auth_file, log)
        self.policy = PolicyBook(settings.policy_file, development=settings.auth == "dev", log=log)
        self.origins = Origins(settings.origin_list, local=settings.auth == "dev")
        self.tasks = tasks
        self.room = Room()
        self.bus = Bus(log)
        self.connections: set[Connection] = set()
        self.statistics = EdgeStatistics()
        self.refusals: Counter[str] = Counter()
        self.denials = Denials(log, self.refusals)
        self.guard = Guard(self.bus, settings.id, log, lambda: self.connections)
        self.started = time.monotonic()
        self.shards = Shards()
        self.retention = retention_of(self.policy.of)
        self.erasures = ErasureWatch(self.bus, "edge", settings.id, log)
        self.not_ready = "waiting for NATS"
        self.policy.replaced.append(self._allow)
        self.allowance = Allowance(self.policy.of)
        self.door = Door(self.auth, self.guard, self.denials)
        self.memory = Memory(choose_bound(settings.memory_max_mib, container_bytes()))

    def admit(self, user: UserKey) -> None:
        """A device has proved whose it is; `allowance.leave` must follow, unless this raises.

        Raises:
            RuncastError: `unavailable` without memory, `rate_limited` with too many connections.
        """
        if self.memory.full:
            raise RuncastError(_FULL, code="unavailable", retry_after_s=limits_floods.MEMORY_RETRY_S)
        self.allowance.connect(user)

    def _allow(self) -> None:
        """Another policy is in force."""
        for connection in self.connections:
            if connection.user is not None:
                connection.session.allow(self.allowance.egress(connection.user))

    def begin(self, count: int) -> None:
        """The deployment has so many shards."""
        if not self.not_ready and count != self.shards.count:
            self.hub.end_all()
        self.shards.begin(count)

    def verified(self, number: int, shard: Shard) -> None:
        """A shard can be reached, and is as it should be."""
        self.shards.verified(number, shard)
        if not self.not_ready:
            self.hub.adopt(number, shard)

    async def attach(self) -> None:
        """NATS and the deployment are there: take connections."""
        reader = DirectReader(self.bus)
        await reader.open()
        self.cursors = Cursors(self.bus, reader, wall_ms, self.tasks, self.log)
        alarm = Alarm(self.bus, self.cursors, self.statistics, self.tasks, self.log, self.settings.id)
        self.hub = Hub(
            self.bus,
            reader,
            self.shards,
            self.tasks,
            self.log,
            alarm,
            self.settings.id,
            self.settings.alert_after_s,
            self.erasures,
            self.retention,
        )
        self.upstream = Upstream(self.bus, wall_ms, self.policy.of, self.retention, lambda number: self.shards.get(number).retention_s)
        await self.erasures.open()
        self.not_ready = ""

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._let_in, _headers])
        app.router.add_get(_WS, self._ws)
        HttpDoors(self).add_to(app)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_static("/client", STATIC / "client")
        if self.settings.auth == "dev":
            app.router.add_get("/", _page)
            app.router.add_get("/statsz", self._statsz)
            app.router.add_static("/demo", STATIC / "demo")
        return app

    @web.middleware
    async def _let_in(self, request: web.Request, handler: "web.Handler") -> web.StreamResponse:  # type: ignore[name-defined]
        line = self.entrance.line_of(request)
        refused = self.entrance.ask(request)
        if refused is not None:
            return _refuse(web.HTTPTooManyRequests, "too many requests from this address; try again later", refused.retry_after_s)
        if request.path == _WS:
            try:
                answer: web.StreamResponse = await handler(request)
            except web.HTTPException as exc:
                exc.force_close()  # what was sent after the handshake is none of a request's
                raise
            return answer
        line.opened()
        try:
            answer = await handler(request)
        finally:
            line.answered()
            self.entrance.strangers.answered(line.stranger, time.monotonic())
        return answer

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if self.not_ready:
            return _refuse(web.HTTPServiceUnavailable, f"{self.not_ready}; try again", 1.0)
        if self.memory.full:
            return _refuse(web.HTTPServiceUnavailable, _FULL, limits_floods.MEMORY_RETRY_S)
        handshake = read_handshake(request, self.origins, self.settings.cookie)
        ws = web.WebSocketResponse(
            timeout=limits.CLOSE_WAIT_S,
            autoping=False,
            compress=False,
            protocols=(handshake.foreign or handshake.codec.subprotocol,),
            max_msg_size=limits.FRAME_BYTES_MAX + 1,  # what is larger was refused before it
            writer_limit=limits.SOCKET_BUFFER_BYTES_MAX,
            decode_text=False,
        )
        line = self.entrance.line_of(request)
        if not line.alone:
            raise web.HTTPBadRequest(text="the handshake came with something else; send it alone\n")
        await ws.prepare(request)
        await self.serve(Connection(self, ws, handshake, line), ws)
        return ws

    async def serve(self, connection: Connection, ws: Socket) -> None:
        """Serve a connection to its end, whichever transport it came by."""
        self.connections.add(connection)
        opened = time.monotonic()
        try:
            await connection.run()
        except* Exception:
            self.log.exception("session_failed", user=connection.user.token if connection.user else "")
            with contextlib.suppress(ConnectionError):
                await ws.close(code=4000, message=b"internal error; connect again")
        finally:
            self.connections.discard(connection)
            if connection.admitted and connection.user is not None:
                self.allowance.leave(connection.user)
            session = connection.session
            self.log.info(
                "session_closed",
                user=connection.user.token if connection.user else "",
                device=session.device,
                code=int(ws.close_code or 0),
                why=session.close_code,
                sent=session.events_sent,
                sent_seq=session.sent,
                acked_seq=session.acked,
                seconds=round(time.monotonic() - opened, 3),
            )

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "id": self.settings.id,
                "version": VERSION,
                "connections": len(self.connections),
                "users": 0 if self.not_ready else self.hub.users,
                "uptime_s": int(time.monotonic() - self.started),
                "auth": self.auth.report(),
                "policy": self.policy.report(),
                **self.bus.health.report(time.monotonic()),
            }
        )

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self.not_ready or ("" if self.bus.connected else "NATS is not connected") or ("" if self.guard.current else _NOT_READ)
        reason = reason or (_FULL if self.memory.full else "")
        body = {"ready": not reason, "reason": reason, **self.bus.health.report(time.monotonic())}
        return web.json_response(body, status=503 if reason else 200)

    async def _statsz(self, _: web.Request) -> web.Response:
        return web.json_response({"id": self.settings.id, **self.collect(), "users_behind": self._users_behind()})

    def collect(self) -> dict[str, object]:
        """The statistics now, for people and for `stats.edge.<id>`."""
        now = time.monotonic()
        statistics = self.statistics
        behind = sum(1 for connection in self.connections if connection.session.state in (State.BEHIND, State.RESUMING))
        return {
            "version": VERSION,
            "uptime_s": round(now - self.started, 1),
            "users": 0 if self.not_ready else self.hub.users,
            "devices": len(self.connections),
            "devices_behind": behind,
            "events_sent": statistics.events_sent,
            "events_acked": statistics.events_acked,
            "oldest_unacked_s": round(max((each.unacknowledged.oldest_s(now) for each in self.connections), default=0.0), 3),
            "to_send": statistics.to_send.as_json(),
            "to_ack": statistics.to_ack.as_json(),
            "alerts": statistics.alerts,
            "refusals": dict(self.refusals),
            "auth": self.auth.report(),
            "policy": self.policy.report(),
            "health": self.bus.health.report(now),
            "strangers": len(self.entrance.strangers),
            "strangers_refused": dict(self.entrance.strangers.refused),
            "strangers_cut": dict(self.entrance.strangers.cut),
            "memory_bytes": self.memory.used,
        }

    def _users_behind(self) -> list[dict[str, object]]:
        """The connections that have left something unacknowledged for longest, by user."""
        now = time.monotonic()
        late = [each for each in self.connections if each.user is not None and each.unacknowledged.oldest_s(now) > 0.0]
        late.sort(key=lambda each: each.unacknowledged.oldest_s(now), reverse=True)
        return [
            {
                "user": each.user.token if each.user else "",
                "device": each.session.device,
                "state": each.session.state.value,
                "sent": each.unacknowledged.sent,
                "acked": each.unacknowledged.acked,
                "oldest_unacked_s": round(each.unacknowledged.oldest_s(now), 3),
            }
            for each in late[:_USERS_SHOWN]
        ]

    async def forget(self, user: UserKey) -> int:
        """The user is erased: see `runcast.bus.erasure_watch`."""
        connections = self.hub.forget(user)
        await self.erasures.settled(user)
        await self.cursors.forget(user, self.hub.shard_of(user))
        return connections

    async def tick(self, stop: asyncio.Event) -> None:
        """Let the sessions look at the clock until `stop`."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await stop.wait()
            now = time.monotonic()
            for connection in tuple(self.connections):
                connection.tick(now)
            self._look_at_memory(now)

    def _look_at_memory(self, now: float) -> None:
        if self.memory.observe(resident_bytes()):
            self.log.warning("memory_full" if self.memory.full else "memory_again", used=self.memory.used, bound=self.memory.bytes_max)
        if self.memory.wants_trim(now):
            trim()

    async def drain(self) -> None:
        """Send everybody away, within `DRAIN_S`."""
        spread = min(len(self.connections) / limits.DRAIN_DEVICES_PER_S, limits.DRAIN_S * 0.6)
        for connection in tuple(self.connections):
            reconnect_in = random.uniform(0, spread)  # noqa: S311 # jitter, not a secret
            connection.drain(reconnect_in_s=reconnect_in, grace_s=reconnect_in + 0.5)
        deadline = time.monotonic() + limits.DRAIN_S
        while self.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            for connection in tuple(self.connections):
                connection.tick(time.monotonic())


def wall_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def _refuse(kind: type[web.HTTPException], text: str, retry_after_s: float) -> web.HTTPException:
    refusal = kind(text=f"{text}\n", headers={"Retry-After": str(max(1, math.ceil(retry_after_s)))})
    refusal.force_close()
    return refusal


@web.middleware
async def _headers(request: web.Request, handler: "web.Handler") -> web.StreamResponse:  # type: ignore[name-defined]
    response: web.StreamResponse = await handler(request)
    if not response.prepared:
        response.headers["Content-Security-Policy"] = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"
    return response


async def _page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "demo" / "index.html")


async def serve(settings: EdgeSettings, log: BoundLogger, stop: asyncio.Event) -> None:
    """Run an edge until `stop`, then drain.

    Raises:
        PortInUseError: `settings.bind` is taken.
        AuthFileError: the auth file can't be used any more.
        PolicyFileError: the policy file can't be used any more.
        ServerTooOldError: see `Bus.open`.
        DeploymentError: see `read_deployment`.
    """
    async with asyncio.TaskGroup() as tasks:
        edge = Edge(settings, log, tasks)
        runner = web.AppRunner(
            edge.app(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            logger=http_log(),
            auto_decompress=False,  # nobody reads a body here
            keepalive_timeout=settings.stranger_s,
            max_line_size=limits_floods.HEADER_BYTES_MAX,
            max_field_size=limits_floods.HEADER_BYTES_MAX,
            max_headers=limits_floods.HEADERS_MAX,
        )
        await runner.setup()
        server = runner.server
        assert server is not None  # noqa: S101 # made by `setup`
        edge.entrance = Entrance(server, settings.stranger_bounds, Proxies(settings.proxies), tasks, log)
        certificates = Certificates(settings.tls_cert, settings.tls_key, settings.tls_ca) if settings.tls_cert else None
        tls = certificates.context() if certificates is not None else None
        try:
            port = await edge.entrance.open(settings.host, settings.port, tls)
        except OSError as exc:
            await runner.cleanup()
            raise PortInUseError(f"{settings.bind} can't be listened on ({exc.strerror}); set RUNCAST_BIND to a free address") from exc
        looking = tasks.create_task(edge.entrance.run(), name="strangers")
        running = tasks.create_task(_run(edge, port, stop))
        following = tasks.create_task(certificates.follow(log), name="certificates") if certificates is not None else None
        await stop.wait()
        if following is not None:
            following.cancel()
        edge.not_ready = "this edge is stopping"
        edge.entrance.close()
        await edge.drain()
        looking.cancel()
        running.cancel()
        await runner.cleanup()
        if hasattr(edge, "cursors") and edge.bus.connected:
            try:
                async with asyncio.timeout(limits.CURSORS_FLUSH_S):
                    await edge.cursors.flush()
            except TimeoutError:  # nothing is lost by it: a device that lost its position too is shown some of it again
                log.warning("cursors_not_flushed")
        await edge.bus.close()


async def _run(edge: Edge, port: int, stop: asyncio.Event) -> None:
    await edge.bus.open(edge.settings)
    edge.not_ready = "waiting for a router to create the deployment"
    edge.bus.disconnected.append(edge.shards.lost)
    await edge.guard.open()
    async with asyncio.TaskGroup() as group:
        group.create_task(edge.bus.seals.run(), name="keys file")
        group.create_task(_follow_deployment(edge), name="deployment")
        group.create_task(edge.auth.run(), name="authentication")
        group.create_task(edge.guard.run(), name="revocations")
        group.create_task(edge.policy.run(), name="policy file")
        await _until_found(edge)
        edge.not_ready = _NOT_READ
        await edge.guard.ready(None)
        await edge.attach()
        announce_ready("edge", edge.settings.host, port)
        edge.log.info("ready", port=port, shards=edge.shards.count)
        group.create_task(edge.hub.run(stop), name="verification")
        group.create_task(edge.cursors.run(stop), name="cursors")
        group.create_task(edge.tick(stop), name="clock")
        group.create_task(edge.erasures.run(edge.forget), name="erasing")
        group.create_task(tell_statistics(edge.bus, "edge", edge.settings.id, edge.collect, edge.log), name="statistics")


async def _until_found(edge: Edge) -> None:
    """Wait until every shard is there. One that has no leader just now is not waited for long: its users are, each for themselves."""
    while True:
        async with _within(limits.LEADER_ATTEMPT_S):
            while edge.shards.deployment is None:
                await edge.shards.news()
        if edge.shards.deployment is not None or edge.shards.some:
            return


@contextlib.asynccontextmanager
async def _within(limit_s: float) -> AsyncIterator[None]:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            yield


async def _follow_deployment(edge: Edge) -> None:
    """Read the deployment, and anew after every reconnect to NATS: storage may have been recreated, with other epochs."""
    back = asyncio.Event()
    edge.bus.reconnected.append(back.set)
    while True:
        back.clear()
        await _read(edge, back)
        await back.wait()


async def _read(edge: Edge, back: asyncio.Event) -> None:
    """Read the deployment until all of it is found, or the connection was lost and is back."""
    said = False
    while not back.is_set():
        if await read_deployment(edge.bus, edge) is not None:
            edge.bus.health.storage.verified(time.monotonic())
            return
        edge.bus.health.storage.failed(time.monotonic(), "a router has not created all of the deployment yet, or a shard has no leader")
        if not said:
            edge.log.warning("deployment_missing", advice="start a router; it creates the streams")
            said = True
        await asyncio.sleep(0.2)
