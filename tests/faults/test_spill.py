"""An agent that is killed loses nothing that it accepted, when it has a spill: its next start tells the rest, once."""

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from runcast.client import Runcast, sync
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import ClusterFactory, DeviceFactory
from runcast.testkit.processes import Process, ProcessError
from runcast.v1.event_pb2 import SEVERITY_FATAL, TOOL_STATUS_CANCELLED, Event
from runcast.wire.lifecycle import ends_run

AGENT = Path(__file__).parent / "spill_agent.py"
NOWHERE = "127.0.0.1:1"
Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path, user: str) -> AsyncIterator[Start]:
    """Starts the agent with the test's spill, and waits until it is ready."""
    agents: list[Process] = []

    async def begin(routers: str, how: str, run_id: str = "r", said: Callable[[str, str], None] | None = None) -> Process:
        args = [sys.executable, str(AGENT), routers, user, str(tmp_path / "spill.sqlite"), how, run_id]
        agent = Process(f"agent-{len(agents)}", args, directory=tmp_path, ready="^ready agent$", echo=said)
        agents.append(agent)
        await agent.start()
        return agent

    yield begin
    for agent in agents:
        await agent.kill()


def routers(cluster: Cluster) -> str:
    return ",".join(cluster.router_addresses())


async def until_end(watcher: Device, run_id: str, attempt: int = 1, timeout: float = 20.0) -> list[Event]:
    def is_end(event: Event) -> bool:
        return (event.run_id, event.attempt) == (run_id, attempt) and ends_run(event)

    await watcher.wait_for(is_end, timeout)
    return [event for event in watcher.events if (event.run_id, event.attempt) == (run_id, attempt)]


def kinds(events: list[Event]) -> list[str | None]:
    return [event.WhichOneof("kind") for event in events]


def check_seqs(events: list[Event]) -> None:
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_what_was_never_sent_goes_out_at_the_next_start(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, start: Start
) -> None:
    watcher = await device()
    agent = await start(NOWHERE, "whole")
    await agent.kill()
    await start(routers(runcast_cluster), "restarted")
    seen = await until_end(watcher, "r")
    assert kinds(seen) == ["agent_started", "tool_executing", "tool_completed", "agent_response", "agent_response", "agent_completed"]
    check_seqs(seen)
    assert {(event.agent, event.thread) for event in seen} == {("tester", "t")}


async def test_an_open_run_ends_at_the_next_start_with_its_tools_closed(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, start: Start
) -> None:
    watcher = await device()
    agent = await start(routers(runcast_cluster), "opened")
    await agent.kill()
    await start(routers(runcast_cluster), "restarted")
    seen = await until_end(watcher, "r")
    assert kinds(seen) == ["agent_started", "agent_response", "tool_executing", "tool_completed", "agent_error"]
    check_seqs(seen)
    assert seen[3].tool_completed.status == TOOL_STATUS_CANCELLED
    assert seen[4].agent_error.severity == SEVERITY_FATAL
    assert "restarted" in seen[4].agent_error.message
    assert {(event.agent, event.thread) for event in seen} == {("tester", "t")}


async def test_killed_in_mid_stream_again_and_again_every_accepted_event_comes_once(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, start: Start
) -> None:
    watcher = await device()
    for life in range(3):
        accepted = 0
        enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def said(_name: str, line: str, enough: "asyncio.Future[None]" = enough, until: int = 40 + 30 * life) -> None:
            nonlocal accepted
            found = re.fullmatch(r"said (\d+)", line)
            accepted = int(found[1]) if found else accepted
            if accepted >= until and not enough.done():
                enough.set_result(None)

        agent = await start(routers(runcast_cluster), "streaming", f"r{life}", said)
        if life:
            await until_end(watcher, f"r{life - 1}")
        await asyncio.wait_for(enough, 20)
        await agent.kill()
        told = accepted
        if life == 2:
            await start(routers(runcast_cluster), "restarted")
        else:
            continue
        seen = await until_end(watcher, f"r{life}")
        numbers = [int(event.custom.data_json) for event in seen if event.HasField("custom")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= told
        check_seqs(seen)
        assert kinds(seen)[-1] == "agent_error"


async def test_a_run_that_was_lost_before_its_end_could_be_said_is_told_again_whole(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory, start: Start
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1, proxied=True)
    watcher = await device(cluster=cluster)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def said(_name: str, line: str) -> None:
        if line == "ended":
            done.set_result(None)

    agent = await start(routers(cluster), "ended", said=said)
    cluster.proxies["agent", "router-0"].cut()
    os.kill(agent.pid, signal.SIGUSR1)
    await asyncio.wait_for(done, 10)
    await agent.kill()
    lost = await until_end(watcher, "r")
    assert kinds(lost)[-1] == "run_lost"
    cluster.proxies["agent", "router-0"].heal()
    await start(routers(cluster), "restarted")
    seen = await until_end(watcher, "r", 2)
    assert kinds(seen) == ["agent_started", "agent_response", "agent_response", "agent_response", "agent_completed"]
    check_seqs(seen)
    assert "".join(event.agent_response.text for event in seen) == "hello and goodbye"


async def test_an_open_run_that_was_lost_meanwhile_stays_as_it_is(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, start: Start
) -> None:
    watcher = await device()
    agent = await start(routers(runcast_cluster), "opened")
    await agent.kill()
    assert kinds(await until_end(watcher, "r"))[-1] == "run_lost"
    restarted = await start(routers(runcast_cluster), "restarted")
    await restarted.kill()
    await start(NOWHERE, "whole", "other")  # what was left of "r" is gone from the file, or this would be in use
    assert {event.attempt for event in watcher.events if event.run_id == "r"} == {1}


async def test_what_may_have_been_sent_too_long_ago_is_not_sent_again_but_told_again_whole(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, start: Start, tmp_path: Path
) -> None:
    watcher = await device()
    agent = await start(NOWHERE, "whole")
    await agent.kill()
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "spill.sqlite")) as file,
        file,
    ):  # its batch went out before the machine was restarted
        file.execute("INSERT INTO flights SELECT id, 2, 0, 'another boot', 0, 0 FROM runs")
    await start(routers(runcast_cluster), "restarted")
    seen = await until_end(watcher, "r", 2)
    assert kinds(seen) == ["agent_started", "tool_executing", "tool_completed", "agent_response", "agent_response", "agent_completed"]
    check_seqs(seen)
    assert {event.attempt for event in watcher.events} == {2}


async def test_a_second_process_is_told_who_has_the_file(start: Start) -> None:
    agent = await start(NOWHERE, "whole")
    with pytest.raises(ProcessError, match=f"in use by process {agent.pid}"):
        await start(NOWHERE, "whole", "other")


async def test_what_a_close_could_not_send_stays_and_goes_out_at_the_next_opening(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = await device()
    spill = tmp_path / "spill.sqlite"
    async with Runcast(NOWHERE, agent="tester", spill=spill) as rc:
        with contextlib.suppress(KeyError):
            async with rc.run(user=user, run_id="r") as run:
                await run.respond("said ")
                raise KeyError("x")
        await rc.close(0.1)
    assert "goes out at the next start" in caplog.text

    def blocking() -> None:
        with sync.Runcast(routers(runcast_cluster), agent="tester", spill=spill) as rc, rc.run(user=user, run_id="new") as run:
            run.respond("and more")

    await asyncio.to_thread(blocking)
    assert kinds(await until_end(watcher, "r")) == ["agent_started", "agent_response", "agent_error"]
    assert kinds(await until_end(watcher, "new"))[-1] == "agent_completed"
    with contextlib.closing(sqlite3.connect(spill)) as file:
        assert file.execute("SELECT count(*) FROM runs").fetchone() == (0,)
