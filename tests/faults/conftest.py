"""Clusters that several modules break."""

from collections.abc import Iterator
from typing import Any

import pytest

from runcast.testkit import Cluster
from runcast.testkit.failover import SHARDS


@pytest.fixture(scope="session")
def three_servers(_runcast_home: Any) -> Iterator[Cluster]:
    """A router and two edges, and everything is stored on three nats-servers. Each test leaves all of them running."""
    cluster = Cluster(routers=1, edges=2, nats_servers=3, shards=SHARDS)
    _runcast_home.run(cluster.start)
    yield cluster
    _runcast_home.run(cluster.stop)
