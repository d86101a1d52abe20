"""A router's inbox: messages of users go to workers, once each while all is well."""

import asyncio
import time

import grpc
import grpc.aio
import pytest

from runcast.testkit.cluster import Cluster
from runcast.v1 import inbox_pb2_grpc
from runcast.v1.inbox_pb2 import (
    DISPOSITION_REJECT,
    DISPOSITION_RETRY,
    InboxMessage,
    ReceiveRequest,
    WorkerHello,
)
from runcast.wire import limits, subjects
from tests.delivery.routers import (
    Worker,
    put,
    queue_is_empty,
    say,
)

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
