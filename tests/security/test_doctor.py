"""`runcast doctor --security` of real deployments: one in development mode, and one that is closed; and the command line over TLS."""

import asyncio
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import Result
from typer.testing import CliRunner

from runcast.bus.identity.apikeys import make_key
from runcast.cli.entry import TlsFiles
from runcast.cli.main import app
from runcast.cli.security.examine import Places
from runcast.cli.security.examine import examine as examine_security
from runcast.testkit import Cluster, Process
from runcast.testkit.node import find_nats_server
from runcast.testkit.ports import HOST, pick_port
from tests.certificates import Authority
from tests.delivery.test_cli import RUN, runcast
from tests.unit.bus.sealing.keys import tenant, write

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("doctor")]

ROOT = Path(__file__).parents[2]
NOWHERE = "127.0.0.1:9"
SECRET = "not-for-production-" * 3
PASSWORDS = {f"RUNCAST_{role}_PASSWORD": f"{role.lower()}-pass-word" for role in ("ROUTER", "EDGE", "ADMIN")}
KEY = make_key("agent1", os.urandom(32))
OPERATOR = make_key("admin1", os.urandom(32))
AUTH = f"""
[[issuers]]
name = "login"
issuer = "https://login.test/"
audience = ["runcast"]
algorithms = ["HS256"]
secret = "{SECRET}"
tenant = "default"
lifetime_max_s = 3600
[[agents]]
name = "shell"
keys = ["{KEY.kept}"]
tenants = ["default"]
agents = ["shell"]
groups = ["support"]
[[admins]]
name = "ops"
keys = ["{OPERATOR.kept}"]
"""


class Deployment:
    """Routers, an edge and an admin, each with its own rights at NATS; TLS on their ports."""

    def __init__(self, authority: Authority, port: int, clusters: dict[str, Cluster], auth_file: Path) -> None:
        self.ca = str(authority.path)
        self.auth_file = auth_file
        self.router = f"https://{clusters['router'].routers[0].address}"
        self.edge = f"https://{clusters['edge'].edges[0].address}"
        self.admin = f"https://{clusters['admin'].admins[0].address}"
        self.nats = {role: nats_url(role, port) for role in clusters}
        self.environ = {
            "RUNCAST_AUTH": "token",
            "RUNCAST_AUTH_FILE": str(auth_file),
            "RUNCAST_TLS_CERT": str(auth_file.parent / "node.crt"),
            "RUNCAST_TLS_KEY": str(auth_file.parent / "node.key"),
            "RUNCAST_KEYS_FILE": str(auth_file.parent / "keys.toml"),
            "RUNCAST_POLICY_FILE": str(auth_file.parent / "policy.toml"),
            "RUNCAST_NATS_URL": self.nats["router"],
        }


def nats_url(role: str, port: int) -> str:
    return f"nats://{role}:{PASSWORDS[f'RUNCAST_{role.upper()}_PASSWORD']}@{HOST}:{port}"


@pytest.fixture(scope="module")
def deployment(_runcast_home: Any, tmp_path_factory: pytest.TempPathFactory, start_shared: Callable[..., Cluster]) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("deployment")
    authority = Authority(directory)
    tls = authority.cluster(nats=False)
    tls.key.chmod(0o600)
    auth_file = directory / "auth.toml"
    auth_file.write_text(AUTH)
    auth_file.chmod(0o600)
    write(directory, tenant("*", "k1", more="plain = false")).chmod(0o600)
    (directory / "policy.toml").write_text((ROOT / "deploy/policy.example.toml").read_text())
    port = pick_port(random.Random())
    (directory / "permissions.conf").write_text((ROOT / "deploy/nats/permissions.conf").read_text())
    config = directory / "nats.conf"
    config.write_text(f'listen: "{HOST}:{port}"\njetstream {{ store_dir: "{directory / "data"}" }}\ninclude "permissions.conf"\n')
    args = [find_nats_server(), "-c", str(config)]
    server = Process("nats", args, directory=directory, ready="Server is ready", ready_on="stderr", environ=PASSWORDS)
    _runcast_home.run(server.start)
    clusters = {}
    for role, mode in (("router", "token"), ("edge", "jwt"), ("admin", "token")):
        counts = {"routers": 0, "edges": 0, "admins": 0} | {f"{role}s": 1}
        environ = {"RUNCAST_AUTH": mode, "RUNCAST_AUTH_FILE": str(auth_file)}
        clusters[role] = start_shared(**counts, nats_url=nats_url(role, port), environ=environ, tls=tls)
    yield Deployment(authority, port, clusters, auth_file)
    for cluster in clusters.values():
        _runcast_home.run(cluster.stop)
    _runcast_home.run(server.stop)


async def severities(
    environ: dict[str, str], *, routers: str = NOWHERE, edges: str = NOWHERE, admins: str = NOWHERE, role: str = "", ca: str = ""
) -> dict[str, set[str]]:
    """What is found, without a process: ids by severity; whatever is open has an advice."""
    found: dict[str, set[str]] = {}
    places = Places(environ, [edges], [routers], [admins], role, TlsFiles(ca=Path(ca)) if ca else TlsFiles())
    for finding in await examine_security(places):
        found.setdefault(finding.severity, set()).add(finding.id)
        assert finding.advice or finding.severity == "ok", finding
    return found


async def test_development_mode_is_open_and_said(runcast_cluster: Cluster) -> None:
    router, edge = runcast_cluster.routers[0].address, runcast_cluster.edges[0].url
    found = await severities({"RUNCAST_NATS_URL": runcast_cluster.nats_url}, routers=router, edges=edge)
    assert found["high"] == {"router_open", "edge_dev", "nats_rights", "nats_nobody"}
    assert found["unknown"] == {"settings", "admin"}
    assert {"edge_origins", "router_admin", "line_plain", "nats_old"} <= found["ok"]
    look = ("doctor", "--security", "--nats-url", runcast_cluster.nats_url, "-r", router, "-e", edge, "--admin", NOWHERE)
    shown = await runcast(*look)
    assert shown.status == 1
    *_, counts, status = shown.out.splitlines()
    assert "4 high" in counts
    assert status == "Exit status 1: something is open that is high or worse (--fail-on)."
    assert "This is development mode" in shown.out
    gate = await runcast(*look, "--fail-on", "critical")
    assert (gate.status, "Exit status" in gate.out, "This is development mode" in gate.out) == (0, False, True)
    assert "development mode: everybody is believed" in shown.out


async def test_a_closed_deployment_is_found_closed(deployment: Deployment, tmp_path: Path) -> None:
    env_file = tmp_path / "router.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in deployment.environ.items()))
    where = ("--env-file", str(env_file), "--tls-ca", deployment.ca, "-r", deployment.router, "-e", deployment.edge)
    where += ("--admin", deployment.admin)
    done = await runcast("doctor", "--security", *where, "--json", "--fail-on", "medium")
    found: dict[str, set[str]] = {}
    said = json.loads(done.out)
    assert not said["development"]
    for finding in said["findings"]:
        found.setdefault(finding["severity"], set()).add(finding["id"])
    closed = {"nats_rights", "nats_strangers", "router_open", "router_admin", "edge_dev", "edge_origins", "admin_open", "admin_reach"}
    assert closed <= found["ok"], done.out
    assert {"port_plain", "nats_plain", "token_life", "scopes", "file_mode", "keys_plain"} <= found["ok"]
    assert not found.keys() & {"critical", "high", "unknown"}, done.out
    # Certificates of an hour; one secret for all; and the tests may run as root.
    assert found["low"] == {"certificate", "shared_secret"}
    assert found.get("medium", set()) <= {"root"}
    assert done.status == (1 if "medium" in found else 0)
    for secret in (*PASSWORDS.values(), SECRET, KEY.kept[-40:], OPERATOR.kept[-40:]):
        assert secret not in done.out
    deployment.auth_file.chmod(0o644)
    there = {"routers": deployment.router, "edges": deployment.edge, "admins": deployment.admin, "ca": deployment.ca}
    assert (await severities(deployment.environ, **there))["high"] == {"file_mode"}
    deployment.auth_file.chmod(0o600)


async def test_every_role_has_its_rights_and_no_more(deployment: Deployment) -> None:
    for role in ("edge", "admin"):
        environ = {"RUNCAST_NATS_URL": deployment.nats[role]}
        assert "nats_rights" in (await severities(environ))["ok"]
        # Another's rights are too many.
        assert "nats_rights" in (await severities(environ, role="router"))["high"]


def test_the_command_line_goes_over_tls_with_a_token(deployment: Deployment, user: str) -> None:
    """Mostly in this process, whose main thread a command line takes; so the test is no coroutine."""
    claims: dict[str, Any] = {"iss": "https://login.test/", "aud": "runcast", "sub": user, "exp": int(time.time()) + 600}
    token = jwt.encode(claims | {"iat": int(time.time())}, SECRET, "HS256")
    ca = ("--tls-ca", deployment.ca)
    publish = ("publish", "-r", deployment.router, "-u", user, *ca)  # which wants a real stdin, so a process
    published = asyncio.run(runcast(*publish, stdin=RUN, environ={"RUNCAST_TOKEN": KEY.text}))
    assert (published.status, published.err) == (0, "4 events of 1 runs stored\n")
    edge = deployment.edge.replace("https", "wss")
    tail = ("tail", "-e", edge, "--from", "earliest", "--until-end", "--json")
    tailed = within(*tail, *ca, token=token)
    kinds = [json.loads(line)["kind"] for line in tailed.stdout.splitlines()]
    assert kinds == ["agent_started", "tool_executing", "tool_completed", "agent_completed"]
    where = ("--nats-url", deployment.nats["router"], "-r", deployment.router, "-e", deployment.edge)
    well = within("doctor", *where, *ca, "--json")
    checks = {check["what"]: check["state"] for check in json.loads(well.stdout)["checks"]}
    assert (well.exit_code, checks["router"], checks["edge"], checks["NATS"]) == (0, "ok", "ok", "note"), well.output
    assert "pass-word" not in well.output
    # Without the authority nobody is believed; without the token nobody gets in; and neither is said aloud.
    stranger = within(*tail, token=token)
    assert stranger.exit_code == 1
    assert re.search("certificate", stranger.stderr, re.IGNORECASE)
    nobody = asyncio.run(runcast(*publish, stdin=RUN))
    assert nobody.status == 1
    assert "unauthenticated" in nobody.err
    stolen = within(*tail, *ca, "--token", token[:-2])  # a close code that says "do not come back", over TLS, too
    assert stolen.exit_code == 1
    assert "unauthenticated" in stolen.stderr
    assert token not in tailed.stderr + stranger.stderr + tailed.stdout


def within(*args: str, token: str = "") -> Result:
    """A command line, in this process."""
    done = CliRunner().invoke(app, list(args), env={"NO_COLOR": "1", "RUNCAST_TOKEN": token or None})
    assert "Traceback" not in done.stderr
    return done
