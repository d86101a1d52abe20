"""A revocation holds while everything that carries it is ended, killed, cut off or flooded."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from runcast.bus.revoking import Closed, Revoking
from runcast.testkit import Cluster, UserDevice
from runcast.testkit.plugin import ClusterFactory
from runcast.wire import limits_revocation as limits
from runcast.wire.errors import RuncastError
from runcast.wire.targets import make_target
from tests.revoking import closed, operator, refused, user_target

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("revocation_faults")]


@pytest.fixture(scope="module")
def cluster(_runcast_home: Any) -> Iterator[Cluster]:
    """One that can be broken in all ways, and is whole again after each test."""
    cluster = Cluster(routers=1, edges=1, proxied=True)
    _runcast_home.run(cluster.start)
    yield cluster
    _runcast_home.run(cluster.stop)


async def test_it_survives_restarts_of_everything(cluster: Cluster, user: str) -> None:
    async with operator(cluster.nats_url) as revoking:
        await revoking.revoke(user_target(user), by="me", expected=["edge-0", "router-0"])
        async with cluster.edge_killed(), cluster.router_killed():
            pass
        assert await refused(cluster, user) == 4506
        async with UserDevice(cluster, f"{user}-2", reconnect=False) as other, cluster.nats_restarted(killed=True):
            pass
        assert await refused(cluster, user) == 4506
        assert other.close_code in (None, 1000), "nobody else was sent away"
        everything = [*cluster.edges, *cluster.routers, *cluster.nats_servers]
        for node in everything:
            await node.stop()
        for node in reversed(everything):
            await node.start()
        assert await refused(cluster, user) == 4506
        assert await revoking.lift(user_target(user).key, expected=["edge-0", "router-0"])
        async with UserDevice(cluster, user, reconnect=False):
            pass


async def test_who_was_revoked_while_an_edge_was_cut_off_is_out_when_it_is_back(cluster: Cluster, user: str) -> None:
    async with (
        operator(cluster.nats_url) as revoking,
        UserDevice(cluster, user, reconnect=False) as device,
        UserDevice(cluster, f"{user}-2", reconnect=False) as other,
    ):
        async with cluster.network(cut=True, lines="nats"):
            _, done = await revoking.revoke(user_target(user), by="me", expected=["edge-0"])
            assert done == Closed(0, 0, ("edge-0",)), "it is told who did not answer"
            assert device.connected
        assert await refused(cluster, user, device="another", position="earliest") == 4506
        assert await closed(device, 10.0) == 4506
        await cluster.recovered()
        assert other.connected


async def test_another_leader_does_not_lose_it(three_servers: Cluster, user: str) -> None:
    cluster = three_servers
    async with operator(cluster.nats_url) as revoking:
        await revoking.revoke(user_target(user), by="me", expected=["edge-0", "edge-1"])
        leader = await cluster.stream_leader("KV_RUNCAST_REVOKED")
        assert leader is not None
        await leader.kill()
        began = time.monotonic()
        await revoking.revoke(user_target(f"{user}-2"), by="me")
        stored_s = time.monotonic() - began
        for edge in (0, 1):
            assert await refused(cluster, user, edge=edge) == 4506
            assert await refused(cluster, f"{user}-2", edge=edge) == 4506
        assert stored_s < limits.REVOCATIONS_WAIT_S + 3.0
        await leader.start()
        listed = {entry.revocation.target for entry in await revoking.all()}
        assert listed == {user_target(user), user_target(f"{user}-2")}


async def test_a_flood_is_bounded_and_costs_others_little(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster: Cluster = await runcast_cluster_factory(routers=1, edges=1)
    async with operator(cluster.nats_url) as revoking, cluster.connect() as agent, UserDevice(cluster, user, reconnect=False) as device:
        mine = [UserDevice(cluster, f"{user}-{number}", reconnect=False) for number in range(50)]
        for each in mine:
            await each.connect()
        before, memory = await latency(agent, device), rss(cluster.edges[0].pid)
        flooding = asyncio.create_task(flood(revoking, user))
        during = await latency(agent, device)
        stored, refusals, took_s = await flooding
        assert stored == limits.REVOCATIONS_MAX
        assert refusals == {"storage_full"}
        for each in mine:
            assert await closed(each) == 4506
            await each.close()
        assert device.connected
        figures = f"{took_s:.1f} s; {before:.3f} s before, {during:.3f} s during"
        assert rss(cluster.edges[0].pid) - memory < 32 * 1024, figures
        assert during < 2.0, f"{figures}; on a machine that does other things too"
        with pytest.raises(RuncastError, match="storage_full"):
            await revoking.revoke(make_target("agent", "one more"), by="me")
        assert await revoking.lift(user_target(f"{user}-0").key)
        await until_room(revoking)
        async with cluster.edge_killed():
            pass
        assert await refused(cluster, f"{user}-1") == 4506
        async with UserDevice(cluster, f"{user}-0", reconnect=False):
            pass


async def until_room(revoking: Revoking) -> None:
    """Revoke one more, as soon as it is taken."""
    async with asyncio.timeout(limits.REVOCATION_MARKER_S + 5.0):
        while True:
            try:
                await revoking.revoke(make_target("agent", "one more"), by="me")
            except RuncastError:
                await asyncio.sleep(0.2)  # the marker of the one that was lifted has its time
            else:
                return


async def latency(agent: object, device: UserDevice) -> float:
    """The worst of a second, from an agent's call to the device, seconds."""
    worst = 0.0
    until = time.monotonic() + 1.0
    async with agent.run(user=device.user) as run:  # type: ignore[attr-defined]
        while time.monotonic() < until:
            seen = len(device.received)
            began = time.monotonic()
            await run.custom("tick")
            await device.wait_for(lambda event: event.HasField("custom"), start=seen)
            worst = max(worst, time.monotonic() - began)
    return worst


async def flood(revoking: Revoking, user: str) -> tuple[int, set[str], float]:
    """Revoke more than there is room for, as fast as NATS takes it: how many are stored, why others are not, seconds."""
    targets = iter(
        [*(user_target(f"{user}-{number}") for number in range(50)), *(make_target("token", f"{user}-{n}") for n in range(10_000))]
    )
    refusals: set[str] = set()
    stored = 0
    began = time.monotonic()

    async def work() -> None:
        nonlocal stored
        for target in targets:
            try:
                await revoking.revoke(target, by="me", expected=["edge-0", "router-0"])
                stored += 1
            except RuncastError as exc:
                refusals.add(exc.code.name)

    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(work())
    return stored, refusals, time.monotonic() - began


def rss(pid: int) -> int:
    """Resident memory, KiB."""
    return psutil.Process(pid).memory_info().rss // 1024
