"""Agents at a real router: who is not known does not get in, what is not granted is not done, and changes need no restart."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import nats
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runcast.client import RefusedError, Runcast, RunRefusedError, Tls
from runcast.testkit import Cluster
from runcast.wire import subjects
from tests.security.office import Connected, Mutual, key, write

pytestmark = [pytest.mark.timeout(90), pytest.mark.xdist_group("office")]
GOOD, GONE, STAYS = key("good"), key("gone"), key("stays")
PRIVATE = Ed25519PrivateKey.generate()
ANALYST = ("agents", {"name": "analyst", "tenants": ["acme"], "agents": ["analyst"], "groups": ["support"], "keys": [GOOD.kept]})
MACHINE = ("agents", {"name": "machine", "tenants": ["*"], "issuer": "machines"})
MACHINES = (
    "issuers",
    {
        "name": "machines",
        "peers": "agents",
        "issuer": "https://machines.test/",
        "audience": ["runcast"],
        "algorithms": ["EdDSA"],
        "public_key_file": "machines.pem",
        "leeway_s": 0,
    },
)
USUAL = (
    ANALYST,
    MACHINE,
    MACHINES,
    ("agents", {"name": "first", "tenants": ["acme"], "keys": [GONE.kept]}),
    ("agents", {"name": "other", "tenants": ["acme"], "keys": [STAYS.kept]}),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the auth file is."""
    path = tmp_path_factory.mktemp("agents")
    (path / "machines.pem").write_bytes(PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


@pytest.fixture(scope="module")
def cluster(start_shared: Callable[..., Cluster], directory: Path) -> Cluster:
    """A router that knows agents by keys and tokens."""
    return start_shared(routers=1, edges=0, environ={"RUNCAST_AUTH": "token", "RUNCAST_AUTH_FILE": str(write(directory, *USUAL))})


def said(cluster: Cluster, event: str) -> list[str]:
    return [line for line in cluster.routers[0].log_path.read_text().splitlines() if event in line]


async def until_said(cluster: Cluster, event: str, count: int = 1) -> None:
    async with asyncio.timeout(15):
        while len(said(cluster, event)) < count:  # noqa: ASYNC110 # the log of another process
            await asyncio.sleep(0.05)


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


async def test_who_is_not_let_in_is_told_once(cluster: Cluster, user: str, caplog: pytest.LogCaptureFixture) -> None:
    async def work(*, listens: bool) -> None:
        async with Runcast(cluster.router_addresses()[0], agent="a", token=key("unknown").text) as agent:
            if listens:
                await anext(agent.inbox("support"))
            async with agent.run(user=user) as run, run.child(), run.tool("search"):
                await run.flush()

    for listens in (True, False):
        with pytest.raises(RefusedError, match="get a valid one") as caught:
            await work(listens=listens)
        assert str(caught.value) not in getattr(caught.value, "__notes__", [])
    assert "can't be" not in caplog.text, "each run says so"


async def test_keys_and_scopes(cluster: Cluster, user: str) -> None:
    before = len(said(cluster, "refused"))
    address = cluster.router_addresses()[0]
    for wrong in (None, key("good").text, key("else").text, "eyJ.e30.", "rk_good_", GOOD.kept):
        options = {} if wrong is None else {"token": wrong}
        assert await is_refused(cluster, **options) == "unauthenticated"
        assert await is_refused(cluster, **options) == "unauthenticated"
    refused = said(cluster, "refused")
    assert len(refused) - before <= 3  # no token; no such key; no JWT of ours: once each, however often they came
    assert len({line.partition("reason=")[2] for line in refused}) >= 3
    assert await is_refused(cluster, token=GOOD.text) == "permission_denied"  # its name is "a"
    async with Runcast(address, agent="analyst", tenant="acme", token=lambda: GOOD.text) as agent:
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
    assert GOOD.text[-40:] not in log
    assert GOOD.kept[-40:] not in log


async def test_a_changed_file_counts_at_once(cluster: Cluster, directory: Path, user: str) -> None:
    try:
        await a_changed_file_counts(cluster, directory, user)
    finally:
        count = len(said(cluster, "auth_file_read"))
        write(directory, *USUAL)
        await until_said(cluster, "auth_file_read", count + 1)


async def a_changed_file_counts(cluster: Cluster, directory: Path, user: str) -> None:
    address = cluster.router_addresses()[0]
    async with (
        Connected(address, GONE.text, tenant="acme") as lost,
        Runcast(address, agent="a", tenant="acme", token=STAYS.text) as kept,
    ):
        await lost.runcast.ready(5.0)
        await kept.ready(5.0)
        (directory / "auth.toml").write_text("[[agents]]\nname = 1\n")
        await until_said(cluster, "auth_file_refused")
        assert kept.stats().reconnects == lost.runcast.stats().reconnects == 0
        # One is gone, the other one may do something else.
        write(directory, MACHINES, ("agents", {"name": "other", "tenants": ["globex"], "keys": [STAYS.kept]}))
        async with asyncio.timeout(10):
            await lost.ended.wait()
        with pytest.raises(RefusedError) as caught:
            await lost.runcast.ready(5.0)
        assert caught.value.code.name == "unauthenticated"
        with pytest.raises(RunRefusedError, match="permission_denied"):
            async with kept.run(user=user) as run:
                await run.flush()
        async with kept.run(user=user, tenant="globex") as run:
            await run.respond("here")
        assert kept.stats().reconnects == 0


async def test_tokens_are_renewed_before_they_are_over(cluster: Cluster, user: str) -> None:
    made = []

    def token(subject: str = "machine", life_s: int = 12, **changes: Any) -> str:
        made.append(subject)
        claims = {"iss": "https://machines.test/", "aud": "runcast", "sub": subject, "exp": int(time.time()) + life_s, **changes}
        return jwt.encode(claims, PRIVATE, "EdDSA")

    assert await is_refused(cluster, token=token("nobody")) == "unauthenticated"
    assert await is_refused(cluster, token=token(aud="another")) == "unauthenticated"
    assert await is_refused(cluster, token=jwt.encode({"sub": "machine"}, "", "none")) == "unauthenticated"
    made.clear()
    async with Runcast(cluster.router_addresses()[0], agent="a", token=token) as agent, agent.run(user=user) as run:
        async with asyncio.timeout(20):  # by then no two tokens would be over
            while len(made) < 3:
                await run.respond("a word")
                await asyncio.sleep(0.1)
        await run.flush()
        stats = agent.stats()
        assert (stats.failed, stats.denied, stats.stored) == (0, 0, stats.accepted)  # what crossed the farewell was sent again


async def test_certificates_say_who_it_is(mutual: Mutual, user: str) -> None:
    address = mutual.cluster.router_addresses()[0]
    cert, key_ = mutual.analyst
    async with Runcast(address, agent="a", tenant="acme", tls=Tls(ca=mutual.authority.path, cert=cert, key=key_)) as agent:
        async with agent.run(user=user) as run:
            await run.respond("hello")
        with pytest.raises(RunRefusedError, match="permission_denied"):
            async with agent.run(user=user, tenant="globex") as run:
                await run.flush()
    for cert, key_ in (mutual.ops, mutual.stranger):
        assert await is_refused(mutual.cluster, tls=Tls(ca=mutual.authority.path, cert=cert, key=key_)) == "unauthenticated"
