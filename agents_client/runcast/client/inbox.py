"""What users send to an agent group, as it arrives: messages that are handed out, and given back with a disposition.

Rules.
1. A message is delivered again until it is settled: at least once. Here it is handed out once while it is held: a redelivery of a message
   that is still held only renews how it is settled, and one that was settled is answered from memory and not handed out.
2. A delivery id holds on its own stream only. A message that is settled after its stream broke is settled when it comes again.
3. Streams are opened again by themselves, to the next router, with full jitter; what is final (not let in) raises.
4. A message that its handler dropped without settling (it was garbage-collected) is handed out again when it is delivered again.

Invariant: at most `in_flight` messages are unsettled at the router, and no more are kept here.

Never imports nats, aiohttp or msgspec.
"""

import asyncio
import json
import logging
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, Self

import grpc.aio

from runcast.client.access import Access
from runcast.client.home import Home
from runcast.client.rim import open_channel, read, write
from runcast.client.routers import Routers
from runcast.v1.inbox_pb2 import (
    DISPOSITION_ACK,
    DISPOSITION_REJECT,
    DISPOSITION_RETRY,
    Disposition,
    InboxAck,
    InboxDelivery,
    ReceiveRequest,
    ReceiveResponse,
    WorkerHello,
)
from runcast.v1.inbox_pb2 import InboxMessage as WireMessage
from runcast.v1.inbox_pb2_grpc import InboxServiceStub
from runcast.wire import limits_client as limits
from runcast.wire.errors import RuncastError

_log = logging.getLogger("runcast.client")
_Call = grpc.aio.StreamStreamCall[ReceiveRequest, ReceiveResponse]
_Key = tuple[str, str, str]


class Answer(NamedTuple):
    """What the user answered to an `input_requested`.

    Attributes:
        run_id: the run that asked.
        request_id: what it asked.
        value: the answer, JSON-like.
    """

    run_id: str
    request_id: str
    value: Any


class InboxMessage:
    """Something a user sent to the group. Settle it with one of `ack`, `retry`, `reject`.

    Attributes:
        id: the sender's own id of it; a run that answers it names it in `reply_to`.
        tenant: the user's tenant.
        user: who sent it.
        group: to which agent group.
        thread: the conversation; may be empty.
        device: from which device.
        time_unix_ms: when it was taken in, milliseconds since the Unix epoch.
        text: what the user wrote; "" for an answer.
        tries: how often it was delivered, this time included.
    """

    def __init__(self, inbox: "Inbox", delivery: InboxDelivery) -> None:
        message: WireMessage = delivery.message
        self._inbox = inbox
        self._settled = False
        self.key = _key_of(message)
        self.id = message.id
        self.tenant = message.user.tenant
        self.user = message.user.id
        self.group = message.group
        self.thread = message.thread
        self.device = message.device
        self.time_unix_ms = message.time_unix_ms
        self.text = message.text.text
        self.tries = delivery.tries
        self._message = message

    @property
    def data(self) -> Any:
        """Further content, JSON-like; None when there is none.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self._message.text.data_json) if self._message.text.data_json else None

    @property
    def answer(self) -> Answer | None:
        """What the user answered; None when this is not an answer.

        Raises:
            ValueError: it is not JSON.
        """
        if not self._message.HasField("answer"):
            return None
        told = self._message.answer
        return Answer(told.run_id, told.request_id, json.loads(told.value_json) if told.value_json else None)

    async def ack(self) -> None:
        """Done: it is not delivered again. Without a connection that is remembered, and told later."""
        await self._settle(DISPOSITION_ACK)

    async def retry(self) -> None:
        """Not now: it is delivered again, maybe to another worker."""
        await self._settle(DISPOSITION_RETRY)

    async def reject(self) -> None:
        """Never: it is not delivered again."""
        await self._settle(DISPOSITION_REJECT)

    async def _settle(self, disposition: Disposition) -> None:
        if not self._settled:
            self._settled = True
            await self._inbox.settle(self, disposition)


class Inbox:
    """The messages of one agent group; made by `Runcast.inbox`, used with `async for`. Several tasks may iterate over one inbox.

    Args:
        routers: where to go.
        hello: the group, this worker, and how many messages it takes at once.
        draw: randomness for waits, 0.0 to 1.0.
        home: where it is used.
        access: how each stream gets in.

    Attributes:
        closed: the iteration has ended, or is about to.
    """

    def __init__(self, routers: Routers, hello: WorkerHello, draw: Callable[[], float], home: Home, access: Access | None = None) -> None:
        self._home = home
        self._access = access or Access()
        self._routers = routers
        self._hello = hello
        self._draw = draw
        self._stack = AsyncExitStack()
        self._call: _Call | None = None
        self._target = ""
        self._reading = asyncio.Lock()
        self._writing = asyncio.Lock()
        self.closed = False
        self._arrived: deque[InboxMessage] = deque()
        self._held: weakref.WeakValueDictionary[_Key, InboxMessage] = weakref.WeakValueDictionary()
        self._deliveries: dict[_Key, str] = {}  # of this stream, unsettled
        self._done: OrderedDict[_Key, Disposition] = OrderedDict()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> InboxMessage:
        """The next message; waits for it, and for a router, as long as it takes.

        Raises:
            StopAsyncIteration: the inbox, or its Runcast, was closed.
            RefusedError: no router will ever let this worker in.
            LifecycleError: it lives in another process or event loop.
        """
        self._home.check()
        async with self._reading:
            while not self.closed:
                if self._arrived:
                    return self._arrived.popleft()
                try:
                    await self._receive()
                except RuncastError as exc:
                    await self._leave()
                    if not exc.code.retry:
                        raise
                    wait_s = self._routers.failed(self._draw())
                    if not self.closed:
                        level = logging.WARNING if self._routers.worth_telling else logging.INFO
                        _log.log(level, "inbox %s: %s; going to the next router in %.2f s", self._hello.group, exc, wait_s)
                        await asyncio.sleep(wait_s)
                except asyncio.CancelledError:  # a read that is cancelled takes its stream with it
                    await self._leave()
                    raise
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the iteration; what is not settled goes to another worker."""
        self.closed = True
        self._arrived.clear()
        await self._leave()

    async def settle(self, message: InboxMessage, disposition: Disposition) -> None:
        """Give a message back (`InboxMessage.ack` and its like); raises LifecycleError as `__anext__`."""
        self._home.check()
        self._held.pop(message.key, None)
        if disposition != DISPOSITION_RETRY:
            self._done[message.key] = disposition
            while len(self._done) > limits.DONE_MESSAGES_MAX:
                self._done.popitem(last=False)
        delivery_id = self._deliveries.pop(message.key, "")
        if delivery_id:
            await self._answer([InboxAck(delivery_id=delivery_id, disposition=disposition)])

    # --- inside ---

    async def _receive(self) -> None:
        """Take one response of the stream, opening one if need be."""
        if self._call is None:
            await self._enter()
        call = self._call
        if call is None:
            return
        response = await read(call, self._target)
        if response is None:
            await self._leave()
            return
        self._routers.worked()
        answers = []
        for delivery in response.deliveries:
            key = _key_of(delivery.message)
            if key in self._done:
                answers.append(InboxAck(delivery_id=delivery.delivery_id, disposition=self._done[key]))
                continue
            self._deliveries[key] = delivery.delivery_id
            if key not in self._held:
                message = InboxMessage(self, delivery)
                self._held[key] = message
                self._arrived.append(message)
        if answers:
            await self._answer(answers)
        if response.go_away:
            await self._leave()

    async def _enter(self) -> None:
        self._target = self._routers.take()
        metadata = await self._access.metadata()
        channel = await self._stack.enter_async_context(open_channel(self._target, self._routers.patience_s, self._access.tls))
        call = InboxServiceStub(channel).Receive(metadata=metadata)
        await write(call, ReceiveRequest(hello=self._hello), self._target)
        if self.closed:
            await self._leave()
            return
        self._call = call

    async def _leave(self) -> None:
        """Drop the stream; delivery ids of it mean nothing any more."""
        self._call = None
        self._deliveries.clear()
        await self._stack.aclose()

    async def _answer(self, answers: list[InboxAck]) -> None:
        """Send dispositions; if that fails they are given again when the messages come again."""
        async with self._writing:
            if self._call is None:
                return
            try:
                await write(self._call, ReceiveRequest(acks=answers), self._target)
            except RuncastError as exc:
                _log.info("inbox %s: a disposition was not sent (%s); it is given when the message comes again", self._hello.group, exc)


def _key_of(message: WireMessage) -> _Key:
    return (message.user.tenant, message.user.id, message.id)
