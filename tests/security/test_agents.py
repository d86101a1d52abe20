"""Agents at a real router: who is not known does not get in, what is not granted is not done, and changes need no restart."""

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
import nats
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runcast.bus.identity.apikeys import MadeKey, make_key
from runcast.client import RefusedError, Runcast, RunRefusedError, Tls
from runcast.testkit import Cluster
from runcast.testkit.plugin import ClusterFactory
from runcast.wire import subjects
from tests.certificates import Authority

pytestmark = pytest.mark.timeout(90)


def key(name: str) -> MadeKey:
    return make_key(name, os.urandom(32))


def write(path: Path, *agents: dict[str, Any], issuers: tuple[dict[str, Any], ...] = ()) -> Path:
    tables = [*(("agents", agent) for agent in agents), *(("issuers", issuer) for issuer in issuers)]
    lines = [line for name, table in tables for line in (f"[[{name}]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()))]
    file, new = path / "auth.toml", path / "auth.new"
    new.write_text("\n".join(lines))
    new.replace(file)
    return file


def said(cluster: Cluster, event: str) -> list[str]:
    return [line for line in cluster.routers[0].log_path.read_text().splitlines() if event in line]


async def until_said(cluster: Cluster, event: str, count: int = 1) -> None:
    async with asyncio.timeout(15):
        while len(said(cluster, event)) < count:  # noqa: ASYNC110 # the log of another process
            await asyncio.sleep(0.05)


async def start(factory: ClusterFactory, file: Path, mode: str = "token", **options: Any) -> Cluster:
    return await factory(routers=1, edges=0, environ={"RUNCAST_AUTH": mode, "RUNCAST_AUTH_FILE": str(file)}, **options)


async def refusals_of(cluster: Cluster) -> dict[str, int]:
    """What the router tells in its next statistics."""
    connection = await nats.connect(cluster.nats_url)
    try:
        told = await connection.subscribe(subjects.statistics_subject("router", "router-0"))
        return json.loads((await told.next_msg(10)).data)["refusals"]
    finally:
        await connection.close()


async def is_refused(cluster: Cluster, **options: Any) -> str:
    """The code with which an agent is not let in."""
    with pytest.raises(RefusedError) as caught:
        async with Runcast(cluster.router_addresses()[0], agent="a", **options) as agent:
            await agent.ready(5.0)
    return caught.value.code.name


async def test_keys_and_scopes(tmp_path: Path, runcast_cluster_factory: ClusterFactory, user: str) -> None:
    good = key("good")
    cluster = await start(
        runcast_cluster_factory,
        write(
            tmp_path,
            {"name": "analyst", "tenants": ["acme"], "agents": ["analyst"], "groups": ["support"], "keys": [good.kept]},
        ),
    )
    address = cluster.router_addresses()[0]
    for wrong in (None, key("good").text, key("else").text, "eyJ.e30.", "rk_good_", good.kept):
        options = {} if wrong is None else {"token": wrong}
        assert await is_refused(cluster, **options) == "unauthenticated"
        assert await is_refused(cluster, **options) == "unauthenticated"
    assert len(said(cluster, "refused")) == 3  # no token; no such key; no JWT of ours: once each, however often they came
    assert await is_refused(cluster, token=good.text) == "permission_denied"  # its name is "a"
    async with Runcast(address, agent="analyst", tenant="acme", token=lambda: good.text) as agent:
        async with agent.run(user=user) as run:
            await run.respond("hello")
        assert not await agent.is_online(user)
        for change in ({"tenant": "globex"}, {"agent": "another"}):
            with pytest.raises(RunRefusedError, match="permission_denied"):
                async with agent.run(user=user, **change) as run:
                    await run.flush()
        with pytest.raises(RefusedError, match="not granted"):
            await agent.is_online(user, tenant="globex")
        with pytest.raises(RefusedError, match="not granted"):
            await anext(agent.inbox("sales"))
        inbox = agent.inbox("support")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await anext(inbox)
        async with agent.run(user=user) as run:  # refusals cost the stream nothing
            await run.respond("still here")
        assert agent.stats().reconnects == 0
    refusals = await refusals_of(cluster)
    assert refusals["unauthenticated"] >= 12
    assert refusals["permission_denied"] >= 5
    log = cluster.routers[0].log_path.read_text()
    assert good.text[-40:] not in log
    assert good.kept[-40:] not in log


async def test_a_changed_file_counts_at_once(tmp_path: Path, runcast_cluster_factory: ClusterFactory, user: str) -> None:
    first, second = key("first"), key("second")
    entry = {"name": "analyst", "tenants": ["acme"], "keys": [first.kept]}
    other = {"name": "other", "tenants": ["acme"], "keys": [second.kept]}
    cluster = await start(runcast_cluster_factory, write(tmp_path, entry, other))
    address = cluster.router_addresses()[0]
    async with contextlib.AsyncExitStack() as stack:
        ended = asyncio.Event()
        lost = Runcast(
            address,
            agent="a",
            tenant="acme",
            token=first.text,
            on_state=lambda state: ended.set() if state.state == "closed" else None,
        )
        stack.push(lambda *_: True)  # it was not let in again: leaving says so
        await stack.enter_async_context(lost)
        await lost.ready(5.0)
        kept = await stack.enter_async_context(Runcast(address, agent="a", tenant="acme", token=second.text))
        await kept.ready(5.0)
        (tmp_path / "auth.toml").write_text("[[agents]]\nname = 1\n")
        await until_said(cluster, "auth_file_refused")
        assert kept.stats().reconnects == lost.stats().reconnects == 0
        write(tmp_path, {**other, "tenants": ["globex"]})  # one is gone, the other one may do something else
        await until_said(cluster, "auth_file_read")
        async with asyncio.timeout(10):
            await ended.wait()
        with pytest.raises(RefusedError) as caught:
            await lost.ready(5.0)
        assert caught.value.code.name == "unauthenticated"
        with pytest.raises(RunRefusedError, match="permission_denied"):
            async with kept.run(user=user) as run:
                await run.flush()
        async with kept.run(user=user, tenant="globex") as run:
            await run.respond("here")
        assert kept.stats().reconnects == 0


async def test_tokens_are_renewed_before_they_are_over(tmp_path: Path, runcast_cluster_factory: ClusterFactory, user: str) -> None:
    private = Ed25519PrivateKey.generate()
    (tmp_path / "machines.pem").write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    issuer = {
        "name": "machines",
        "peers": "agents",
        "issuer": "https://machines.test/",
        "audience": ["runcast"],
        "algorithms": ["EdDSA"],
        "public_key_file": "machines.pem",
        "leeway_s": 0,
    }
    entry = {"name": "analyst", "tenants": ["*"], "issuer": "machines"}
    cluster = await start(runcast_cluster_factory, write(tmp_path, entry, issuers=(issuer,)))
    made = []

    def token(subject: str = "analyst", life_s: int = 12, **changes: Any) -> str:
        made.append(subject)
        claims = {"iss": "https://machines.test/", "aud": "runcast", "sub": subject, "exp": int(time.time()) + life_s, **changes}
        return jwt.encode(claims, private, "EdDSA")

    assert await is_refused(cluster, token=token("nobody")) == "unauthenticated"
    assert await is_refused(cluster, token=token(aud="another")) == "unauthenticated"
    assert await is_refused(cluster, token=jwt.encode({"sub": "analyst"}, "", "none")) == "unauthenticated"
    made.clear()
    async with Runcast(cluster.router_addresses()[0], agent="a", token=token) as agent, agent.run(user=user) as run:
        async with asyncio.timeout(30):
            while len(made) < 3:
                await run.respond("a word")
                await asyncio.sleep(0.1)
        await run.flush()
        assert agent.stats().refused == 0


async def test_certificates_say_who_it_is(tmp_path: Path, runcast_cluster_factory: ClusterFactory, user: str) -> None:
    authority = Authority(tmp_path)
    tls = authority.cluster(mutual=True, nats=False)
    entry = {"name": "analyst", "tenants": ["acme"], "certificates": ["spiffe://test/analyst"]}
    cert, key_ = authority.sign("analyst", uris=("spiffe://test/analyst",))
    cluster = await start(runcast_cluster_factory, write(tmp_path, entry), "mtls", tls=tls)
    address = cluster.router_addresses()[0]
    async with Runcast(address, agent="a", tenant="acme", tls=Tls(ca=authority.path, cert=cert, key=key_)) as agent:
        async with agent.run(user=user) as run:
            await run.respond("hello")
        with pytest.raises(RunRefusedError, match="permission_denied"):
            async with agent.run(user=user, tenant="globex") as run:
                await run.flush()
    assert await is_refused(cluster, tls=tls.agent()) == "unauthenticated"
