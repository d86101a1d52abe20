"""TESTKIT.md, and README.md as far as it is about tests, run as they stand, and what it says that a failing test shows, one shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runcast.cli.main import app
from runcast.testkit import validators
from runcast.testkit.verification import inspect

README = (Path(__file__).parents[2] / "README.md").read_text()
PAGE = (Path(__file__).parents[2] / "agents_client" / "TESTKIT.md").read_text()
BLOCKS = dict(re.findall(r"^```python title=(\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"


def run_page(folder: Path, blocks: dict[str, str]) -> str:
    (folder / "pytest.ini").write_text(INI)
    for name, text in blocks.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=230).stdout


@pytest.mark.timeout(240)
def test_every_block_runs(tmp_path: Path) -> None:
    assert PAGE.count("```python") == len(BLOCKS)
    (readme,) = re.findall(r"^```python\n(async def test_.*?)^```$", README, re.DOTALL | re.MULTILINE)
    blocks = {**BLOCKS, "test_readme.py": readme}
    out = run_page(tmp_path, blocks)
    tests = sum(text.count("async def test_") for text in blocks.values())
    assert f"{tests} passed in" in out, out


def alike(text: str) -> str:
    """What stays the same from one time to the next."""
    text = re.sub(r"run \w{8}\b", "run R", re.sub(r" {2}\w{8} +(\d)", r"  R  \1", text))
    return re.sub(r"\(1\d{3} ms\)", "(T ms)", re.sub(r" +\d+\.\d{2,3} s", " T s", text)).rstrip()


@pytest.mark.timeout(240)
def test_a_failing_test_shows_what_the_page_says(tmp_path: Path) -> None:
    test = BLOCKS["test_analyst.py"].replace('sold most?")', 'sold most?", hurry=False)', 1)
    test = test.replace('required=["agent_thinking", "tool_completed:sql"]', 'required=["tool_executing:search"]')
    out = run_page(tmp_path, {"analyst.py": BLOCKS["analyst.py"], "test_analyst.py": test})
    (shown,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    said = [line for line in out.splitlines() if line.startswith("E  ")]
    assert [alike(line) for line in said] == [alike(line) for line in shown.splitlines()], out


def test_every_name_and_argument_is_described() -> None:
    names = set(re.findall(r"^ {4}([a-z_]+) {2,}\S", validators.__doc__ or "", re.MULTILINE))
    assert len(names) == 14
    missing = {name for name in (*names, "silence", "late_start", "quality") if f"`{name}`" not in PAGE}
    assert missing == set()
    arguments = set(inspect.__kwdefaults__) - {"run_id", "ended", "others"}
    assert {name for name in arguments if f"`{name}=" not in PAGE} == set()


def test_the_shell_lines_have_options_that_there_are() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("runcast testkit ")]
    assert len(lines) == 4
    for line in lines:
        _, _, command, *words = line.split()
        known = CliRunner().invoke(app, ["testkit", command, "--help"], env={"COLUMNS": "200"}).output
        assert [word for word in words if word.startswith("--") and word not in known] == []
