"""What all tests share: Hypothesis profiles, and short names for two of the plugin's fixtures.

Tests of the servers write batches, subjects and tokens by hand, in tenant "default": what keeps them apart is a user of their own.

The suite is derandomized, so that a green run stays green. To look further: `HYPOTHESIS_PROFILE=explore pytest tests/unit`.
"""

import functools
import os
import re
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from runcast.testkit import UserDevice
from runcast.testkit.plugin import DeviceFactory

settings.register_profile("suite", max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "explore", max_examples=2000, stateful_step_count=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked as a group must be one: tests of a group share servers, and Chromium; apart, each process would start its own."""
    if getattr(config.option, "loadgroup", False):
        loose = [item.nodeid for item in items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid]
        if loose:
            raise pytest.UsageError(f"pytest-xdist groups no tests with pytest {pytest.__version__}; the first: {loose[0]}")


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user that no other test has."""
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', request.node.name)[:40]}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def device(runcast_device: DeviceFactory, user: str) -> DeviceFactory:
    """Opens devices of the test's user, on the first edge, that do not come back by themselves; unless told otherwise."""
    return functools.partial(_open, runcast_device, user)


async def _open(open_device: DeviceFactory, of: str, *, user: str = "", tenant: str = "default", **options: Any) -> UserDevice:
    if "urls" not in options:
        options.setdefault("edge", 0)
    return await open_device(user or of, tenant=tenant, **{"reconnect": False, **options})
