"""IngestService: carries out what `runcast.router.ingest` decides for each Publish stream.

Rules: each stream has one reader, one writer, and a task for each batch under way (at most `limits.STREAM_WINDOW_BATCHES`),
all in one TaskGroup. Answers that are ready when the writer comes round go out in one response. A producer that does not read
its answers is not read from either: past `limits.STREAM_WINDOW_BATCHES` waiting answers the reader pauses, and HTTP/2 flow
control holds the producer up.

When a stream breaks, batches under way may be stored or not; the producer sends them again elsewhere, and storage recognises
them.
"""

import asyncio
import contextlib
import time
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from runcast.bus.rpc_status import refuse_call
from runcast.router.auth import Authenticator, Principal, admit
from runcast.router.effects import (
    Acked,
    Answered,
    Asked,
    Await,
    Cancelled,
    Closed,
    Dropped,
    End,
    GivenUp,
    Greeted,
    Left,
    Opened,
    Refused,
    RequestKey,
    RunKey,
    Settled,
    Store,
)
from runcast.router.ingest import ProducerStream
from runcast.router.leases import Holder
from runcast.router.node import Node, Publishing
from runcast.router.principals import Principals
from runcast.router.status import hello_late
from runcast.v1 import ingest_pb2_grpc
from runcast.v1.ingest_pb2 import (
    BatchAck,
    BatchRefusal,
    GoAway,
    IsOnlineRequest,
    IsOnlineResponse,
    ProducerHello,
    PublishRequest,
    PublishResponse,
    Receipt,
    RouterHello,
    RunAbandon,
    RunAnswer,
    RunCancel,
    Window,
)
from runcast.wire import VERSION, limits
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey, check_id
from runcast.wire.position import parse_position


class StreamLostError(Exception):
    """The connection under a stream broke."""


DENIED: Final = "permission_denied"
NOTED: Final = frozenset({DENIED, "rate_limited"})
"""Refusals that operators are told of."""
PublishContext = grpc.aio.ServicerContext[PublishRequest, PublishResponse]


class PublishService(ingest_pb2_grpc.IngestServiceServicer):
    """`runcast.v1.IngestService`."""

    def __init__(self, node: Node, authenticator: Authenticator, principals: Principals) -> None:
        self._node = node
        self._authenticator = authenticator
        self._principals = principals

    async def Publish(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: ARG002, N802 # gRPC's names
        """Serve one producer until it goes, breaks the protocol, or the router stops."""
        node = self._node
        principal = await admit(self._authenticator, context, node.denials)
        try:
            node.admit_stream(node.producers)
        except RuncastError as exc:
            await refuse_call(context, exc)
        stream = _Stream(node, context, principal)
        node.producers.add(stream)
        try:
            with self._principals.holding(stream, principal):
                error = await stream.serve()
        finally:
            node.remove(stream)
            stream.close()
        if error is not None:
            await refuse_call(context, error)

    async def IsOnline(self, request: IsOnlineRequest, context: Any) -> IsOnlineResponse:  # noqa: N802 # gRPC's name
        """Tell whether a device of a user is connected, to any edge."""
        node = self._node
        principal = await admit(self._authenticator, context, node.denials)
        try:
            principal.scopes.check_tenant(request.user.tenant)
            user = UserKey(check_id(request.user.tenant, "tenant id"), check_id(request.user.id, "user id"))
            found = await node.receipts.presence.ask(user, node.shard_of(user), first=True)
        except RuncastError as exc:
            if exc.code.name == DENIED:
                node.denials.note(principal.name, exc.code.name, exc.message)
            await refuse_call(context, exc)
        return IsOnlineResponse(online=bool(found))


class _Stream(Publishing):
    """One Publish stream: reads for the machine, does what it says, writes its answers."""

    def __init__(self, node: Node, context: PublishContext, principal: Principal) -> None:
        self._node = node
        self._context = context
        self._peer = principal.name
        self._machine = ProducerStream(scopes=lambda: principal.scopes, allowances=node.allowances, caller=principal.name)
        self._answers = _Answers()
        self._group = asyncio.TaskGroup()
        self._reader: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._idle = asyncio.Event()
        self._finished = False
        self._holder: Holder | None = None
        self._agent = ""
        self._horizon_s = 0.0  # as the producer was told
        self._error: RuncastError | None = None
        self._why = "broken"
        self._opened = time.monotonic()
        self._batches = 0
        self._events = 0

    async def serve(self) -> RuncastError | None:
        """Serve until the end; returns the error that the stream ends with, None when the producer closed it."""
        with contextlib.suppress(StreamLostError):
            try:
                async with self._group as group:
                    writer = group.create_task(self._write())
                    self._reader = group.create_task(self._read())
                    await asyncio.wait([self._reader])
                    while self._machine.unanswered:
                        self._idle.clear()
                        await self._idle.wait()
                    self._finished = True
                    self._wake.set()
                    await writer
            except* grpc.aio.BaseError as lost:  # the connection is gone: nobody is left to answer
                raise StreamLostError from lost
            self._why = self._error.code.name if self._error else "closed"
        return self._error

    def leave(self, reason: str, grace_ms: int) -> None:
        """Tell the producer to go to another router."""
        self._machine.leave(reason, grace_ms)
        self._carry_out()

    def check_horizon(self, horizon_s: float) -> None:
        """A producer that was told no horizon, or a longer one, opens another stream, to be told this one."""
        if self._holder is not None and not 0.0 < self._horizon_s <= horizon_s:
            self.leave("the resend horizon is known now; open another stream to be told", int(limits.DRAIN_GRACE_S * 1000))

    def end(self) -> None:
        """End the stream as soon as what is under way is finished."""
        self._machine.end(RuncastError("this router stops; go to another one", code="draining"))
        self._carry_out()

    def refuse(self, error: RuncastError) -> None:
        """See `Leavable`."""
        self._machine.end(error)
        self._carry_out()

    def forget(self, user: UserKey) -> None:
        """See `Leavable`: the runs end. Their agents are told to stop now; what they still send is refused with `run_lost`."""
        if self._holder is not None:
            self._holder.forget(user)
        for run in self._machine.open_runs:
            if run.user == user:
                self._machine.cancel(run, "an operator has erased this user")
        self._carry_out()

    def cancel(self, run: RunKey, reason: str) -> None:
        """The user wants a run to stop."""
        self._machine.cancel(run, reason)
        self._carry_out()

    def answer_receipt(self, receipt: Receipt) -> None:
        """What became of a batch whose receipt is awaited."""
        self._answers.receipts.append(receipt)
        self._wake.set()

    def answer(self, request: RequestKey, value_json: bytes, device: str) -> None:
        """The user answered what a run asked."""
        self._machine.answered(request, value_json, device)
        self._carry_out()

    def close(self) -> None:
        """Withdraw the runs, and write the stream's line."""
        machine = self._machine
        machine.close()
        self._node.receipts.forget(self)
        self._carry_out()
        if self._holder is not None:
            self._node.leases.release(self._holder)
        if machine.producer:
            self._node.log.info(
                "producer_closed",
                producer=machine.producer,
                agent=self._agent,
                runs=machine.runs_seen,
                batches=self._batches,
                events=self._events,
                refused=machine.refused,
                seconds=round(time.monotonic() - self._opened, 3),
                why=self._why,
            )

    # --- tasks ---

    async def _read(self) -> None:
        machine, context = self._machine, self._context
        while not machine.over:
            try:
                async with asyncio.timeout(None if machine.producer else limits.HELLO_TIMEOUT_S):
                    request = await context.read()
            except TimeoutError:
                machine.end(hello_late())
            except DecodeError as exc:
                machine.end(RuncastError(f"a request is not a PublishRequest: {exc}", code="batch_invalid"))
            else:
                if not isinstance(request, PublishRequest):  # grpc.aio.EOF
                    return
                machine.receive(request, time.monotonic())
            self._carry_out()
            if (wait_s := machine.read_at - time.monotonic()) > 0.0:
                await asyncio.sleep(wait_s)  # HTTP/2 holds the producer up meanwhile
            while self._answers.waiting > limits.STREAM_WINDOW_BATCHES:
                self._written.clear()
                await self._written.wait()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            finished = self._finished
            while response := self._answers.take():
                await self._context.write(response)
                self._written.set()
            if finished:
                return
            await asyncio.sleep(limits.MESSAGE_PACE_S)  # what is answered meanwhile shares the next response

    async def _store(self, holder: Holder, effect: Store) -> None:
        machine, (key, payload, events, ends, receipt_ms) = self._machine, effect
        try:
            if not self._horizon_s:  # the producer does not know until when it may send this again
                raise UnavailableError("this router has not found storage yet", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)
            position, duplicate = await self._node.store_batch(holder, key, payload, events, ends=ends)
        except RuncastError as exc:
            machine.failed(key, exc)
        else:
            self._batches += 1
            self._events += events
            machine.stored(key, position, duplicate=duplicate)
            if receipt_ms:
                self._node.receipts.expect(self, key, parse_position(position), deadline_ms=receipt_ms, late=duplicate)
        self._carry_out()
        if not machine.unanswered:
            self._idle.set()

    # --- effects ---

    def _carry_out(self) -> None:
        answers = self._answers
        for effect in self._machine.take_effects():
            match effect:
                case Store() if self._holder is not None:  # the machine greets before it stores
                    self._group.create_task(self._store(self._holder, effect))
                case GivenUp(run, attempt) if self._holder is not None:
                    self._give_up(self._holder, run, attempt)
                case Settled(abandoned):
                    answers.abandoned.append(abandoned)
                case Acked(ack):
                    answers.acks.append(ack)
                case Refused(refusal):
                    answers.refusals.append(refusal)
                    self._node.refusals[refusal.code] += 1
                    if refusal.code in NOTED:
                        self._node.denials.note(self._peer, refusal.code, refusal.message, counted=True)
                case Await(key, position, deadline_ms, elapsed_ms):
                    self._node.receipts.expect(self, key, position, deadline_ms=deadline_ms, elapsed_ms=elapsed_ms, late=True)
                case Opened(run):
                    self._node.cancels.add(run, self)
                case Closed(run):
                    self._node.cancels.remove(run, self)
                case Cancelled(cancel):
                    answers.cancels.append(cancel)
                case Asked(request):
                    self._node.answers.ask(self, request)
                case Dropped(request):
                    self._node.answers.drop(self, request)
                case Answered(answer):
                    answers.given.append(answer)
                case Greeted(hello):
                    self._greet(hello)
                case Left(go_away):
                    answers.go_away = go_away
                case End(error):
                    self._error = error
                    if error.code.name == DENIED:
                        self._node.denials.note(self._peer, DENIED, error.message)
                    if self._reader is not None and self._reader is not asyncio.current_task():
                        self._reader.cancel()
        self._wake.set()

    def _give_up(self, holder: Holder, run: RunKey, attempt: int) -> None:
        def done() -> None:
            self._machine.settled(run, attempt)
            self._carry_out()

        self._node.losses.abandon(holder.producer, run, attempt, done)

    def _greet(self, hello: ProducerHello) -> None:
        self._holder = self._node.leases.hold(hello.producer)
        self._agent = hello.agent
        self._horizon_s = self._node.resend_horizon_s
        self._answers.hello = RouterHello(
            router=self._node.id,
            version=VERSION,
            window=Window(batches=limits.STREAM_WINDOW_BATCHES, bytes=limits.STREAM_WINDOW_BYTES),
            resend_horizon_ms=int(self._horizon_s * 1000),
        )
        self._node.log.info(
            "producer_opened", producer=hello.producer, agent=hello.agent, client_version=hello.client_version, peer=self._peer
        )


class _Answers:
    """What waits to be written to the producer."""

    def __init__(self) -> None:
        self.hello: RouterHello | None = None
        self.acks: list[BatchAck] = []
        self.refusals: list[BatchRefusal] = []
        self.cancels: list[RunCancel] = []
        self.receipts: list[Receipt] = []
        self.abandoned: list[RunAbandon] = []
        self.given: list[RunAnswer] = []
        self.go_away: GoAway | None = None

    @property
    def waiting(self) -> int:
        """Acks, refusals, receipts, and answers of users."""
        return len(self.acks) + len(self.refusals) + len(self.receipts) + len(self.given)

    def take(self) -> PublishResponse | None:
        """The next response, with as much in it as one may hold; None when nothing waits."""
        lists = (self.acks, self.refusals, self.cancels, self.receipts, self.abandoned, self.given)
        if not (any(lists) or self.hello or self.go_away):
            return None
        most = limits.ANSWERS_MAX
        response = PublishResponse(
            hello=self.hello,
            acks=self.acks[:most],
            refusals=self.refusals[:most],
            cancels=self.cancels[:most],
            abandoned=self.abandoned[:most],
            answers=self.given[: limits.INBOX_DELIVERIES_MAX],
            receipts=[] if len(self.acks) > most else self.receipts[:most],  # a receipt never goes ahead of its batch's ack
            go_away=self.go_away,
        )
        del self.acks[:most], self.refusals[:most], self.cancels[:most], self.abandoned[:most]
        del self.receipts[: len(response.receipts)], self.given[: len(response.answers)]
        self.hello = self.go_away = None
        return response
