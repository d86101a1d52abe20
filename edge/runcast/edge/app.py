"""The edge service: start and stop.

Start: the port is opened first (a port in use is the operator's mistake and is said at once), then NATS and the deployment are
waited for; until then `/readyz` and new connections get 503. A shard that has no leader just now keeps only its own users waiting.
Stop, in this order: not ready (balancers look elsewhere); the listening socket closes (a shared port goes to the others); devices are told
to reconnect, spread over time, then closed; cursors are written; NATS is closed.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from aiohttp import web
from structlog.stdlib import BoundLogger

from runcast.bus.deployment import read_deployment
from runcast.bus.process import PortInUseError, announce_ready
from runcast.bus.statistics import tell_statistics
from runcast.bus.tls import Certificates
from runcast.edge.addresses import Proxies
from runcast.edge.entrance import Entrance
from runcast.edge.httplog import http_log
from runcast.edge.node import Edge
from runcast.edge.routes import NOT_READ, Routes
from runcast.edge.settings import EdgeSettings
from runcast.wire import limits, limits_floods


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
            Routes(edge).app(),
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
        edge.not_ready = NOT_READ
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
