"""Order, no loss, no duplicates, isolation (P1, P2, P3, P5): through real routers, NATS and edges."""

import asyncio
import random
from collections import defaultdict

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.v1.event_pb2 import Event
from runcast.wire.frames import CODECS, PROTO_SUBPROTOCOL

USERS = 50
EVENTS = 200


async def work(rc: Runcast, user: str, events: int) -> None:
    """One run of exactly so many events: started, tool calls with text, what is left over, the end of the message, completed."""
    async with rc.run(user=user, thread="t") as run:
        for number in range((events - 3) // 3):
            async with run.tool("count", args={"number": number}) as tool:
                await run.respond(f"{user}:{number} ")
                tool.result = number
            if number % 4 == 3:
                await run.flush()
        for number in range((events - 3) % 3):
            await run.custom("rest", {"number": number})


def assert_whole(events: list[Event], runs: int, length: int) -> None:
    """Every run is there from its first to its last event, in order, once."""
    seqs: dict[str, list[int]] = defaultdict(list)
    for event in events:
        seqs[event.run_id].append(event.seq)
    assert len(seqs) == runs
    for run_id, got in seqs.items():
        assert got == list(range(1, length + 1)), f"run {run_id}: {got}"
    assert len({event.id for event in events}) == len(events)


def texts(events: list[Event]) -> list[str]:
    return [event.agent_response.text for event in events if event.agent_response.text]


async def test_order_and_no_duplicate_over_disconnects_and_other_edges(runcast_cluster: Cluster, user: str):
    rng = random.Random(20261121)
    users = [f"{user}-{number}" for number in range(USERS)]

    async def wander(device: Device, seed: int) -> None:
        luck = random.Random(seed)
        for _ in range(3):
            await device.wait_count(min(EVENTS, len(device.events) + luck.randrange(1, 50)))
            await device.reconnect(luck.choice(runcast_cluster.edges).url, abruptly=luck.random() < 0.5)
        await device.wait_count(EVENTS, timeout=30)

    devices = [
        Device(rng.choice(runcast_cluster.edges).url, runcast_cluster.token(name), device="d", subprotocol=rng.choice(list(CODECS)))
        for name in users
    ]
    await asyncio.gather(*(device.connect() for device in devices))
    async with Runcast(",".join(runcast_cluster.router_addresses()), agent="test") as rc, asyncio.TaskGroup() as group:
        for number, (name, device) in enumerate(zip(users, devices, strict=True)):
            group.create_task(work(rc, name, EVENTS))
            group.create_task(wander(device, rng.randrange(2**32) + number))
    for name, device in zip(users, devices, strict=True):
        device.check_chain()
        assert_whole(device.events, 1, EVENTS)
        assert texts(device.events) == [f"{name}:{number} " for number in range((EVENTS - 3) // 3)]
        await device.close()


async def test_devices_of_a_user_see_the_same_in_the_same_order(runcast_cluster: Cluster, device, user: str):
    first, second = await device(edge=0, device="a"), await device(edge=1, device="b", subprotocol=PROTO_SUBPROTOCOL)
    async with Runcast(",".join(runcast_cluster.router_addresses()), agent="test") as rc, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(work(rc, user, 80))
    late = await device(edge=0, device="c", position="earliest")
    for one in (first, second, late):
        await one.wait_count(320)
    ids = [event.id for event in first.events]
    assert ids == [event.id for event in second.events] == [event.id for event in late.events]
    assert_whole(first.events, 4, 80)


async def test_nothing_of_another_user_ever(runcast_cluster: Cluster, user: str):
    # Ids that look alike, contain each other, or mean something to NATS.
    names = [f"{user}{end}" for end in ("", ".", ".*", ".>", " ", "x", "X", "_2E", "\u0430", "a", "/..", "\x00", "*", ">")]
    devices = [Device(runcast_cluster.edges[n % 2].url, runcast_cluster.token(name), device="d") for n, name in enumerate(names)]
    other_tenant = Device(runcast_cluster.edges[0].url, runcast_cluster.token(user, "other"), device="d")
    await asyncio.gather(*(one.connect() for one in (*devices, other_tenant)))
    async with Runcast(",".join(runcast_cluster.router_addresses()), agent="test") as rc, asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(work(rc, name, 20))
    for name, one in zip(names, devices, strict=True):
        await one.wait_count(20)
        assert_whole(one.events, 1, 20)
        assert texts(one.events) == [f"{name}:{number} " for number in range(5)]
    assert other_tenant.events == []
    for one in (*devices, other_tenant):
        await one.close()
