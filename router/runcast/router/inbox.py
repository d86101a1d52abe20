"""InboxService: hands what users sent to a group's workers (PROTOCOL.md, "Agents: gRPC").

Rules:
    - A worker holds at most what it asked for; as many are pulled as it has room for.
    - What it holds is extended while its stream lives, so that a worker may take its time; when the stream ends, all of it is
      given back at once and goes to another worker. When this router ends, the server gives it to another one after
      `limits.INBOX_ACK_WAIT_S`.
    - Done is done when the server has confirmed it; until then the message counts as held.
    - A delivery id is the message's place in the inbox. If the server delivers again what is held here (it did not hear our
      extension), the worker is not bothered.
    - A stored message that can't be read is rejected and logged; nobody could handle it.

Invariants: `len(held) <= in_flight_max`; there is at most one pull under way.
"""

import asyncio
import contextlib
import random
import re
import time
from collections import OrderedDict
from typing import Any, Final

import grpc.aio
from google.protobuf.message import DecodeError

from runcast.bus.queue import Delivery, GroupQueue
from runcast.router.auth import Authenticator, Principal, admit
from runcast.router.node import Leavable, Node
from runcast.router.status import hello_late, refuse_call
from runcast.v1 import inbox_pb2_grpc
from runcast.v1.inbox_pb2 import (
    DISPOSITION_ACK,
    DISPOSITION_REJECT,
    DISPOSITION_RETRY,
    Disposition,
    InboxAck,
    InboxDelivery,
    InboxMessage,
    ReceiveRequest,
    ReceiveResponse,
)
from runcast.wire import limits
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import check_id

ReceiveContext = grpc.aio.ServicerContext[ReceiveRequest, ReceiveResponse]

_PULL_MARGIN_S: Final = 0.5
"""How much later than a pull's end it counts as lost."""
_SEQ: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
"""A delivery id of ours."""
_COUNTED: Final = {DISPOSITION_ACK: "done", DISPOSITION_RETRY: "retried", DISPOSITION_REJECT: "rejected"}
_GIVE_BACK_S: Final = 1.0
"""For giving back what a worker that left held."""


class InboxService(inbox_pb2_grpc.InboxServiceServicer):
    """`runcast.v1.InboxService`."""

    def __init__(self, node: Node, authenticator: Authenticator) -> None:
        self._node = node
        self._authenticator = authenticator

    async def Receive(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: ARG002, N802 # gRPC's names
        """Serve one worker until it goes, or the router stops."""
        principal = await admit(self._authenticator, context)
        node = self._node
        try:
            node.admit_stream(node.workers)
            async with asyncio.timeout(limits.HELLO_TIMEOUT_S):
                request = await context.read()
            group, worker, in_flight_max = _read_hello(request)
        except TimeoutError:
            await refuse_call(context, hello_late())
        except DecodeError as exc:
            await refuse_call(context, RuncastError(f"the first request is not a ReceiveRequest: {exc}", code="hello_expected"))
        except RuncastError as exc:
            await refuse_call(context, exc)
        stream = _Worker(node, context, principal, group, worker, in_flight_max)
        node.workers.add(stream)
        try:
            error = await stream.serve()
        finally:
            node.remove(stream)
        if error is not None:
            await refuse_call(context, error)


def _read_hello(request: object) -> tuple[str, str, int]:
    """Group, worker and in_flight_max.

    Raises:
        RuncastError: `hello_expected` or `id_invalid`.
    """
    if not isinstance(request, ReceiveRequest) or not request.HasField("hello"):
        raise RuncastError("the first request carries no hello; say which group's messages you want", code="hello_expected")
    hello = request.hello
    wanted = min(max(hello.in_flight_max, 1), limits.INBOX_IN_FLIGHT_MAX)
    return check_id(hello.group, "group"), check_id(hello.worker, "worker id"), wanted


class _Held:
    """A message that the worker has, and what the worker said became of it."""

    __slots__ = ("delivery", "disposition")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.disposition: Disposition | None = None


class _Worker(Leavable):
    """One Receive stream."""

    def __init__(self, node: Node, context: ReceiveContext, principal: Principal, group: str, worker: str, in_flight_max: int) -> None:
        self._node = node
        self._context = context
        self._in_flight_max = in_flight_max
        self._log = node.log.bind(group=group, worker=worker)
        self._peer = principal.name
        self._queue = GroupQueue(node.bus, group, self._take, self._pull_ended)
        self._group = asyncio.TaskGroup()
        self._reader: asyncio.Task[None] | None = None
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._waiting: list[InboxDelivery] = []
        self._credit = 0
        self._problem = ""
        self._wake_writer = asyncio.Event()
        self._wake_puller = asyncio.Event()
        self._leaving = False
        self._closed = False
        self._go_away = False
        self._error: RuncastError | None = None
        self._opened = time.monotonic()
        self._counts = dict.fromkeys(("delivered", *_COUNTED.values()), 0)

    async def serve(self) -> RuncastError | None:
        """Serve until the end; returns the error that the stream ends with, None when the worker closed it."""
        self._log.info("worker_opened", in_flight_max=self._in_flight_max, peer=self._peer)
        why = "broken"
        try:
            async with self._group as group:
                self._reader = group.create_task(self._read())
                others = [group.create_task(part) for part in (self._write(), self._pull(), self._extend())]
                try:
                    await asyncio.wait([self._reader])
                finally:
                    self._closed = True
                for task in others:
                    task.cancel()
            why = self._error.code.name if self._error else "closed"
        except* grpc.aio.BaseError:  # the connection is gone: nobody is left to answer
            self._error = None
        finally:
            await self._give_back()
            seconds = round(time.monotonic() - self._opened, 3)
            self._log.info("worker_closed", seconds=seconds, why=why, given_back=len(self._held), **self._counts)
        return self._error

    def leave(self, reason: str, grace_ms: int) -> None:  # noqa: ARG002 # the response has no place for them
        """Tell the worker to go to another router; what it holds may still be settled here."""
        self._leaving = self._go_away = True
        self._wake_writer.set()
        self._wake_puller.set()
        self._end_if_left()

    def end(self) -> None:
        """End the stream; what is held goes to others."""
        self._error = RuncastError("this router stops; go to another one", code="draining")
        if self._reader is not None:
            self._reader.cancel()

    def _end_if_left(self) -> None:
        """A stream that was sent away and holds nothing is over, once the worker was told."""
        if self._leaving and not self._go_away and not self._held:
            self.end()

    # --- tasks ---

    async def _read(self) -> None:
        while True:
            try:
                request = await self._context.read()
            except DecodeError as exc:
                self._error = RuncastError(f"a request is not a ReceiveRequest: {exc}", code="batch_invalid")
                return
            if not isinstance(request, ReceiveRequest):  # grpc.aio.EOF
                return
            if request.HasField("hello"):
                self._error = RuncastError("hello came twice; send it in the first request only", code="hello_expected")
                return
            for ack in request.acks:
                self._settle(ack)

    async def _write(self) -> None:
        while True:
            await self._wake_writer.wait()
            self._wake_writer.clear()
            while self._waiting or self._go_away:
                response = ReceiveResponse(deliveries=self._waiting[: limits.INBOX_DELIVERIES_MAX], go_away=self._go_away)
                del self._waiting[: limits.INBOX_DELIVERIES_MAX]
                self._go_away = False
                await self._context.write(response)
            self._end_if_left()

    async def _pull(self) -> None:
        """Keep one pull under way while there is room."""
        wait_s = limits.BACKOFF_FIRST_S
        opened = False
        while not self._leaving:
            self._wake_puller.clear()
            room = self._in_flight_max - len(self._held)
            if not room:
                await self._wake_puller.wait()
                continue
            try:
                if not opened:
                    self._node.require_deployment()
                    await self._queue.open()
                    opened = True
                self._credit, self._problem = room, ""
                await self._queue.pull(room, limits.INBOX_PULL_S)
                await self._pull_over()
                if self._problem:
                    raise UnavailableError(f"the inbox answered {self._problem}")
                wait_s = limits.BACKOFF_FIRST_S
            except UnavailableError as exc:
                opened = False
                self._log.debug("inbox_unavailable", error=exc.message)
                await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311 # jitter, not a secret
                wait_s = min(2 * wait_s, limits.BACKOFF_MAX_S)

    async def _pull_over(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.INBOX_PULL_S + _PULL_MARGIN_S):
                while self._credit > 0 and not self._leaving:
                    self._wake_puller.clear()
                    await self._wake_puller.wait()

    async def _extend(self) -> None:
        """Tell the server, for everything held, that it is worked on."""
        while True:
            await asyncio.sleep(limits.INBOX_EXTEND_S)
            for held in list(self._held.values()):
                with contextlib.suppress(UnavailableError):  # the server delivers it again, and is told then
                    await self._queue.extend(held.delivery)

    async def _confirm(self, held: _Held) -> None:
        """Settle a message, and try again until the server has confirmed it."""
        wait_s = limits.BACKOFF_FIRST_S
        for _ in range(limits.INBOX_SETTLE_TRIES_MAX):
            try:
                await (self._queue.done(held.delivery) if held.disposition == DISPOSITION_ACK else self._queue.reject(held.delivery))
                break
            except UnavailableError:
                await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311 # jitter, not a secret
                wait_s = min(2 * wait_s, limits.BACKOFF_MAX_S)
        else:
            self._log.warning("message_not_settled", seq=held.delivery.seq)
        self._release(held.delivery.seq)

    async def _retry(self, held: _Held) -> None:
        with contextlib.suppress(UnavailableError):  # it is delivered again after its time
            await self._queue.retry(held.delivery, limits.INBOX_RETRY_DELAY_S)
        self._release(held.delivery.seq)

    async def _give_back(self) -> None:
        """What the worker held goes to others at once; bounded, since the process may be about to end."""
        with contextlib.suppress(TimeoutError, UnavailableError):  # then the server's own clock does it
            async with asyncio.timeout(_GIVE_BACK_S):
                await self._queue.close()
                for held in self._held.values():
                    if held.disposition == DISPOSITION_ACK:
                        await self._queue.tell_done(held.delivery)
                    else:
                        await self._queue.retry(held.delivery, 0.0)

    # --- messages ---

    def _take(self, delivery: Delivery) -> None:
        self._credit -= 1
        self._wake_puller.set()
        known = self._held.get(delivery.seq)
        if known is not None:
            known.delivery = delivery
            return
        held = self._held[delivery.seq] = _Held(delivery)
        if self._closed:  # given back with the others
            return
        try:
            message = InboxMessage.FromString(delivery.data)
            for value, what in ((message.id, "message id"), (message.user.tenant, "tenant id"), (message.user.id, "user id")):
                check_id(value, what)
        except (DecodeError, RuncastError) as exc:
            self._log.error("message_unreadable", seq=delivery.seq, error=str(exc))
            self._start(held, DISPOSITION_REJECT)
            return
        if self._leaving or len(self._held) > self._in_flight_max:  # a late answer to a pull that was given up
            self._start(held, DISPOSITION_RETRY)
            return
        self._counts["delivered"] += 1
        self._waiting.append(InboxDelivery(delivery_id=str(delivery.seq), tries=delivery.tries, message=message))
        self._wake_writer.set()

    def _pull_ended(self, problem: str) -> None:
        self._credit, self._problem = 0, problem
        self._wake_puller.set()

    def _settle(self, ack: InboxAck) -> None:
        held = self._held.get(int(ack.delivery_id)) if _SEQ.fullmatch(ack.delivery_id) else None
        if held is None or held.disposition is not None:  # settled before, or never delivered here
            return
        # Of a word that this version does not know, the safest meaning is that the message is delivered again.
        known = ack.disposition in (DISPOSITION_ACK, DISPOSITION_REJECT)
        self._start(held, ack.disposition if known else DISPOSITION_RETRY)

    def _start(self, held: _Held, disposition: Disposition) -> None:
        held.disposition = disposition
        self._counts[_COUNTED[disposition]] += 1
        self._group.create_task(self._retry(held) if disposition == DISPOSITION_RETRY else self._confirm(held))

    def _release(self, seq: int) -> None:
        self._held.pop(seq, None)
        self._wake_puller.set()
        self._end_if_left()
