"""The blocking client against real routers, from threads, as a device sees it."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

import runcast.client
from runcast.client import LifecycleError, OutboxClosedError, RuncastError, UnavailableError, UnsentError
from runcast.client.sync import InboxMessage, Run, Runcast, StoppedError, current_run
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import DeviceFactory
from runcast.v1.event_pb2 import TOOL_STATUS_CANCELLED, TOOL_STATUS_ERROR, Event
from runcast.wire import limits_client as limits
from runcast.wire.lifecycle import ends_run


def connect(cluster: Cluster, agent: str = "analyst") -> Runcast:
    return Runcast(",".join(cluster.router_addresses()), agent=agent, coalesce_s=0)  # every event by itself


async def until_end(watcher: Device, run_id: str) -> list[Event]:
    await watcher.wait_for(lambda event: event.run_id == run_id and ends_run(event))
    return [event for event in watcher.events if event.run_id == run_id]


def kinds(events: list[Event]) -> list[str | None]:
    return [event.WhichOneof("kind") for event in events]


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("runcast client")}


async def test_a_run_reaches_the_user_as_it_happened(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()

    def work() -> str:
        with connect(runcast_cluster) as rc:
            with rc.run(user=user, thread="t-42", title="A question", input={"q": 1}) as run:
                run.thinking("Reading", progress=0.1, step=1, steps=2)
                with run.tool("search", args={"q": "x"}, purpose="to find", estimate_s=2) as tool:
                    tool.result = {"hits": [1, 2]}
                    assert tool.result == {"hits": [1, 2]}
                with run.tool("search") as tool:
                    tool.fail("no such index")
                for token in ("a", "b"):
                    run.respond(token)
                run.end_message()
                run.error("slow today", category="timeout")
                receipt = run.custom("chart", {"x": [1]}, receipt=10.0)
                assert (receipt.outcome, receipt.device) == ("delivered", watcher.device)
                assert run.flush() is not None
                assert rc.is_online(user)
                run.complete("done", result={"ok": True})
            return run.id

    seen = await until_end(watcher, await asyncio.to_thread(work))
    assert kinds(seen) == [
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "tool_executing",
        "tool_completed",
        "agent_response",
        "agent_response",
        "agent_response",
        "agent_error",
        "custom",
        "agent_completed",
    ]
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert seen[3].tool_completed.result_json == b'{"hits":[1,2]}'
    assert (seen[5].tool_completed.status, seen[5].tool_completed.error) == (TOOL_STATUS_ERROR, "no such index")
    assert not threads()


async def test_many_threads_share_one_connection(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    runs, said = 24, 20

    def work() -> list[str]:
        with connect(runcast_cluster) as rc, ThreadPoolExecutor(runs) as pool:

            def one(number: int) -> str:
                with rc.run(user=user, thread=f"t{number}") as run, run.tool("count"):
                    for i in range(said):
                        run.custom("n", [number, i])
                return run.id

            return list(pool.map(one, range(runs)))

    run_ids = await asyncio.to_thread(work)
    for number, run_id in enumerate(run_ids):
        seen = await until_end(watcher, run_id)
        assert [event.seq for event in seen] == list(range(1, said + 5))
        assert {event.thread for event in seen} == {f"t{number}"}
        assert [event.custom.data_json for event in seen[2:-2]] == [f"[{number},{i}]".encode() for i in range(said)]


async def test_one_run_is_fed_by_many_threads(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()

    def work() -> str:
        with connect(runcast_cluster) as rc, ThreadPoolExecutor(8) as pool, rc.run(user=user) as run:

            def one(number: int) -> str:
                with run.tool(f"tool{number}") as tool:
                    tool.result = number
                return tool.id

            assert len(set(pool.map(one, range(40)))) == 40, "each call has an id of its own"
        return run.id

    seen = await until_end(watcher, await asyncio.to_thread(work))
    assert sorted(event.tool_completed.result_json for event in seen if event.HasField("tool_completed")) == sorted(
        str(i).encode() for i in range(40)
    )


async def test_a_block_that_raises_tells_the_error_and_closes_its_tool(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    held: list[Run] = []

    def fails(rc: Runcast) -> None:
        with rc.run(user=user) as run, run.tool("search"):
            held.append(run)
            raise KeyError("nothing")

    def work() -> None:
        with connect(runcast_cluster) as rc:
            with pytest.raises(KeyError, match="nothing"):
                fails(rc)
            with pytest.raises(LifecycleError, match="block has ended"):
                held[0].respond("more")
            with pytest.raises(LifecycleError, match="another one"), held[0]:
                pass
            with rc.run(user=user) as run:
                held.append(run)
                with pytest.raises(ValueError, match="progress"):
                    run.thinking("x", progress=1.5)
                run.respond("the connection goes on")

    await asyncio.to_thread(work)
    seen = await until_end(watcher, held[0].id)
    assert kinds(seen) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
    assert seen[2].tool_completed.status == TOOL_STATUS_ERROR
    assert kinds(await until_end(watcher, held[1].id))[-1] == "agent_completed"


def test_the_current_run_is_the_threads_own(runcast_cluster: Cluster, user: str) -> None:
    def look() -> str:
        run = current_run(None)
        return run.id if run else ""

    with connect(runcast_cluster) as rc:
        with pytest.raises(LifecycleError, match="no run is under way"):
            current_run()
        with rc.run(user=user) as run, ThreadPoolExecutor(1) as pool:
            assert current_run() is run
            assert current_run().is_open
            with rc.run(user=user) as inner:
                assert look() == inner.id
            assert look() == run.id
            assert pool.submit(look).result() == ""
            assert pool.submit(contextvars.copy_context().run, look).result() == run.id
        assert look() == ""


async def test_a_run_that_ends_takes_the_runs_below_it_along(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()

    def work() -> tuple[str, str]:
        with connect(runcast_cluster) as rc, rc.run(user=user) as run:
            with run.child(agent="helper") as child:
                child.respond("x")
                run.complete("done")  # too early: the child, which this thread is in too, is open
                child.respond("more")
                raise AssertionError("the call before leaves the block")
            assert child.cancelled
        return run.id, child.id

    above, below = await asyncio.to_thread(work)
    assert kinds(await until_end(watcher, above)) == ["agent_started", "agent_completed"]
    assert kinds(await until_end(watcher, below))[-1] == "run_cancelled"


# --- stop ---


async def test_stop_reaches_a_thread_with_its_next_call_and_ends_its_run_alone(
    runcast_cluster: Cluster, user: str, device: DeviceFactory
) -> None:
    watcher = await device()
    runs: SimpleQueue[Run] = SimpleQueue()
    passed: list[str] = []

    def work() -> None:
        with connect(runcast_cluster) as rc:
            with rc.run(user=user) as run, run.tool("search"):
                run.flush()
                runs.put(run)
                while True:
                    run.thinking("on and on")
                    time.sleep(0.005)  # a thread's work
            passed.append("the block ended well")
            with rc.run(user=user) as after:
                after.respond("next")
            runs.put(after)

    working = asyncio.create_task(asyncio.to_thread(work))
    run = await asyncio.to_thread(runs.get)
    await watcher.cancel(run.id, "enough")
    await working
    assert run.cancelled
    assert run.cancel_reason == "enough"
    assert passed
    seen = await until_end(watcher, run.id)
    assert kinds(seen[:2] + seen[-2:]) == ["agent_started", "tool_executing", "tool_completed", "run_cancelled"]
    assert seen[-2].tool_completed.status == TOOL_STATUS_CANCELLED
    assert seen[-1].run_cancelled.reason == "enough"
    assert kinds(await until_end(watcher, runs.get().id))[-1] == "agent_completed"


async def test_stop_ends_a_call_that_waits(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device(ack=False)
    runs: SimpleQueue[Run] = SimpleQueue()

    def work() -> float:
        with connect(runcast_cluster) as rc:
            with rc.run(user=user) as run:
                run.flush()
                runs.put(run)
                began = time.monotonic()
                with pytest.raises(StoppedError):
                    run.custom("unseen", receipt=60.0)
                waited_s = time.monotonic() - began
                raise StoppedError
            return waited_s

    working = asyncio.create_task(asyncio.to_thread(work))
    run = await asyncio.to_thread(runs.get)
    await watcher.cancel(run.id)
    assert await working < 10
    assert run.cancelled


# --- misuse and trouble ---


async def test_in_a_thread_with_an_event_loop_it_says_what_to_use(runcast_cluster: Cluster, user: str) -> None:
    rc = connect(runcast_cluster)
    with pytest.raises(LifecycleError, match="async with"):
        rc.__enter__()
    await asyncio.to_thread(rc.__enter__)
    with pytest.raises(LifecycleError, match="runs an event loop"):
        rc.run(user=user)
    await asyncio.to_thread(rc.__exit__, None, None, None)
    assert not threads()


def test_before_and_after_its_block_it_says_so(runcast_cluster: Cluster, user: str) -> None:
    rc = connect(runcast_cluster)
    with pytest.raises(LifecycleError, match="not open"):
        rc.run(user=user)
    with rc:
        rc.ready()
        assert rc.stats().connection.state == "connected"
        with pytest.raises(LifecycleError, match="open already"), rc:
            pass
        assert rc.run(user=user).attempt == 1
    assert rc.stats().connection.state == "closed"
    with pytest.raises(OutboxClosedError):
        rc.run(user=user)
    with pytest.raises(OutboxClosedError), rc:
        pass
    with pytest.raises(ValueError, match="router's address"):
        Runcast("nowhere", agent="analyst")
    assert not threads()


def test_a_dead_router_is_told_and_hangs_nothing(user: str) -> None:
    began = time.monotonic()
    rc = Runcast("127.0.0.1:1", agent="analyst")

    def work() -> None:
        with rc:
            with pytest.raises(UnavailableError, match="no router at"):
                rc.ready(0.2)
            with pytest.raises(KeyError), rc.run(user=user):
                raise KeyError("x")
            rc.close(0.2)

    with pytest.raises(UnsentError) as caught:
        work()
    assert [len(left.unsent) for left in caught.value.leftovers] == [2]
    assert time.monotonic() - began < limits.RUN_EXIT_S + 3
    assert not threads()


async def test_leaving_ends_the_runs_that_other_threads_are_in(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    runs: SimpleQueue[Run] = SimpleQueue()
    go_on = threading.Event()

    def work(rc: Runcast) -> None:
        with rc.run(user=user) as run, run.tool("search"):
            runs.put(run)
            go_on.wait()

    def own(leave: Callable[[], object]) -> None:
        with ThreadPoolExecutor(1) as pool:
            with connect(runcast_cluster) as rc:
                working = pool.submit(work, rc)
                run = runs.get()
            leave()
            with pytest.raises(OutboxClosedError):
                run.respond("more")
            with pytest.raises(OutboxClosedError, match="leave the block first"):
                working.result()
            runs.put(run)

    await asyncio.to_thread(own, go_on.set)
    seen = await until_end(watcher, runs.get().id)
    assert kinds(seen) == ["agent_started", "tool_executing", "tool_completed", "run_cancelled"]
    assert not threads()


# --- the inbox ---


async def test_a_question_is_answered_by_a_run(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    group = f"g-{user}"
    inboxes = []

    def work() -> str:
        run_id = ""
        with connect(runcast_cluster) as rc:
            inbox = rc.inbox(group, in_flight=1)
            inboxes.append(inbox)
            for message in inbox:
                assert isinstance(message, InboxMessage)
                assert (message.text, message.data, message.answer, message.thread) == ("why?", {"k": [1]}, None, "t-1")
                if message.tries == 1:
                    message.retry()
                    continue
                with rc.run(user=message.user, thread=message.thread, reply_to=message.id) as run:
                    run.respond("because")
                message.ack()
                run_id = run.id
                inbox.close()
        return run_id

    await watcher.send_message(group, "t-1", "why?", data={"k": [1]})
    run_id = await asyncio.to_thread(work)
    assert kinds(await until_end(watcher, run_id))[-1] == "agent_completed"
    assert inboxes[0].closed
    assert not threads()


def test_async_and_blocking_clients_live_side_by_side(runcast_cluster: Cluster, user: str) -> None:
    async def work() -> None:
        async with runcast.client.Runcast(",".join(runcast_cluster.router_addresses()), agent="other") as rc, rc.run(user=user) as run:
            await run.flush()

    with connect(runcast_cluster) as rc, rc.run(user=user) as run, ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work()).result()
        assert run.flush() is not None


def test_calls_at_the_moment_of_the_end_are_answered(user: str) -> None:
    """Whatever a call meets, the loop's last turn included, it does not wait for ever."""

    def call_until_closed(rc: Runcast) -> type[BaseException]:
        while True:
            try:
                rc.stats()
                rc.run(user=user)
            except RuncastError as exc:
                return type(exc)

    for _ in range(10):
        with ThreadPoolExecutor(4) as pool:
            with Runcast("127.0.0.1:1", agent="analyst") as rc:
                callers = [pool.submit(call_until_closed, rc) for _ in range(4)]
            assert {caller.result(5) for caller in callers} == {OutboxClosedError}
