"""Delivery statistics and alerts: what processes tell about themselves is what happened."""

import asyncio
import contextlib
import json

import aiohttp
import grpc.aio
import nats
import pytest

from runcast.client import Runcast
from runcast.testkit.device import Device
from runcast.v1 import admin_pb2, admin_pb2_grpc
from runcast.v1.event_pb2 import User
from runcast.wire import VERSION, limits


@pytest.fixture
async def told(runcast_cluster_factory):
    """A cluster that alerts after 1 s, and what is said on `alerts.>` there."""
    cluster = await runcast_cluster_factory(routers=1, edges=2, admins=1, environ={"RUNCAST_ALERT_AFTER_S": "1"})
    alerts: asyncio.Queue[tuple[str, dict]] = asyncio.Queue()
    connection = await nats.connect(cluster.nats_url)

    async def on_alert(msg) -> None:
        alerts.put_nowait((msg.subject, json.loads(msg.data)))

    await connection.subscribe("alerts.>", cb=on_alert)
    await connection.flush()
    yield cluster, alerts
    await connection.close()


async def statistics(node) -> dict:
    async with aiohttp.ClientSession() as http, http.get(f"{node.http_url}/statsz") as answer:
        return await answer.json()


@contextlib.asynccontextmanager
async def admin(cluster):
    async with grpc.aio.insecure_channel(cluster.admins[0].address) as channel:
        yield admin_pb2_grpc.AdminServiceStub(channel)


async def test_what_nobody_acknowledges_is_alerted_once_a_run(told, user):
    cluster, alerts = told
    async with (
        Device(cluster.edges[0].url, cluster.token(user), device="mute", ack=False) as mute,
        Device(cluster.edges[1].url, cluster.token(user), device="mute too", ack=False) as other,
        Runcast(cluster.routers[0].address, agent="test") as rc,
    ):
        async with rc.run(user=user, run_id="r") as run:
            await run.custom("offer")
            await run.flush()
            async with asyncio.timeout(5):
                subject, alert = await alerts.get()
            await run.custom("offer again")
        assert subject.split(".")[2:] == ["default", user]
        assert (alert["type"], alert["tenant"], alert["user"], alert["run_id"]) == ("delivery_alert", "default", user, "r")
        assert alert["event_id"] == "r.1.1"
        assert alert["age_s"] >= 1.0
        assert alert["devices"] == [{"edge-0": "mute", "edge-1": "mute too"}[alert["edge"]]]
        async with rc.run(user=user, run_id="s") as run:
            await run.complete()
        async with asyncio.timeout(5):
            subject, alert = await alerts.get()
        assert alert["run_id"] == "s"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await alerts.get()
        counts = [(await statistics(edge))["alerts"] for edge in cluster.edges]
        assert sum(counts) == 2
        assert len(mute.events) == len(other.events)


async def test_nobody_is_alarmed_about_who_is_away_or_has_it(told, user):
    cluster, alerts = told
    async with Runcast(cluster.routers[0].address, agent="test") as rc:
        async with rc.run(user=user + "-away") as run:
            await run.complete()
        async with (
            Device(cluster.edges[0].url, cluster.token(user), device="mute", ack=False),
            Device(cluster.edges[1].url, cluster.token(user), device="good") as good,
        ):
            async with rc.run(user=user) as run:
                await run.thinking("only text, for a while")
            await good.wait_kind("agent_completed")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await alerts.get()


async def test_every_process_tells_what_it_did(told, user):
    cluster, _ = told
    async with (
        Device(cluster.edges[0].url, cluster.token(user), device="d") as one,
        Device(cluster.edges[0].url, cluster.token(user), device="mute", ack=False) as mute,
        Runcast(cluster.routers[0].address, agent="test") as rc,
        admin(cluster) as stub,
    ):
        async with rc.run(user=user) as run:
            for number in range(10):
                await run.custom("number", number)
            receipt = await run.complete(receipt=5.0)
        assert receipt.outcome == "delivered"
        for device in (one, mute):
            await device.wait_kind("agent_completed")
        told_by_edge = await statistics(cluster.edges[0])
        assert (told_by_edge["users"], told_by_edge["devices"]) == (1, 2)
        assert told_by_edge["events_sent"] == 24
        assert told_by_edge["events_acked"] == 12
        assert told_by_edge["to_send"]["count"] == 24
        assert told_by_edge["to_ack"]["count"] == 12
        assert told_by_edge["oldest_unacked_s"] > 0
        assert [(each["device"], each["sent"], each["acked"]) for each in told_by_edge["users_behind"]] == [("mute", 12, 0)]

        async with asyncio.timeout(10):
            while True:
                status = await stub.GetStatus(admin_pb2.GetStatusRequest())
                processes = {each.id: json.loads(each.statistics_json) for each in status.processes}
                router = processes.get("router-0", {})
                if processes.keys() == {"router-0", "edge-0", "edge-1", "admin-0"} and router["receipts"].get("delivered"):
                    break
        assert router["receipts"]["delivered"] == 1
        assert router["events_stored"] >= 12
        assert router["producers"] == 1
        assert {each["version"] for each in processes.values()} == {VERSION}
        assert {each["health"]["state"] for each in processes.values()} == {"ok"}
        assert processes["admin-0"]["calls"]["GetStatus"] >= 1
        assert (status.id, status.version, status.shards) == ("admin-0", VERSION, limits.SHARDS_EMBEDDED)
        assert {each.name: each.state for each in status.dependencies}.items() >= {"nats": "ok", "storage": "ok"}.items()
        assert {stream.name for stream in status.streams} >= {"RUNCAST_EV_0", "RUNCAST_INBOX", "KV_RUNCAST_RUNS"}
        assert all(stream.epoch for stream in status.streams if stream.name.startswith("RUNCAST_EV_"))


async def test_presence_tells_the_devices_of_all_edges(told, user):
    cluster, _ = told
    async with (
        Device(cluster.edges[0].url, cluster.token(user), device="tab 1"),
        Device(cluster.edges[1].url, cluster.token(user), device="tab 2"),
        admin(cluster) as stub,
    ):
        answer = await stub.GetPresence(admin_pb2.GetPresenceRequest(user=User(tenant="default", id=user)))
        assert [(each.edge, list(each.devices)) for each in answer.edges] == [("edge-0", ["tab 1"]), ("edge-1", ["tab 2"])]
        with pytest.raises(grpc.aio.AioRpcError, match="id_invalid"):
            await stub.GetPresence(admin_pb2.GetPresenceRequest(user=User(tenant="default", id="")))
