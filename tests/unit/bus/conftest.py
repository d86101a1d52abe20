"""A connection to a nats-server of the test's own."""

from collections.abc import AsyncIterator

import pytest
import structlog
from pytest_asyncio import fixture

from runcast.bus.connection import Bus
from runcast.bus.settings import ServiceSettings
from runcast.testkit import Cluster
from runcast.testkit.plugin import ClusterFactory


@pytest.fixture
def log() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()
    return logger


@fixture
async def nats(runcast_cluster_factory: ClusterFactory) -> Cluster:
    return await runcast_cluster_factory(routers=0, edges=0)


@fixture
async def bus(nats: Cluster, log: structlog.stdlib.BoundLogger) -> AsyncIterator[Bus]:
    opened = Bus(log)
    await opened.open(ServiceSettings(nats_url=nats.nats_url, auth="dev", id="test"))
    yield opened
    await opened.close()
