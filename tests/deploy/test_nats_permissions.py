"""deploy/nats/permissions.conf: routers, edges and admins can do all that they do, and are refused what they need not."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import nats
import nats.errors
import pytest
import structlog
import structlog.testing
from nats.aio.client import Client
from nats.js.api import StreamConfig
from pytest_asyncio import fixture

from runcast.bus.connection import Bus
from runcast.bus.upgrade import allow_message_ttl
from runcast.router.settings import RouterSettings
from runcast.testkit import Cluster, Process, UserDevice
from runcast.testkit.node import find_nats_server
from runcast.testkit.plugin import ClusterFactory
from runcast.testkit.ports import HOST, pick_port
from runcast.v1.admin_pb2 import (
    DisconnectRequest,
    EraseRequest,
    GetPresenceRequest,
    GetStatusRequest,
    LiftRequest,
    ListRevocationsRequest,
    RevokeRequest,
    Target,
)
from runcast.v1.admin_pb2_grpc import AdminServiceStub
from runcast.v1.event_pb2 import User

PERMISSIONS = Path(__file__).parents[2] / "deploy/nats/permissions.conf"
PASSWORDS = {"RUNCAST_ROUTER_PASSWORD": "r-secret", "RUNCAST_EDGE_PASSWORD": "e-secret", "RUNCAST_ADMIN_PASSWORD": "a-secret"}

PROCESSES = {"router-0", "router-1", "edge-0", "admin-0"}


@fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Of a nats-server with the shipped permissions."""
    port = pick_port(random.Random())
    (tmp_path / "permissions.conf").write_text(PERMISSIONS.read_text())
    config = tmp_path / "nats.conf"
    config.write_text(f'listen: "{HOST}:{port}"\njetstream {{ store_dir: "{tmp_path / "data"}" }}\ninclude "permissions.conf"\n')
    server = Process(
        "nats",
        [find_nats_server(), "-c", str(config)],
        directory=tmp_path,
        ready="Server is ready",
        ready_on="stderr",
        environ=PASSWORDS,
    )
    await server.start()
    yield port
    await server.stop()


def url(role: str, port: int) -> str:
    return f"nats://{role}:{PASSWORDS[f'RUNCAST_{role.upper()}_PASSWORD']}@{HOST}:{port}"


async def test_all_that_they_do_is_allowed(port: int, runcast_cluster_factory: ClusterFactory, user: str) -> None:
    routers: Cluster = await runcast_cluster_factory(routers=2, edges=0, nats_url=url("router", port))
    edges: Cluster = await runcast_cluster_factory(routers=0, edges=1, nats_url=url("edge", port))
    admins: Cluster = await runcast_cluster_factory(routers=0, edges=0, admins=1, nats_url=url("admin", port))
    async with routers.connect() as agent, UserDevice(edges, user) as device:
        sent = asyncio.create_task(device.send_message("support", "", "hello"))
        message = await anext(agent.inbox("support"))
        await sent
        async with agent.run(user=user, reply_to=message.id) as run:
            asked = asyncio.create_task(run.ask("sure?", kind="approval"))
            request = await device.wait_for(lambda event: event.HasField("input_requested"))
            await device.answer(request.run_id, request.input_requested.request_id, True)
            assert await asked is True
            assert (await run.respond("done", receipt=5.0)).outcome == "delivered"
        await message.ack()
        assert await agent.is_online(user)
        async with agent.run(user=user) as run:
            await run.thinking("long")
            await run.flush()
            await device.cancel(run.id)
            async with asyncio.timeout(10):
                await asyncio.Event().wait()  # the user's cancel ends the block
        assert run.cancelled
        async with grpc.aio.insecure_channel(admins.admins[0].address) as channel:
            stub = AdminServiceStub(channel)
            async with asyncio.timeout(10):
                status = await stub.GetStatus(GetStatusRequest())
                while {each.id for each in status.processes} < PROCESSES:
                    await asyncio.sleep(0.1)  # each tells every two seconds
                    status = await stub.GetStatus(GetStatusRequest())
            assert "KV_RUNCAST_RUNS" in {stream.name for stream in status.streams}
            found = await stub.GetPresence(GetPresenceRequest(user=User(tenant=device.tenant, id=user)))
            assert [each.edge for each in found.edges] == ["edge-0"]
            looked = await look_at(admins, device.tenant, user)
            assert [(each["device"], each["edge"]) for each in looked["devices"]] == [("d1", "edge-0")]
            assert [row["status"] for rows in looked["runs"] for row in rows] == ["cancelled", "completed"]
            target = Target(user=User(tenant=device.tenant, id=user))
            assert (await stub.Disconnect(DisconnectRequest(target=target))).connections == 1
            done = await stub.Revoke(RevokeRequest(target=target, reason="a test"))
            assert (await stub.ListRevocations(ListRevocationsRequest())).revocations == [done.revocation]
            assert (await stub.Lift(LiftRequest(id=done.revocation.id))).found
            erased = await stub.Erase(EraseRequest(user=User(tenant=device.tenant, id=user), reason="asked for"))
            assert erased.removed["stream"] > 0
            again = await stub.Erase(EraseRequest(user=User(tenant=device.tenant, id=user), reason="to be sure"))
            assert not any(again.removed.values())
    for node in (*routers.services, *edges.services, *admins.services):
        assert "Violation" not in node.log_path.read_text(), node.log_path.read_text()


async def look_at(admins: Cluster, tenant: str, user: str) -> Any:
    """What the dashboard tells of a user: from presence, log, cursors, inbox and what was put aside."""
    url = admins.admins[0].http_url
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor, asyncio.timeout(20):
        await visitor.post(f"{url}/api/session", json={}, headers={"Origin": url})
        async with visitor.get(f"{url}/dashboard/user/events", params={"tenant": tenant, "user": user}) as stream:
            await stream.content.readuntil(b"event: user\ndata: ")
            return json.loads(await stream.content.readuntil(b"\n\n"))


NEVER = [
    "$JS.API.STREAM.DELETE.RUNCAST_EV_0",
    "$JS.API.STREAM.UPDATE.RUNCAST_EV_0",
    "$SYS.REQ.SERVER.PING",
]
AUDIT = [
    "audit.Erase",
    "$JS.API.DIRECT.GET.RUNCAST_AUDIT",
    "$JS.API.DIRECT.GET.RUNCAST_AUDIT.audit.Erase",
    "$JS.API.STREAM.MSG.GET.RUNCAST_AUDIT",
]
PURGES = [
    "ctl.erase",
    "$JS.API.STREAM.MSG.DELETE.RUNCAST_EV_0",
    "$JS.API.STREAM.PURGE.RUNCAST_EV_0",
    "$JS.API.STREAM.PURGE.RUNCAST_INBOX",
    "$JS.API.STREAM.PURGE.KV_RUNCAST_CURSORS",
]
NEVER += ["$JS.API.CONSUMER.CREATE.RUNCAST_EV_0.c", "live.0.default.alice", "lease.p"]
NEVER += ["revoked.user.default.alice"]
REVOKES = ["$KV.RUNCAST_REVOKED.user.default.alice", "ctl.disconnect"]


@pytest.mark.parametrize(
    ("role", "subjects"),
    [
        (
            "router",
            [
                *NEVER,
                *PURGES,
                *REVOKES,
                "in.g.0.default.alice",
                "$KV.RUNCAST_CURSORS.0.default.alice.d1",
                "alerts.0.default.alice",
                "stats.edge.e",
            ],
        ),
        (
            "edge",
            [
                *NEVER,
                "$JS.API.STREAM.CREATE.RUNCAST_EV_0",
                "$JS.API.CONSUMER.MSG.NEXT.RUNCAST_INBOX.group_g",
                "$JS.API.CONSUMER.DURABLE.CREATE.RUNCAST_INBOX.group_g",
                "$JS.API.DIRECT.GET.RUNCAST_INBOX",
                "$JS.API.DIRECT.GET.RUNCAST_INBOX.in.g.0.default.alice",
                "$JS.API.STREAM.MSG.GET.RUNCAST_INBOX",
                "$JS.ACK.RUNCAST_INBOX.group_g.1.1.1.1.0",
                "$KV.RUNCAST_RUNS.lease.p",
                "$KV.RUNCAST_RUNS.run.0.default.alice.r.1.p",
                "$KV.RUNCAST_RUNS.producer.p",
                "$KV.RUNCAST_META.deployment",
                "parked.g.0.default.alice",
                "turn.g",
                "stats.router.r",
                *PURGES,
                *AUDIT,
                *REVOKES,
            ],
        ),
        (
            "admin",
            [
                *NEVER,
                "$JS.API.STREAM.CREATE.RUNCAST_EV_0",
                "$JS.API.STREAM.PURGE.RUNCAST_AUDIT",
                "$JS.API.STREAM.MSG.DELETE.RUNCAST_AUDIT",
                "$JS.API.STREAM.DELETE.RUNCAST_AUDIT",
                "$JS.API.STREAM.PURGE.KV_RUNCAST_REVOKED",
                "$JS.API.CONSUMER.MSG.NEXT.RUNCAST_INBOX.group_g",
                "$KV.RUNCAST_META.deployment",
                "$KV.RUNCAST_RUNS.lease.p",
                "ev.0.default.alice",
                "in.g.0.default.alice",
                "stats.router.r",
                "stats.edge.e",
            ],
        ),
    ],
)
async def test_what_a_role_need_not_say_is_refused(port: int, role: str, subjects: list[str]) -> None:
    client, refused = await connect(url(role, port))
    for subject in subjects:
        await client.publish(subject, b"{}")
    assert await next_of(refused, len(subjects)) == {f'publish to "{subject.lower()}"' for subject in subjects}
    await client.close()


@pytest.mark.parametrize(
    ("role", "subjects"),
    [
        (
            "router",
            [">", "live.>", "in.>", "_INBOX_EDGE.>", "_INBOX_ADMIN.>", "presence.>", "$SYS.>", "alerts.>", "stats.>", "$KV.>", "_INBOX.>"],
        ),
        ("edge", [">", "ev.>", "in.>", "_INBOX.>", "_INBOX_ROUTER.>", "_INBOX_ADMIN.>", "$KV.>", "lease.>", "stats.>", "turn.*", "$SYS.>"]),
        (
            "admin",
            [
                ">",
                "ev.>",
                "live.>",
                "in.>",
                "_INBOX.>",
                "_INBOX_ROUTER.>",
                "_INBOX_EDGE.>",
                "presence.>",
                "lease.>",
                "turn.*",
                "$SYS.>",
                "ctl.>",
                "$KV.>",
            ],
        ),
    ],
)
async def test_what_a_role_need_not_hear_is_refused(port: int, role: str, subjects: list[str]) -> None:
    client, refused = await connect(url(role, port))
    for subject in subjects:
        await client.subscribe(subject)
    assert await next_of(refused, len(subjects)) == {f'subscription to "{subject.lower()}"' for subject in subjects}
    await client.close()


async def test_who_may_not_update_streams_says_what_an_operator_has_to_do(port: int) -> None:
    bus = Bus(structlog.stdlib.get_logger())
    await bus.open(RouterSettings(nats_url=url("router", port), auth="dev", id="test"))
    await bus.js.add_stream(StreamConfig(name="RUNCAST_EV_0", subjects=["ev.0.>"]))
    with structlog.testing.capture_logs() as told:
        assert not await allow_message_ttl(bus, "RUNCAST_EV_0", structlog.stdlib.get_logger())
    (line,) = [each for each in told if each["event"] == "message_ttl_not_allowed"]
    assert "nats stream edit RUNCAST_EV_0 --allow-msg-ttl" in line["advice"]
    await bus.close()


async def test_others_do_not_get_in(port: int) -> None:
    for wrong in (f"nats://{HOST}:{port}", f"nats://router:e-secret@{HOST}:{port}", f"nats://admin:r-secret@{HOST}:{port}"):
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await connect(wrong)


async def next_of(refused: asyncio.Queue[str], count: int) -> set[str]:
    async with asyncio.timeout(10):
        return {await refused.get() for _ in range(count)}


async def connect(url: str) -> tuple[Client, asyncio.Queue[str]]:
    """A client, and what it is refused."""
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def note(exc: Exception) -> None:
        refused.put_nowait(str(exc).lower().partition("violation for ")[2])

    return await nats.connect(url, error_cb=note, allow_reconnect=False), refused
