"""What tests of delivery share."""

import pytest

from runcast.testkit.cluster import Cluster


@pytest.fixture
def address(runcast_cluster: Cluster) -> str:
    """Of a router."""
    return runcast_cluster.routers[0].address
