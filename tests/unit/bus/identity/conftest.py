"""A key server for each test that wants one."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.bus.identity.issuing import KeyServer


@pytest.fixture
async def key_server() -> AsyncIterator[KeyServer]:
    server = KeyServer()
    await server.start()
    yield server
    await server.stop()
