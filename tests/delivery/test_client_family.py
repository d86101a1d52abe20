"""Runs that start runs: whose they are, and in which order they end, as a device sees it."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from runcast.client import LifecycleError, Run, Runcast, current_run, sync, tool
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import DeviceFactory
from runcast.v1.event_pb2 import TOOL_STATUS_CANCELLED, Event
from runcast.wire.lifecycle import ends_run

pytestmark = pytest.mark.runcast_agent(agent="lead", tenant="default")


@pytest.fixture
def rc(runcast_agent: Runcast) -> Runcast:
    return runcast_agent


async def ends(watcher: Device, *runs: Run) -> list[tuple[str, str | None, str]]:
    """How the runs ended, in the order of the stream: name of the run's agent, kind, reason; each once."""
    for run in runs:
        await watcher.wait_for(lambda event, run=run: event.run_id == run.id and ends_run(event))
    wanted = {run.id for run in runs}
    return [
        (event.agent, event.WhichOneof("kind"), event.run_cancelled.reason)
        for event in watcher.events
        if event.run_id in wanted and ends_run(event)
    ]


def of(watcher: Device, run: Run) -> list[Event]:
    return [event for event in watcher.events if event.run_id == run.id]


def kinds(events: list[Event]) -> list[str | None]:
    return [event.WhichOneof("kind") for event in events]


async def forever() -> None:
    await asyncio.Event().wait()


class Stage:
    """Sub-agents in tasks of their own, that are outside of their parent's block."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.after: list[str] = []  # whose code behind the block was reached
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> "Stage":
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._group.__aexit__(*exc)  # type: ignore[arg-type]

    async def start(self, parent: Run, agent: str) -> Run:
        """A child that works until it is stopped; returns when it has begun."""
        begun = asyncio.Event()

        async def work() -> None:
            async with parent.child(agent=agent) as run, run.tool("search"):
                self.runs[agent] = run
                begun.set()
                await forever()
            self.after.append(agent)

        self._group.create_task(work())
        await begun.wait()
        return self.runs[agent]


# --- whose they are ---


async def test_a_child_belongs_to_its_parent_and_its_thread(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user, thread="t-1", traceparent="00-1-2-01") as run:
        async with run.child(agent="researcher", title="Look it up", input={"q": 1}) as child:
            assert current_run() is child
            async with child.child() as grandchild:
                await grandchild.respond("found")
            await child.respond("it")
        assert current_run() is run
        await run.respond("done")
    assert [agent for agent, _, _ in await ends(watcher, run, child, grandchild)] == ["researcher", "researcher", "lead"]
    top, middle, bottom = (of(watcher, each) for each in (run, child, grandchild))
    assert {event.parent_run_id for event in top} == {""}
    assert {event.parent_run_id for event in middle} == {run.id}
    assert {event.parent_run_id for event in bottom} == {child.id}
    assert {(event.thread, event.traceparent) for event in top + middle + bottom} == {("t-1", "00-1-2-01")}
    assert (middle[0].agent_started.title, middle[0].agent_started.input_json) == ("Look it up", b'{"q":1}')
    assert not child.cancelled


async def test_several_agents_work_for_one_user_at_once(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    together = asyncio.Barrier(5)
    runs: list[Run] = []

    async def agent(name: str) -> None:
        async with rc.run(user=user, agent=name, thread=name) as run:
            runs.append(run)
            await together.wait()
            for word in ["one", "two", "three"]:
                async with current_run().tool("say", args=word):
                    await run.respond(word)
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for index in range(5):
            group.create_task(agent(f"agent-{index}"))
    await ends(watcher, *runs)
    for run in runs:
        seen = of(watcher, run)
        assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
        assert len({event.agent for event in seen}) == 1
        assert kinds(seen) == [
            "agent_started",
            *["tool_executing", "agent_response", "tool_completed"] * 3,
            "agent_response",
            "agent_completed",
        ]


async def test_an_attempt_of_a_child_follows_another(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        with pytest.raises(ZeroDivisionError):
            async with run.child() as first:
                raise ZeroDivisionError
        async with run.child(run_id=first.id, attempt=2) as second:
            await second.respond("now it works")
    await ends(watcher, run)
    assert kinds(of(watcher, first)) == [
        "agent_started",
        "agent_error",
        "agent_started",
        "agent_response",
        "agent_response",
        "agent_completed",
    ]


# --- how they end ---


async def test_a_parent_that_completes_ends_what_is_below_first(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with Stage() as stage, rc.run(user=user) as run:
        child = await stage.start(run, "child")
        grandchild = await stage.start(child, "grandchild")
    why = "the run that started it has ended"
    assert await ends(watcher, run, child, grandchild) == [
        ("grandchild", "run_cancelled", why),
        ("child", "run_cancelled", why),
        ("lead", "agent_completed", ""),
    ]
    seen = of(watcher, grandchild)
    assert kinds(seen) == ["agent_started", "tool_executing", "tool_completed", "run_cancelled"]
    assert seen[2].tool_completed.status == TOOL_STATUS_CANCELLED
    assert sorted(stage.after) == ["child", "grandchild"], "their blocks swallow the cancellation, as for a user's stop"
    assert (child.cancelled, child.cancel_reason) == (True, why)


async def test_complete_ends_what_is_below_before_it_ends_the_run(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with Stage() as stage, rc.run(user=user) as run:
        child = await stage.start(run, "child")
        async with run.tool("search"):
            with pytest.raises(LifecycleError, match="still open"):
                await run.complete("too early")
            assert not child.ended, "what did not end the run ends nobody below it"
        await run.complete("done")
        with pytest.raises(LifecycleError, match="has ended"):
            run.child()
    assert [agent for agent, _, _ in await ends(watcher, run, child)] == ["child", "lead"]
    assert of(watcher, run)[-1].agent_completed.summary == "done"


async def test_a_parent_that_fails_says_so_to_what_is_below(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with Stage() as stage:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 # what is raised last
            async with rc.run(user=user) as run:
                child = await stage.start(run, "child")
                grandchild = await stage.start(child, "grandchild")
                raise ZeroDivisionError
        async with rc.run(user=user) as other:
            failed = await stage.start(other, "failed")
            await other.fail("no more")
    why = "the run that started it failed"
    assert await ends(watcher, run, child, grandchild) == [
        ("grandchild", "run_cancelled", why),
        ("child", "run_cancelled", why),
        ("lead", "agent_error", ""),
    ]
    assert await ends(watcher, other, failed) == [("failed", "run_cancelled", why), ("lead", "agent_error", "")]


async def test_a_child_that_fails_takes_its_parent_along_unless_that_catches_it(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    with pytest.raises(ZeroDivisionError):
        async with rc.run(user=user) as run, run.child(agent="child") as child:
            raise ZeroDivisionError
    assert [end[:2] for end in await ends(watcher, run, child)] == [("child", "agent_error"), ("lead", "agent_error")]


@pytest.mark.parametrize("inside", [True, False], ids=["a task group within the block", "tasks elsewhere"])
async def test_a_user_who_stops_the_parent_stops_all_below_it(rc: Runcast, user: str, device: DeviceFactory, inside: bool) -> None:
    watcher = await device()
    async with contextlib.AsyncExitStack() as stack:
        if inside:
            run = await stack.enter_async_context(rc.run(user=user))
            stage = await stack.enter_async_context(Stage())
        else:
            stage = await stack.enter_async_context(Stage())
            run = await stack.enter_async_context(rc.run(user=user))
        child = await stage.start(run, "child")
        grandchild = await stage.start(child, "grandchild")
        await run.flush()
        await watcher.cancel(run.id, "enough")
        await forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await ends(watcher, run, child, grandchild) == [
        ("grandchild", "run_cancelled", "enough"),
        ("child", "run_cancelled", "enough"),
        ("lead", "run_cancelled", "enough"),
    ]


async def test_a_user_who_stops_runs_that_share_a_task_stops_them_all(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        async with run.child(agent="child") as child:
            async with child.child(agent="grandchild") as grandchild:
                await grandchild.flush()
                await watcher.cancel(run.id, "enough")
                await forever()
            raise AssertionError("the cancellation is the uppermost run's: nothing below goes on")
        raise AssertionError
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await ends(watcher, run, child, grandchild) == [
        ("grandchild", "run_cancelled", "enough"),
        ("child", "run_cancelled", "enough"),
        ("lead", "run_cancelled", "enough"),
    ]


async def test_a_user_may_stop_a_child_alone(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        async with run.child(agent="child") as child:
            await child.flush()
            await watcher.cancel(child.id, "not this")
            await forever()
        await run.respond("without it, then")
    assert [end[:2] for end in await ends(watcher, run, child)] == [("child", "run_cancelled"), ("lead", "agent_completed")]
    assert not run.cancelled


# --- misuse ---


async def test_who_is_ended_from_above_can_say_nothing_more(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    stubborn, over = asyncio.Event(), asyncio.Event()

    async def work(parent: Run) -> None:
        async with parent.child(agent="child") as child:
            stubborn.set()
            try:
                await forever()
            except asyncio.CancelledError:
                await over.wait()
                with pytest.raises(LifecycleError, match="the run that started it has ended"):
                    await child.respond("once more")
                with pytest.raises(LifecycleError, match="leave the block"):
                    await child.complete()
                with pytest.raises(LifecycleError):
                    child.child()
                raise

    async with asyncio.TaskGroup() as group:
        async with rc.run(user=user) as run:
            task = group.create_task(work(run))
            await stubborn.wait()
        over.set()
    assert not task.cancelled()
    await ends(watcher, run)


async def test_a_stop_without_a_reason_ends_what_is_below_all_the_same(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    begun, over = asyncio.Event(), asyncio.Event()

    async def work(parent: Run) -> None:
        async with parent.child(agent="child") as child:
            begun.set()
            try:
                await forever()
            except asyncio.CancelledError:
                await over.wait()
                with pytest.raises(LifecycleError, match="the run that started it was stopped"):
                    await child.respond("once more")
                raise

    async with asyncio.TaskGroup() as group:
        async with rc.run(user=user) as run:
            group.create_task(work(run))
            await begun.wait()
            await run.flush()
            await watcher.cancel(run.id)
            await forever()
        over.set()
    await ends(watcher, run)
    assert [event.agent for event in watcher.events if ends_run(event)] == ["child", "lead"]


async def test_a_child_needs_a_parent_that_is_under_way(rc: Runcast, user: str, device: DeviceFactory) -> None:
    run = rc.run(user=user)
    with pytest.raises(LifecycleError, match="has not begun"):
        run.child()
    async with run:
        late = run.child()
    with pytest.raises(LifecycleError, match="block has ended"):
        run.child()
    with pytest.raises(LifecycleError, match="block has ended"):
        async with late:
            pass


async def test_a_parent_that_was_stopped_starts_nothing_more(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        await run.flush()
        await watcher.cancel(run.id, "enough")
        try:
            await forever()
        finally:
            with pytest.raises(LifecycleError, match="was stopped"):
                run.child()
    await ends(watcher, run)


async def test_a_child_in_its_parents_task_may_outlast_the_parents_end(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run, run.child(agent="child") as child:
        await run.complete("done")
        with pytest.raises(LifecycleError, match="ended before its block"):
            await child.respond("more")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "who ends the parent is not cancelled by it"
    assert [end[:2] for end in await ends(watcher, run, child)] == [("child", "run_cancelled"), ("lead", "agent_completed")]


# --- in threads ---


async def test_runs_below_runs_in_threads(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    begun, told = threading.Event(), threading.Event()
    caught: list[BaseException] = []

    def helper(parent: sync.Run) -> None:
        try:
            with parent.child(agent="helper") as run:
                run.respond("working")
                begun.set()
                assert told.wait(10)
                run.respond("more")
        except BaseException as exc:
            caught.append(exc)
            raise

    def lead() -> tuple[str, str]:
        with sync.Runcast(",".join(runcast_cluster.router_addresses()), agent="lead") as rc:
            with ThreadPoolExecutor() as pool, rc.run(user=user) as run:
                with run.child(agent="nested") as nested:
                    assert sync.current_run() is nested
                    assert look_up("x") == "X"
                working = pool.submit(helper, run)
                assert begun.wait(10)
                run.complete("done")
                told.set()
                working.exception()
            return run.id, nested.id

    run_id, nested_id = await asyncio.to_thread(lead)
    await watcher.wait_for(lambda event: event.run_id == run_id and ends_run(event))
    assert [(event.agent, event.WhichOneof("kind")) for event in watcher.events if ends_run(event)] == [
        ("nested", "agent_completed"),
        ("helper", "run_cancelled"),
        ("lead", "agent_completed"),
    ]
    assert [event.tool_executing.tool for event in watcher.events if event.run_id == nested_id and event.HasField("tool_executing")] == [
        "look_up"
    ]
    assert all(isinstance(exc, sync.StoppedError | LifecycleError) for exc in caught), caught


@tool
def look_up(q: str) -> str:
    return q.upper()
