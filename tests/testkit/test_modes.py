"""The fixtures in other people's projects: every way in which async tests are run, and what is said when it can't work."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from runcast.testkit import Cluster
from runcast.testkit.scope import Scope, WrongLoopError

pytestmark = pytest.mark.timeout(120)  # each starts a pytest of its own, with a cluster
TESTS = """
import asyncio
import pytest
from runcast.testkit import UserDevice

MARK


async def answer(agent, user):
    async with agent.run(user=user, title="Sales per region") as run:
        await run.thinking("Reading the table", progress=0.5)
        await run.respond("The north.")
    return run.id


@pytest.mark.parametrize("number", range(3))
async def test_a_run_reaches_the_user_and_nothing_of_other_tests_does(runcast_agent, runcast_user, number):
    run_id = await answer(runcast_agent, runcast_user.user)
    await runcast_user.verify(run_id, required=["agent_response"], silence_s=5.0, quality=0.9)
    await runcast_user.verify(runs={run_id})
    assert runcast_user.text() == "The north."
    assert runcast_user.user == "alice"


async def test_a_second_device_and_another_user(runcast_agent, runcast_user, runcast_device):
    tablet = await runcast_user.second("tablet")
    bob = await runcast_device("bob")
    await answer(runcast_agent, "alice")
    await tablet.wait_end()
    await runcast_user.verify()
    assert [event.id for event in tablet.events] == [event.id for event in runcast_user.events]
    assert bob.events == []


async def test_an_edge_is_killed(runcast_agent, runcast_user, runcast_cluster):
    async with runcast_agent.run(user="alice", title="Sales") as run:
        await run.thinking("Reading")
        async with runcast_cluster.edge_killed(None):
            await run.thinking("Still reading")
        await run.respond("The north.")
    await runcast_user.verify(run.id, within_s=20)


@ASYNC_FIXTURE
async def laptop(runcast_cluster, runcast_tenant):
    async with UserDevice(runcast_cluster, "carol", tenant=runcast_tenant) as device:
        yield device


async def test_a_device_of_a_fixture_of_ones_own(laptop, runcast_agent):
    await answer(runcast_agent, "carol")
    await laptop.verify()
"""

SYNC = """

def test_a_sync_test_may_use_the_cluster(runcast_cluster):
    assert runcast_cluster.edges[0].running
    assert runcast_cluster.ready_s < 20
"""

LOOPS = "asyncio_default_fixture_loop_scope = function\n"
STRICT = f"asyncio_mode = strict\n{LOOPS}"
AUTO = f"asyncio_mode = auto\n{LOOPS}"
MODES = {
    "asyncio-function": ("", "pytestmark = pytest.mark.asyncio", "__import__('pytest_asyncio').fixture", STRICT),
    "asyncio-auto": ("", "", "pytest.fixture", AUTO),
    "asyncio-session": (
        "",
        "pytestmark = pytest.mark.asyncio(loop_scope='session')",
        "__import__('pytest_asyncio').fixture(loop_scope='session')",
        STRICT,
    ),
    "asyncio-default-session": (
        "",
        "",
        "pytest.fixture",
        "asyncio_mode = auto\nasyncio_default_test_loop_scope = session\nasyncio_default_fixture_loop_scope = session\n",
    ),
    "anyio": (
        "-p no:asyncio",
        "pytestmark = pytest.mark.anyio\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'",
        "pytest.fixture",
        "",
    ),
    "anyio-session": (
        "-p no:asyncio",
        "pytestmark = pytest.mark.anyio\n\n@pytest.fixture(scope='session')\ndef anyio_backend():\n    return 'asyncio'",
        "pytest.fixture",
        "",
    ),
    "xdist": ("-n 2", "", "pytest.fixture", AUTO),
}


def run_pytest(folder: Path, tests: str, ini: str = AUTO, options: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\nrequired_plugins = pytest-xdist\n{ini}")
    (folder / "test_it.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options.split()]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)


def test_without_an_asyncio_loop_it_is_said() -> None:
    scope = Scope(Cluster, "t")
    with pytest.raises(WrongLoopError, match="anyio_backend return 'asyncio'"):
        scope.__aenter__().send(None)  # what trio would do


@pytest.mark.parametrize("mode", MODES)
def test_the_fixtures_work_however_async_tests_are_run(tmp_path: Path, mode: str) -> None:
    options, mark, fixture, ini = MODES[mode]
    tests = TESTS.replace("MARK", mark).replace("ASYNC_FIXTURE", fixture) + ("" if mark else SYNC)
    ran = run_pytest(tmp_path, tests, ini, options)
    assert re.search(rf"\b{6 if mark else 7} passed in", ran.stdout), ran.stdout + ran.stderr


def test_a_failed_test_shows_what_its_devices_received(tmp_path: Path) -> None:
    ran = run_pytest(
        tmp_path,
        """
async def test_it(runcast_agent, runcast_user):
    async with runcast_agent.run(user="alice", title="Sales per region") as run:
        await run.thinking("Reading the table")
    await runcast_user.wait_end()
    assert runcast_user.text() == "The north."


async def test_that(runcast_agent, runcast_user):
    async with runcast_agent.run(user="alice", title="Sales per region") as run:
        await run.thinking("Reading the table")
    await runcast_user.verify(run.id, required=["tool_executing:sql"])
""",
    )
    assert "2 failed" in ran.stdout
    report = ran.stdout.partition("short test summary")[0]  # which, with CI set, tells all of it again
    first, _, second = report.partition("test_that")
    assert "what alice/d1 received" in first
    assert re.search(r"2 +\d\.\d{3} s +\w{8} +2 +agent_thinking +Reading the table", first)
    assert "runcast.testkit.VerificationError: one thing is wrong with what alice/d1 received: 3 events, 1 run" in second
    assert "missing: tool_executing(tool='sql') was required and never came" in second
    assert len(re.findall(r"\d s +\w{8} +2 +agent_thinking", second)) == 1, f"drawn once:\n{second}"
    assert "user_device.py" not in second, "the traceback ends where the test's own code does"


@pytest.mark.parametrize(
    ("tests", "ini", "said"),
    [
        ("def test_it(runcast_user): ...", AUTO, "make the test `async def`"),
        (
            "import pytest_asyncio\n@pytest_asyncio.fixture(loop_scope='session')\n"
            "async def one(runcast_device): return await runcast_device()\n"
            "async def test_it(one): ...",
            AUTO,
            "give both the same loop scope",
        ),
    ],
)
def test_what_can_not_work_is_said(tmp_path: Path, tests: str, ini: str, said: str) -> None:
    ran = run_pytest(tmp_path, tests, ini)
    assert said in ran.stdout, ran.stdout


def test_who_asks_for_no_fixture_pays_nothing(tmp_path: Path) -> None:
    ran = run_pytest(
        tmp_path,
        "import sys\ndef test_it():\n"
        "    assert not [name for name in ('aiohttp', 'grpc', 'nats', 'msgspec', 'google.protobuf') if name in sys.modules]",
        options="-p no:anyio",
    )
    assert "1 passed" in ran.stdout, ran.stdout
