"""A leader is killed: traffic goes on as soon as the cluster has another one, for those who are there and for those who come."""

import asyncio
import contextlib
import time

import aiohttp
import pytest

from runcast.testkit import Device, DeviceClosedError
from runcast.testkit.failover import SHARDS, measure
from runcast.wire import limits

OURS_S = 2.5
"""What may be added to NATS's own election, on a busy machine; a quarter of a second otherwise."""


@pytest.mark.timeout(180)
async def test_traffic_flows_again_as_soon_as_there_is_another_leader(runcast_cluster_factory):
    cluster = await runcast_cluster_factory(routers=2, edges=2, nats_servers=3, shards=SHARDS)
    (kill,) = await measure(cluster, kills=1, users=8)
    worst = kill.worst()
    assert worst["elected"] > 0, "the killed server led one of them"
    assert worst["stored"] < worst["elected"] + OURS_S, kill
    assert worst["delivered"] < worst["elected"] + OURS_S, kill
    assert worst["opened"] < worst["elected"] + OURS_S, kill


@pytest.mark.timeout(120)
async def test_an_edge_ends_in_time_though_nobody_leads_the_storage(runcast_cluster_factory, user: str):
    cluster = await runcast_cluster_factory(routers=1, edges=1, nats_servers=3, shards=1)
    leader = await cluster.stream_leader("RUNCAST_EV_0")
    left = next(node for node in cluster.nats_servers if node is not leader)
    gone = [node for node in cluster.nats_servers if node is not left]
    async with (
        Device(cluster.ws_urls(), cluster.token(user), device="there") as there,
        cluster.connect() as rc,
        rc.run(user=user) as run,
        asyncio.TaskGroup() as tasks,
    ):
        await run.respond("its cursor is to be written", whole=True)
        await there.wait_kind("agent_response")
        for node in gone:
            await node.kill()
        coming = tasks.create_task(come(Device(cluster.ws_urls(), cluster.token(user + "x"), device="comes")))
        await asyncio.sleep(2.0)  # its feed waits for a leader by then, which can't be seen from outside
        began = time.monotonic()
        assert await cluster.edges[0].stop(bound_s=20) == 0
        assert time.monotonic() - began < limits.DRAIN_S + 2.0, "what Kubernetes and Ctrl-C wait for"
        coming.cancel()
        for node in gone:
            await node.start()  # so that the run's end can be stored


async def come(device: Device) -> None:
    """Try to connect until cancelled."""
    while True:
        with contextlib.suppress(DeviceClosedError, TimeoutError, aiohttp.ClientError):
            await device.connect()
        await device.close()
        await asyncio.sleep(0.1)
