"""What calls of instrumented functions show on a device."""

import asyncio
import contextvars
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from runcast.client import Run, Runcast, current_run, instrument, tool
from runcast.client.errors import OutboxFullError
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import ClusterFactory, DeviceFactory
from runcast.v1.event_pb2 import TOOL_STATUS_CANCELLED, TOOL_STATUS_ERROR, TOOL_STATUS_OK, Event, ToolCompleted, ToolExecuting
from runcast.wire import limits_client as limits
from runcast.wire.lifecycle import ends_run

pytestmark = pytest.mark.runcast_agent(agent="analyst", tenant="default")


@pytest.fixture
def rc(runcast_agent: Runcast) -> Runcast:
    return runcast_agent


async def calls(watcher: Device, run: Run) -> list[tuple[ToolExecuting, ToolCompleted]]:
    """The run's tool calls, when its end has come, in the order in which they began; in pairs, or it fails."""
    await watcher.wait_for(lambda event: event.run_id == run.id and ends_run(event))
    seen = [event for event in watcher.events if event.run_id == run.id]
    ended = {event.tool_completed.tool_call_id: event.tool_completed for event in seen if event.HasField("tool_completed")}
    began = [event.tool_executing for event in seen if event.HasField("tool_executing")]
    assert len(ended) == len(began) == len({call.tool_call_id for call in began})
    assert sum(event.HasField("tool_completed") for event in seen) == len(began)
    return [(call, ended[call.tool_call_id]) for call in began]


@tool
async def search(q: str, *, limit: int = 10) -> list[str]:
    """Look it up in the index.

    More for programmers.
    """
    await asyncio.sleep(0)
    return [q] * limit


@tool(name="sum", purpose="to know the total", estimate_s=2)
def total(*numbers: int, **more: int) -> int:
    return sum(numbers) + sum(more.values())


@tool
def count(to: int) -> Iterator[int]:
    yield from range(to)


@tool
async def stream(to: int) -> AsyncIterator[int]:
    for index in range(to):
        await asyncio.sleep(0)
        yield index


async def test_calls_are_shown_with_arguments_and_results(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        assert await search("x", limit=2) == ["x", "x"]
        assert total(1, 2, three=3) == 6
        assert list(count(3)) == [0, 1, 2]
        assert [item async for item in stream(2)] == [0, 1]
    shown = [
        (
            began.tool,
            began.purpose,
            json.loads(began.args_json),
            ended.status,
            json.loads(ended.result_json or b"null"),
        )
        for began, ended in await calls(watcher, run)
    ]
    ok = TOOL_STATUS_OK
    assert shown == [
        ("search", "Look it up in the index.", {"q": "x", "limit": 2}, ok, ["x", "x"]),
        ("sum", "to know the total", {"numbers": [1, 2], "three": 3}, ok, 6),
        ("count", "", {"to": 3}, ok, None),
        ("stream", "", {"to": 2}, ok, None),
    ]


async def test_a_registry_of_an_unchanged_agent_is_shown(rc: Runcast, user: str, device: DeviceFactory) -> None:
    class Desk:
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, text: str) -> int:
            self.notes.append(text)
            return len(self.notes)

    class Decorated:
        @tool
        async def ask(self, q: str) -> str:
            return q

    desk = instrument(Desk())
    tools = instrument({"note": desk.note, "shout": str.upper, "later": lambda text: search(text, limit=1)})
    watcher = await device()
    async with rc.run(user=user) as run:
        assert tools["note"]("a") == 1
        assert tools["shout"]("a") == "A"
        assert await tools["later"]("a") == ["a"]
        assert await Decorated().ask("why") == "why"
    shown = [(began.tool, json.loads(began.args_json), json.loads(ended.result_json)) for began, ended in await calls(watcher, run)]
    assert shown == [
        ("note", {"text": "a"}, 1),
        ("shout", {"self": "a"}, "A"),
        ("later", {"text": "a"}, ["a"]),
        ("search", {"q": "a", "limit": 1}, ["a"]),
        ("ask", {"q": "why"}, "why"),
    ]


async def test_exceptions_and_cancellations_pass_and_are_shown(rc: Runcast, user: str, device: DeviceFactory) -> None:
    error = TimeoutError("of /secret")

    @tool
    async def fails() -> None:
        raise error

    @tool
    def stops() -> None:
        raise StopIteration

    @tool
    async def hangs() -> None:
        await asyncio.Event().wait()

    @tool
    async def returns_future() -> Any:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_exception(error)
        return await future

    later: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    watcher = await device()
    async with rc.run(user=user) as run:
        with pytest.raises(TimeoutError) as caught:
            await fails()
        assert caught.value is error
        with pytest.raises(StopIteration):
            stops()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hangs(), 0.01)
        with pytest.raises(TimeoutError):
            await returns_future()
        async with aclosing(stream(5)) as items:
            async for _ in items:
                break
        for _ in (items := count(5)):
            break
        items.close()
        returned = tool(name="later")(lambda: later)()
        assert returned is later
        later.set_result(5)
        assert await returned == 5
        await asyncio.sleep(0)
    shown = await calls(watcher, run)
    assert [(began.tool, ended.status) for began, ended in shown] == [
        ("fails", TOOL_STATUS_ERROR),
        ("stops", TOOL_STATUS_ERROR),
        ("hangs", TOOL_STATUS_CANCELLED),
        ("returns_future", TOOL_STATUS_ERROR),
        ("stream", TOOL_STATUS_CANCELLED),
        ("count", TOOL_STATUS_CANCELLED),
        ("later", TOOL_STATUS_OK),
    ]
    assert shown[0][1].error == "It took too long and was given up."
    assert shown[-1][1].result_json == b"5"


async def test_threads_and_other_loops_find_their_run(rc: Runcast, user: str, device: DeviceFactory) -> None:
    def in_a_thread() -> int:
        assert current_run().id == run.id
        assert list(count(2)) == [0, 1]
        assert asyncio.run(in_a_loop()) == ["y"]
        with pytest.raises(TypeError):
            total("a")  # type: ignore[arg-type]
        return total(1)

    async def in_a_loop() -> list[str]:
        assert total(5) == 5
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(tool(name="hangs")(asyncio.Event().wait)(), 0.01)
        return await search("y", limit=1)

    watcher = await device()
    async with rc.run(user=user) as run:
        assert await asyncio.to_thread(in_a_thread) == 1
        assert await asyncio.gather(*[asyncio.to_thread(total, index) for index in range(8)]) == list(range(8))
    shown = await calls(watcher, run)
    assert [began.tool for began, _ in shown[:6]] == ["count", "sum", "hangs", "search", "sum", "sum"]
    assert [ended.status for _, ended in shown[:6]] == [TOOL_STATUS_OK] * 2 + [TOOL_STATUS_CANCELLED, TOOL_STATUS_OK] + [
        TOOL_STATUS_ERROR,
        TOOL_STATUS_OK,
    ]
    assert sorted(json.loads(began.args_json)["numbers"] for began, _ in shown[6:]) == [[index] for index in range(8)]


async def test_no_call_fails_because_it_is_watched(rc: Runcast, user: str, device: DeviceFactory) -> None:
    class Connection:
        pass

    @tool
    def query(connection: Connection, text: str) -> Any:
        return {"rows": text, "connection": connection}

    watcher = await device()
    connection, text = Connection(), "ü" * 500_000
    async with rc.run(user=user) as run:
        assert query(connection, text) == {"rows": text, "connection": connection}
        assert tool(name="odd")(lambda: {(1, 2): float("nan")})() is not None
        await run.complete("done")
        assert query(connection, "after the end") is not None
        assert await search("after the end", limit=0) == []
    assert query(connection, "without a run") is not None
    shown = await calls(watcher, run)
    assert [(began.tool, ended.status) for began, ended in shown] == [("query", TOOL_STATUS_OK), ("odd", TOOL_STATUS_OK)]
    args, result = json.loads(shown[0][0].args_json), json.loads(shown[0][1].result_json)
    assert args["truncated"] is result["truncated"] is True
    assert args["bytes"] > 1_000_000
    assert args["head"].startswith('{"connection":"<test_no_call')
    assert len(shown[0][0].args_json) <= limits.INSTRUMENT_BYTES_MAX
    assert shown[1][1].result_json == b'"<dict>"'


async def test_a_thread_that_outlives_its_run_gets_its_result(rc: Runcast, user: str, device: DeviceFactory) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @tool
    def slow() -> str:
        begun.set()
        assert go_on.wait(10)
        return "done"

    watcher = await device()
    async with asyncio.TaskGroup() as group:
        async with rc.run(user=user) as run:
            working = group.create_task(asyncio.to_thread(slow))
            assert await asyncio.to_thread(begun.wait, 10)
        go_on.set()
    assert working.result() == "done"
    assert [ended.status for _, ended in await calls(watcher, run)] == [TOOL_STATUS_CANCELLED]


async def test_estimates_come_from_what_calls_took(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        for _ in range(2):
            async with run.tool("read"):
                await asyncio.sleep(0.02)
        async with run.tool("read", estimate_s=5):
            pass
        await run.thinking("Half", progress=0.5)
        await run.thinking("I know it", progress=0.6, remaining_s=9, urgency="high")
        with pytest.raises(ValueError, match="urgency"):
            await run.thinking("?", urgency="dire")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="0 or more"):
            await run.thinking("?", remaining_s=-1)
    first, second, third = [began for began, _ in await calls(watcher, run)]
    assert not first.HasField("estimate_ms")
    assert 15 <= second.estimate_ms <= 2000
    assert third.estimate_ms == 5000
    thoughts = [event.agent_thinking for event in watcher.events if event.HasField("agent_thinking")]
    assert thoughts[0].HasField("remaining_ms")
    assert (thoughts[-1].remaining_ms, thoughts[-1].text) == (9000, "I know it")


async def test_without_room_sync_code_in_the_loop_is_told(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    await cluster.routers[0].stop()
    async with Runcast(",".join(cluster.router_addresses()), agent="analyst") as rc, rc.run(user=user) as run:
        for index in range(limits.OUTBOX_EVENTS_MAX - 1):
            await run.emit(Event(custom={"name": str(index)}))  # type: ignore[arg-type]
        with pytest.raises(OutboxFullError):
            total(1)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(asyncio.to_thread(total, 1))
            await cluster.routers[0].start()
        assert waiting.result() == 1
        assert total(1) == 1


def test_a_call_that_outlives_its_event_loop_gets_its_result(runcast_cluster: Cluster, user: str) -> None:
    begun, go_on = threading.Event(), threading.Event()
    results: list[object] = []

    @tool
    def slow(how: str) -> str:
        begun.set()
        assert go_on.wait(10)
        return how

    def work() -> None:
        results.append(slow("within"))
        results.append(slow("after"))
        results.extend(count(1))

    async def main() -> threading.Thread:
        async with Runcast(",".join(runcast_cluster.router_addresses()), agent="analyst") as rc, rc.run(user=user):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
            thread.start()
            await asyncio.to_thread(begun.wait, 10)
            return thread

    thread = asyncio.run(main())
    go_on.set()
    thread.join(10)
    assert results == ["within", "after", 0]
