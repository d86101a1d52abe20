"""What agents see of types, by mypy: an example that uses the whole API, and one with mistakes that it must notice."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import runcast.client
from runcast.client import sync

EXAMPLE = Path(__file__).parent / "typed_agent.py"
ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(180)  # without a cache, on a busy machine
def test_mypy_agrees_with_an_agent_that_uses_the_whole_api() -> None:
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--warn-unused-ignores", EXAMPLE]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("owner", [runcast.client.Run, runcast.client.Runcast, sync.Run, sync.Runcast])
def test_the_example_uses_every_public_method(owner: type) -> None:
    used = {node.attr for node in ast.walk(ast.parse(EXAMPLE.read_text())) if isinstance(node, ast.Attribute)}
    internal = {"emit_now", "is_open_tool", "ended", "loop", "stop", "tool_of_json"}
    assert {name for name in dir(owner) if not name.startswith("_")} - internal <= used
