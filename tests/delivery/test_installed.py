"""`pip install runcast`, as an agent service has it: the built wheel, grpcio and protobuf in an environment with nothing else."""

import importlib.metadata
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from runcast.testkit import Cluster
from runcast.testkit.plugin import DeviceFactory

ROOT = Path(__file__).parents[2]
AGENT = """
import asyncio, importlib.metadata, sys
from runcast.client import Runcast
import runcast.client.sync

async def main(routers, user):
    async with Runcast(routers, agent="installed", spill=sys.argv[3]) as rc, rc.run(user=user) as run:
        async with run.tool("count", args={"n": 1}) as tool:
            tool.result = 1
        await run.complete("done")

asyncio.run(main(*sys.argv[1:3]))
with runcast.client.sync.Runcast(sys.argv[1], agent="installed") as rc, rc.run(user=sys.argv[2], run_id="sync") as run:
    run.respond("hello")
print(sorted({dist.metadata["Name"] for dist in importlib.metadata.distributions()}))
print(sorted(name for name in ("nats", "aiohttp", "msgspec", "opentelemetry", "structlog", "typer") if name in sys.modules))
"""


def needed_by(requirement: Requirement) -> set[str]:
    """What installing it brings, by the metadata of what is installed here: pip's answer, without a network."""
    names = {requirement.name}
    for text in importlib.metadata.requires(requirement.name) or []:
        further = Requirement(text)
        if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in {"", *requirement.extras}):
            names |= needed_by(further)
    return names


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what it needs."""
    directory = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory / "dist"], cwd=ROOT, check=True)
    [wheel] = (directory / "dist").iterdir()
    venv.create(directory / "venv", symlinks=True)
    [packages] = (directory / "venv" / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(packages)
    needs = [Requirement(text) for text in importlib.metadata.Distribution.at(next(packages.glob("*.dist-info"))).requires or []]
    for name in set().union(*(needed_by(need) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""}))):
        for file in importlib.metadata.files(name) or []:
            if ".." not in file.parts:
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                (packages / file).symlink_to(file.locate())
    return directory / "venv" / "bin" / "python"


async def test_an_agent_runs_with_grpcio_and_protobuf_alone(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, python: Path, tmp_path: Path
) -> None:
    watcher = await device()
    agent = [python, "-I", "-c", AGENT, ",".join(runcast_cluster.router_addresses()), user, tmp_path / "spill.sqlite"]
    told = subprocess.run(agent, capture_output=True, text=True, check=False)  # noqa: ASYNC221 # the cluster is in other processes
    assert told.returncode == 0, told.stderr
    there, loaded = told.stdout.splitlines()
    assert there in ("['grpcio', 'protobuf', 'runcast', 'typing_extensions']", "['grpcio', 'protobuf', 'runcast']"), (
        "grpcio needs the former"
    )
    assert loaded == "[]"
    await watcher.wait_kind("agent_completed", run_id="sync")
    assert [event.WhichOneof("kind") for event in watcher.events if event.run_id != "sync"] == [
        "agent_started",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]


def test_importing_the_client_is_quick(python: Path) -> None:
    code = "import time; began = time.process_time(); import runcast.client, runcast.client.sync; print(time.process_time() - began)"
    times_s = [float(subprocess.check_output([python, "-I", "-c", code], text=True)) for _ in range(5)]
    assert min(times_s) < 0.3, "seconds of CPU, the best of five: a busy machine makes them slow, never quick"
