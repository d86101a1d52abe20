"""A nats-server that others can't reach, though it lives and its clients reach it: what it takes must not count until others have it."""

import asyncio
import json

import pytest

from runcast.testkit import Device

ELECTED_S = 30.0
"""NATS's own share is 4 to 9 s."""


@pytest.mark.timeout(120)
async def test_a_leader_behind_a_partition_keeps_nothing_to_itself(runcast_cluster_factory, user: str):
    cluster = await runcast_cluster_factory(routers=1, edges=1, nats_servers=3, shards=1, proxied=True)
    leader = await cluster.stream_leader("RUNCAST_EV_0")
    routes = [proxy for line, proxy in cluster.proxies.items() if leader.name in line and all(end.startswith("nats-") for end in line)]
    assert len(routes) == 4
    async with Device(cluster.ws_urls(), cluster.token(user), reconnect=True) as device, cluster.connect() as rc:
        async with rc.run(user=user) as run:
            await run.respond("before", whole=True)
            await run.flush()
            for proxy in routes:
                proxy.half_open()
            for number in range(20):
                await run.custom("meanwhile", {"number": number})
            await asyncio.wait_for(another_leader(cluster, leader), ELECTED_S)
            for proxy in routes:
                proxy.heal()
            await run.respond("after", whole=True)
        await device.wait_kind("agent_completed", timeout=ELECTED_S)
        assert [event.seq for event in device.events] == list(range(1, len(device.events) + 1))
        numbers = [json.loads(event.custom.data_json)["number"] for event in device.events if event.WhichOneof("kind") == "custom"]
        assert numbers == list(range(20))


async def another_leader(cluster, old) -> None:
    while True:
        now = await cluster.stream_leader("RUNCAST_EV_0")
        if now is not None and now is not old:
            return
        await asyncio.sleep(0.1)
