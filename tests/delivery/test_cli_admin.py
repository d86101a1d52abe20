"""`runcast admin` against a real admin process: what it tells is so, and what it is refused is said."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from runcast.cli.main import app
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import ClusterFactory
from runcast.wire.codes import CODES
from tests.certificates import Authority
from tests.security.office import OPERATOR, VIEWER, key, people, write

pytestmark = pytest.mark.timeout(90)

PROCESSES = {"router-0", "edge-0", "admin-0"}


async def admin(cluster: Cluster, *args: str, **environ: str) -> Result:
    options = ["--url", cluster.admins[0].address]
    return await asyncio.to_thread(CliRunner().invoke, app, ["admin", *args, *options], env={"NO_COLOR": "1", **environ})


async def data(cluster: Cluster, *args: str, **environ: str) -> Any:
    done = await admin(cluster, *args, "--json", **environ)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def test_what_operators_see(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1, admins=1)
    async with (
        Device(cluster.edges[0].url, cluster.token(user), device="tab 1"),
        cluster.connect() as agent,
        agent.run(user=user) as run,
    ):
        await run.respond("hello")
        async with asyncio.timeout(15):
            while {each["id"] for each in (await data(cluster, "status"))["processes"]} < PROCESSES:  # noqa: ASYNC110 # of other processes
                await asyncio.sleep(0.1)  # each tells every two seconds
        status = await data(cluster, "status")
        assert status["shards"] == 4
        assert {each["name"]: each["state"] for each in status["dependencies"]}.items() >= {"nats": "ok", "storage": "ok"}.items()
        told = {each["id"]: each["statistics"] for each in status["processes"]}
        assert told["edge-0"]["devices"] == 1
        text = (await admin(cluster, "status")).stdout
        for word in ("admin-0, version", "router-0", "1 users, 1 devices", "RUNCAST_EV_0", "RUNCAST_AUDIT"):
            assert word in text
        assert await data(cluster, "who", user) == {"edges": [{"edge": "edge-0", "devices": ["tab 1"]}]}
        assert "tab 1" in (await admin(cluster, "who", user)).stdout
        assert "no device of other/alice is connected" in (await admin(cluster, "who", "alice", "--tenant", "other")).stdout
        refused = await admin(cluster, "who", "")
        assert (refused.exit_code, "id_invalid" in refused.output) == (1, True)


async def test_what_operators_do_is_told_and_written_down(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1, admins=1)
    assert "the audit log is empty" in (await admin(cluster, "audit")).stdout
    async with cluster.connect() as agent, agent.run(user=user) as run:
        await run.respond("a secret")
    erased = await data(cluster, "erase", "--user", user, "--yes", "--reason", "asked for it")
    assert erased["removed"]["stream"] >= 1
    text = (await admin(cluster, "erase", "--user", user, "--yes")).stdout
    assert f"nothing of default/{user} is left" in text
    entries = [json.loads(line) for line in (await admin(cluster, "audit", "--json")).stdout.splitlines()]
    assert [(each["action"], each["by"], each["reason"], each["outcome"]) for each in entries] == [
        ("Erase", "dev", "asked for it", "ok"),
        ("Erase", "dev", "", "ok"),
    ]
    text = (await admin(cluster, "audit", "-n", "1")).stdout
    assert len(text.splitlines()) == 2
    assert f"user default/{user}" in text
    assert "a secret" not in text


async def test_who_is_kept_out(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1, admins=1)
    assert "nobody is kept out" in (await admin(cluster, "revocations")).stdout
    async with asyncio.timeout(15):
        while {each["id"] for each in (await data(cluster, "status"))["processes"]} < PROCESSES:  # noqa: ASYNC110 # of other processes
            await asyncio.sleep(0.1)
    async with Device(cluster.edges[0].url, cluster.token(user), device="tab") as device:
        done = await admin(cluster, "disconnect", "--user", user, "--device", "another")
        assert f"0 connections of device another of default/{user} were closed" in done.stdout
        assert (await data(cluster, "disconnect", "--user", user, "--reason", "a test"))["connections"] == 1
        assert await device.wait_closed() == CODES["disconnected"].close
        await device.reconnect()
        revoked = await data(cluster, "revoke", "--user", user, "--for", "1h", "--reason", "a test")
        assert (revoked["connections"], revoked["revocation"]["by"], revoked["revocation"]["reason"]) == (1, "dev", "a test")
        assert await device.wait_closed() == CODES["revoked"].close
        assert revoked["revocation"]["ends_at_ms"] - revoked["revocation"]["at_ms"] == 3_600_000
    name = revoked["revocation"]["id"]
    assert [each["id"] for each in (await data(cluster, "revocations"))["revocations"]] == [name]
    text = (await admin(cluster, "revocations")).stdout
    assert f"user default/{user}" in text
    assert f"{name} is lifted" in (await admin(cluster, "lift", name)).stdout
    gone = await admin(cluster, "lift", name)
    assert (gone.exit_code, "not_found" in gone.output) == (1, True)
    text = (await admin(cluster, "revoke", "--agent", "analyst")).stdout
    assert "agent analyst is kept out" in text
    assert "runcast admin lift" in text
    outcomes = [json.loads(line) for line in (await admin(cluster, "audit", "--json")).stdout.splitlines()]
    assert [each["action"] for each in outcomes] == ["Disconnect", "Disconnect", "Revoke", "Lift", "Lift", "Revoke"]
    assert {each["outcome"] for each in outcomes} == {"ok"}


async def test_keys_and_roles(tmp_path: Path, runcast_cluster_factory: ClusterFactory) -> None:
    environ = {"RUNCAST_AUTH": "token", "RUNCAST_AUTH_FILE": str(people(tmp_path))}
    cluster = await runcast_cluster_factory(routers=1, edges=0, admins=1, environ=environ)
    (tmp_path / "key").write_text(OPERATOR.text + "\n")
    assert (await data(cluster, "status", RUNCAST_ADMIN_KEY=VIEWER.text))["id"] == "admin-0"
    assert (await data(cluster, "status", "--key-file", str(tmp_path / "key")))["id"] == "admin-0"
    for wrong in ("", key("other").text):
        done = await admin(cluster, "status", RUNCAST_ADMIN_KEY=wrong)
        assert done.exit_code == 1
        assert "unauthenticated: the key is not accepted; give one of the auth file's [[admins]]" in " ".join(done.output.split())
        assert not wrong or wrong not in done.output
    done = await admin(cluster, "erase", "--user", "alice", "--yes", RUNCAST_ADMIN_KEY=VIEWER.text)
    assert (done.exit_code, "permission_denied: this needs the role 'operate'" in " ".join(done.output.split())) == (1, True)
    listed = await admin(cluster, "audit", "-n", "1", "--json", RUNCAST_ADMIN_KEY=VIEWER.text)
    entry = json.loads(listed.stdout)
    assert (entry["by"], entry["action"], entry["target"]) == ("auditor", "Erase", "user default/alice")
    assert entry["outcome"] == "permission_denied"


async def test_over_tls(tmp_path: Path, runcast_cluster_factory: ClusterFactory) -> None:
    authority = Authority(tmp_path)
    file = write(tmp_path, ("admins", {"name": "ops", "certificates": ["spiffe://test/ops"]}))
    cert, key_ = authority.sign("ops", uris=("spiffe://test/ops",))
    environ = {"RUNCAST_AUTH": "mtls", "RUNCAST_AUTH_FILE": str(file)}
    cluster = await runcast_cluster_factory(routers=1, edges=0, admins=1, tls=authority.cluster(mutual=True, nats=False), environ=environ)
    given = ("--tls-ca", str(authority.path), "--tls-cert", str(cert), "--tls-key", str(key_))
    assert (await data(cluster, "status", *given))["id"] == "admin-0"
    done = await admin(cluster, "status", "--tls-ca", str(authority.path))
    assert (done.exit_code, "unreachable" in done.output) == (1, True)
    done = await admin(cluster, "status", *given[2:])
    assert (done.exit_code, "give that one by --tls-ca" in " ".join(done.output.split())) == (1, True), done.output
