"""The demo agent as a process: a question from a real device, its run through router and edge, Stop, and the agent's own end."""

import asyncio
import json
import re
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from runcast.cli.demo_agent.answer import NOTHING_MEANT
from runcast.cli.demo_agent.worker import ANSWERING_MAX, run_id_of
from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.testkit.processes import Process
from runcast.v1.event_pb2 import TOOL_STATUS_ERROR, TOOL_STATUS_OK, Event
from runcast.wire.lifecycle import Lifecycle, State

StartAgent = Callable[..., Awaitable[tuple[Process, str]]]

PIES = "# Pies\n\nA pie needs apples. It is baked for an hour.\n\n# Tarts\n\nA tart needs plums. It is eaten cold.\n"
SLOW = ("--pace", "10")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "recipes"
    where.mkdir()
    (where / "baking.md").write_text(PIES)
    return where


@pytest.fixture
async def start_agent(runcast_cluster: Cluster, tmp_path: Path) -> AsyncIterator[StartAgent]:
    """Starts an agent for a group of its own; returns the process and the group."""
    started: list[Process] = []

    async def start(*arguments: str, group: str = "") -> tuple[Process, str]:
        group = group or f"demo-{uuid.uuid4().hex[:8]}"
        routers = ",".join(runcast_cluster.router_addresses())
        command = [sys.executable, "-m", "runcast.cli.demo_agent", "--router", routers, "--group", group, *arguments]
        process = Process(f"agent-{group}", command, directory=tmp_path, ready=r"^ready agent demo$")
        started.append(process)
        await process.start(ready_s=50)  # one that indexes the standard library, on a busy machine
        return process, group

    yield start
    for process in started:
        await process.stop()


async def ask(device: Device, group: str, question: str) -> str:
    """Send a question; returns the id of the run that answers it."""
    message_id = str(uuid.uuid4())
    await device.send_message(group, "thread-1", question, id=message_id)
    return run_id_of(message_id)


def run_of(device: Device, run_id: str) -> list[Event]:
    return [event for event in device.events if event.run_id == run_id]


def text_of(events: list[Event]) -> str:
    return "".join(event.agent_response.text for event in events if event.WhichOneof("kind") == "agent_response")


def tools_of(events: list[Event]) -> list[str]:
    return [event.tool_executing.tool for event in events if event.WhichOneof("kind") == "tool_executing"]


async def test_a_question_is_answered_from_the_standard_library(device, start_agent: StartAgent):
    screen = await device()
    _process, group = await start_agent("--pace", "0")
    run_id = await ask(screen, group, "what does asyncio.Semaphore do?")
    completed = await screen.wait_kind("agent_completed", run_id=run_id)
    events = run_of(screen, run_id)

    life = Lifecycle()
    for event in events:
        life.advance(event)
    assert life.state is State.ENDED
    said = await screen.wait_kind("user_message")
    assert events[0].agent_started.reply_to == said.id
    assert events[0].thread == "thread-1"
    assert tools_of(events)[:3] == ["search_corpus", "rank_passages", "read_passage"]
    progress = [event.agent_thinking.progress for event in events if event.WhichOneof("kind") == "agent_thinking"]
    assert progress == sorted(progress)

    results = {e.tool_completed.tool: json.loads(e.tool_completed.result_json) for e in reversed(events) if e.HasField("tool_completed")}
    assert results["search_corpus"]["hits"] > 1
    read = results["read_passage"]
    assert read["file"] == "asyncio/locks.py"
    assert "class Semaphore" in read["excerpt"]
    assert re.search(r"“A Semaphore implementation\.” \(asyncio/locks\.py:\d+\)", text_of(events)), "its words since Python 3.4"
    assert json.loads(completed.agent_completed.result_json)["sources"][0]["name"] == "asyncio.Semaphore"


async def test_what_the_corpus_does_not_say_is_not_answered(device, start_agent: StartAgent, folder: Path):
    screen = await device()
    _process, group = await start_agent("--corpus", str(folder))
    run_id = await ask(screen, group, "How do I repair a bicycle?")
    completed = await screen.wait_kind("agent_completed", run_id=run_id)
    assert completed.agent_completed.summary == "Found nothing that answers this."
    assert "no passage of the folder recipes speaks of repair or bicycle" in text_of(run_of(screen, run_id))


@pytest.mark.parametrize("choose", [0, -1])
async def test_who_asks_for_something_unknown_is_asked_what_was_meant(device, start_agent: StartAgent, folder: Path, choose: int):
    screen, other = await device(), await device()
    _process, group = await start_agent("--corpus", str(folder))
    run_id = await ask(screen, group, "tarrts")
    asked = (await other.wait_kind("input_requested", run_id=run_id)).input_requested
    assert list(asked.options) == ["Tarts", NOTHING_MEANT]
    await other.answer(run_id, asked.request_id, asked.options[choose])
    await screen.wait_kind("agent_completed", run_id=run_id)
    text = text_of(run_of(screen, run_id))
    assert ("A tart needs plums." in text) == (choose == 0), text
    assert ("I found" in text) == (choose == -1), text


async def test_stop_ends_a_run_and_the_agent_goes_on(device, start_agent: StartAgent, folder: Path):
    screen = await device()
    process, group = await start_agent("--corpus", str(folder), *SLOW)
    run_id = await ask(screen, group, "apples in a pie")
    await screen.wait_kind("agent_response", run_id=run_id)
    await screen.cancel(run_id, "enough")
    ended = await screen.wait_kind("run_cancelled", run_id=run_id)
    assert ended.run_cancelled.reason == "enough"
    next_id = await ask(screen, group, "plums in a tart")
    await screen.wait_kind("agent_response", run_id=next_id)
    assert process.running


async def test_a_stopped_agent_cancels_its_runs_and_exits_cleanly(device, start_agent: StartAgent, folder: Path):
    screen = await device()
    process, group = await start_agent("--corpus", str(folder), *SLOW)
    run_id = await ask(screen, group, "apples in a pie")
    await screen.wait_kind("agent_response", run_id=run_id)
    assert await process.stop() == 0
    ended = await screen.wait_kind("run_cancelled", run_id=run_id)
    assert ended.run_cancelled.reason


async def test_a_file_that_went_away_is_told_and_the_run_goes_on(device, start_agent: StartAgent, folder: Path):
    screen = await device()
    _process, group = await start_agent("--corpus", str(folder), "--pace", "0")
    (folder / "baking.md").unlink()
    run_id = await ask(screen, group, "apples in a pie")
    await screen.wait_kind("agent_completed", run_id=run_id)
    reads = [e.tool_completed for e in run_of(screen, run_id) if e.HasField("tool_completed") and e.tool_completed.tool == "read_passage"]
    assert [read.status for read in reads] == [TOOL_STATUS_ERROR]
    assert "baking.md can't be read any more" in reads[0].error
    assert "could not be read" in text_of(run_of(screen, run_id))
    (folder / "baking.md").write_text(PIES)
    again = await ask(screen, group, "apples in a pie")
    await screen.wait_kind("agent_completed", run_id=again)
    assert all(e.tool_completed.status == TOOL_STATUS_OK for e in run_of(screen, again) if e.HasField("tool_completed"))


async def test_a_message_that_is_delivered_again_is_a_further_attempt(
    device, start_agent: StartAgent, folder: Path, runcast_cluster: Cluster, user: str
):
    screen = await device()
    group = f"again-{uuid.uuid4().hex[:8]}"
    run_id = await ask(screen, group, "apples in a pie")
    async with Runcast(runcast_cluster.routers[0].address, agent="dropper") as dropper:
        message = await anext(dropper.inbox(group, in_flight=1))
        assert message.user == user
        await message.retry()
    await start_agent("--corpus", str(folder), "--pace", "0", group=group)
    completed = await screen.wait_kind("agent_completed", run_id=run_id)
    assert completed.attempt == 2
    assert {event.attempt for event in run_of(screen, run_id)} == {2}


async def test_many_questions_at_once_wait_visibly(device, start_agent: StartAgent, folder: Path):
    screen = await device()
    _process, group = await start_agent("--corpus", str(folder), "--pace", "100")
    runs = [await ask(screen, group, "apples in a pie") for _ in range(ANSWERING_MAX + 2)]
    async with asyncio.TaskGroup() as waits:
        for run_id in runs:
            waits.create_task(screen.wait_kind("agent_completed", 20.0, run_id=run_id))
    waited = [run_id for run_id in runs if run_of(screen, run_id)[1].agent_thinking.text.startswith("Waiting: ")]
    assert len(waited) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--corpus", "absent"), "absent is not a folder"),
        (("--depth", "0"), "depth is 0; use 1 to"),
        (("--pace", "-1"), "pace is -1.0"),
        (("--router", "nowhere"), "nowhere"),
    ],
)
async def test_an_agent_that_cannot_start_says_why(tmp_path: Path, arguments: tuple[str, ...], says: str):
    if "--corpus" not in arguments:
        (tmp_path / "a.txt").write_text("text")
        arguments = ("--corpus", str(tmp_path), *arguments)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runcast.cli.demo_agent", *arguments), cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    try:
        _out, err = await asyncio.wait_for(process.communicate(), 40)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 2
    assert says in err.decode()
