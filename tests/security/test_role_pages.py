"""docs/agents.md and docs/operators.md as they are written there: their commands, their settings, their code, against real processes.

Of a command only addresses are changed, as a reader would. Commands of `runcast` run in the test's own process, services in theirs, by a
shell.
"""

import asyncio
import json
import re
import shlex
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import Result
from typer.testing import CliRunner

from runcast.bus.identity.authfile import read_authfile
from runcast.cli.main import app
from runcast.testkit import Cluster, Device, Process
from runcast.wire.codes import CODES
from tests.certificates import Authority
from tests.delivery.test_cli import runcast

pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("office")]
DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text() for name in ("agents", "operators")}


def blocks(page: str, language: str) -> list[str]:
    """The examples of a page, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", PAGES[page], re.DOTALL | re.MULTILINE)
    return ["".join(line.removeprefix(indent) for line in text.splitlines(keepends=True)) for indent, text in found]


def commands(page: str) -> list[list[str]]:
    """What a page has one type that begins with `runcast`, in its order."""
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("runcast ")]


class Scene(NamedTuple):
    """Where the pages are followed: files as they name them, and NATS."""

    directory: Path
    cluster: Cluster
    home: Any

    def key(self, line: list[str]) -> str:
        """Make a key as the page does, with its entry in the auth file; returns the key."""
        made = run(line).stdout
        entry, text = re.fullmatch(r"(.*)\n\n# For the [a-z]+ alone; it is kept nowhere:\n# (rk_\S+)\n", made, re.DOTALL).groups()  # type: ignore[union-attr]
        with (self.directory / "auth.toml").open("a") as file:
            file.write(f"{entry}\n")
        return str(text)

    def service(self, page: str, role: str) -> Process:
        """Start what the page starts, on any port."""
        (text,) = (block for block in blocks(page, "bash") if f"runcast.{role}" in block)
        text = text.replace("nats://127.0.0.1:4222", self.cluster.nats_url)
        text = re.sub(r"_BIND=127.0.0.1:\d+", "_BIND=127.0.0.1:0", text)
        environ = {"PATH": f"{sysconfig.get_path('scripts')}:/usr/bin:/bin", "RUNCAST_BIND": "127.0.0.1:0", "RUNCAST_ID": f"page-{role}"}
        script = f"cd {shlex.quote(str(self.directory))} && {text}"
        process = Process(role, ["/bin/bash", "-c", script], directory=self.directory, ready=rf"^ready {role} ", environ=environ)
        self.home.run(process.start)
        return process


def address_of(process: Process) -> str:
    return re.search(r"ready \w+ (127\.0\.0\.1:\d+)", process.log_path.read_text())[1]  # type: ignore[index]


def run(line: list[str], **environ: str) -> Result:
    """A command line that has to succeed."""
    done = CliRunner().invoke(app, line, env={"NO_COLOR": "1", **environ})
    assert done.exit_code == 0, f"runcast {shlex.join(line)}: {done.output}"
    return done


@pytest.fixture(scope="module")
def scene(runcast_cluster: Cluster, _runcast_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    directory = tmp_path_factory.mktemp("pages")
    authority = Authority(directory)
    authority.path.rename(directory / "ca.crt")
    for role in ("router", "admin"):
        authority.sign(role)
    return Scene(directory, runcast_cluster, _runcast_home)


# --- agents ---


async def test_an_agent_is_let_in_as_the_page_says(scene: Scene) -> None:
    making, examining = commands("agents")
    key = scene.key(making)
    router = scene.service("agents", "router")
    try:
        agent = scene.directory / "agent.py"
        agent.write_text(blocks("agents", "python")[0].replace("127.0.0.1:7400", address_of(router)))
        async with Device(scene.cluster.ws_url(0), scene.cluster.token("alice", "acme")) as device:
            assert await started(scene, agent, key) == (0, "")
            assert (await device.wait_kind("agent_response")).agent_response.text == "let in"
        status, said = await started(scene, agent, key[:-1])
        assert status == 1
        assert "unauthenticated" in said
        agent.write_text(agent.read_text().replace('tenant="acme"', 'tenant="globex"'))
        status, said = await started(scene, agent, key)
        assert status == 1
        assert "permission_denied" in said
        there = {
            "nats://127.0.0.1:4222": scene.cluster.nats_url,
            "127.0.0.1:7400": address_of(router),
            "ca.crt": str(scene.directory / "ca.crt"),
        }
        line = [changed(word, there) for word in examining]
        done = await asyncio.to_thread(CliRunner().invoke, app, [*line, "--json"], env={"NO_COLOR": "1"})
        found = {finding["id"]: finding["severity"] for finding in json.loads(done.stdout)["findings"]}
        assert (found["router_open"], found["router_admin"]) == ("ok", "ok")
    finally:
        scene.home.run(router.stop)


def changed(word: str, values: dict[str, str]) -> str:
    for old, new in values.items():
        word = word.replace(old, new)
    return word


async def started(scene: Scene, agent: Path, key: str) -> tuple[int | None, str]:
    """Run the page's agent; its exit status and last words."""
    environ = {"RUNCAST_TOKEN": key, "PATH": "/usr/bin:/bin"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(agent), env=environ, cwd=scene.directory, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    return process.returncode, said.decode()


def test_the_pages_other_ways_are_auth_files(tmp_path: Path) -> None:
    by_token, by_certificate = blocks("agents", "toml")
    for text in (by_token, by_certificate):
        (tmp_path / "auth.toml").write_text(text)
        file = read_authfile(tmp_path / "auth.toml")
        assert list(file.agents.names) == ["analyst"]
        assert file.agents.names["analyst"].tenants == ("acme",)
    assert file.agents.by_certificate(["spiffe://example.com/analyst"]) is not None


# --- operators ---


@pytest.fixture(scope="module")
def admin(scene: Scene) -> Iterator[dict[str, str]]:
    """The page's admin process; what is to be replaced in its commands."""
    making = [line for line in commands("operators") if line[0] == "key"]
    keys = {line[1]: scene.key(line) for line in making}
    for name, text in keys.items():
        (scene.directory / f"{name}.key").write_text(f"{text}\n")
    process = scene.service("operators", "admin")
    ca = str(scene.directory / "ca.crt")
    yield {
        "nats://127.0.0.1:4222": scene.cluster.nats_url,
        "127.0.0.1:7402": address_of(process),
        "ca.crt": ca,
        "alice.jsonl": str(scene.directory / "alice.jsonl"),
    }
    scene.home.run(process.stop)


async def test_operators_do_what_the_page_says(scene: Scene, admin: dict[str, str]) -> None:
    (exported,) = (line.split()[1:] for line in "".join(blocks("operators", "bash")).splitlines() if line.startswith("export "))
    environ = dict(changed(word, admin).split("=", 1) for word in exported)
    environ["RUNCAST_ADMIN_KEY_FILE"] = str(scene.directory / environ["RUNCAST_ADMIN_KEY_FILE"])
    cluster, told = scene.cluster, {}
    async with Device(cluster.ws_url(0), cluster.token("alice", "acme"), device="tab 1") as device:
        await known(scene, admin, environ)
        try:
            for line in (line for line in commands("operators") if line[0] == "admin" or exports(line)):
                ours = [changed(word, admin) for word in line]
                done = await asyncio.to_thread(run, ours, **environ)
                told[" ".join(line[1:3])] = done.output
        finally:
            for entry in ("user.acme.alice", "token.k7f3", "agent.analyst"):
                await asyncio.to_thread(CliRunner().invoke, app, [*lifting(admin), entry], env=environ)
        assert await device.wait_closed() == CODES["revoked"].close
    assert "tab 1" in told["who alice"]
    assert "is kept out" in told["revoke --user"]
    assert {entry for entry in ("user.acme.alice", "token.k7f3", "agent.analyst") if entry in told["revocations --tls-ca"]} != set()
    assert "agent.analyst is lifted" in told["lift agent.analyst"]
    assert "nothing of acme/alice is left" in told["erase --user"]
    assert "written: " in told["--user alice"]
    (played,) = (line for line in commands("operators") if line[:2] == ["replay", "alice.jsonl"])
    done = await runcast(*(changed(word, admin) for word in played))  # it wants a main thread
    assert (done.status, "replay of acme/alice" in done.err) == (0, True)
    for action in ("Revoke", "Lift", "Disconnect", "ReadStream", "Erase"):
        assert action in told["audit -n"]
    async with Device(cluster.ws_url(0), cluster.token("alice", "acme"), device="tab 1"):
        pass


def exports(line: list[str]) -> bool:
    """Whether a command is a replay into a file."""
    return line[0] == "replay" and line[-1].endswith("ca.crt") and not any("://" in word for word in line)


def lifting(admin: dict[str, str]) -> list[str]:
    return ["admin", "lift", "--tls-ca", admin["ca.crt"]]


async def known(scene: Scene, admin: dict[str, str], environ: dict[str, str]) -> None:
    """Wait until the admin has heard of all routers and edges."""
    wanted = [node.name for node in (*scene.cluster.routers, *scene.cluster.edges)]
    async with asyncio.timeout(20):
        while not set(wanted) <= {each["id"] for each in json.loads(await status(admin, environ))["processes"]}:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # each tells every two seconds


async def status(admin: dict[str, str], environ: dict[str, str]) -> str:
    return (await asyncio.to_thread(run, ["admin", "status", "--json", "--tls-ca", admin["ca.crt"]], **environ)).stdout


async def test_who_looks_on_may_not_act(scene: Scene, admin: dict[str, str]) -> None:
    rows = re.findall(r"^\| `(view|operate)` \| (.*) \|$", PAGES["operators"], re.MULTILINE)
    roles = {role: re.findall(r"`(\w+)`", listed) for role, listed in rows}
    arguments = {"who": ["alice"], "lift": ["nobody"], "erase": ["--user", "nobody", "--yes"]}
    arguments |= {name: ["--user", "nobody"] for name in ("revoke", "disconnect")}
    shown = CliRunner().invoke(app, ["admin", "--help"], env={"NO_COLOR": "1"}).output
    assert set(re.findall(r"^│ (\w+) ", shown.partition("Commands")[2], re.MULTILINE)) == {*roles["view"], *roles["operate"]}
    environ = {"RUNCAST_ADMIN_KEY_FILE": str(scene.directory / "auditor.key"), "NO_COLOR": "1"}
    for role, names in roles.items():
        for name in names:
            line = ["admin", name, *arguments.get(name, []), "--url", f"https://{admin['127.0.0.1:7402']}", "--tls-ca", admin["ca.crt"]]
            done = await asyncio.to_thread(CliRunner().invoke, app, line, env=environ)
            assert (done.exit_code, "permission_denied" in done.output) == ((0, False) if role == "view" else (1, True)), (
                name,
                done.output,
            )
