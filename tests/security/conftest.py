"""The place where tenants meet: started once for each module that wants it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.security.isolation import Place, started


@pytest.fixture(scope="module")
def place(_runcast_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """See `isolation.started`."""
    with started(_runcast_home, tmp_path_factory.mktemp("isolation")) as place:
        yield place
