"""What a dependency that is full or away does: it is told with its reason, nothing is lost, and it goes on by itself."""

import asyncio
import json
from typing import Any

import aiohttp
import grpc
import nats
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.js.api import DiscardPolicy

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.testkit.node import Node
from runcast.testkit.plugin import ClusterFactory
from runcast.v1 import admin_pb2, admin_pb2_grpc
from runcast.v1.event_pb2 import User
from runcast.wire import limits, subjects
from tests.delivery.routers import START, WORK, Producer, jetstream, make_batch

PAUSE_S = 0.05
"""Between two looks at a state, which has nothing to wait on."""


async def until_router(cluster: Cluster, name: str, state: str) -> dict[str, Any]:
    """What the cluster's router tells of a dependency in its statistics, as soon as it is in a state."""
    connection = await nats.connect(cluster.nats_url)
    try:
        told = await connection.subscribe(subjects.statistics_subject("router", "router-0"))
        async with asyncio.timeout(15):
            while True:
                health = json.loads((await told.next_msg(10)).data)["health"]["dependencies"]
                if health[name]["state"] == state:
                    return health[name]
    finally:
        await connection.close()


async def until_edge(edge: Node, state: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, asyncio.timeout(15):
        while True:
            async with http.get(f"{edge.http_url}/readyz") as ready, http.get(f"{edge.http_url}/healthz") as health:
                assert health.status == 200
                body = await health.json()
                if body["state"] == state:
                    return ready.status, body["dependencies"]
            await asyncio.sleep(PAUSE_S)


async def until_answers(node: Node, wanted: dict[str, Any]) -> None:
    """Wait until a process's gRPC health is as wanted, by service."""
    async with grpc.aio.insecure_channel(node.address) as channel, asyncio.timeout(15):
        stub = health_pb2_grpc.HealthStub(channel)
        for service, status in wanted.items():
            watch = stub.Watch(health_pb2.HealthCheckRequest(service=service))
            while (await watch.read()).status != status:
                pass
            watch.cancel()


async def resize(cluster: Cluster, max_bytes: int) -> None:
    """Give every event stream so much room, and let it refuse what is more (an operator's choice; by itself the oldest goes)."""
    async with jetstream(cluster) as js:
        for shard in range(limits.SHARDS_EMBEDDED):
            info = await js.stream_info(subjects.event_stream(shard))
            await js.update_stream(info.config.evolve(max_bytes=max_bytes, discard=DiscardPolicy.NEW))


async def test_full_storage_is_told_as_definite_and_retryable_and_agents_go_on_when_there_is_room(
    runcast_cluster_factory: ClusterFactory, user: str
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    (router,), (edge,) = cluster.routers, cluster.edges
    async with (
        Device(edge.url, cluster.token(user)) as device,
        Producer(router.address) as producer,
        Runcast(router.address, agent="test") as rc,
    ):
        async with rc.run(user=user, thread="t") as run:
            await run.custom("before", {})
            await run.flush()
            await producer.store(make_batch(user, 1, 1, START))
            await resize(cluster, 1)
            refusal = await producer.refused(make_batch(user, 2, 2, WORK))
            assert (refusal.code, refusal.retry, refusal.definite) == ("storage_full", True, True)
            assert refusal.retry_after_ms > 0
            for number in range(20):
                await run.custom("kept", {"n": number})
            found = await until_router(cluster, "storage", "degraded")
            assert "takes no more" in found["reason"]
            assert found["attempts"] >= 1
            assert not any(event.WhichOneof("kind") == "custom" and event.custom.name == "kept" for event in device.events)
            await resize(cluster, 64 * limits.MIB)
            await run.flush()
        await device.wait_kind("agent_completed", run_id=run.id)
        assert [event.seq for event in device.events if event.run_id == run.id] == list(range(1, 24))
        await producer.store(make_batch(user, 2, 2, WORK))
        assert (await until_router(cluster, "storage", "ok"))["recoveries"] == 1


async def test_states_tell_that_nats_is_away_and_that_it_came_back(runcast_cluster_factory: ClusterFactory) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1, admins=1)
    (router,), (edge,), (admin,) = cluster.routers, cluster.edges, cluster.admins
    ready, dependencies = await until_edge(edge, "ok")
    assert (ready, dependencies["nats"]["reason"], dependencies["storage"]["recoveries"]) == (200, "", 0)
    await cluster.nats.kill()
    ready, dependencies = await until_edge(edge, "unavailable")
    assert ready == 503
    assert "lost" in dependencies["nats"]["reason"] + dependencies["storage"]["reason"]
    assert dependencies["nats"]["attempts"] >= 1
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    services = ("", "runcast.v1.IngestService", "runcast.v1.InboxService")
    await until_answers(router, dict.fromkeys(services, not_serving))
    await until_answers(admin, {"": not_serving, "runcast.v1.AdminService": serving})
    assert (await until_edge(admin, "unavailable"))[0] == 503  # an admin's HTTP answers as an edge's does
    async with grpc.aio.insecure_channel(admin.address) as channel:  # what is wrong can be asked while it is wrong
        status = await admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest())
        assert {each.name: each.state for each in status.dependencies}["nats"] == "unavailable"
        with pytest.raises(grpc.aio.AioRpcError, match="unavailable: there is no connection to storage"):
            await admin_pb2_grpc.AdminServiceStub(channel).GetPresence(admin_pb2.GetPresenceRequest(user=User(tenant="t", id="u")))
    await cluster.nats.start()
    ready, dependencies = await until_edge(edge, "ok")
    assert (dependencies["nats"]["attempts"], dependencies["nats"]["recoveries"]) == (0, 1)
    assert (await until_router(cluster, "storage", "ok"))["recoveries"] >= 1
    await until_answers(router, dict.fromkeys(services, serving))
    await until_answers(admin, {"": serving, "runcast.v1.AdminService": serving})
    assert (await until_edge(admin, "ok"))[0] == 200
