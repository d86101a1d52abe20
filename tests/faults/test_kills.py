"""A process killed in mid-run loses nothing, and shows nothing twice (P1, P2, P3)."""

import asyncio

from runcast.client import Runcast
from runcast.testkit.device import Device

EVENTS = 300


async def emit(rc: Runcast, user: str, half: asyncio.Event, go_on: asyncio.Event) -> None:
    async with rc.run(user=user, thread="t") as run:
        for number in range(EVENTS - 2):
            if number == EVENTS // 2:
                half.set()
                await go_on.wait()
            await run.custom("number", {"n": number})


async def survive(cluster, user: str, kill) -> list[Device]:
    """Runs of four users; at half, `kill` does something; all devices must get everything."""
    users = [f"{user}-{n}" for n in range(4)]
    urls = cluster.ws_urls()
    devices = [Device([*urls[n % 2 :], *urls[: n % 2]], cluster.token(name), device="d", reconnect=True) for n, name in enumerate(users)]
    await asyncio.gather(*(device.connect() for device in devices))
    halves = [asyncio.Event() for _ in users]
    go_on = asyncio.Event()
    try:
        async with Runcast(",".join(cluster.router_addresses()), agent="test") as rc, asyncio.TaskGroup() as group:
            for name, half in zip(users, halves, strict=True):
                group.create_task(emit(rc, name, half, go_on))
            for half in halves:
                await half.wait()
            killing = group.create_task(kill())
            go_on.set()
            await killing
        for device in devices:
            events = await device.wait_count(EVENTS, timeout=20)
            device.check_chain()
            assert [event.seq for event in events] == list(range(1, EVENTS + 1))
    finally:
        for device in devices:
            await device.close()
    return devices


async def test_an_edge_killed_in_mid_run_loses_nothing(runcast_cluster_factory, user: str):
    cluster = await runcast_cluster_factory(routers=1, edges=2)
    await survive(cluster, user, cluster.edges[0].kill)


async def test_a_router_killed_in_mid_run_loses_nothing(runcast_cluster_factory, user: str):
    cluster = await runcast_cluster_factory(routers=2, edges=2)
    await survive(cluster, user, cluster.routers[0].kill)


async def test_nats_killed_and_started_again_in_mid_run_loses_nothing(runcast_cluster_factory, user: str):
    cluster = await runcast_cluster_factory(routers=1, edges=2)

    async def kill() -> None:
        await cluster.nats.kill()
        await cluster.nats.start()

    await survive(cluster, user, kill)
