"""Places where tests of security meet: each is started once, for a module or for all, since most of a test's cost is starting processes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runcast.testkit import Cluster
from tests.security import office as offices
from tests.security.isolation import Place, started


@pytest.fixture(scope="session")
def place(_runcast_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """See `isolation.started`."""
    with started(_runcast_home, tmp_path_factory.mktemp("isolation")) as place:
        yield place


@pytest.fixture(scope="session")
def office(_runcast_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[offices.Office]:
    """See `office.opened`."""
    with offices.opened(_runcast_home, tmp_path_factory.mktemp("office")) as office:
        yield office


@pytest.fixture(scope="session")
def mutual(_runcast_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[offices.Mutual]:
    """See `office.opened_mutual`."""
    with offices.opened_mutual(_runcast_home, tmp_path_factory.mktemp("mutual")) as mutual:
        yield mutual


@pytest.fixture(scope="module")
def start_shared(_runcast_home: Any) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters that all tests of a module share; takes the arguments of `Cluster`."""
    clusters: list[Cluster] = []

    def start(**arguments: Any) -> Cluster:
        clusters.append(Cluster(**arguments))
        _runcast_home.run(clusters[-1].start)
        return clusters[-1]

    yield start
    for cluster in clusters:
        _runcast_home.run(cluster.stop)
