"""What live delivery loses is noticed and repaired: by the next event, by the election of a leader, by a reconnect, by the slow round."""

import asyncio
import time

import pytest
from pytest_asyncio import fixture

from runcast.client import Runcast
from runcast.testkit import Cluster, Device
from runcast.testkit.plugin import ClusterFactory
from runcast.testkit.proxy import Proxy
from runcast.wire import limits

SOON_S = 3.0
"""Longer than a repair takes, and much shorter than the slow round."""


@fixture
async def cluster(runcast_cluster_factory: ClusterFactory) -> Cluster:
    return await runcast_cluster_factory(routers=1, edges=1, proxied=True, shards=1)


def line(cluster: Cluster) -> Proxy:
    """From the edge to NATS."""
    return cluster.proxies["edge-0", "nats"]


async def verified(device: Device) -> None:
    """Wait until the edge has verified the device's feed once, so that its next look is the slow round's."""
    await asyncio.sleep(limits.VERIFY_FIRST_S + 1.0)  # there is nothing to see from outside


async def emit(cluster: Cluster, user: str, texts: list[str]) -> None:
    """A run whose events are each in a batch of its own, and which stays open at the end of `texts` only for its caller's sake."""
    async with Runcast(",".join(cluster.router_addresses()), agent="test") as rc, rc.run(user=user) as run:
        for text in texts:
            await run.thinking(text)
            await run.flush()


async def lose(cluster: Cluster, device: Device, user: str) -> int:
    """Have a whole run stored of which the device is shown nothing; returns how many events it owes."""
    proxy = line(cluster)
    before = proxy.dropped
    proxy.drop("live.>")
    await emit(cluster, user, ["lost"])
    await asyncio.sleep(0.2)  # that nothing comes can only be seen by waiting
    assert proxy.dropped > before
    assert device.received == []
    return 3


async def test_the_next_event_shows_the_gap(cluster: Cluster, user: str) -> None:
    async with Device(cluster.ws_urls(), cluster.token(user)) as device:
        await verified(device)
        count = await lose(cluster, device, user)
        line(cluster).heal()
        began = time.monotonic()
        await device.send_message("demo", "t", "the next")
        events = await device.wait_count(count + 1, SOON_S)
        assert time.monotonic() - began < SOON_S
        assert [event.WhichOneof("kind") for event in events] == ["agent_started", "agent_thinking", "agent_completed", "user_message"]


async def test_a_reconnect_to_nats_repairs_at_once(cluster: Cluster, user: str) -> None:
    async with Device(cluster.ws_urls(), cluster.token(user)) as device:
        await verified(device)
        count = await lose(cluster, device, user)
        line(cluster).heal()
        line(cluster).cut()
        await device.wait_count(count, SOON_S)


@pytest.mark.timeout(90)
async def test_without_any_sign_the_slow_round_repairs(cluster: Cluster, user: str) -> None:
    async with Device(cluster.ws_urls(), cluster.token(user)) as device:
        await verified(device)
        count = await lose(cluster, device, user)
        line(cluster).heal()
        await device.wait_count(count, limits.VERIFY_INTERVAL_S + 2.0)


async def test_the_election_of_a_leader_repairs_at_once(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1, proxied=True, shards=1, nats_servers=3)
    leader = await cluster.stream_leader("RUNCAST_EV_0")
    assert leader is not None
    # An edge that is connected to another server sees nothing of the leader's end but the election of the next one.
    for name in ("nats-0", "nats-1", "nats-2"):
        if name == leader.name:
            cluster.proxies["edge-0", name].cut(stay=True)
    async with Device(cluster.ws_urls(), cluster.token(user), reconnect=True) as device:
        await verified(device)
        lines = [cluster.proxies["edge-0", f"nats-{n}"] for n in range(3)]
        for proxy in lines:
            proxy.drop("live.>")
        await emit(cluster, user, ["lost"])
        await asyncio.sleep(0.2)  # that nothing comes can only be seen by waiting
        assert device.received == []
        assert sum(proxy.dropped for proxy in lines) >= 1
        elected_before = time.monotonic()
        await leader.kill()
        await device.wait_count(3, limits.VERIFY_INTERVAL_S - 3.0)
        assert time.monotonic() - elected_before < limits.VERIFY_INTERVAL_S - 3.0


async def test_a_device_that_is_ahead_of_its_new_edge_goes_on(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    """What is live may reach one edge and not the other: the other must not call the device's position one that never was."""
    cluster = await runcast_cluster_factory(routers=1, edges=2, proxied=True, shards=1)
    ahead, behind = cluster.ws_urls()
    async with (
        Device(ahead, cluster.token(user), device="mover") as mover,
        Device(behind, cluster.token(user), device="other") as other,
    ):
        await verified(mover)
        cluster.proxies["edge-1", "nats"].drop("live.>")
        await emit(cluster, user, ["lost"])
        await mover.wait_count(3)
        assert other.received == []
        welcome = await mover.reconnect(behind)
        assert (welcome.outcome, welcome.reason, welcome.position) == ("resumed", "", mover.position)
        await other.wait_count(3, SOON_S)
        cluster.proxies["edge-1", "nats"].heal()
        await mover.send_message("demo", "t", "the next")
        await mover.wait_count(4, SOON_S)
        # What never was is still called that, and of another user's place nobody is told more.
        mover.session.position = f"{mover.position[:9]}{10**9:016d}"
        assert (await mover.reconnect(behind)).reason == "future"
