"""Erasing a user: nothing of them is left in NATS or in any process, and devices and agents are told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats
import pytest
import structlog
from pytest_asyncio import fixture

from runcast.bus.connection import Bus
from runcast.bus.erasure import Eraser
from runcast.bus.settings import ServiceSettings
from runcast.client import Runcast, RunRefusedError
from runcast.testkit import Cluster, UserDevice
from runcast.wire import subjects
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.position import parse_position

ALL = [("router", "router-0"), ("router", "router-1"), ("edge", "edge-0"), ("edge", "edge-1")]
GROUP = "nobody-takes-it"


@fixture
async def bus(runcast_cluster: Cluster) -> AsyncIterator[Bus]:
    log = structlog.stdlib.get_logger()
    opened = Bus(log)
    await opened.open(ServiceSettings(nats_url=runcast_cluster.nats_url, auth="dev", id="test"))
    yield opened
    await opened.close()


@fixture
async def eraser(bus: Bus) -> Eraser:
    eraser = Eraser(bus, structlog.stdlib.get_logger(), answers_s=3.0)
    await eraser.open()
    return eraser


def agent(cluster: Cluster) -> Runcast:
    return Runcast(",".join(cluster.router_addresses()), agent="test")


async def shard_of(bus: Bus, user: UserKey) -> int:
    streams = [info.config.name for info in await bus.js.streams_info()]
    return subjects.shard_of(user, sum(name.startswith("RUNCAST_EV_") for name in streams))


async def fill(cluster: Cluster, bus: Bus, device: UserDevice) -> None:
    """Leave something of the device's user in every place."""
    user = UserKey("default", device.user)
    shard = await shard_of(bus, user)
    async with agent(cluster) as rc, rc.run(user=device.user) as run:
        await run.respond("what an agent said", receipt=5.0)
    await device.wait_end()
    await device.send_message(GROUP, "", "what the user said")
    await device.cancel("no-such-run")
    await bus.js.publish(f"parked.{GROUP}.{shard}.{user.token}", b"what nobody could handle", headers={"Nats-Msg-Id": f"{user.token}.77"})
    for key in ("tries.77", subjects.answer_key(user, shard, "r", "q"), subjects.alert_key(user, shard, "r")):
        await bus.js.publish(subjects.kv_subject(subjects.RUNS_BUCKET, key), b"3")


async def test_nothing_is_left_and_everybody_is_told(runcast_cluster, bus, eraser, runcast_device, user):
    key, other = UserKey("default", user), UserKey("default", f"{user}-2")
    devices = {each: [await runcast_device(each.user, tenant="default", device=f"d{n}", edge=n) for n in (0, 1)] for each in (key, other)}
    for first, _ in devices.values():
        await fill(runcast_cluster, bus, first)
    shard, other_shard = await shard_of(bus, key), await shard_of(bus, other)
    assert set(await eraser.left(key, shard)) == {"stream", "cursors", "inbox", "parked", "runs"}

    erased = await eraser.erase(key, shard, ALL)
    assert erased.connections == 2
    assert all(erased.removed.values()), erased
    assert await eraser.left(key, shard) == []
    with pytest.raises(nats.js.errors.NotFoundError):
        await bus.js.get_last_msg(f"KV_{subjects.RUNS_BUCKET}", subjects.kv_subject(subjects.RUNS_BUCKET, "tries.77"))

    for device in devices[key]:  # they come back by themselves
        await until(lambda device=device: device.session.resets == 1)
        assert (device.welcome.outcome, device.welcome.reason, device.recording().received) == ("reset", "expired", [])
    for device in devices[other]:
        assert device.session.resets == 0
    assert set(await eraser.left(other, other_shard)) == {"stream", "cursors", "inbox", "parked", "runs"}

    assert not any((await eraser.erase(key, shard, ALL)).removed.values())  # again: nothing is there

    async with agent(runcast_cluster) as rc, rc.run(user=user) as run:
        await run.respond("a new beginning")
    for device in devices[key]:
        await device.wait_end(run.id)
        assert {event.run_id for event in device.recording().events} == {run.id}


async def test_a_position_from_before_is_told_to_begin_anew_after_new_events_too(runcast_cluster, bus, eraser, runcast_device, user):
    key = UserKey("default", user)
    device = await runcast_device(user, tenant="default", edge=0, reconnect=False)
    await fill(runcast_cluster, bus, device)
    before = device.position
    await eraser.erase(key, await shard_of(bus, key), ALL)
    cursorless = await runcast_device(user, tenant="default", device="d1", edge=1, position="")
    assert (cursorless.welcome.outcome, parse_position(cursorless.welcome.position).seq) == ("resumed", 0)
    for said in ("", "something new"):
        if said:
            async with agent(runcast_cluster) as rc, rc.run(user=user) as run:
                await run.respond(said)
        for edge in (0, 1):
            late = await runcast_device(user, tenant="default", device=f"late{edge}{said}", edge=edge, position=before)
            assert (late.welcome.outcome, late.welcome.reason) == ("reset", "expired")


async def test_an_open_run_ends_and_its_agent_is_told(runcast_cluster, bus, eraser, runcast_device, user):
    key = UserKey("default", user)
    shard = await shard_of(bus, key)
    device = await runcast_device(user, tenant="default")
    async with agent(runcast_cluster) as rc:
        begun = asyncio.Event()

        async def work() -> None:
            async with rc.run(user=user) as run:
                await run.thinking("for long")
                await run.flush()
                begun.set()
                await asyncio.Event().wait()  # nothing to say: the erasing itself ends it

        working = asyncio.create_task(work())
        await begun.wait()
        await device.wait_count(2)
        await eraser.erase(key, shard, ALL)
        with pytest.raises(RunRefusedError) as refused:
            async with asyncio.timeout(5):
                await working
        assert refused.value.code.name == "run_lost"
    assert await eraser.left(key, shard) == []
    await until(lambda: device.session.resets == 1)
    assert device.recording().received == []


async def test_a_run_that_is_about_to_speak_is_refused_and_leaves_no_fragment(runcast_cluster, bus, eraser, user):
    key = UserKey("default", user)
    shard = await shard_of(bus, key)
    async with agent(runcast_cluster) as rc:

        async def talk() -> None:
            async with rc.run(user=user) as run:
                for number in range(10_000):
                    await run.custom("n", {"n": number})
                    await run.flush()

        talking = asyncio.create_task(talk())
        while not await eraser.left(key, shard):  # noqa: ASYNC110 # storage tells nobody
            await asyncio.sleep(0.01)
        await eraser.erase(key, shard, ALL)
        with pytest.raises(RunRefusedError):
            async with asyncio.timeout(5):
                await talking
    assert await eraser.left(key, shard) == []


async def test_who_does_not_answer_is_named_and_what_is_stored_is_removed_all_the_same(runcast_cluster, bus, user, runcast_device):
    key = UserKey("default", user)
    shard = await shard_of(bus, key)
    await fill(runcast_cluster, bus, await runcast_device(user, tenant="default"))
    impatient = Eraser(bus, structlog.stdlib.get_logger(), answers_s=1.0)
    await impatient.open()
    with pytest.raises(UnavailableError, match="edge ghost did not confirm") as error:
        await impatient.erase(key, shard, [*ALL, ("edge", "ghost")])
    assert error.value.code.name == "indeterminate"
    assert await impatient.left(key, shard) == []


async def test_an_edge_that_heard_nothing_of_it_notices_by_the_chain(runcast_cluster, bus, user, runcast_device):
    key = UserKey("default", user)
    shard = await shard_of(bus, key)
    device = await runcast_device(user, tenant="default")
    for number in (1, 2):
        async with agent(runcast_cluster) as rc, rc.run(user=user) as run:
            await run.respond(f"before {number}")
        await device.wait_end(run.id)
    await bus.js.purge_stream(subjects.event_stream(shard), subject=subjects.event_subject(key, shard))
    async with agent(runcast_cluster) as rc, rc.run(user=user) as run:
        await run.respond("after")
    await until(lambda: device.session.resets == 1)
    await device.wait_end(run.id)
    assert {event.run_id for event in device.recording().events} == {run.id}


async def until(true) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110 # as below
                await asyncio.sleep(0.02)  # a device's own reconnecting tells nobody
    assert true()
