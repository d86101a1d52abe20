"""An admin process from start to stop.

Start: both ports are opened first, so that a port in use is known at once and probes get an answer; then NATS is waited for, as long as it
takes, and a router that creates the deployment; then the health is SERVING and the ready line is printed. What is asked meanwhile, or while
the connection to NATS is lost, is answered as far as this process knows: it is there to tell what is wrong.

Stop (SIGTERM): NOT_SERVING; both ports close, and what is under way is answered, within `limits_admin.ADMIN_STOP_S`; the connection to
NATS last.
"""

import asyncio
import time
from pathlib import Path
from typing import Final

import grpc.aio
from structlog.stdlib import BoundLogger

from runcast.admin.auth import Doorman
from runcast.admin.dashboard import Dashboard
from runcast.admin.desk import Desk
from runcast.admin.node import Node
from runcast.admin.service import AdminService
from runcast.admin.settings import AdminSettings
from runcast.admin.web import Pages, open_pages
from runcast.bus.connection import Bus
from runcast.bus.deployment import DeploymentError, read_deployment
from runcast.bus.identity.trust import Trust
from runcast.bus.process import announce_ready
from runcast.bus.rpc_health import Health
from runcast.bus.rpc_port import OPTIONS, open_port
from runcast.bus.statistics import tell_statistics
from runcast.bus.tls import Certificates
from runcast.v1 import admin_pb2, admin_pb2_grpc
from runcast.wire import limits_admin

SERVICE: Final = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
_AGAIN_S: Final = 0.2


async def run_admin(settings: AdminSettings, log: BoundLogger, stop: asyncio.Event) -> None:
    """Run an admin process until `stop` is set.

    Raises:
        PortInUseError: an address can't be listened on.
        ServerTooOldError: as an exception group, like the next one: NATS lacks what is needed.
        DeploymentError: the deployment is not what Runcast needs.
    """
    bus = Bus(log)
    node = Node(settings.id, bus, log, settings.redaction_file)
    trust = Trust(Path(settings.auth_file), log) if settings.auth != "dev" else None
    desk = Desk(node, Doorman(settings.auth or "token", trust))
    health = Health([SERVICE], telling=[SERVICE])
    await health.tell(serving=False)
    server = grpc.aio.server(options=OPTIONS)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(node, desk), server)
    health.add_to(server)
    certificates = Certificates(settings.tls_cert, settings.tls_key, settings.tls_ca) if settings.tls_cert else None
    port = open_port(server, settings, certificates)
    pages = Pages(node, desk, settings)
    runner = await open_pages(pages, settings, certificates)
    await server.start()
    try:
        async with asyncio.TaskGroup() as group:
            parts = [
                group.create_task(_keep_connected(node, pages.dashboard, health, settings, port), name="connection"),
                group.create_task(tell_statistics(bus, "admin", node.id, node.collect, log), name="statistics"),
                group.create_task(bus.seals.run(), name="keys file"),
                group.create_task(pages.dashboard.run(), name="dashboard"),
                group.create_task(node.erasures.run(node.forget), name="erasing"),
            ]
            if trust is not None:
                parts.append(group.create_task(trust.run(), name="auth file"))
            if certificates is not None:
                parts.append(group.create_task(certificates.follow(log), name="certificates"))
            await stop.wait()
            for part in parts:
                part.cancel()
            await health.tell(serving=False, stopping=True)
    finally:
        await runner.cleanup()
        await server.stop(limits_admin.ADMIN_STOP_S)
        await bus.close()


async def _keep_connected(node: Node, dashboard: Dashboard, health: Health, settings: AdminSettings, port: int) -> None:
    """Connect to NATS, read the deployment, and again after every loss of the connection; never returns."""
    bus = node.bus
    lost, back = asyncio.Event(), asyncio.Event()

    def on_lost() -> None:
        back.clear()
        lost.set()

    bus.disconnected.append(on_lost)
    bus.reconnected.append(back.set)
    await bus.open(settings)
    await node.open()
    await dashboard.open()
    announced = False
    while True:
        lost.clear()
        if bus.connected and await _read(node, lost, first=not announced):
            bus.health.storage.verified(time.monotonic())
            await health.tell(serving=True)
            if not announced:
                announce_ready("admin", settings.host, port)
                announced = True
            await lost.wait()
            await health.tell(serving=False)
        await node.forget(None)  # who is erased while nothing is heard can't be known
        if not bus.connected:
            await back.wait()


async def _read(node: Node, lost: asyncio.Event, *, first: bool) -> bool:
    """Read the deployment until all of it is found; False when the connection was lost meanwhile.

    Raises:
        DeploymentError: only when `first`: what can't be right at the first start ends the process.
    """
    said = ""
    while not lost.is_set():
        reason = "a router has not created all of the deployment yet, or a shard has no leader"
        try:
            if await read_deployment(node.bus, node.shards) is not None:
                return not lost.is_set()
        except DeploymentError as exc:
            if first:
                raise
            reason = str(exc)
        node.bus.health.storage.failed(time.monotonic(), reason)
        if reason != said:
            said = reason
            node.log.warning("deployment_missing", reason=reason)
        await asyncio.sleep(_AGAIN_S)
    return False
