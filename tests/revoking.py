"""An operator's side of revocation, on a connection of the test's own."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import structlog

from runcast.bus.connection import Bus
from runcast.bus.revoking import Revoking
from runcast.bus.settings import ServiceSettings
from runcast.testkit import Cluster, DeviceClosedError, UserDevice
from runcast.wire.targets import Target, make_target


@contextlib.asynccontextmanager
async def operator(nats_url: str) -> AsyncIterator[Revoking]:
    """Revokes at a NATS."""
    bus = Bus(structlog.stdlib.get_logger())
    await bus.open(ServiceSettings(nats_url=nats_url, auth="dev", id="operator"))
    revoking = Revoking(bus)
    await revoking.open()
    try:
        yield revoking
    finally:
        await bus.close()


def user_target(user: str) -> Target:
    return make_target("user", "default", user)


async def closed(device: UserDevice, within_s: float = 5.0) -> int | None:
    """With what code it was closed."""
    with pytest.raises(DeviceClosedError) as caught:
        await device.wait_for(lambda _: False, within_s, start=len(device.received))
    return caught.value.close_code


async def refused(cluster: Cluster, user: str, **options: object) -> int | None:
    """With what code it is not let in."""
    device = UserDevice(cluster, user, reconnect=False, **options)  # type: ignore[arg-type]
    try:
        with pytest.raises(DeviceClosedError) as caught:
            await device.connect()
        assert device.received == []
        return caught.value.close_code
    finally:
        await device.close()
