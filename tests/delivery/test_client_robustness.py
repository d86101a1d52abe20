"""The client under what befalls programs: cancelled at any moment, forked, used in another event loop than its own, left open."""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator
from typing import Any

import pytest

from runcast.client import LifecycleError, OutboxClosedError, Run, Runcast, RuncastError
from runcast.testkit import Cluster
from runcast.testkit.plugin import DeviceFactory
from runcast.v1.event_pb2 import Event
from runcast.wire.lifecycle import Lifecycle, ends_run

FORKS = """
import asyncio, os, sys
from runcast.client import Runcast, RuncastError

async def main():
    async with Runcast(sys.argv[1], agent="analyst") as rc:
        inbox = rc.inbox("g")
        async with rc.run(user=sys.argv[2], run_id="r") as run:
            await run.flush()
            child = os.fork()
            if child == 0:
                for call in (run.thinking("x"), run.flush(), anext(inbox), rc.ready(), rc.is_online("x"), rc.close()):
                    try:
                        await call
                    except RuncastError as exc:
                        sys.stdout.write(f"{type(exc).__name__}: {exc.message}\\n")
                await run.__aexit__(None, None, None)
                await rc.__aexit__(None, None, None)
                sys.stdout.flush()
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            assert status == 0, status
            await run.respond("the parent goes on")

asyncio.run(main())
"""


def connect(cluster: Cluster) -> Runcast:
    return Runcast(",".join(cluster.router_addresses()), agent="analyst")


async def test_a_forked_child_is_told_and_the_parent_goes_on(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    command = [sys.executable, "-c", FORKS, ",".join(runcast_cluster.router_addresses()), user]
    told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=30)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert len(lines) == 6
    for line in lines:
        assert line.startswith("LifecycleError: this Runcast was opened by process")
    await watcher.wait_kind("agent_completed")


# --- event loops ---


def test_a_loop_that_ended_under_an_open_run_is_named(runcast_cluster: Cluster, user: str) -> None:
    held: list[tuple[Runcast, Run]] = []

    async def open_and_forget() -> None:
        rc = connect(runcast_cluster)
        await rc.__aenter__()
        run = rc.run(user=user)
        await run.__aenter__()
        await run.flush()
        held.append((rc, run))

    async def go_on() -> None:
        rc, run = held[0]
        for call in (
            run.thinking("x"),
            run.flush(),
            run.__aexit__(None, None, None),
            rc.ready(),
            rc.close(),
            rc.__aexit__(None, None, None),
        ):
            with pytest.raises(LifecycleError, match="has been closed"):
                await asyncio.wait_for(call, 5)
        with pytest.raises(LifecycleError, match="has been closed"):
            rc.run(user=user)

    asyncio.run(open_and_forget())
    asyncio.run(go_on())


async def test_another_loop_and_no_loop_are_told_what_to_use(runcast_cluster: Cluster, user: str) -> None:
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run:

        async def elsewhere() -> None:
            with pytest.raises(LifecycleError, match="is another one than this"):
                await run.thinking("x")

        def nowhere() -> None:
            with pytest.raises(LifecycleError, match=r"runcast\.client\.sync"):
                rc.run(user=user)

        await asyncio.to_thread(asyncio.run, elsewhere())
        await asyncio.to_thread(nowhere)
        await run.respond("goes on")


# --- cancelled at every await ---


class Cancelled(Awaitable[None]):
    """Awaits a coroutine, and cancels the task where it is suspended for the `at`-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.suspended = 0

    def __await__(self) -> Generator[Any, Any, None]:
        send: Any = self._coroutine.send
        value: Any = None
        while True:
            try:
                waits_for = send(value)
            except StopIteration:
                return
            self.suspended += 1
            if self.suspended == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                send, value = self._coroutine.send, (yield waits_for)
            except BaseException as exc:
                send, value = self._coroutine.throw, exc


async def scene(cluster: Cluster, user: str, name: str) -> None:
    """All that waits for something, in one go."""
    async with connect(cluster) as rc:
        await rc.ready()
        async with rc.run(user=user, run_id=name) as run:
            await run.thinking("reading")
            async with run.tool("search") as tool:
                await run.flush()
                tool.result = 1
            async with run.child(agent="helper", run_id=f"{name}-below") as child:
                await child.respond("a")
            await run.custom("chart", receipt=5.0)
            await run.respond("b")
            with contextlib.suppress(RuncastError):
                await run.ask("Sure?", kind="approval", default=True, timeout_s=0.05)
            await run.complete("done")


@contextlib.asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """No task, and no thread, that was not there before."""
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    yield
    async with asyncio.timeout(5):
        while left := [task for task in asyncio.all_tasks() - tasks if not task.done()]:
            await asyncio.wait(left)
    assert {thread for thread in set(threading.enumerate()) - threads if not thread.daemon} == set()


def check_lives(events: list[Event]) -> None:
    """Each run lives as a run does, and has ended."""
    lives: dict[tuple[str, int], Lifecycle] = {}
    for event in events:
        if event.run_id:
            lives.setdefault((event.run_id, event.attempt), Lifecycle()).advance(event)
    for (run_id, _), life in lives.items():
        assert life.state.name == "ENDED", run_id


@pytest.mark.timeout(240)
async def test_cancelled_at_any_await_every_run_ends_and_nothing_is_left(
    runcast_cluster: Cluster, user: str, device: DeviceFactory
) -> None:
    watcher = await device()
    at = 0
    while True:
        at += 1
        counted = Cancelled(scene(runcast_cluster, user, f"r{at}"), at)
        async with nothing_left_behind():
            task = asyncio.create_task(wait_for(counted))
            done, _ = await asyncio.wait({task}, timeout=15)
            assert done, f"it hangs when it is cancelled where it waits for the {at}th time"
        if counted.suspended < at:
            await task
            break
        assert task.cancelled(), f"a cancellation was swallowed where it waits for the {at}th time: {task}"
    assert at > 5, "the scene waits more often than that"
    last = f"r{at}"
    await watcher.wait_for(lambda event: event.run_id == last and ends_run(event))
    begun = {event.run_id for event in watcher.events if event.HasField("agent_started")}
    for run_id in begun:
        await watcher.wait_for(lambda event, run_id=run_id: event.run_id == run_id and ends_run(event))  # type: ignore[misc]
    check_lives(watcher.events)
    lost = [event.run_id for event in watcher.events if event.HasField("run_lost")]
    assert lost == [], "an agent that is cancelled says so itself"


async def wait_for(what: Awaitable[None]) -> None:
    await what


# --- closed ---


async def test_whatever_waits_when_it_is_closed_is_told(user: str) -> None:
    async with Runcast("127.0.0.1:1", agent="analyst") as rc:
        run = rc.run(user=user)
        await run.__aenter__()
        waiting = [
            asyncio.ensure_future(call) for call in (run.flush(), run.custom("x", receipt=60.0), rc.ready(60.0), anext(rc.inbox("g")))
        ]
        await asyncio.sleep(0)
        with pytest.raises(RuncastError, match="never sent"):
            await rc.close(0.1)
        done, pending = await asyncio.wait(waiting, timeout=5)
        assert not pending
        assert {type(task.exception()) for task in done} == {OutboxClosedError, StopAsyncIteration}
        with pytest.raises(OutboxClosedError):
            await run.thinking("x")
