"""The agent's client against real routers, as a device sees it."""

import asyncio
import contextlib
import subprocess
import sys
import time

import grpc.aio
import pytest

from runcast.client import (
    ConnectionState,
    EventTooLargeError,
    LifecycleError,
    OutboxClosedError,
    RefusedError,
    Run,
    Runcast,
    RunRefusedError,
    UnavailableError,
    UnsentError,
)
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import ClusterFactory, DeviceFactory
from runcast.v1.event_pb2 import (
    SEVERITY_FATAL,
    TOOL_STATUS_CANCELLED,
    TOOL_STATUS_ERROR,
    TOOL_STATUS_OK,
    Event,
    UserMessage,
)
from runcast.v1.ingest_pb2_grpc import IngestServiceServicer, add_IngestServiceServicer_to_server
from runcast.wire import limits, limits_client
from runcast.wire.lifecycle import ends_run


def connect(cluster: Cluster, agent: str = "analyst") -> Runcast:
    return Runcast(",".join(cluster.router_addresses()), agent=agent)


async def until_end(watcher: Device, run_id: str) -> list[Event]:
    """The run's events, when its end has come."""
    await watcher.wait_for(lambda event: event.run_id == run_id and ends_run(event))
    return [event for event in watcher.events if event.run_id == run_id]


def kinds(events: list[Event]) -> list[str | None]:
    return [event.WhichOneof("kind") for event in events]


def check_seqs(events: list[Event]) -> None:
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


# --- what a run says ---


async def test_a_run_reaches_the_user_as_it_happened(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc:
        async with rc.run(user=user, thread="t-42", title="A question", reply_to="msg-1", input={"q": 1}) as run:
            await run.thinking("Reading", progress=0.1, step=1, steps=2)
            async with run.tool("search", args={"q": "x"}, purpose="to find", estimate_s=2) as tool:
                tool.result = {"hits": [1, 2]}
            for token in ("a", "b", ""):
                await run.respond(token)
            await run.end_message()
            await run.respond("whole", whole=True)
            await run.error("slow today", category="timeout", retrying=True, retry_after_s=0.5)
            await run.custom("chart", {"x": [1]})
            stored = await run.flush()
            await run.complete("done", result={"ok": True})
        seen = await until_end(watcher, run.id)
    assert kinds(seen) == [
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_response",
        "agent_response",
        "agent_response",
        "agent_error",
        "custom",
        "agent_response",
        "agent_completed",
    ]
    check_seqs(seen)
    assert stored is not None
    assert {(event.agent, event.thread, event.run_id) for event in seen} == {("analyst", "t-42", run.id)}
    assert [event.id for event in seen] == [f"{run.id}.1.{event.seq}" for event in seen]
    assert seen[0].agent_started.reply_to == "msg-1"
    assert seen[2].tool_executing.estimate_ms == 2000
    assert (seen[3].tool_completed.status, seen[3].tool_completed.result_json) == (TOOL_STATUS_OK, b'{"hits":[1,2]}')
    texts = [(event.agent_response.message_id, event.agent_response.text, event.agent_response.final) for event in seen[4:7]]
    assert texts == [("m1", "ab", False), ("m1", "", True), ("m2", "whole", False)], "what is said at once is sent as one"
    assert seen[9].agent_response.final, "completing makes the open message final"
    assert seen[10].agent_completed.result_json == b'{"ok":true}'


async def test_a_block_that_just_ends_completes_the_run(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run:
        await run.respond("half")
    assert kinds(await until_end(watcher, run.id)) == ["agent_started", "agent_response", "agent_response", "agent_completed"]


async def test_a_block_that_raises_tells_the_error_and_closes_its_tool(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc:
        with pytest.raises(KeyError, match="nothing"):
            async with rc.run(user=user) as run, run.tool("search"):
                raise KeyError("nothing")
        seen = await until_end(watcher, run.id)
        async with rc.run(user=user) as other:
            await other.respond("the connection goes on")
    assert kinds(seen) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
    assert (seen[2].tool_completed.status, seen[2].tool_completed.error) == (TOOL_STATUS_ERROR, "The agent met an unexpected error.")
    assert (seen[3].agent_error.severity, seen[3].agent_error.category) == (SEVERITY_FATAL, "unknown")
    assert seen[3].agent_error.message == "The agent met an unexpected error."
    assert "nothing" not in str(seen), "an exception's own text stays in the process"


async def test_a_tool_may_fail_without_raising_and_a_run_may_fail_by_its_own_word(
    runcast_cluster: Cluster, user: str, device: DeviceFactory
) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run:
        async with run.tool("search") as tool:
            tool.fail("no such index")
        await run.fail("nothing to search in", category="dependency", suggestions=["build the index"])
    seen = await until_end(watcher, run.id)
    assert (seen[2].tool_completed.status, seen[2].tool_completed.error) == (TOOL_STATUS_ERROR, "no such index")
    assert (seen[3].agent_error.message, list(seen[3].agent_error.suggestions)) == ("nothing to search in", ["build the index"])


async def test_a_cancelled_task_says_so(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc:
        runs: list[Run] = []
        working = asyncio.Event()

        async def work() -> None:
            async with rc.run(user=user) as run, run.tool("search"):
                runs.append(run)
                working.set()
                await asyncio.Event().wait()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(work())
            await working.wait()
            task.cancel()
        assert task.cancelled()
        seen = await until_end(watcher, runs[0].id)
    assert kinds(seen) == ["agent_started", "tool_executing", "tool_completed", "run_cancelled"]
    assert seen[2].tool_completed.status == TOOL_STATUS_CANCELLED
    assert not runs[0].cancelled, "that is for a cancel by the user"


# --- misuse ---


async def test_misuse_is_refused_and_the_run_goes_on(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    rc = connect(runcast_cluster)
    with pytest.raises(LifecycleError, match="async with"):
        rc.run(user=user)
    async with rc:
        run = rc.run(user=user)
        with pytest.raises(LifecycleError, match="has not begun"):
            await run.respond("x")
        async with run:
            with pytest.raises(EventTooLargeError):
                await run.respond("x" * limits.EVENT_BYTES_MAX)
            with pytest.raises(ValueError, match="progress"):
                await run.thinking("x", progress=1.5)
            with pytest.raises(TypeError):
                await run.custom("x", object())
            with pytest.raises(LifecycleError, match="still open"):
                async with run.tool("search"):
                    await run.complete("too early")
            await run.complete("now")
            with pytest.raises(LifecycleError, match="has ended"):
                await run.respond("more")
        with pytest.raises(LifecycleError, match="block has ended"):
            await run.respond("more")
        with pytest.raises(LifecycleError, match="another one"):
            async with run:
                pass
        with pytest.raises(LifecycleError, match="next attempt"):
            async with rc.run(user=user, run_id=run.id):
                pass
        assert kinds(await until_end(watcher, run.id)) == ["agent_started", "tool_executing", "tool_completed", "agent_completed"]
    with pytest.raises(OutboxClosedError):
        rc.run(user=user)


async def test_a_result_that_can_not_be_sent_still_completes_the_tool(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run:
        with pytest.raises(EventTooLargeError):
            async with run.tool("read") as tool:
                tool.result = "x" * limits.EVENT_BYTES_MAX
        with pytest.raises(TypeError):
            async with run.tool("read") as tool:
                tool.result = object()
    seen = await until_end(watcher, run.id)
    completed = [event.tool_completed for event in seen if event.HasField("tool_completed")]
    assert [tool.status for tool in completed] == [TOOL_STATUS_ERROR, TOOL_STATUS_ERROR]


async def forge(run: Run) -> None:
    """Emit what only edges may."""
    async with run, run.tool("search"):
        await run.flush()
        await run.emit(Event(user_message=UserMessage(text="forged")))
        await run.respond("behind it")
        await run.flush()


async def test_a_refused_batch_fails_its_run_visibly_and_no_other(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc:
        async with rc.run(user=user) as other:
            run = rc.run(user=user)
            with pytest.raises(RunRefusedError, match="agents don't emit") as caught:
                await forge(run)
            await other.respond("untouched")
        seen = await until_end(watcher, run.id)
        assert kinds(await until_end(watcher, other.id)) == ["agent_started", "agent_response", "agent_response", "agent_completed"]
    assert caught.value.code.name == "batch_invalid"
    assert "user_message" in kinds(list(caught.value.dropped))
    assert kinds(seen) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
    check_seqs(seen)


# --- cancel by the user ---


async def test_the_user_stops_a_run_and_the_worker_goes_on(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc:
        async with rc.run(user=user) as run, run.tool("search"):
            await run.flush()
            await watcher.cancel(run.id, "enough")
            await asyncio.Event().wait()
        assert run.cancelled
        assert run.cancel_reason == "enough"
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        async with rc.run(user=user) as after:
            await after.respond("next")
        seen = await until_end(watcher, run.id)
        await until_end(watcher, after.id)
    assert kinds(seen) == ["agent_started", "tool_executing", "tool_completed", "run_cancelled"]
    assert seen[3].run_cancelled.reason == "enough"


async def test_a_run_that_says_nothing_hears_of_a_stop_from_its_next_router_too(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    watcher = await device(cluster=cluster)
    connections: asyncio.Queue[str] = asyncio.Queue()

    def on_state(state: ConnectionState) -> None:
        if state.state == "connected":
            connections.put_nowait(state.router)

    async with (
        asyncio.timeout(20),
        Runcast(",".join(cluster.router_addresses()), agent="analyst", on_state=on_state) as rc,
        rc.run(user=user) as run,
    ):
        await run.flush()
        await connections.get()
        await cluster.routers[0].kill()
        await cluster.routers[0].start()
        await connections.get()
        await watcher.cancel(run.id, "enough")
        await asyncio.Event().wait()
    assert run.cancelled
    assert kinds(await until_end(watcher, run.id)) == ["agent_started", "run_cancelled"]


async def test_a_stop_is_told_apart_from_a_cancellation_by_the_service(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc:
        held: list[Run] = []

        async def work() -> None:
            async with rc.run(user=user) as run:
                held.append(run)
                await run.flush()
                try:
                    await watcher.cancel(run.id)
                    await asyncio.Event().wait()
                finally:  # both have come when the block ends
                    task.cancel()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(work())
        assert task.cancelled(), "the service's own cancellation is never swallowed"
        assert held[0].cancelled
        assert kinds(await until_end(watcher, held[0].id)) == ["agent_started", "run_cancelled"]


# --- routers that come and go ---


@pytest.mark.parametrize("fault", ["kill", "stop", "pause"])
async def test_a_router_that_goes_costs_nothing(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "runcast.client")
    cluster = await runcast_cluster_factory(routers=2, edges=1)
    watcher = await device(cluster=cluster)
    async with connect(cluster) as rc:
        await rc.ready()
        connected = next(record.getMessage() for record in caplog.records if "connected to router" in record.getMessage())
        router = next(node for node in cluster.routers if connected.endswith(node.address))
        async with rc.run(user=user) as run:
            for index in range(300):
                await run.custom("word", index)
                if index % 10 == 0:
                    await run.flush()
                if index == 100:
                    began = time.monotonic()
                    await getattr(router, fault)()
        took_s = time.monotonic() - began
        [publisher] = [task for task in asyncio.all_tasks() if task.get_name() == "runcast publisher"]
        assert publisher.cancelling() == 0, "or its waits can't be told from cancellations any more"
        seen = await until_end(watcher, run.id)
    if fault == "pause":
        router.resume()
    check_seqs(seen)
    assert [int(event.custom.data_json) for event in seen[1:-1]] == list(range(300))
    noticed_s = {"kill": 0.0, "stop": limits.DRAIN_S, "pause": limits_client.ROUTER_QUIET_S}[fault]
    assert took_s < noticed_s + limits_client.ROUTER_QUIET_S, "only silence has to be waited for"


async def test_an_agent_may_be_there_before_its_router(runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    await cluster.routers[0].stop()
    watcher = await device(cluster=cluster)
    async with connect(cluster) as rc:
        with pytest.raises(UnavailableError, match="no router"):
            await rc.ready(0.2)
        async with rc.run(user=user) as run:
            await run.respond("waiting")
            await cluster.routers[0].start()
        await until_end(watcher, run.id)


async def test_cleaning_up_is_bounded_and_the_end_is_still_sent(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    watcher = await device(cluster=cluster)
    async with connect(cluster) as rc:
        run = rc.run(user=user)

        async def work() -> None:
            async with run, run.tool("search"):
                await run.flush()
                await cluster.routers[0].kill()
                raise KeyError("gone")

        with pytest.raises(KeyError, match="gone"):
            await asyncio.wait_for(work(), limits_client.RUN_EXIT_S + 2.0)
        await cluster.routers[0].start()
        assert kinds(await until_end(watcher, run.id)) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]


async def test_what_could_not_be_sent_is_told(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    rc = connect(cluster)
    async with rc:
        await rc.ready()
        async with rc.run(user=user) as run:
            await run.complete()
        run = rc.run(user=user)
        await run.__aenter__()
        await run.flush()
        await cluster.routers[0].kill()
        await run.respond("lost")
        with pytest.raises(UnsentError, match="never sent") as caught:
            await rc.close(0.2)
    [left] = caught.value.leftovers
    assert left.key.run_id == run.id
    assert kinds(list(left.unsure + left.unsent)) == ["agent_response"]


async def test_a_full_outbox_makes_the_caller_wait(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    router = cluster.routers[0]
    async with connect(cluster) as rc, rc.run(user=user) as run:
        await run.flush()
        await router.pause()
        said = 0

        with contextlib.suppress(TimeoutError):
            while said <= limits_client.OUTBOX_EVENTS_MAX:
                await asyncio.wait_for(run.custom("n", said), 1.0)
                said += 1
        assert said <= limits_client.OUTBOX_EVENTS_MAX
        router.resume()
        await run.custom("n", said)
        assert await run.flush() is not None
    assert said > limits_client.OUTBOX_EVENTS_MAX - limits.BATCH_EVENTS_MAX - 10


class Doorman(IngestServiceServicer):
    """Lets nobody in: what a router with real authentication answers to a wrong token."""

    async def Publish(self, request_iterator: object, context: grpc.aio.ServicerContext) -> None:  # type: ignore[override, type-arg]  # noqa: N802
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated: the token is not valid")


async def test_not_being_let_in_is_final_and_said_by_the_next_call(user: str) -> None:
    server = grpc.aio.server()
    add_IngestServiceServicer_to_server(Doorman(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        with pytest.raises(RefusedError, match="the token is not valid") as caught:
            async with Runcast(f"127.0.0.1:{port}", agent="analyst") as rc, rc.run(user=user) as run:
                await run.flush()
        assert caught.value.code.name == "unauthenticated"
    finally:
        await server.stop(None)


def test_importing_the_client_brings_no_server_parts() -> None:
    code = """
import sys
import runcast.client, runcast.client.sync
print([name for name in ("nats", "aiohttp", "msgspec", "runcast.bus", "sqlite3") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
