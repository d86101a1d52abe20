"""A router's process: start, stop, NATS that comes and goes."""

import asyncio
import os
import shutil
import sys
import time
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from runcast.router.health import SERVICES
from runcast.v1 import admin_pb2, admin_pb2_grpc
from runcast.wire import limits
from tests.delivery.routers import (
    END,
    START,
    WORK,
    Producer,
    Worker,
    cancel,
    make_batch,
    queue_is_empty,
    say,
    stored,
    watch_health,
)

# --- the process ---


async def test_a_router_tells_how_it_is_and_nothing_of_administration(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest())
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        names = [f"grpc.health.v1.{name}" for name in ("Health",)]
        reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await reflected.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = {service.name for service in (await reflected.read()).list_services_response.service}
        reflected.cancel()
        for name in ("", *SERVICES):
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert listed >= {*SERVICES, *names}
    assert not any("Admin" in name for name in listed)


async def test_routers_that_start_together_agree_on_one_deployment(runcast_cluster_factory: Any, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=4, edges=0, shards=3)
    positions = set()
    for router in cluster.routers:
        async with Producer(router.address) as producer:
            positions |= {ack.position for ack in await producer.store(make_batch(user, 1, 1, START))}
    assert len(positions) == 1


async def test_sigterm_sends_everybody_away_and_finishes_what_is_under_way(runcast_cluster_factory: Any, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=2, edges=0)
    leaving, other = cluster.routers
    async with (
        Producer(leaving.address) as producer,
        Worker(leaving.address, user) as worker,
        Worker(leaving.address, user, "idle") as idle,
        Producer(other.address) as elsewhere,
        watch_health(leaving) as health,
    ):
        await health(serving=True)
        await producer.store(make_batch(user, 1, 1, START))
        await say(cluster, user, user, "m")
        reads = {asyncio.ensure_future(each.call.read()): each for each in (worker, idle)}
        done, _ = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
        holder = reads[next(iter(done))]
        begun = time.monotonic()
        stopping = asyncio.ensure_future(leaving.stop(bound_s=10))
        await health(serving=False)
        await producer.listen(lambda: producer.gone_away)
        refusal = await producer.refused(make_batch(user, 2, 2, WORK))
        assert (refusal.code, refusal.retry, refusal.definite) == ("draining", True, True)
        assert not (await elsewhere.store(make_batch(user, 2, 2, WORK)))[0].duplicate
        await producer.call.done_writing()
        assert await producer.ended() == (grpc.StatusCode.OK, "")
        assert (await holder.read()).go_away
        await holder.settle(next(iter(done)).result().deliveries[0])
        assert await holder.ended() == (grpc.StatusCode.UNAVAILABLE, "draining")
        assert await stopping == 0
        assert time.monotonic() - begun < limits.DRAIN_GRACE_S
        await queue_is_empty(cluster, user)
        for read in reads:
            read.cancel()


async def test_sigterm_does_not_wait_for_who_stays(runcast_cluster_factory: Any, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    async with Producer(cluster.routers[0].address) as producer, Worker(cluster.routers[0].address, user) as worker:
        await producer.store(make_batch(user, 1, 1, START))
        await say(cluster, user, user, "m")
        await worker.take()
        begun = time.monotonic()
        assert await cluster.routers[0].stop(bound_s=10) == 0
        assert time.monotonic() - begun < limits.DRAIN_S + 1
        for call in (producer, worker):
            assert await call.ended() == (grpc.StatusCode.UNAVAILABLE, "draining")


async def test_a_router_waits_for_nats_and_then_takes_work(runcast_cluster_factory: Any, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    (router,) = cluster.routers
    await router.stop()
    await cluster.nats.kill()
    starting = asyncio.ensure_future(router.start(ready_s=30))
    async with Producer(router.address) as producer, watch_health(router) as health:
        refusal = await producer.refused(make_batch(user, 1, 1, START))
        assert (refusal.code, refusal.retry, refusal.definite) == ("unavailable", True, True)
        assert refusal.retry_after_ms > 0
        assert not starting.done()
        await cluster.nats.start()
        await starting
        await health(serving=True)
        # Nobody could tell the producer until when it may send again: it is sent away before anything of it is stored, and told anew.
        await producer.listen(lambda: producer.gone_away)
        assert (await producer.refused(make_batch(user, 1, 1, START))).code == "draining"
        await producer.open()
        assert producer.horizon_ms == limits.RESEND_HORIZON_S * 1000
        assert not (await producer.store(make_batch(user, 1, 1, START)))[0].duplicate


async def test_streams_outlive_nats(runcast_cluster_factory: Any, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    (router,) = cluster.routers
    async with Producer(router.address) as producer, Worker(router.address, user) as worker, watch_health(router) as health:
        await producer.store(make_batch(user, 1, 1, START))
        await health(serving=True)
        await cluster.nats.kill()
        await health(serving=False)
        refusal = await producer.refused(make_batch(user, 2, 2, WORK))
        assert (refusal.code, refusal.retry, refusal.definite) == ("unavailable", True, True)
        await cluster.nats.start()
        await health(serving=True)
        assert not (await producer.store(make_batch(user, 2, 2, WORK)))[0].duplicate
        await cancel(cluster, user, "r")
        await producer.listen(lambda: bool(producer.cancels))
        await say(cluster, user, user, "m")
        await worker.settle(await worker.take())
        await queue_is_empty(cluster, user)


async def test_recreated_storage_gives_positions_of_another_epoch(runcast_cluster_factory: Any, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    async with Producer(cluster.routers[0].address) as producer, watch_health(cluster.routers[0]) as health:
        (before,) = await producer.store(make_batch(user, 1, 1, START))
        await health(serving=True)
        await cluster.nats.kill()
        await health(serving=False)
        shutil.rmtree(cluster.directory / "nats")
        await cluster.nats.start()
        await health(serving=True)
        (after,) = await producer.store(make_batch(user, 2, 2, WORK))
    assert before.position.partition("-")[0] != after.position.partition("-")[0]


async def test_a_router_that_waits_for_nats_can_be_stopped() -> None:
    environ = os.environ | {"RUNCAST_AUTH": "dev", "RUNCAST_BIND": "127.0.0.1:0", "RUNCAST_NATS_URL": "nats://127.0.0.1:1"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "runcast.router", env=environ, stdout=pipe, stderr=pipe)
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(15):
        while b"nats_error" not in said:
            said += await process.stderr.readline()
        process.terminate()
        output, rest = await process.communicate()
    assert (process.returncode, output) == (0, b"")
    assert b"Traceback" not in said + rest


async def test_what_was_under_way_when_nats_died_is_answered_at_once_as_indeterminate(runcast_cluster_factory: Any, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    async with Producer(cluster.routers[0].address) as producer:
        await producer.store(make_batch(user, 1, 1, START))
        await cluster.nats.pause()
        await producer.send(make_batch(user, 2, 2, WORK))
        # Another batch of the run is refused by the router alone: by then the one before is on its way.
        assert (await producer.refused(make_batch(user, 3, 3, WORK))).code == "batch_out_of_turn"
        begun = time.monotonic()
        await cluster.nats.kill()
        await producer.listen(lambda: ("r", 2) in producer.refusals)
        refusal = producer.refusals[("r", 2)]
        assert (refusal.code, refusal.retry, refusal.definite) == ("indeterminate", True, False)
        assert time.monotonic() - begun < limits.PUBLISH_TIMEOUT_S / 2


async def test_what_a_killed_router_left_goes_on_at_another(runcast_cluster_factory: Any, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=2, edges=0)
    killed, other = cluster.routers
    async with Producer(killed.address) as producer, Worker(killed.address, user) as worker:
        await producer.store(make_batch(user, 1, 1, START))
        await say(cluster, user, user, "m")
        await worker.take()
        await producer.send(make_batch(user, 2, 2, WORK))
        await killed.kill()
    async with Producer(other.address) as producer, Worker(other.address, user) as worker:
        await producer.store(make_batch(user, 2, 2, WORK))
        await producer.store(make_batch(user, 3, 3, END))
        delivery = await worker.take()
        assert (delivery.message.id, delivery.tries) == ("m", 2)
        await worker.settle(delivery)
        await queue_is_empty(cluster, user)
    assert [batch.number for batch in await stored(cluster, user)] == [1, 2, 3]
