"""An admin process from start to stop."""

import asyncio
import socket
import time

import grpc.aio
import pytest

from runcast.testkit import Cluster, ProcessError
from runcast.testkit.plugin import ClusterFactory
from runcast.testkit.ports import HOST
from runcast.v1.admin_pb2 import GetPresenceRequest, GetStatusRequest
from runcast.v1.admin_pb2_grpc import AdminServiceStub
from runcast.v1.event_pb2 import User
from runcast.wire import limits_admin


async def test_it_waits_for_a_router_and_says_so_meanwhile(runcast_cluster_factory: ClusterFactory) -> None:
    cluster: Cluster = await runcast_cluster_factory(routers=1, edges=0, admins=1)
    (admin,), (router,) = cluster.admins, cluster.routers
    await admin.stop()
    await router.stop()
    assert cluster.nats is not None
    await cluster.nats.kill()
    starting = asyncio.ensure_future(admin.start(ready_s=30))
    async with grpc.aio.insecure_channel(admin.address) as channel:
        stub = AdminServiceStub(channel)
        status = await stub.GetStatus(GetStatusRequest(), wait_for_ready=True, timeout=15)
        assert {each.name: each.state for each in status.dependencies}.items() >= {"nats": "starting", "storage": "starting"}.items()
        assert not status.streams
        with pytest.raises(grpc.aio.AioRpcError, match="unavailable"):
            await stub.GetPresence(GetPresenceRequest(user=User(tenant="t", id="u")))
        assert not starting.done()
        await cluster.nats.start()
        await router.start()
        await starting
        assert (await stub.GetStatus(GetStatusRequest())).streams


async def test_it_ends_at_once_when_asked(runcast_cluster_factory: ClusterFactory) -> None:
    cluster: Cluster = await runcast_cluster_factory(routers=1, edges=0, admins=1)
    async with grpc.aio.insecure_channel(cluster.admins[0].address) as channel:
        await AdminServiceStub(channel).GetStatus(GetStatusRequest())
        began = time.monotonic()
        assert await cluster.admins[0].stop(bound_s=10) == 0
        assert time.monotonic() - began < limits_admin.ADMIN_STOP_S + 2


@pytest.mark.parametrize("name", ["RUNCAST_BIND", "RUNCAST_HTTP_BIND"])
async def test_a_port_in_use_is_said(runcast_cluster_factory: ClusterFactory, name: str) -> None:
    cluster: Cluster = await runcast_cluster_factory(routers=1, edges=0, admins=1)
    (admin,) = cluster.admins
    await admin.stop()
    with socket.create_server((HOST, 0)) as taken:  # without SO_REUSEPORT: another program's
        admin.environ[name] = f"{HOST}:{taken.getsockname()[1]}"
        with pytest.raises(ProcessError, match=rf"(?s)exit status 2.*{name}"):
            await admin.start()
