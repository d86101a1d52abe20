"""Cancellation at every await: whatever is cut off, and where, a device sees pairs of tools, one end, and nothing is left running."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from runcast.client import LifecycleError, Run, Runcast, tool
from runcast.testkit.device import Device
from runcast.testkit.device_session import Received
from runcast.testkit.plugin import ClusterFactory, DeviceFactory
from runcast.testkit.recording import Recording
from runcast.testkit.validators import check_contiguity, check_lives
from runcast.v1.event_pb2 import TOOL_STATUS_CANCELLED, TOOL_STATUS_OK
from runcast.wire import limits_client
from runcast.wire.lifecycle import ends_run

STEPS_MAX = 300


class CancelledAt:
    """Awaits a coroutine, and cancels the task in which it does when the coroutine waits for the nth time.

    Args:
        coroutine: to await.
        at: n, one or more, from 1.

    Attributes:
        steps: how often it has waited so far.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], *at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.steps = 0

    def __await__(self) -> Generator[Any, Any, None]:
        resume: Callable[[Any], Any] = self._coroutine.send
        given: Any = None
        while True:
            try:
                waited_for = resume(given)
            except StopIteration:
                return
            self.steps += 1
            task = asyncio.current_task()
            assert task is not None
            if self.steps in self._at:
                task.cancel()
            try:
                given = yield waited_for
                resume = self._coroutine.send
            except BaseException as exc:
                given, resume = exc, self._coroutine.throw


pytestmark = pytest.mark.runcast_agent(agent="lead", tenant="default")


@pytest.fixture
def rc(runcast_agent: Runcast, monkeypatch: pytest.MonkeyPatch) -> Runcast:
    monkeypatch.setattr(limits_client, "TURN_APPENDS_MAX", 1)  # every event that is emitted waits once, as if the outbox were busy
    return runcast_agent


@tool
async def look_up(q: str) -> str:
    await asyncio.sleep(0)
    return q


async def researcher(run: Run) -> None:
    async with run.child(agent="researcher") as child:
        await child.thinking("Reading")
        async with child.tool("read"):
            await child.respond("half")


async def work(rc: Runcast, user: str, runs: list[Run]) -> None:
    """Something of everything that is awaited."""
    async with rc.run(user=user) as run:
        runs.append(run)
        await run.thinking("Thinking", progress=0.1)
        async with run.tool("search", args={"q": 1}) as call:
            await asyncio.sleep(0)
            async with run.tool("inner"):
                await run.respond("a")
            call.result = 1
        await look_up("x")
        await run.flush()
        await run.error(TimeoutError())
        await run.end_message()
        async with asyncio.TaskGroup() as group:
            group.create_task(researcher(run))
            group.create_task(researcher(run))
        await researcher(run)
        await run.respond("b")
        await run.complete("done")


async def outcome(awaitable: CancelledAt) -> bool:
    """Whether it ended by itself; it may else only have been cancelled."""

    async def body() -> None:
        await awaitable

    async with asyncio.TaskGroup() as group:
        task = group.create_task(body())
    return not task.cancelled()


async def judge(rc: Runcast, watcher: Device, user: str, runs: list[Run], *, in_order: bool = True) -> None:
    """All of the runs is right, as a device sees it; `in_order`: what is below a run ended before it."""
    async with rc.run(user=user) as last:
        pass
    await watcher.wait_for(lambda event: event.run_id == last.id and ends_run(event))
    events = watcher.events
    recording = Recording(user, "d1", [Received(event, "", 0.0) for event in events])
    assert check_lives(recording) == []
    assert check_contiguity(recording) == []
    ended = {event.run_id: index for index, event in enumerate(events) if ends_run(event)}
    for event in events:
        if event.parent_run_id:
            assert ended[event.run_id] < ended[event.parent_run_id] or not in_order
    assert {run.id for run in runs} <= ended.keys()


async def test_a_run_that_is_cancelled_at_any_await_ends_as_it_should(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    await rc.ready()
    await work(rc, user, [])
    before = asyncio.all_tasks()
    runs: list[Run] = []
    for at in range(1, STEPS_MAX):
        cancelled = CancelledAt(work(rc, user, runs), at)
        if await outcome(cancelled):
            break
        assert asyncio.all_tasks() == before, f"tasks are left of cancelling at wait {at}"
    else:
        raise AssertionError("it does not come to its end")
    assert at > 20, "so many places there are to be cancelled at"
    await judge(rc, watcher, user, runs)


@pytest.mark.parametrize("later", [1, 2, 3])
async def test_a_second_cancellation_while_it_ends_changes_nothing(rc: Runcast, user: str, device: DeviceFactory, later: int) -> None:
    watcher = await device()
    await rc.ready()
    await work(rc, user, [])
    before = asyncio.all_tasks()
    runs: list[Run] = []
    for at in range(1, STEPS_MAX):
        if await outcome(CancelledAt(work(rc, user, runs), at, at + later)):
            break
        assert asyncio.all_tasks() == before, f"tasks are left of cancelling at waits {at} and {at + later}"
    await judge(rc, watcher, user, runs, in_order=False)  # who is cancelled while it waits for those below waits no longer


async def test_a_child_that_is_cancelled_at_any_await_leaves_its_parent_whole(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    await rc.ready()
    runs: list[Run] = []
    async with rc.run(user=user) as run:
        runs.append(run)
        before = asyncio.all_tasks()
        for at in range(1, STEPS_MAX):
            if await outcome(CancelledAt(researcher(run), at)):
                break
            assert asyncio.all_tasks() == before
            async with run.tool("between"):
                pass
        await run.complete("with what there is")
    await judge(rc, watcher, user, runs)


async def test_a_parent_that_ends_at_any_moment_of_a_child_ends_it_first(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    await rc.ready()
    runs: list[Run] = []
    for turns in range(40):
        async with asyncio.TaskGroup() as group, rc.run(user=user) as run:
            runs.append(run)
            children = [group.create_task(tolerant(run)) for _ in range(2)]
            for _ in range(turns):
                await asyncio.sleep(0)
        assert all(child.done() for child in children)
    await judge(rc, watcher, user, runs)


async def tolerant(run: Run) -> None:
    """A sub-agent whose parent may end before it has begun."""
    try:
        await researcher(run)
    except LifecycleError:
        assert run.ended


# --- while the outbox is full ---


@pytest.mark.parametrize("waiting", ["beginning", "ending"])
async def test_a_tool_that_is_cancelled_while_it_waits_for_room_is_paired(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory, waiting: str
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    watcher = await device(cluster=cluster)
    await cluster.routers[0].stop()
    async with Runcast(",".join(cluster.router_addresses()), agent="lead") as rc:
        async with rc.run(user=user) as run:
            full = asyncio.Event()

            async def call() -> None:
                async with run.tool("search"):
                    for index in range(limits_client.OUTBOX_EVENTS_MAX - 2):
                        await run.custom("fill", index)
                    full.set()
                    if waiting == "beginning":
                        async with run.tool("never begun"):
                            raise AssertionError

            async with asyncio.TaskGroup() as group:
                task = group.create_task(call())
                await full.wait()
                await asyncio.sleep(0)
                assert not task.done(), "it waits for room"
                task.cancel()
            assert task.cancelled()
            await cluster.routers[0].start()
            await run.respond("there is room again")
            await run.complete("done")
        await judge(rc, watcher, user, [run])
    [completed] = [event.tool_completed for event in watcher.events if event.HasField("tool_completed")]
    assert completed.status == (TOOL_STATUS_CANCELLED if waiting == "beginning" else TOOL_STATUS_OK)
