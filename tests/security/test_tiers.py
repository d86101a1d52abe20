"""A tenant's tier at the edge: devices of a user, connections, sends, bytes a second; others are not asked to wait."""

import asyncio

import aiohttp
import pytest

from runcast.testkit import Device
from runcast.testkit.raw_socket import RawSocket
from runcast.wire import limits
from runcast.wire.errors import RefusedError

POLICY = """
default = "standard"
[tenants]
small = "small"
[tiers.small]
devices_per_user = 2
connections = 3
sends_per_s = 2
egress_bytes_per_s = 50_000
"""


pytestmark = pytest.mark.xdist_group("tiers")


@pytest.fixture(scope="module")
def cluster(start_shared, runcast_cluster, tmp_path_factory):
    """An edge with this policy."""
    path = tmp_path_factory.mktemp("tiers") / "policy.toml"
    path.write_text(POLICY)
    return start_shared(routers=0, edges=1, nats_url=runcast_cluster.nats_url, environ={"RUNCAST_POLICY_FILE": str(path)})


async def close_code(cluster, user: str) -> tuple[int, bytes]:
    """How a device of the small tenant is sent away, and what it is told before."""
    async with RawSocket(cluster.ws_url(0)) as raw, asyncio.timeout(10):
        await raw.open(cluster.token(user, "small"), hello=False)
        await raw.send(HELLO)
        told = await raw.receive()
        assert told is not None
        return await raw.ended(), told.payload


HELLO = b'\x81\x9d\x00\x00\x00\x00{"type":"hello","device":"d"}'


async def test_a_tier_bounds_what_devices_do(cluster):
    url = cluster.ws_url(0)

    def device(user: str, tenant: str, name: str = "d") -> Device:
        return Device(url, cluster.token(user, tenant), device=name)

    async with device("ann", "small", "1") as one, device("ann", "small", "2"):
        assert (await close_code(cluster, "ann"))[0] == 4011
        async with device("bob", "small"):
            code, told = await close_code(cluster, "carol")
            assert code == 4029
            assert b'"retry_after_ms":5000' in told
            async with device("dan", "large") as other:
                refused = []
                for number in range(8):
                    try:
                        await one.send_message("g", "t", str(number))
                    except RefusedError as exc:
                        refused.append(exc)
                assert len(refused) >= 3
                assert {exc.code.name for exc in refused} == {"rate_limited"}
                assert all(0 < exc.retry_after_s <= 0.5 for exc in refused)
                for number in range(8):
                    await other.send_message("g", "t", str(number))
                await asyncio.sleep(refused[-1].retry_after_s)
                await one.send_message("g", "t", "later")
        async with device("carol", "small"):
            pass


async def test_a_device_is_paced_and_loses_nothing(cluster, runcast_cluster):
    """300 KB for a device that may have 50 KB a second, and 100 KB at once: four seconds, while another tenant's takes none."""
    count, loop = 30, asyncio.get_running_loop()

    async def read(tenant: str) -> float:
        async with Device(cluster.ws_url(0), cluster.token("u", tenant), device="d") as device:
            began = loop.time()
            async with runcast_cluster.connect(tenant=tenant) as agent, agent.run(user="u", thread="t") as run:
                for number in range(count):
                    await run.custom("number", {"n": number, "pad": "x" * 10 * limits.KIB})
                    await run.flush()
            await device.wait_kind("agent_completed", 20)
            assert [event.custom.name for event in device.events].count("number") == count
            return loop.time() - began

    slow, quick = await asyncio.gather(read("small"), read("large"))
    assert slow > 3.0
    assert quick < slow - 1.5
    began, took, offset = loop.time(), 0, "-1"
    headers = {"Authorization": f"Bearer {cluster.token('u', 'small')}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in range(2):  # one request after the other, each with a little time: what was sent counts for the next one
            params = {"offset": offset, "timeout": "1"}
            async with session.get(f"{cluster.edges[0].http_url}/v1/stream", params=params) as response:
                took, offset = took + len(await response.read()), response.headers["Stream-Next-Offset"]
    assert 50_000 < took < 100_000 + 50_000 * (loop.time() - began) + 2 * 11 * limits.KIB
