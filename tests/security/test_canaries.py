"""Secrets and payloads are planted in a whole system, and looked for wherever operators look: they must be nowhere there.

The full flow is driven, errors and refusals included: real processes, real keys and tokens, NATS with the shipped permissions. Then every
log (at debug level, as text and as JSON), the statistics, the health pages, the alerts, what admins are told and the processes' arguments
are searched, also for base64 of it.
"""

import asyncio
import base64
import contextlib
import json
import logging
import random
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import aiohttp
import grpc.aio
import nats
import psutil
import pytest

from runcast.bus.identity.apikeys import make_key
from runcast.client import RefusedError, Runcast, RuncastError
from runcast.testkit import Cluster, Process
from runcast.testkit.device import Device
from runcast.testkit.node import find_nats_server
from runcast.testkit.plugin import ClusterFactory
from runcast.testkit.ports import HOST, pick_port
from runcast.v1.admin_pb2 import EraseRequest, GetPresenceRequest, GetStatusRequest, ListAuditRequest
from runcast.v1.admin_pb2_grpc import AdminServiceStub
from runcast.v1.event_pb2 import User
from runcast.wire.frames import Send
from tests.unit.bus.identity.issuing import sign

pytestmark = pytest.mark.timeout(90)

PERMISSIONS = Path(__file__).parents[2] / "deploy/nats/permissions.conf"
ISSUER = {
    "name": "main",
    "issuer": "https://main.test/",
    "audience": ["runcast"],
    "algorithms": ["HS256"],
    "tenant": "default",
    "leeway_s": 0,
}


class Planted:
    """What must not be found: secrets and payloads, by what they are."""

    def __init__(self) -> None:
        self.canaries: dict[str, str] = {}

    def __call__(self, what: str) -> str:
        """A new canary, or the one of that name."""
        return self.canaries.setdefault(what, secrets.token_hex(16))

    def secret(self, what: str, text: str) -> str:
        """Something that was made elsewhere: its last part is the canary."""
        self.canaries[what] = text[-32:]
        return text

    def found_in(self, texts: dict[str, str]) -> list[str]:
        """What is where."""
        return [f"{what} in {where}" for what, canary in self.canaries.items() for where, text in texts.items() if _is_in(canary, text)]


def _is_in(canary: str, text: str) -> bool:
    """As it is, or within base64, wherever it begins."""
    if canary in text or canary.upper() in text:
        return True
    encoded = (base64.b64encode(b"\0" * shift + canary.encode())[4:-4].decode() for shift in range(3))
    return any(each in text for each in encoded)


def table(section: str, /, **values: Any) -> str:
    return "\n".join([f"[[{section}]]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())])


class System:
    """A router, an edge and an admin, each with its own role at NATS and its own way to know who comes."""

    def __init__(self, planted: Planted, clusters: tuple[Cluster, Cluster, Cluster], nats_url: str, nats_log: Path) -> None:
        self.planted = planted
        self.routers, self.edges, self.admins = clusters
        self.nats_url = nats_url
        self.nats_log = nats_log
        self.agent_key = self.operator_key = ""

    def token(self, user: str, secret: str = "", **changes: Any) -> str:
        made = sign(secret or self.planted("issuer's secret") * 2, "HS256", iss=ISSUER["issuer"], sub=user, **changes)
        return self.planted.secret(f"token {len(self.planted.canaries)}", made)

    def agent(self, key: str) -> Runcast:
        return Runcast(self.routers.routers[0].address, agent="test", token=key)

    @property
    def nodes(self) -> list[Any]:
        return [*self.routers.services, *self.edges.services, *self.admins.services]


@contextlib.asynccontextmanager
async def whole_system(tmp_path: Path, factory: ClusterFactory, form: str) -> AsyncIterator[System]:
    planted = Planted()
    port = pick_port(random.Random())
    permissions = PERMISSIONS.read_text().replace(
        "  users: [", f'  users: [\n    {{ user: "watcher", password: "{planted("NATS watcher")}" }}'
    )
    (tmp_path / "permissions.conf").write_text(permissions)
    (tmp_path / "nats.conf").write_text(
        f'listen: "{HOST}:{port}"\njetstream {{ store_dir: "{tmp_path / "data"}" }}\ninclude "permissions.conf"\n'
    )
    passwords = {f"RUNCAST_{role.upper()}_PASSWORD": planted(f"NATS {role}") for role in ("router", "edge", "admin")}
    server = [find_nats_server(), "-c", str(tmp_path / "nats.conf")]
    nats_server = Process("nats", server, directory=tmp_path, ready="Server is ready", ready_on="stderr", environ=passwords)
    await nats_server.start()
    agent, operator = (make_key(name, secrets.token_bytes(32)) for name in ("agent", "operator"))
    planted.secret("agent's key", agent.text)
    planted.secret("operator's key", operator.text)
    auth_file = tmp_path / "auth.toml"
    tables = [
        table("issuers", **ISSUER, secret=planted("issuer's secret") * 2),
        table("agents", name="test", keys=[agent.kept], tenants=["default"], groups=["support"]),
        table("admins", name="ops", keys=[operator.kept], roles=["view", "operate"]),
    ]
    auth_file.write_text("\n".join(tables))
    planted.secret("agent's key as it is kept", agent.kept)
    planted.secret("operator's key as it is kept", operator.kept)
    kept = base64.b64encode(secrets.token_bytes(32)).decode()
    (tmp_path / "keys.toml").write_text(f'[tenants.default]\ncurrent = "k1"\nkeys = {{ k1 = "{planted.secret("key at rest", kept)}" }}\n')
    (tmp_path / "policy.toml").write_text("[tiers.standard]\nuser_events_per_s = 500\n")
    environ = {
        "RUNCAST_LOG": form,
        "RUNCAST_LOG_LEVEL": "debug",
        "RUNCAST_AUTH_FILE": str(auth_file),
        "RUNCAST_KEYS_FILE": str(tmp_path / "keys.toml"),
        "RUNCAST_POLICY_FILE": str(tmp_path / "policy.toml"),
    }

    async def start(role: str, auth: str, **counts: int) -> Cluster:
        more = {"RUNCAST_ALERT_AFTER_S": "1", "RUNCAST_COOKIE": "session"} if role == "edge" else {}
        url = f"nats://{role}:{planted(f'NATS {role}')}@{HOST}:{port}"
        wanted = {"routers": 0, "edges": 0, **counts}
        return await factory(**wanted, nats_url=url, environ={**environ, "RUNCAST_AUTH": auth, **more})

    try:
        routers = await start("router", "token", routers=1)
        edges, admins = await asyncio.gather(start("edge", "jwt", edges=1), start("admin", "token", admins=1))
        watcher = f"nats://watcher:{planted('NATS watcher')}@{HOST}:{port}"
        system = System(planted, (routers, edges, admins), watcher, nats_server.log_path)
        system.agent_key, system.operator_key = agent.text, operator.text
        yield system
    finally:
        await nats_server.stop()


# --- the flow ---


async def let_everything_be_said(system: System, user: str) -> None:
    """Every payload that there is, from agents and users."""
    plant = system.planted
    text = plant("text of an agent")
    async with (
        Device(system.edges.ws_urls(), system.token(user), device="d1") as device,
        Device(system.edges.ws_urls(), system.token(user), device="d2"),
        system.agent(system.agent_key) as agent,
    ):
        saying = asyncio.create_task(device.send_message("support", "", plant("text of a user"), data={"x": plant("data of a user")}))
        message = await anext(agent.inbox("support"))
        await saying
        async with agent.run(user=user, reply_to=message.id, title=plant("title"), input={"x": plant("input")}) as run:
            await run.thinking(plant("thought"))
            async with run.tool("search", args={"q": plant("argument")}, purpose=plant("purpose")) as tool:
                tool.result = {"found": plant("result")}
            asked = asyncio.create_task(run.ask(plant("question"), kind="question"))
            request = await device.wait_for(lambda event: event.HasField("input_requested"))
            await device.answer(request.run_id, request.input_requested.request_id, plant("answer"))
            assert await asked == plant("answer")
            await run.custom("thing", {"x": plant("custom")})
            await run.respond(text, receipt=5.0)
            await run.complete(summary=plant("summary"), result={"x": plant("result of the run")})
        await message.ack()
        with pytest.raises(ValueError, match="secret plan"):
            async with agent.run(user=user) as run, run.tool("search", args={}):
                raise ValueError(f"secret plan {plant('exception')}")
        async with agent.run(user=user) as run:
            await run.thinking(plant("thought"))
            await run.flush()
            await device.cancel(run.id, plant("reason of a cancel"))
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
        await device.wait_for(lambda event: event.HasField("agent_response") and text in event.agent_response.text)


async def let_everything_be_refused(system: System, user: str) -> None:
    """What is wrong in all the ways there are, with canaries in it."""
    plant = system.planted
    base = system.edges.edges[0].http_url
    wrong = [
        system.token(user, secret=plant("guessed secret") * 2),
        system.token(user, exp=1),
        system.token(user, aud="elsewhere"),
        f"eyJhbGciOiJIUzI1NiJ9.{plant('nonsense in a token')}.{plant('nonsense in a signature')}",
        plant("no token at all"),
    ]
    ways: list[dict[str, Any]] = []
    for token in wrong:
        ways += [{"protocols": ["runcast.v1.json", f"runcast.token.{token}"]}, {"headers": {"Authorization": f"Bearer {token}"}}]
        ways += [{"headers": {"Cookie": f"session={token}", "Origin": base}}, {"query": f"?token={token}"}]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        for way in ways:
            options = {"protocols": ["runcast.v1.json"], **way}
            async with http.ws_connect(f"{base}/v1/ws{options.pop('query', '')}", **options) as ws:
                await ws.send_str(json.dumps({"type": "hello", "device": "d1"}))
                async for _ in ws:
                    pass
        for frame in (
            {"type": "hello", "device": 7, "token": plant("token in a bad frame")},
            {"type": "hello", "device": "d1", "token": {"x": plant("token that is no text")}},
            {"type": plant("kind of a frame")},
            plant("frame that is none"),
        ):
            async with http.ws_connect(f"{base}/v1/ws", protocols=["runcast.v1.json"]) as ws:
                await ws.send_str(json.dumps(frame))
                async for _ in ws:
                    pass
        async with http.get(f"{base}/v1/ws?token={wrong[0]}") as response:
            await response.read()
    async with Device(base.replace("http", "ws") + "/v1/ws", system.token(user), device="d3") as device:
        for send in (
            Send("s-1", "answer", run_id="", request_id="q", data=json.dumps(plant("answer to no run")).encode()),
            Send("s-2", "message", group="support", text=plant("too long") + "x" * 33_000),
            Send("s-3", "message", group="", text=plant("to nobody")),
        ):
            with pytest.raises(RefusedError):
                await device.send(send)
        await device.send_raw(json.dumps({"type": "refresh", "token": wrong[1]}))
        with contextlib.suppress(Exception):
            await device.wait_closed()
    for key in (f"rk_agent_{plant('guessed key')}", plant("no key at all"), wrong[0]):
        with pytest.raises(RuncastError):
            await say(system.agent(key), plant("said by a stranger"), user=user)
    with pytest.raises(RuncastError):
        await say(system.agent(system.agent_key), plant("said to another tenant"), user=user, tenant="elsewhere")


async def say(agent: Runcast, text: str, **whom: str) -> None:
    async with agent, agent.run(**whom) as run:
        await run.respond(text)
        await run.flush()


async def let_operators_act(system: System, user: str) -> str:
    """What admins ask and do; what they are told."""
    plant = system.planted
    ours = (("authorization", f"Bearer {system.operator_key}"),)
    theirs = (("authorization", f"Bearer rk_operator_{plant('guessed operator key')}"),)
    async with grpc.aio.insecure_channel(system.admins.admins[0].address) as channel:
        stub = AdminServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetStatus(GetStatusRequest(), metadata=theirs)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Erase(EraseRequest(user=User(tenant="default", id=user)), metadata=theirs)
        told = [str(await stub.GetPresence(GetPresenceRequest(user=User(tenant="default", id=user)), metadata=ours))]
        await stub.Erase(EraseRequest(user=User(tenant="default", id=user), reason="asked for"), metadata=ours)
        told += [str(await stub.ListAudit(ListAuditRequest(), metadata=ours)), str(await stub.GetStatus(GetStatusRequest(), metadata=ours))]
        return "\n".join(told)


async def let_files_be_broken(system: System, path: Path) -> None:
    """Each file gets a mistake right behind its secrets; all processes say so."""
    for name in ("auth.toml", "keys.toml", "policy.toml"):
        new = path / f"{name}.new"
        text = (path / name).read_text()
        new.write_text(
            f'{text}\nunknown = "{system.planted(f"unknown setting of {name}")}"\nsecret = "{system.planted(f"cut off in {name}")}\n'
        )
        new.replace(path / name)
    async with asyncio.timeout(20):
        for node in (*system.routers.services, *system.edges.services):
            while not all(f"{kind}_file_refused" in node.log_path.read_text() for kind in ("auth", "keys", "policy")):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("form", ["json", "text"])
async def test_what_is_secret_is_nowhere_where_operators_look(
    tmp_path: Path, runcast_cluster_factory: ClusterFactory, user: str, form: Literal["json", "text"], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with whole_system(tmp_path, runcast_cluster_factory, form) as system:
        watcher = await nats.connect(system.nats_url)
        heard: list[str] = []
        alerted = asyncio.Event()

        async def hear(msg: Any) -> None:
            heard.append(f"{msg.subject} {msg.headers} {msg.data.decode()}")
            if msg.subject.startswith("alerts."):
                alerted.set()

        for subject in ("stats.>", "alerts.>", "ctl.>", "presence.>"):
            await watcher.subscribe(subject, cb=hear)
        await let_everything_be_said(system, user)
        await let_everything_be_refused(system, user)
        async with Device(system.edges.ws_urls(), system.token(f"{user}-2"), ack=False), asyncio.timeout(15):
            await say(system.agent(system.agent_key), system.planted("said to somebody who does not listen"), user=f"{user}-2")
            await alerted.wait()
        await let_files_be_broken(system, tmp_path)
        texts = {"what admins are told": await let_operators_act(system, user)}
        async with aiohttp.ClientSession() as http:
            for edge in system.edges.edges:
                for page in ("healthz", "readyz"):
                    texts[f"{edge.name} {page}"] = await (await http.get(f"{edge.http_url}/{page}")).text()
        for node in system.nodes:
            texts[f"arguments of {node.name}"] = " ".join(psutil.Process(node.pid).cmdline())
        await watcher.close()
        texts |= {f"log of {node.name}": node.log_path.read_text() for node in system.nodes}
        texts["log of nats"] = system.nats_log.read_text()
    texts["statistics and alerts"] = "\n".join(heard)
    texts["the agent's own log"] = caplog.text
    assert '"type":"delivery_alert"' in texts["statistics and alerts"].replace(" ", "")
    assert "session_closed" in texts["log of edge-0"]
    assert "the policy file changed" in texts["what admins are told"]
    assert "the auth file changed" in texts["statistics and alerts"]
    assert system.planted.found_in(texts) == []


def test_what_is_planted_would_be_found() -> None:
    planted = Planted()
    canary = planted("x")
    for text in (f"a {canary} b", canary.upper(), *(base64.b64encode(b"a" * n + canary.encode() + b"b").decode() for n in range(5))):
        assert planted.found_in({"here": text}) == ["x in here"]
    assert planted.found_in({"here": planted("x")[:-1]}) == []
