"""A router process from start to stop.

Start: the port is opened first, so that a port in use is known at once and probes get an answer (NOT_SERVING); then NATS is
waited for, as long as it takes; then the deployment is created or verified; then the health is SERVING and the ready line is
printed. Whenever the connection to NATS is lost the health is NOT_SERVING until the deployment has been verified again;
streams stay open meanwhile, and batches of a shard are taken as soon as that shard is verified.

Stop (SIGTERM), in this order:
    1. NOT_SERVING, so that load balancers send nobody new.
    2. GoAway on every stream: agents open one to another router while this one still answers; batches that come now are
       refused with `draining`, so that each is stored by one router.
    3. The port is closed, so that no connection of a shared port is lost to a process that is about to end. Open streams go
       on.
    4. Up to `limits.DRAIN_GRACE_S` for the agents to leave; then their streams are ended, each as soon as its batches are
       answered.
    5. What remains is cut off; what was not answered is sent again elsewhere and recognised by its message id.
    6. The connection to NATS last, because everything above may still use it.

All of it takes less than `limits.DRAIN_S` + 1 s.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import grpc.aio
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.deployment import Deployment, DeploymentError, provision
from runcast.bus.guard import Guard
from runcast.bus.identity.trust import Trust
from runcast.bus.policy.book import PolicyBook
from runcast.bus.process import announce_ready
from runcast.bus.rpc_health import Health
from runcast.bus.rpc_port import OPTIONS, open_port
from runcast.bus.statistics import tell_statistics
from runcast.bus.tls import Certificates
from runcast.router.auth import Authenticator, DevAuthenticator, FileAuthenticator, GuardedAuthenticator
from runcast.router.health import SERVICES
from runcast.router.inbox import InboxService
from runcast.router.node import Node
from runcast.router.principals import Principals
from runcast.router.publish import PublishService
from runcast.router.settings import RouterSettings
from runcast.v1 import inbox_pb2_grpc, ingest_pb2_grpc
from runcast.wire import limits, limits_client, limits_revocation
from runcast.wire.errors import RuncastError, UnavailableError

_LAST_S: Final = 0.75
"""For streams that were ended to have their batches answered."""


async def run_router(settings: RouterSettings, log: BoundLogger, stop: asyncio.Event) -> None:
    """Run a router until `stop` is set.

    Raises:
        PortInUseError: the address can't be listened on.
        ServerTooOldError: as an exception group, like the next one: NATS lacks what is needed.
        DeploymentError: the deployment differs from the settings, or from what Runcast needs.
        PolicyFileError: the policy file can't be used any more.
    """
    bus = Bus(log)
    policy = PolicyBook(settings.policy_file, development=settings.auth == "dev", log=log)
    node = Node(settings.id, bus, log, policy)
    health = Health(SERVICES)
    await health.tell(serving=False)
    server = grpc.aio.server(options=OPTIONS)
    principals = Principals(node.denials)
    node.guard = Guard(bus, node.id, log, principals.guests)
    trust = node.trust = _make_trust(settings, principals, log)
    authenticator: Authenticator = DevAuthenticator()
    if trust is not None and settings.auth in ("token", "mtls"):
        authenticator = FileAuthenticator(trust, settings.auth)
    authenticator = GuardedAuthenticator(authenticator, node.guard)
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(PublishService(node, authenticator, principals), server)
    inbox_pb2_grpc.add_InboxServiceServicer_to_server(InboxService(node, authenticator, principals), server)
    health.add_to(server)
    certificates = Certificates(settings.tls_cert, settings.tls_key, settings.tls_ca) if settings.tls_cert else None
    port = open_port(server, settings, certificates)
    await server.start()
    try:
        async with asyncio.TaskGroup() as group:
            parts = [
                group.create_task(_keep_connected(node, health, settings, port), name="connection"),
                group.create_task(node.cancels.run(), name="cancels"),
                group.create_task(node.answers.run(), name="answers"),
                group.create_task(node.receipts.run(), name="receipts"),
                group.create_task(tell_statistics(bus, "router", node.id, node.collect, log), name="statistics"),
                group.create_task(node.losses.run(), name="losses"),
                group.create_task(principals.run(), name="principals"),
                group.create_task(node.erasures.run(node.forget), name="erasing"),
                group.create_task(node.guard.run(), name="revocations"),
                group.create_task(policy.run(), name="policy file"),
                group.create_task(bus.seals.run(), name="keys file"),
            ]
            if trust is not None:
                parts.append(group.create_task(trust.run(), name="auth file"))
            if certificates is not None:
                parts.append(group.create_task(certificates.follow(log), name="certificates"))
            leases = group.create_task(node.leases.run(), name="leases")
            await stop.wait()
            for part in parts:
                part.cancel()
            await _drain(node, health, server)
            leases.cancel()  # refreshed as long as streams are open
    finally:
        await server.stop(0)
        await bus.close()


def _make_trust(settings: RouterSettings, principals: Principals, log: BoundLogger) -> Trust | None:
    """The auth file, followed; None in development mode."""
    if settings.auth == "dev":
        return None
    trust = Trust(Path(settings.auth_file), log)
    trust.replaced.append(lambda: principals.reload(trust.file))
    return trust


async def _keep_connected(node: Node, health: Health, settings: RouterSettings, port: int) -> None:
    """Connect to NATS, verify the deployment, and again after every loss of the connection; never returns."""
    bus = node.bus
    lost, back = asyncio.Event(), asyncio.Event()

    def on_lost() -> None:
        node.lost()
        back.clear()
        lost.set()

    bus.disconnected.append(on_lost)
    bus.reconnected.append(back.set)
    await bus.open(settings)
    await node.cancels.open()
    await node.answers.open()
    await node.receipts.open()
    await node.losses.open()
    await node.erasures.open()
    await node.guard.open()
    announced = False
    while True:
        lost.clear()
        if bus.connected:
            deployment = await _verify(node, settings, lost, first=not announced)
            if deployment is not None and await _until_read(node, lost):
                bus.health.storage.verified(time.monotonic())
                node.know_horizon(deployment.resend_horizon_s)
                await health.tell(serving=True)
                if not announced:
                    announce_ready("router", settings.host, port)
                    announced = True
                await lost.wait()
                await health.tell(serving=False)
        if not bus.connected:
            await back.wait()


async def _verify(node: Node, settings: RouterSettings, lost: asyncio.Event, *, first: bool) -> Deployment | None:
    """Create or verify the deployment, as often as it takes; what can't be right at the first start ends the process.

    The node is told of each shard as soon as it is verified. Returns None when the connection is lost meanwhile: it begins anew then.

    Raises:
        DeploymentError: only when `first`, and NATS is there.
    """
    wait_s = limits_client.BACKOFF_FIRST_S
    while not lost.is_set():
        try:
            return await _until_lost(
                provision(node.bus, shards=settings.shards, replicas=settings.replicas, log=node.log, found=node), lost
            )
        except DeploymentError as exc:
            if first and node.bus.connected:
                raise
            node.bus.health.storage.failed(time.monotonic(), str(exc))
            node.log.error("deployment_not_verified", error=str(exc))  # noqa: TRY400 # said by the message
        except UnavailableError as exc:
            node.bus.health.storage.failed(time.monotonic(), exc.message)
            node.log.warning("deployment_not_verified", error=exc.message)
        await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311 # jitter, not a secret
        wait_s = min(2 * wait_s, limits_client.BACKOFF_MAX_S)
    return None


async def _until_read(node: Node, lost: asyncio.Event) -> bool:
    """Wait until it is known who is revoked; False when the connection is lost first."""
    while not lost.is_set():
        with contextlib.suppress(UnavailableError):
            await node.guard.ready(limits_revocation.REVOCATIONS_PAUSE_S)
            return True
    return False


async def _until_lost(work: Coroutine[Any, Any, Deployment], lost: asyncio.Event) -> Deployment | None:
    """What `work` returns, or raises; None, and it is cancelled, when the connection is lost first."""
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(lost.wait())
        working = group.create_task(_outcome(work))
        await asyncio.wait((waiting, working), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        working.cancel()
    if working.cancelled():
        return None
    deployment, error = working.result()
    if error is not None:
        raise error
    return deployment if not lost.is_set() else None


async def _outcome(work: Coroutine[Any, Any, Deployment]) -> tuple[Deployment | None, RuncastError | DeploymentError | None]:
    try:
        return await work, None
    except (RuncastError, DeploymentError) as exc:
        return None, exc


async def _drain(node: Node, health: Health, server: grpc.aio.Server) -> None:
    """Send everybody away, in the order that the module describes."""
    node.log.info("draining", producers=len(node.producers), workers=len(node.workers))
    node.leaving = True
    await health.tell(serving=False)
    for stream in node.streams:
        stream.leave("the router stops", int(limits.DRAIN_GRACE_S * 1000))
    async with asyncio.TaskGroup() as group:
        closing = group.create_task(server.stop(limits.DRAIN_S))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.DRAIN_GRACE_S):
                await node.empty()
        for stream in node.streams:
            stream.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await node.empty()
        await server.stop(0)
        await closing
