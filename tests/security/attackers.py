"""Who attacks: a page that says anything to an edge, and an agent that says anything to a router. Both keep every byte that they get."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self

import aiohttp
import grpc.aio
import jwt
from google.protobuf.message import Message

from runcast.v1 import inbox_pb2_grpc, ingest_pb2_grpc
from runcast.v1.event_pb2 import Batch, Event, User
from runcast.v1.inbox_pb2 import InboxDelivery, ReceiveRequest, WorkerHello
from runcast.v1.ingest_pb2 import ProducerHello, PublishRequest
from runcast.wire.frames import CODECS, ClientFrame, Codec, Error, Hello, Send, Sent, ServerFrame, Welcome
from runcast.wire.frames import Batch as BatchFrame
from runcast.wire.ids import UserKey, event_id

PATIENCE_S = 20.0


class Page:
    """A WebSocket to an edge that does nothing by itself.

    Attributes:
        raw: messages, as they came.
        frames: what they say.
        close_code: how it ended.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, subprotocol: str) -> None:
        self.raw: list[bytes] = []
        self.frames: list[ServerFrame] = []
        self.close_code: int | None = None
        self._http = http
        self._url = url
        self._codec: Codec = CODECS[subprotocol]
        self._news = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._ws = await self._http.ws_connect(self._url, protocols=[self._codec.subprotocol], max_msg_size=0)
        self._reader = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        await self._ws.close()
        if self._reader is not None:
            await self._reader

    async def hello(self, token: str, device: str, position: str = "earliest") -> ServerFrame:
        """Say hello; returns the welcome, or the error that came instead of it."""
        await self.say(Hello(device=device, position=position, token=token))
        return await self.next(Welcome | Error)

    async def say(self, frame: ClientFrame) -> None:
        await self.say_raw(self._codec.encode(frame))

    async def say_raw(self, payload: bytes) -> None:
        try:
            await (self._ws.send_bytes(payload) if self._codec.binary else self._ws.send_str(payload.decode()))
        except ConnectionError:
            assert self._ws.closed  # the edge had enough: how it said so is in `close_code`

    async def send(self, send: Send) -> Sent | Error:
        """Send, and wait for its answer."""
        before = len(self.frames)
        await self.say(send)
        answer = await self.next(Sent | Error, before)
        assert isinstance(answer, Sent | Error)
        return answer

    async def next(self, kind: Any, after: int = 0) -> ServerFrame:
        """The first frame of a kind, behind so many others."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self._news.clear()
                for frame in self.frames[after:]:
                    if isinstance(frame, kind):
                        return frame
                assert not self._ws.closed, f"closed with {self.close_code} before {kind}: {self.frames[-3:]}"
                await self._news.wait()

    async def events(self, count: int) -> list[Event]:
        """Wait for so many events."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()
        return self.got

    async def ended(self) -> int | None:
        """The close code."""
        assert self._reader is not None
        await asyncio.wait_for(asyncio.shield(self._reader), PATIENCE_S)
        return self.close_code

    @property
    def got(self) -> list[Event]:
        return [event for frame in self.frames if isinstance(frame, BatchFrame) for event in frame.events]

    @property
    def positions(self) -> list[str]:
        return [frame.pos for frame in self.frames if isinstance(frame, BatchFrame)]

    async def _read(self) -> None:
        async for message in self._ws:
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            self.raw.append(data)
            self.frames.append(self._codec.decode_server(data))
            self._news.set()
        self.close_code = self._ws.close_code
        self._news.set()


class Stream:
    """A Publish or Receive stream that does nothing by itself.

    Attributes:
        responses: all that came.
        ended: (gRPC status, code of the table, text) once the router has ended it.
    """

    def __init__(self, address: str, key: str) -> None:
        self.responses: list[Any] = []
        self.ended: tuple[str, str, str] | None = None
        self._channel = grpc.aio.insecure_channel(address)
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._news = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._call = self._open()
        self._reader = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        await self._channel.close()
        if self._reader is not None:
            await self._reader

    def _open(self) -> Any:
        raise NotImplementedError

    async def say(self, request: Message) -> None:
        try:
            await self._call.write(request)
        except (grpc.aio.BaseError, asyncio.InvalidStateError):
            await self.until(lambda: self.ended)  # the router had enough: how it said so is there

    async def until(self, found: Any) -> Any:
        """Wait until `found()` is something."""
        async with asyncio.timeout(PATIENCE_S):
            while not (value := found()):
                self._news.clear()
                await self._news.wait()
        return value

    async def _read(self) -> None:
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                self.responses.append(response)
                self._news.set()
            self.ended = ((await self._call.code()).name, "", "")
        except grpc.aio.AioRpcError as exc:
            code = str(dict(exc.trailing_metadata() or ()).get("runcast-code", ""))
            self.ended = (exc.code().name, code, exc.details() or "")
        except asyncio.CancelledError:
            self.ended = ("CANCELLED", "", "")
        self._news.set()


class Producer(Stream):
    """A Publish stream, its hello said."""

    def __init__(self, address: str, key: str, producer: str) -> None:
        super().__init__(address, key)
        self.producer = producer

    def _open(self) -> Any:
        return ingest_pb2_grpc.IngestServiceStub(self._channel).Publish(metadata=self._metadata, wait_for_ready=True)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.say(PublishRequest(hello=ProducerHello(producer=self.producer, agent="worker")))
        return self

    def all(self, field: str) -> list[Any]:
        """Of all responses, one of the repeated fields."""
        return [each for response in self.responses for each in getattr(response, field)]

    async def answer(self, batch: Batch) -> Any:
        """Send a batch; its ack or refusal."""
        before = len(self.all("acks")), len(self.all("refusals"))

        def found() -> Any:
            answers = [*self.all("acks")[before[0] :], *self.all("refusals")[before[1] :]]
            return next((a for a in answers if (a.run_id, a.attempt, a.number) == (batch.run_id, batch.attempt, batch.number)), self.ended)

        await self.say(PublishRequest(batches=[batch]))
        return await self.until(found)


class Worker(Stream):
    """A Receive stream, its hello said."""

    def __init__(self, address: str, key: str, group: str) -> None:
        super().__init__(address, key)
        self._group = group

    def _open(self) -> Any:
        return inbox_pb2_grpc.InboxServiceStub(self._channel).Receive(metadata=self._metadata, wait_for_ready=True)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.say(ReceiveRequest(hello=WorkerHello(group=self._group, worker="w", in_flight_max=1000)))
        return self

    @property
    def deliveries(self) -> list[InboxDelivery]:
        return [delivery for response in self.responses for delivery in response.deliveries]


def make_batch(user: UserKey, producer: str, run_id: str, number: int, *events: Event, attempt: int = 1, first: int = 1) -> Batch:
    """A batch of events that say only what they are."""
    owner = User(tenant=user.tenant, id=user.user)
    batch = Batch(user=owner, producer=producer, run_id=run_id, attempt=attempt, number=number, events=events)
    for seq, event in enumerate(batch.events, first):
        event.id, event.run_id, event.attempt, event.seq, event.agent = event_id(run_id, attempt, seq), run_id, attempt, seq, "worker"
    return batch


def make_token(secret: str, **claims: Any) -> str:
    """A JWT with these claims, whatever they are."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), secret, "HS256")
