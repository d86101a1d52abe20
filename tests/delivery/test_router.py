"""What a router does with producers and workers, over real gRPC: store, order, refuse, cancel, hand out, send away."""

import asyncio
import json
import os
import shutil
import sys
import time
from typing import Any

import grpc
import grpc.aio
import nats
import nats.js.errors
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from runcast.router.health import SERVICES
from runcast.testkit.cluster import Cluster
from runcast.v1 import admin_pb2, admin_pb2_grpc, inbox_pb2_grpc
from runcast.v1.event_pb2 import User
from runcast.v1.inbox_pb2 import (
    DISPOSITION_REJECT,
    DISPOSITION_RETRY,
    InboxMessage,
    ReceiveRequest,
    WorkerHello,
)
from runcast.v1.ingest_pb2 import PublishRequest, RunAbandon
from runcast.wire import limits, subjects
from runcast.wire.ids import UserKey
from tests.delivery.routers import (
    END,
    START,
    WORK,
    Producer,
    Worker,
    cancel,
    jetstream,
    make_batch,
    put,
    queue_is_empty,
    say,
    shards_of,
    stored,
    watch_health,
)


@pytest.fixture
def address(runcast_cluster: Cluster) -> str:
    return runcast_cluster.routers[0].address


# --- storing ---


async def test_a_batch_is_stored_as_it_came_and_a_resend_to_any_router_is_the_same(runcast_cluster: Cluster, user: str) -> None:
    batch = make_batch(user, 1, 1, START, WORK)
    batch.events[1].MergeFromString(b"\xc2\x02\x02\x08\x01")  # field 40, unknown here
    first_router, second_router = (node.address for node in runcast_cluster.routers)
    async with Producer(first_router) as first, Producer(second_router) as second:
        (ack,) = await first.store(batch)
        (again,) = await second.store(batch)
        (same,) = await first.store(batch)
    assert not ack.duplicate
    assert again.duplicate
    assert same.duplicate
    assert ack.position == again.position == same.position
    assert [found.SerializeToString() for found in await stored(runcast_cluster, user)] == [batch.SerializeToString()]


async def test_many_runs_at_once_keep_each_run_s_order(runcast_cluster: Cluster, address: str, user: str) -> None:
    runs = [f"r{index}" for index in range(50)]
    async with Producer(address) as producer:
        for number in range(1, 9):
            kind = START if number == 1 else END if number == 8 else WORK
            acks = await producer.store(*(make_batch(user, number, number, kind, run_id=run) for run in runs))
            assert not any(ack.duplicate for ack in acks)
    numbers: dict[str, list[int]] = {}
    for batch in await stored(runcast_cluster, user):
        numbers.setdefault(batch.run_id, []).append(batch.number)
    assert numbers == {run: list(range(1, 9)) for run in runs}


async def test_positions_rise_with_the_order_of_acknowledgement(address: str, user: str) -> None:
    async with Producer(address) as producer:
        positions = []
        for number in range(1, 6):
            (ack,) = await producer.store(make_batch(user, number, number, START if number == 1 else WORK))
            positions.append(ack.position)
    assert positions == sorted(set(positions))
    assert len({position.partition("-")[0] for position in positions}) == 1


async def test_refusals_cost_the_other_runs_of_the_stream_nothing(address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.store(make_batch(user, 1, 1, START, run_id="good"))
        wrong = {
            "id_invalid": make_batch("u" * 129, 1, 1, START),
            "batch_invalid": make_batch(user, 1, 1),
            "batch_too_large": make_batch(user, 1, 1, START, *[WORK] * 256),
            "event_too_large": make_batch(user, 1, 1, START),
            "batch_out_of_turn": make_batch(user, 7, 7, WORK, run_id="good"),
            "lifecycle_violation": make_batch(user, 1, 1, WORK),
        }
        wrong["event_too_large"].events[0].agent_started.title = "x" * limits.EVENT_BYTES_MAX
        for number, (code, batch) in enumerate(wrong.items(), 2):
            refusal = await producer.refused(batch)
            assert (refusal.code, refusal.retry, refusal.definite) == (code, False, True)
            await producer.store(make_batch(user, number, number, WORK, run_id="good"))
        await producer.store(make_batch(user, 1, 1, START, WORK))


async def test_a_stream_that_breaks_the_protocol_ends_with_its_code(address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.send(*(make_batch(user, 1, 1, START, run_id=f"r{index}") for index in range(limits.STREAM_WINDOW_BATCHES + 1)))
        assert await producer.ended() == (grpc.StatusCode.RESOURCE_EXHAUSTED, "flow_control")
    async with grpc.aio.insecure_channel(address) as channel:
        for payload, code in ((b"", "hello_expected"), (b"\xff\xff", "batch_invalid")):
            call = channel.stream_stream("/runcast.v1.IngestService/Publish")()
            await call.write(payload)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()
            assert dict(raised.value.trailing_metadata())["runcast-code"] == code


async def test_a_producer_that_closes_its_side_gets_every_answer(address: str, user: str) -> None:
    async with Producer(address) as producer:
        batches = [make_batch(user, 1, 1, START, run_id=f"r{index}") for index in range(600)]
        await producer.send(*batches)
        await producer.call.done_writing()
        await producer.listen(lambda: len(producer.acks) == len(batches))
        assert await producer.ended() == (grpc.StatusCode.OK, "")


# --- leases and keys of runs ---


def run_subject(place: subjects.RunPlace) -> str:
    return subjects.kv_subject(subjects.RUNS_BUCKET, place.key)


async def key_of(cluster: Cluster, user: str, producer: str, run_id: str = "r") -> tuple[dict[str, Any], dict[str, str]]:
    """What the key of a run says, and its headers."""
    key = UserKey("default", user)
    place = subjects.RunPlace(producer, subjects.shard_of(key, await shards_of(cluster)), key, run_id, 1)
    async with jetstream(cluster) as js:
        message = await js.get_last_msg(f"KV_{subjects.RUNS_BUCKET}", run_subject(place))
        return json.loads(message.data), message.headers or {}


async def test_a_run_s_key_is_there_before_its_first_batch_and_closed_after_its_end(
    runcast_cluster: Cluster, address: str, user: str
) -> None:
    async with Producer(address, user) as producer:
        await producer.store(make_batch(user, 1, 1, START, producer=user))
        value, headers = await key_of(runcast_cluster, user, user)
        assert (value["state"], headers["Nats-Expected-Last-Subject-Sequence"]) == ("open", "0")
        await producer.store(make_batch(user, 2, 2, END, producer=user))
        async with asyncio.timeout(5):
            while value["state"] == "open":
                value, headers = await key_of(runcast_cluster, user, user)
        assert (value["state"], value["number"], headers["KV-Operation"]) == ("ended", 2, "PURGE")
        assert headers["Nats-TTL"] == str(int(limits.RUN_TOMBSTONE_S))
        await producer.store(make_batch(user, 1, 1, START, END, producer=user, run_id="short"))
        with pytest.raises(nats.js.errors.NotFoundError):  # it never was open
            await key_of(runcast_cluster, user, user, "short")
    async with Producer(runcast_cluster.routers[1].address, user) as producer:  # a resend of an ended run's end
        assert (await producer.store(make_batch(user, 2, 2, END, producer=user)))[0].duplicate
        assert (await producer.refused(make_batch(user, 3, 3, WORK, producer=user))).code == "lifecycle_violation"


@pytest.mark.parametrize("kinds", [(START,), (START, END)], ids=["of an open run", "of a run of one batch"])
async def test_an_attempt_that_another_producer_has_is_refused(runcast_cluster: Cluster, user: str, kinds: tuple[str, ...]) -> None:
    """As two workers begin it that were handed the same message."""
    here, there = (node.address for node in runcast_cluster.routers)
    first, second = f"{user}-1", f"{user}-2"
    async with Producer(here, first) as one, Producer(there, second) as two:
        await one.store(make_batch(user, 1, 1, *kinds, producer=first))
        for other in ((START, WORK), (START, END)):
            refusal = await two.refused(make_batch(user, 1, 1, *other, producer=second))
            assert (refusal.code, refusal.retry, refusal.definite) == ("attempt_taken", False, True)
            assert "begin attempt 2" in refusal.message
        if END not in kinds:
            await one.store(make_batch(user, 2, 2, END, producer=first))
        assert (await two.refused(make_batch(user, 1, 1, START, producer=second))).code == "attempt_taken", "ended, and still its own"
        await two.store(make_batch(user, 1, 1, START, END, producer=second, attempt=2))
    async with Producer(there, first) as one:  # its own it may send again, anywhere
        assert (await one.store(make_batch(user, 1, 1, *kinds, producer=first)))[0].duplicate
    found = [(batch.producer, batch.attempt, batch.number) for batch in await stored(runcast_cluster, user)]
    assert found == [(first, 1, 1), *([] if END in kinds else [(first, 1, 2)]), (second, 2, 1)]


async def test_of_producers_that_begin_an_attempt_at_once_one_has_it(runcast_cluster: Cluster, user: str) -> None:
    producers = [Producer(runcast_cluster.routers[number % 2].address, f"{user}-{number}") for number in range(6)]
    for producer in producers:
        await producer.open()
    await asyncio.gather(*(producer.send(make_batch(user, 1, 1, START, WORK, producer=producer.producer)) for producer in producers))
    await asyncio.gather(*(producer.listen(lambda it=producer: bool(it.acks or it.refusals)) for producer in producers))
    assert sum(bool(producer.acks) for producer in producers) == 1
    assert {refusal.code for producer in producers for refusal in producer.refusals.values()} == {"attempt_taken"}
    assert len(await stored(runcast_cluster, user)) == 1
    for producer in producers:
        await producer.channel.close()


async def test_a_run_nobody_knows_can_t_be_taken_over(address: str, user: str) -> None:
    async with Producer(address) as producer:
        refusal = await producer.refused(make_batch(user, 4, 9, WORK))
        assert (refusal.code, refusal.retry, refusal.definite) == ("run_lost", False, True)
        assert "begin attempt 2" in refusal.message


async def test_a_run_that_is_given_up_is_lost_once_and_its_batches_are_refused(runcast_cluster: Cluster, address: str, user: str) -> None:
    abandon = RunAbandon(user=User(tenant="default", id=user), run_id="r", attempt=1)
    ended = RunAbandon(user=abandon.user, run_id="over", attempt=1)
    async with Producer(address) as producer:
        await producer.store(make_batch(user, 1, 1, START, WORK), make_batch(user, 1, 1, START, END, run_id="over"))
        for times in (1, 2):
            await producer.call.write(PublishRequest(abandons=[abandon, ended]))
            await producer.listen(lambda expected=2 * times: len(producer.abandoned) == expected)
        assert sorted(found.run_id for found in producer.abandoned) == ["over", "over", "r", "r"]
        for number in (1, 2):
            other = Producer(runcast_cluster.routers[1].address)
            async with other:
                assert (await other.refused(make_batch(user, number, number, START if number == 1 else WORK))).code == "run_lost"
    lost = [batch for batch in await stored(runcast_cluster, user) if batch.producer == "router"]
    assert [(batch.run_id, batch.number, batch.events[0].seq, batch.events[0].WhichOneof("kind")) for batch in lost] == [
        ("r", 2, 3, "run_lost")
    ]


# --- cancels ---


async def test_a_cancel_reaches_the_run_that_is_open_once(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.store(make_batch(user, 1, 1, START))
        await producer.store(make_batch(user, 1, 1, START, run_id="other"))
        await cancel(runcast_cluster, user, "r")
        await producer.listen(lambda: bool(producer.cancels))
        await cancel(runcast_cluster, user, "r")
        await cancel(runcast_cluster, user, "other")
        await producer.listen(lambda: len(producer.cancels) == 2)
    assert [(run.user.id, run.run_id, run.reason) for run in producer.cancels] == [(user, "r", "enough"), (user, "other", "enough")]


async def test_a_cancel_before_the_first_event_and_between_two_routers_is_honoured(runcast_cluster: Cluster, user: str) -> None:
    await cancel(runcast_cluster, user, "r")
    for number, router in enumerate(runcast_cluster.routers, 1):
        async with Producer(router.address) as producer:
            await producer.store(make_batch(user, number, number, START if number == 1 else WORK))
            await producer.listen(lambda found=producer: bool(found.cancels))
            assert [run.run_id for run in producer.cancels] == ["r"]


async def test_a_cancel_of_another_user_s_run_of_the_same_name_is_not_heard(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.store(make_batch(user, 1, 1, START))
        await producer.store(make_batch(user, 1, 1, START, run_id="sentinel"))
        await cancel(runcast_cluster, f"{user}-other", "r")
        await cancel(runcast_cluster, user, "sentinel")
        await producer.listen(lambda: bool(producer.cancels))
    assert [run.run_id for run in producer.cancels] == ["sentinel"]


# --- the inbox ---


async def test_messages_go_to_one_worker_each_and_are_gone_when_done(runcast_cluster: Cluster, user: str) -> None:
    sent = [f"m{index}" for index in range(30)]
    first_router, second_router = (node.address for node in runcast_cluster.routers)
    got: list[str] = []
    async with Worker(first_router, user, "w1", 3) as first, Worker(second_router, user, "w2", 3) as second:

        async def work(worker: Worker) -> None:
            while len(got) < len(sent):
                delivery = await worker.take()
                got.append(delivery.message.id)
                await worker.settle(delivery)

        working = [asyncio.create_task(work(worker)) for worker in (first, second)]
        for message_id in sent:
            await say(runcast_cluster, user, user, message_id)
        await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        assert sorted(got) == sorted(sent)
        await queue_is_empty(runcast_cluster, user)


async def test_a_worker_holds_no_more_than_it_asked_for(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Worker(address, user, in_flight_max=2) as worker:
        for index in range(5):
            await say(runcast_cluster, user, user, f"m{index}")
        held = [await worker.take(), await worker.take()]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.call.read(), 0.5)
    async with Worker(address, user, in_flight_max=5) as worker:
        found = [await worker.take() for _ in range(5)]
        assert {delivery.message.id for delivery in held} < {delivery.message.id for delivery in found}


async def test_what_a_worker_held_goes_to_another_at_once_when_its_stream_breaks(runcast_cluster: Cluster, user: str) -> None:
    first_router, second_router = (node.address for node in runcast_cluster.routers)
    async with Worker(first_router, user, "w1") as first:
        await say(runcast_cluster, user, user, "m")
        assert (await first.take()).tries == 1
        broken = time.monotonic()
    async with Worker(second_router, user, "w2") as second:
        delivery = await second.take()
        assert (delivery.message.id, delivery.tries) == ("m", 2)
        assert time.monotonic() - broken < limits.INBOX_ACK_WAIT_S / 2
        await second.settle(delivery)
        await queue_is_empty(runcast_cluster, user)


async def test_what_is_held_is_extended_and_not_delivered_again(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Worker(address, user, "w1") as first, Worker(address, user, "w2") as second:
        await say(runcast_cluster, user, user, "m")
        reads = {asyncio.ensure_future(worker.call.read()): worker for worker in (first, second)}
        done, pending = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
        (other,) = pending
        with pytest.raises(TimeoutError):  # longer than the server waits for an acknowledgement
            await asyncio.wait_for(other, limits.INBOX_ACK_WAIT_S + 1.5)
        (read,) = done
        await reads[read].settle(read.result().deliveries[0])
        await queue_is_empty(runcast_cluster, user)


async def test_retry_comes_back_and_reject_does_not(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Worker(address, user) as worker:
        await say(runcast_cluster, user, user, "m")
        await worker.settle(await worker.take(), DISPOSITION_RETRY)
        again = await worker.take()
        assert (again.message.id, again.tries) == ("m", 2)
        await worker.settle(again, DISPOSITION_REJECT)
        await queue_is_empty(runcast_cluster, user)


async def test_what_cannot_be_read_is_dropped_and_holds_up_nothing(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Worker(address, user, in_flight_max=1) as worker:
        await put(runcast_cluster, f"in.{subjects.encode_token(user)}.0.default.x", b"\xff\xff")
        await put(runcast_cluster, f"in.{subjects.encode_token(user)}.0.default.x", InboxMessage(id="nobody"))
        await say(runcast_cluster, user, user, "m")
        delivery = await worker.take()
        assert delivery.message.id == "m"
        await worker.settle(delivery)
        await queue_is_empty(runcast_cluster, user)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (ReceiveRequest(), "hello_expected"),
        (ReceiveRequest(hello=WorkerHello(worker="w")), "id_invalid"),
        (ReceiveRequest(hello=WorkerHello(group="g")), "id_invalid"),
    ],
)
async def test_a_worker_without_a_sound_hello_is_refused(address: str, request_: ReceiveRequest, code: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        call = inbox_pb2_grpc.InboxServiceStub(channel).Receive()
        await call.write(request_)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert dict(raised.value.trailing_metadata())["runcast-code"] == code


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
