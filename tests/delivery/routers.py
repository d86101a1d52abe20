"""Speaking to routers over real gRPC, as producers and workers do, and looking at what they stored."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
import nats
import nats.js.errors
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runcast.testkit.cluster import Cluster
from runcast.testkit.node import Node
from runcast.v1 import inbox_pb2_grpc, ingest_pb2_grpc
from runcast.v1.event_pb2 import Batch, Event, User
from runcast.v1.inbox_pb2 import (
    DISPOSITION_ACK,
    CancelRequest,
    InboxAck,
    InboxDelivery,
    InboxMessage,
    KeptAnswer,
    ReceiveRequest,
    WorkerHello,
)
from runcast.v1.ingest_pb2 import AnswerAsk, ProducerHello, PublishRequest, PublishResponse
from runcast.wire import limits, subjects
from runcast.wire.ids import UserKey

START, WORK, END = "agent_started", "agent_thinking", "agent_completed"


class Call:
    """A bidirectional call to a router, with a producer's or worker's hello said."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self.call: Any = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        await self.channel.close()

    async def open(self) -> None:
        raise NotImplementedError

    async def read(self) -> Any:
        """The next response; fails after 10 s."""
        return await asyncio.wait_for(self.call.read(), 10)

    async def ended(self) -> tuple[grpc.StatusCode, str]:
        """Read on until the router ends the call; how it did: status, and code of the table."""
        try:
            async with asyncio.timeout(10):
                while await self.call.read() is not grpc.aio.EOF:
                    pass
        except grpc.aio.AioRpcError as exc:
            return exc.code(), str(dict(exc.trailing_metadata() or ()).get("runcast-code", ""))
        return await self.call.code(), ""


class Producer(Call):
    """One Publish stream."""

    def __init__(self, address: str, producer: str = "p") -> None:
        super().__init__(address)
        self.producer = producer
        self.acks: dict[tuple[str, int], Any] = {}
        self.refusals: dict[tuple[str, int], Any] = {}
        self.cancels: list[Any] = []
        self.abandoned: list[Any] = []
        self.answers: list[Any] = []
        self.gone_away = False
        self.horizon_ms = 0

    async def open(self) -> None:
        self.call = ingest_pb2_grpc.IngestServiceStub(self.channel).Publish(wait_for_ready=True)
        await self.call.write(PublishRequest(hello=ProducerHello(producer=self.producer, agent="test")))
        response = await self.read()
        assert response.hello.window.batches == limits.STREAM_WINDOW_BATCHES
        self.horizon_ms = response.hello.resend_horizon_ms

    async def send(self, *batches: Batch) -> None:
        await self.call.write(PublishRequest(batches=batches))

    async def listen(self, until: Callable[[], bool]) -> None:
        while not until():
            response = await self.read()
            assert isinstance(response, PublishResponse)
            self.acks |= {(ack.run_id, ack.number): ack for ack in response.acks}
            self.refusals |= {(refusal.run_id, refusal.number): refusal for refusal in response.refusals}
            self.cancels += response.cancels
            self.abandoned += response.abandoned
            self.answers += response.answers
            self.gone_away |= response.HasField("go_away")

    async def ask(self, user: str, *request_ids: str, run_id: str = "r", dropped: bool = False) -> None:
        asks = [AnswerAsk(user=User(tenant="default", id=user), run_id=run_id, request_id=name, dropped=dropped) for name in request_ids]
        await self.call.write(PublishRequest(answer_asks=asks))

    async def store(self, *batches: Batch) -> list[Any]:
        """Send batches of different runs, and wait until they are stored."""
        await self.send(*batches)
        keys = [(batch.run_id, batch.number) for batch in batches]
        for key in keys:
            self.acks.pop(key, None)
        await self.listen(lambda: all(key in self.acks for key in keys))
        return [self.acks[key] for key in keys]

    async def refused(self, batch: Batch) -> Any:
        await self.send(batch)
        await self.listen(lambda: (batch.run_id, batch.number) in self.refusals)
        return self.refusals.pop((batch.run_id, batch.number))


class Worker(Call):
    """One Receive stream."""

    def __init__(self, address: str, group: str, worker: str = "w", in_flight_max: int = 10) -> None:
        super().__init__(address)
        self.hello = WorkerHello(group=group, worker=worker, in_flight_max=in_flight_max)
        self.waiting: list[InboxDelivery] = []

    async def open(self) -> None:
        self.call = inbox_pb2_grpc.InboxServiceStub(self.channel).Receive(wait_for_ready=True)
        await self.call.write(ReceiveRequest(hello=self.hello))

    async def take(self) -> InboxDelivery:
        while not self.waiting:
            response = await self.read()
            assert response is not grpc.aio.EOF
            self.waiting += response.deliveries
        return self.waiting.pop(0)

    async def settle(self, delivery: InboxDelivery, disposition: Any = DISPOSITION_ACK) -> None:
        await self.call.write(ReceiveRequest(acks=[InboxAck(delivery_id=delivery.delivery_id, disposition=disposition)]))


def make_batch(user: str, number: int, first_seq: int, *kinds: str, run_id: str = "r", producer: str = "p", attempt: int = 1) -> Batch:
    batch = Batch(user=User(tenant="default", id=user), producer=producer, run_id=run_id, attempt=attempt, number=number)
    for seq, kind in enumerate(kinds, first_seq):
        event = Event(id=f"{run_id}.{attempt}.{seq}", run_id=run_id, attempt=attempt, seq=seq, agent="test")
        getattr(event, kind).SetInParent()
        batch.events.append(event)
    return batch


@contextlib.asynccontextmanager
async def jetstream(cluster: Cluster) -> AsyncIterator[Any]:
    connection = await nats.connect(cluster.nats_url)
    try:
        yield connection.jetstream()
    finally:
        await connection.close()


async def shards_of(cluster: Cluster) -> int:
    async with jetstream(cluster) as js:
        record = await (await js.key_value(subjects.META_BUCKET)).get(subjects.META_DEPLOYMENT)
    return json.loads(record.value)["shards"]


async def stored(cluster: Cluster, user: str) -> list[Batch]:
    """Everything that is stored for a user."""
    key = UserKey("default", user)
    subject = subjects.event_subject(key, subjects.shard_of(key, await shards_of(cluster)))
    async with jetstream(cluster) as js:
        subscription = await js.subscribe(subject, ordered_consumer=True)
        found: list[Batch] = []
        while True:
            message = await subscription.next_msg(5)
            found.append(Batch.FromString(message.data))
            if not message.metadata.num_pending:
                return found


async def put(cluster: Cluster, subject: str, message: Message | bytes) -> None:
    async with jetstream(cluster) as js:
        await js.publish(subject, message if isinstance(message, bytes) else message.SerializeToString())


async def cancel(cluster: Cluster, user: str, run_id: str) -> None:
    """What an edge does when a user cancels."""
    key = UserKey("default", user)
    request = CancelRequest(user=User(tenant="default", id=user), run_id=run_id, reason="enough", time_unix_ms=int(time.time() * 1000))
    name = subjects.cancel_key(key, subjects.shard_of(key, await shards_of(cluster)), run_id)
    async with jetstream(cluster) as js:
        headers = {"Nats-TTL": "60"}
        await js.publish(subjects.kv_subject(subjects.RUNS_BUCKET, name), request.SerializeToString(), headers=headers)


async def answer(cluster: Cluster, user: str, run_id: str, request_id: str, value: bytes = b"true") -> None:
    """What an edge does when a user answers."""
    key = UserKey("default", user)
    kept = KeptAnswer(user=User(tenant="default", id=user), run_id=run_id, request_id=request_id, value_json=value, device="d1")
    name = subjects.answer_key(key, subjects.shard_of(key, await shards_of(cluster)), run_id, request_id)
    async with jetstream(cluster) as js:
        await js.publish(subjects.kv_subject(subjects.RUNS_BUCKET, name), kept.SerializeToString(), headers={"Nats-TTL": "60"})


async def say(cluster: Cluster, user: str, group: str, message_id: str) -> None:
    """What an edge does when a user writes to a group."""
    key = UserKey("default", user)
    message = InboxMessage(id=message_id, user=User(tenant="default", id=user), group=group)
    message.text.text = message_id
    await put(cluster, subjects.inbox_subject(group, key, subjects.shard_of(key, await shards_of(cluster))), message)


@contextlib.asynccontextmanager
async def watch_health(node: Node) -> AsyncIterator[Any]:
    """Follow a router's health as a load balancer does."""
    async with grpc.aio.insecure_channel(node.address) as channel:
        call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)

        async def until(*, serving: bool) -> None:
            wanted = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            async with asyncio.timeout(15):
                while (await call.read()).status != wanted:
                    pass

        yield until


async def queue_is_empty(cluster: Cluster, group: str) -> None:
    """Wait until nothing of a group is kept."""
    async with jetstream(cluster) as js, asyncio.timeout(10):
        while True:
            info = await js.stream_info(subjects.INBOX_STREAM, subjects_filter=subjects.inbox_group_subjects(group))
            if not info.state.subjects:
                return
            await asyncio.sleep(0.05)  # a stream's state has nothing to wait on
