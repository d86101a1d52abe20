"""An admin process's parts on a nats-server of the test's own."""

from collections.abc import AsyncIterator

import structlog
from pytest_asyncio import fixture

from runcast.admin.node import Node
from runcast.admin.settings import AdminSettings
from runcast.bus.connection import Bus
from runcast.bus.streams import audit_config
from runcast.testkit import Cluster
from runcast.testkit.plugin import ClusterFactory


@fixture
async def nats(runcast_cluster_factory: ClusterFactory) -> Cluster:
    return await runcast_cluster_factory(routers=0, edges=0)


@fixture
async def node(nats: Cluster) -> AsyncIterator[Node]:
    """Connected, with an audit log."""
    log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()
    bus = Bus(log)
    made = Node("admin-test", bus, log)
    await bus.open(AdminSettings(nats_url=nats.nats_url, auth="dev", id="test"))
    await bus.js.add_stream(audit_config(1))
    await made.open()
    yield made
    await bus.close()
