"""The examples run as they stand, each in a process of its own that reaches nothing beyond this machine."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from runcast.testkit import Cluster
from runcast.testkit.plugin import DeviceFactory
from tests.delivery.retelling import children, until_end

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "agents_client/examples"
GUARDED = (
    "import runpy, sys\n"
    "from tests.delivery.retelling import offline\n"
    "sys.argv = sys.argv[1:]\n"
    "with offline():\n"
    "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
)
# The second full stop tells that the message is final.
COUNTING = ['calls count_letters {"text":"Hello there"}', "count_letters ok 10", "says There are ten..", "completes"]
QUESTION = "assistant starts How many letters has 'Hello there'?"
TOLD = {
    "langchain_agent.py": (
        [QUESTION, "says That was ten letters..", "completes"],
        [["researcher starts", *[line.replace(" 10", ' "10"') for line in COUNTING]]],
    ),
    "openai_agents_agent.py": (
        [QUESTION, 'calls research {"question":"How many?"}', 'research ok "There are ten."', "completes"],
        [
            ["researcher starts How many?", *COUNTING],
            ["writer starts handed over by assistant", "says That was ten letters..", "completes"],
        ],
    ),
    "pydantic_ai_agent.py": (
        [
            QUESTION,
            "thinks The researcher will know.",
            'calls research {"question":"How many?"}',
            'research ok "There are ten."',
            "says That was ten letters..",
            "completes",
        ],
        [["researcher starts How many?", *COUNTING]],
    ),
}


def test_no_example_is_left_out() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == TOLD.keys()


@pytest.mark.parametrize("name", TOLD)
async def test_the_example_is_told(runcast_cluster: Cluster, user: str, device: DeviceFactory, name: str) -> None:
    watcher = await device()
    command = [sys.executable, "-c", GUARDED, str(EXAMPLES / name), user, "--router", runcast_cluster.router_addresses()[0]]
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    started = await watcher.wait_for(lambda event: event.HasField("agent_started") and not event.parent_run_id)
    whole, parts = TOLD[name]
    assert await until_end(watcher, started.run_id) == whole
    assert [await until_end(watcher, child) for child in children(watcher, started.run_id)] == parts
