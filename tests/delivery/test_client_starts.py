"""A run begins above the runs that it started, on every device, whatever became of it."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from runcast.client import LifecycleError, Run, Runcast, RunRefusedError, UnsentError, sync
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import DeviceFactory
from runcast.testkit.ports import pick_port
from runcast.wire import limits_client as limits
from runcast.wire.lifecycle import ends_run

pytestmark = pytest.mark.runcast_agent(agent="lead", tenant="default")


@pytest.fixture
def rc(runcast_agent: Runcast) -> Runcast:
    return runcast_agent


async def early(watcher: Device, runs: int, below: int) -> list[str]:
    """When so many runs have ended, `below` of which have a parent: agents whose run began above the one that started it."""
    await watcher.wait_for(lambda _: sum(map(ends_run, watcher.events)) == runs, 20.0)
    started = {event.run_id: place for place, event in enumerate(watcher.events) if event.HasField("agent_started")}
    children = [event for event in watcher.events if event.HasField("agent_started") and event.parent_run_id]
    assert (len(started), len(children)) == (runs, below)
    return [event.agent for event in children if started[event.run_id] < started[event.parent_run_id]]


async def test_every_run_begins_above_those_that_it_started(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()

    async def work(run: Run, depth: int) -> None:
        async with run, asyncio.TaskGroup() as group:
            for index in range(3 if depth else 0):
                group.create_task(work(run.child(agent=f"{depth}-{index}"), depth - 1))

    async with asyncio.TaskGroup() as group:
        for index in range(20):
            group.create_task(work(rc.run(user=user, agent=f"lead-{index}"), 2))
    assert await early(watcher, 260, 240) == []


async def test_so_it_is_for_runs_in_threads_that_name_their_parent(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()

    def work(rc: sync.Runcast) -> None:
        with rc.run(user=user) as run, rc.run(user=user, agent="child", parent_run_id=run.id) as child, child.child(agent="grandchild"):
            pass

    def all_at_once() -> None:
        with sync.Runcast(runcast_cluster.routers[0].address, agent="lead") as rc, ThreadPoolExecutor(32) as threads:
            list(threads.map(work, [rc] * 64))

    await asyncio.to_thread(all_at_once)
    assert await early(watcher, 192, 128) == []


async def test_children_go_without_a_parent_whose_start_was_refused(
    rc: Runcast, runcast_cluster: Cluster, user: str, device: DeviceFactory, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = await device()
    async with rc.run(user=user, run_id=f"{user}-1") as theirs, Runcast(runcast_cluster.routers[0].address, agent="late") as late:
        with pytest.raises(RunRefusedError) as caught:
            async with late.run(user=user, run_id=theirs.id) as run, run.child(agent="child") as child:
                await child.respond("still here")
        assert caught.value.code.name == "attempt_taken"
        await watcher.wait_for(lambda event: event.run_id == child.id and event.HasField("agent_completed"))
    assert f"1 runs below run {theirs.id} go out without its start" in caplog.text


async def test_a_run_that_waits_for_room_to_begin_starts_nothing(user: str) -> None:
    address = f"127.0.0.1:{pick_port(random.Random())}"
    async with Runcast(address, agent="lead") as rc:
        run = rc.run(user=user)
        await run.__aenter__()
        while rc.stats().queued < limits.OUTBOX_EVENTS_MAX:
            await run.custom("n", 0)
        late = rc.run(user=user)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(late.__aenter__())
            await asyncio.sleep(0)
            with pytest.raises(LifecycleError, match="about to begin"):
                late.child()
            waiting.cancel()
        with pytest.raises(UnsentError):
            await rc.close(0.0)
