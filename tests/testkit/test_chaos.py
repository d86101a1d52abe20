"""What is broken within a block is broken, and in order again after it; agents and devices get through it."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from runcast.client import Runcast
from runcast.testkit import Cluster, UserDevice, VerificationError, verify_together
from runcast.testkit.home import HomeThread
from runcast.testkit.plugin import ClusterFactory, DeviceFactory

pytestmark = [pytest.mark.usefixtures("fresh_tenant"), pytest.mark.xdist_group("chaos")]


@pytest.fixture(scope="module")
def runcast_cluster(_runcast_home: HomeThread) -> Iterator[Cluster]:
    """One of its own. In the shared one other tests erase users: as far as an edge can tell, a device that is back before its first event
    may have missed something there, and it is told so.
    """
    cluster = Cluster(routers=2, edges=2, proxied="rim")
    _runcast_home.run(cluster.start)
    yield cluster
    _runcast_home.run(cluster.stop)


@pytest.fixture
def fresh_tenant(runcast_tenant: str) -> None:
    assert runcast_tenant != "default"


async def test_an_agent_and_its_user_get_through_everything(
    runcast_agent: Runcast, runcast_user: UserDevice, runcast_cluster: Cluster
) -> None:
    async with runcast_agent.run(user=runcast_user.user, title="Sales") as run:
        async with runcast_cluster.edge_killed(None):
            assert not any(edge.running for edge in runcast_cluster.edges)
            await run.thinking("Reading, without an edge")
            await run.flush()
        async with runcast_cluster.router_killed(None):
            assert not any(router.running for router in runcast_cluster.routers)
            await run.thinking("Reading, without a router")
        await run.flush()
        async with runcast_cluster.nats_restarted():
            assert not runcast_cluster.nats_servers[0].running
            await run.thinking("Reading, without storage")
        await run.flush()
        async with runcast_cluster.edge_killed(), runcast_cluster.router_killed(1):
            await run.respond("The north.", whole=True)
    assert all(node.running for node in (*runcast_cluster.edges, *runcast_cluster.routers, *runcast_cluster.nats_servers))
    await runcast_user.verify(run.id, within_s=20, required=["agent_thinking"] * 3)
    await verify_together(runcast_user, await runcast_user.second(position="earliest"))


async def test_a_block_that_raises_leaves_the_cluster_in_order(runcast_cluster: Cluster) -> None:
    with pytest.raises(KeyError):
        async with runcast_cluster.edge_killed(1), runcast_cluster.network(cut=True):
            raise KeyError
    assert all(edge.running for edge in runcast_cluster.edges)
    assert all(proxy.healthy for proxy in runcast_cluster.proxies.values())
    await runcast_cluster.recovered(within_s=5)


async def test_latency_is_felt_by_the_device(runcast_agent: Runcast, runcast_user: UserDevice, runcast_cluster: Cluster) -> None:
    async with runcast_cluster.network(latency=0.3), runcast_agent.run(user="alice", title="Sales") as run:
        await run.thinking("Reading")
        await runcast_user.wait_kind("agent_thinking")
    await runcast_user.verify()
    assert runcast_user.timing().latency.max >= 300
    with pytest.raises(VerificationError, match="late_start: the first event of run"):
        await runcast_user.verify(first_s=0.2)


async def test_a_cut_line_refuses_and_a_silent_one_says_nothing(
    runcast_agent: Runcast, runcast_user: UserDevice, runcast_cluster: Cluster
) -> None:
    async with runcast_agent.run(user="alice", title="Sales") as run:
        await runcast_user.wait_kind("agent_started")
        async with runcast_cluster.network(silent=True):
            await run.thinking("Nobody hears this yet")
            await run.flush()
            assert len(runcast_user.events) == 1
        await runcast_user.wait_kind("agent_thinking")
        async with runcast_cluster.network(cut=True, lines=["devices", "agents"]):
            await run.respond("The north.", whole=True)
            with pytest.raises(TimeoutError):
                await runcast_user.wait_kind("agent_response", timeout=0.3)
    await runcast_user.verify(run.id, required=["agent_response"], within_s=15)


async def test_a_throttled_line_is_slow(runcast_agent: Runcast, runcast_user: UserDevice, runcast_cluster: Cluster) -> None:
    began = time.monotonic()
    async with runcast_cluster.network(throttle=50_000):
        async with runcast_agent.run(user="alice", title="Sales") as run:
            for _ in range(2):  # each more than half of what passes in a second
                await run.respond("x" * 60_000, whole=True)
                await run.flush()
        await runcast_user.wait_kind("agent_completed")
    assert time.monotonic() - began > 1.0
    assert len(runcast_user.text()) == 120_000


@pytest.mark.parametrize(
    ("arguments", "why"),
    [({}, "give at least one"), ({"latency": 0.1, "lines": "nats"}, "proxied=True")],
)
async def test_what_can_not_be_broken_is_said(runcast_cluster: Cluster, arguments: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        async with runcast_cluster.network(**arguments):
            pass


async def test_a_line_is_broken_by_one_block_at_a_time(runcast_cluster: Cluster) -> None:
    async with runcast_cluster.network(latency=0.1), runcast_cluster.network(latency=0.1, lines="agents"):
        with pytest.raises(ValueError, match="bad already"):
            async with runcast_cluster.network(throttle=100):
                pass
        assert not next(iter(runcast_cluster.proxies.values())).healthy


async def test_a_line_to_nats_of_a_cluster_of_ones_own(runcast_cluster_factory: ClusterFactory, runcast_device: DeviceFactory) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1, proxied=True, shards=1)
    device = await runcast_device(cluster=cluster, tenant="default")
    async with cluster.connect() as agent, agent.run(user="alice", title="Sales") as run:
        async with cluster.network(cut=True, lines="nats"):
            await run.thinking("Reading")
        await run.flush()
    await device.verify(run.id, within_s=15)


# --- a device with full control ---


async def test_held_acknowledgements_make_receipts_wait(runcast_agent: Runcast, runcast_user: UserDevice) -> None:
    runcast_user.hold_acks()
    async with runcast_agent.run(user="alice", title="Sales") as run:
        await run.respond("The north.", whole=True)
        assert (await run.flush(receipt=0.3)).outcome == "expired"
        await runcast_user.wait_kind("agent_response")
        await runcast_user.release_acks()
        assert (await run.flush(receipt=5.0)).outcome == "delivered"


async def test_a_frozen_device_and_a_slow_one_get_everything_later(runcast_agent: Runcast, runcast_user: UserDevice) -> None:
    runcast_user.freeze()
    async with runcast_agent.run(user="alice", title="Sales") as run:
        await run.thinking("Reading")
        await run.flush()
        await asyncio.to_thread(lambda: None)
        assert runcast_user.events == []
        runcast_user.go_slow(0.2)
        runcast_user.thaw()
        for number in range(4):
            await run.thinking(f"Row {number}")
            await run.flush()
    began = time.monotonic()
    await runcast_user.verify(run.id)
    assert time.monotonic() - began > 0.2
    runcast_user.go_slow(0)


async def test_a_device_that_leaves_without_a_word_goes_on_where_it_was(runcast_agent: Runcast, runcast_user: UserDevice) -> None:
    async with runcast_agent.run(user="alice", title="Sales") as run:
        await runcast_user.wait_kind("agent_started")
        await runcast_user.disconnect(abruptly=True)
        await run.respond("The north.", whole=True)
    await runcast_user.connect()
    await runcast_user.verify(run.id, exactly=["agent_started", "agent_response", "agent_response", "agent_completed"])
    assert runcast_user.session.repeats == 0
