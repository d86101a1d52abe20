"""What the README and the agents' page show runs as it stands: its agent, its page, its shell lines."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

from runcast.testkit.cluster import Cluster
from runcast.wire.lifecycle import ends_run

ROOT = Path(__file__).parents[2]
README = "\n".join((ROOT / page).read_text() for page in ("README.md", "agents_client/README.md"))
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMIUM_ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


def block(language: str, holding: str) -> str:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    found = [text for name, text in blocks if name == language and holding in text]
    assert len(found) == 1, f"README has {len(found)} {language} blocks with {holding!r}"
    return found[0]


@pytest.fixture
async def agent(runcast_cluster: Cluster, tmp_path: Path):
    """The README's agent, in a process of its own."""
    path = tmp_path / "agent.py"
    path.write_text(block("python", "rc.inbox").replace("127.0.0.1:7400", runcast_cluster.routers[0].address))
    process = await asyncio.create_subprocess_exec(sys.executable, str(path), stderr=asyncio.subprocess.PIPE)
    yield process
    if process.returncode != 130:  # the test interrupted it
        assert process.returncode is None, (await process.stderr.read()).decode()
        process.terminate()
        await process.wait()


async def test_the_agent_answers(runcast_cluster, device, agent):
    phone = await device(reconnect=True)
    await phone.send_message("greeter", "t-1", "Hello there")
    end = await phone.wait_kind("agent_completed", timeout=20)
    kinds = [event.WhichOneof("kind") for event in phone.events if event.run_id == end.run_id]
    assert kinds[:4] == ["agent_started", "agent_thinking", "tool_executing", "tool_completed"]
    assert "".join(event.agent_response.text for event in phone.events) == "That was 11 letters. "


async def test_ctrl_c_ends_the_agent_quietly(runcast_cluster, device, agent):
    phone = await device(reconnect=True)
    await phone.send_message("greeter", "t-1", "Hello there")
    await phone.wait_kind("agent_completed", timeout=20)
    agent.send_signal(signal.SIGINT)
    assert await agent.wait() == 130
    assert await agent.stderr.read() == b""


async def test_the_blocking_agent_answers(runcast_cluster, device, user, tmp_path):
    text = block("python", "runcast.client.sync")
    path = tmp_path / "blocking.py"
    path.write_text(text.replace("127.0.0.1:7400", runcast_cluster.routers[0].address).replace('"alice"', repr(user)))
    phone = await device()
    process = await asyncio.create_subprocess_exec(sys.executable, str(path))
    assert await process.wait() == 0
    await phone.wait_kind("agent_completed")
    assert "".join(event.agent_response.text for event in phone.events) == "That was 5 letters."


async def test_agents_start_agents(runcast_cluster, device, user, tmp_path):
    text = block("python", "current_run().child")
    path = tmp_path / "agents.py"
    path.write_text(text.replace("127.0.0.1:7400", runcast_cluster.routers[0].address).replace('"alice"', repr(user)))
    phone = await device()
    process = await asyncio.create_subprocess_exec(sys.executable, str(path))
    assert await process.wait() == 0
    end = await phone.wait_for(lambda event: event.agent == "lead" and event.HasField("agent_completed"))
    assert end.agent_completed.summary == "the first page says yes and the second page says yes"
    [error] = [event.agent_error for event in phone.events if event.HasField("agent_error")]
    assert error.category == "timeout"
    ends = [event.WhichOneof("kind") for event in phone.events if event.agent == "researcher" and ends_run(event)]
    assert ends == ["run_cancelled", "agent_completed", "agent_completed"]
    assert [event.agent for event in phone.events if event.HasField("agent_started")] == ["lead", *["researcher"] * 3]


async def test_agents_ask(runcast_cluster, device, user, tmp_path):
    path = tmp_path / "asking.py"
    path.write_text(block("python", "run.ask").replace("127.0.0.1:7400", runcast_cluster.routers[0].address).replace('"alice"', repr(user)))
    phone = await device()
    process = await asyncio.create_subprocess_exec(sys.executable, str(path))
    for prompt, value in (("Which tone?", "kind"), ("Send the kind letter?", True)):
        asked = await phone.wait_for(lambda event, prompt=prompt: event.input_requested.prompt == prompt, timeout=20)
        await phone.answer(asked.run_id, asked.input_requested.request_id, value)
    assert await process.wait() == 0
    said = await phone.wait_kind("agent_response")
    assert said.agent_response.text == "It is on its way."


async def test_the_page_shows_the_answer(runcast_cluster, user, agent):
    script = re.search(r"<script type=\"module\">(.*)</script>", block("html", "<script"), re.DOTALL)[1]
    script = script.replace('import { connect } from "/client/runcast.js";', 'const { connect } = await import("/client/runcast.js");')
    script = script.replace("dev.default.alice", runcast_cluster.token(user))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        page = await browser.new_page()
        await page.goto(runcast_cluster.edges[0].http_url + "/readyz")
        await page.evaluate(f"(async () => {{ {script} }})()")
        await expect(page.locator("body")).to_contain_text("That was 11 letters.", timeout=20_000)
        assert await page.title() == "live"
        await browser.close()


async def test_the_shell_line_publishes(runcast_cluster, device, user):
    line = next(line for line in block("", "runcast publish").splitlines() if "runcast publish" in line)
    phone = await device()
    runcast = Path(sys.executable).with_name("runcast")
    command = line.replace("runcast publish", f"{runcast} publish --router {runcast_cluster.routers[0].address}").replace("alice", user)
    process = await asyncio.create_subprocess_shell(command)
    await phone.wait_kind("agent_started", timeout=20)
    assert await process.wait() == 0
