"""How processes with a blocking client end: interrupted, without leaving the block, forked."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from runcast.testkit import Cluster
from runcast.testkit.plugin import DeviceFactory

AGENT = Path(__file__).parent / "sync_agent.py"


@contextlib.asynccontextmanager
async def agent(routers: str, user: str, how: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The agent, when it is ready; killed at the end should it still be there."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-X", "dev", AGENT, routers, user, how, stdout=pipe, stderr=pipe)
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 15) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def end(process: asyncio.subprocess.Process, within_s: float) -> str:
    """Wait for the end; what it wrote to stderr."""
    _, told = await asyncio.wait_for(process.communicate(), within_s)
    text = told.decode()
    assert "never retrieved" not in text
    assert "destroyed" not in text
    return text


async def test_an_interrupted_agent_ends_its_run_and_itself(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with agent(",".join(runcast_cluster.router_addresses()), user, "wait_for_messages") as process:
        process.send_signal(signal.SIGINT)
        told = await end(process, 5)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in told
    cancelled = await watcher.wait_kind("run_cancelled")
    assert cancelled.run_cancelled.reason == "the agent was stopped"
    assert [event.WhichOneof("kind") for event in watcher.events][-2:] == ["tool_completed", "run_cancelled"]


async def test_an_interrupted_close_ends_at_once(user: str) -> None:
    async with agent("127.0.0.1:1", user, "close") as process:
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        told = await end(process, 10)
    assert "KeyboardInterrupt" in told
    assert time.monotonic() - began < 4.0, "closing alone would take longer"


async def test_a_block_that_was_never_left_is_closed_with_the_process(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with agent(",".join(runcast_cluster.router_addresses()), user, "never_leave") as process:
        told = await end(process, 10)
    assert process.returncode == 0
    assert "leave its block" in told
    await watcher.wait_kind("run_cancelled")
    assert [event.WhichOneof("kind") for event in watcher.events] == ["agent_started", "agent_response", "run_cancelled"]


async def test_a_forked_child_is_told_and_touches_nothing(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with agent(",".join(runcast_cluster.router_addresses()), user, "fork") as process:
        told = await end(process, 15)
    assert process.returncode == 0
    assert "child: LifecycleError:" in told
    assert "before the fork" in told
    await watcher.wait_kind("agent_completed")
    assert "".join(event.agent_response.text for event in watcher.events) == "parent and its child ended with 3"
