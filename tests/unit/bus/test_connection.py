"""The connection: old servers are refused, absent ones are awaited, and neither says a password."""

import asyncio
import io

import pytest
import structlog

from runcast.bus.connection import SERVER_VERSION_MIN, Bus, ServerTooOldError, check_version
from runcast.bus.settings import ServiceSettings
from runcast.testkit import Cluster
from runcast.testkit.proxy import Proxy


@pytest.mark.parametrize("version", ["2.11.0", "2.11", "2.12.4", "2.15.1", "2.100.0", "3.0.0", "10.0.0", "2.11.0-RC.1", "2.15.0-dev"])
def test_versions_that_will_do(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["2.10.29", "2.9.0", "2.1.99", "1.99.0", "0.0.0", "", "v2.12.0", "two", "2", "2.x", "None.None.None"])
def test_versions_that_will_not_do(version: str) -> None:
    with pytest.raises(ServerTooOldError) as caught:
        check_version(version)
    assert f"is version {version};" in str(caught.value)
    assert ".".join(map(str, SERVER_VERSION_MIN)) in str(caught.value)
    assert "pip install" in str(caught.value)


async def test_a_real_server_will_do(bus: Bus, nats: Cluster) -> None:
    assert nats.nats is not None
    assert bus.connected
    assert bus.server == nats.nats.address
    check_version(bus.server_version)


async def test_an_absent_server_is_awaited_and_the_log_holds_no_secret(nats: Cluster) -> None:
    assert nats.nats is not None
    await nats.nats.stop()
    output = io.StringIO()
    told = asyncio.Event()

    def notice(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        told.set()
        return event

    log = structlog.wrap_logger(
        structlog.PrintLogger(output), processors=[notice, structlog.processors.JSONRenderer()], wrapper_class=structlog.stdlib.BoundLogger
    )
    bus = Bus(log)
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(bus.open(ServiceSettings(nats_url=f"nats://me:secret@{nats.nats.address}", auth="dev", id="t")))
        await told.wait()
        assert not bus.connected
        assert not opening.done()
        await nats.nats.start()
    assert bus.connected
    assert bus.server == nats.nats.address
    await bus.close()
    assert nats.nats.address in output.getvalue()
    assert "secret" not in output.getvalue()


async def test_a_connection_that_was_reset_closes_like_any_other(nats: Cluster) -> None:
    assert nats.nats is not None
    async with Proxy(int(nats.nats.address.rpartition(":")[2]), nats=True) as proxy:
        bus = Bus(structlog.stdlib.get_logger())
        await bus.open(ServiceSettings(nats_url=f"nats://127.0.0.1:{proxy.port}", auth="dev", id="t"))
        proxy.reset()
        await bus.close()
        assert not bus.connected
