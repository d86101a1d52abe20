"""One worker's Receive stream: takes a group's messages from the inbox and hands them out (PROTOCOL.md, "What users send").

Rules:
    - A worker holds at most what it asked for; as many are pulled as it has room for.
    - What it holds is extended while its stream lives, so that a worker may take its time; when the stream ends, all of it is
      given back at once and goes to another worker. When this router ends, the server gives it to another one after
      `limits.INBOX_ACK_WAIT_S`.
    - Done is done when the server has confirmed it; until then the message counts as held.
    - What is held is held on a lease: when it could not be extended for `limits.INBOX_ACK_WAIT_S`, somebody else may have it, and what
      the worker says of it counts no more. If the server delivers it to this stream again, the worker is not bothered.
    - A delivery id is the message's place in the inbox and the count of the delivery, so what is said of an older delivery never counts
      for a newer one.
    - A user's messages are handed out in order, to one worker at a time (`runcast.router.turns`). What waits here behind a message
      that another stream has is offered to that stream.
    - A message that was handed out `limits.INBOX_TRIES_MAX` times and not settled is parked, and logged; so is one that can't be read.
      Deliveries that reached no worker do not count.
    - A message that is sealed and does not open goes back while its key may still come, and is parked after that, sealed as it is.
    - A message of a tenant that the worker may not serve is never handed out here. It is offered to the streams that may; when none
      takes it, it goes back, for a worker to come.

Invariants: at most `in_flight_max` are handed out, and at most `in_flight_max + limits.INBOX_BLOCKED_MAX` held; there is at most one
pull under way.
"""

import asyncio
import contextlib
import random
import re
import time
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, Final

import grpc.aio
from google.protobuf.message import DecodeError

from runcast.bus.queue import Delivery, GroupQueue
from runcast.bus.sealing.seals import UnreadableError
from runcast.router.auth import Principal
from runcast.router.held import Held
from runcast.router.node import Leavable, Node
from runcast.router.pull import Puller
from runcast.router.settlement import Settlement
from runcast.router.turns import Turn, Turns
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
from runcast.wire import limits, limits_client, subjects
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey, check_id

ReceiveContext = grpc.aio.ServicerContext[ReceiveRequest, ReceiveResponse]

_DELIVERY_ID: Final = re.compile(r"([0-9]{1,19})\.[0-9]{1,19}", re.ASCII)
"""A delivery id of ours: place in the inbox, and count of the delivery."""
_COUNTED: Final = {DISPOSITION_ACK: "done", DISPOSITION_RETRY: "retried", DISPOSITION_REJECT: "rejected"}


class WorkerStream(Leavable):
    """One Receive stream."""

    def __init__(self, node: Node, context: ReceiveContext, principal: Principal, group: str, worker: str, in_flight_max: int) -> None:
        self._node = node
        self._context = context
        self._turns = Turns(in_flight_max)
        self._lines: dict[str, asyncio.Event] = {}
        self._followers: set[asyncio.Task[None]] = set()
        self._in_flight_max = in_flight_max
        self._log = node.log.bind(group=group, worker=worker)
        self._principal = principal
        self._peer = principal.name
        self._queue = GroupQueue(
            node.bus, group, take=self._take, passed=self._hold, ended=self._pull_ended, wants=self._wants, give=self._give
        )
        self._settlement = Settlement(node, self._queue, self._log)
        self._puller = Puller(self._queue, self._room, node.require_storage, self._log)
        self._group = asyncio.TaskGroup()
        self._reader: asyncio.Task[None] | None = None
        self._held: OrderedDict[int, Held] = OrderedDict()
        self._waiting: list[InboxDelivery] = []
        self._looking = 0  # messages of which it is not known yet how often they were handed out
        self._wake_writer = asyncio.Event()
        self._leaving = False
        self._closed = False
        self._go_away = False
        self._error: RuncastError | None = None
        self._opened = time.monotonic()
        self._counts = dict.fromkeys(("delivered", "parked", "passed_on", *_COUNTED.values()), 0)

    async def serve(self) -> RuncastError | None:
        """Serve until the end; returns the error that the stream ends with, None when the worker closed it."""
        self._log.info("worker_opened", in_flight_max=self._in_flight_max, peer=self._peer)
        why = "broken"
        try:
            async with self._group as group:
                self._reader = group.create_task(self._read())
                others = [group.create_task(part) for part in (self._write(), self._puller.run(), self._extend())]
                try:
                    await asyncio.wait([self._reader])
                finally:
                    self._closed = True
                for task in (*others, *self._followers):
                    task.cancel()
            why = self._error.code.name if self._error else "closed"
        except* grpc.aio.BaseError:  # the connection is gone: nobody is left to answer
            self._error = None
        finally:
            await self._settlement.give_back(self._held.values())
            seconds = round(time.monotonic() - self._opened, 3)
            self._log.info("worker_closed", seconds=seconds, why=why, given_back=len(self._held), **self._counts)
        return self._error

    def leave(self, reason: str, grace_ms: int) -> None:  # noqa: ARG002 # the response has no place for them
        """Tell the worker to go to another router; what it holds may still be settled here."""
        self._leaving = self._go_away = True
        self._wake_writer.set()
        self._puller.stop()
        for held in list(self._held.values()):
            if held.untouched:
                self._group.create_task(self._return(held))
        self._end_if_left()

    def end(self) -> None:
        """End the stream; what is held goes to others."""
        self._error = RuncastError("this router stops; go to another one", code="draining")
        if self._reader is not None:
            self._reader.cancel()

    def refuse(self, error: RuncastError) -> None:
        """See `Leavable`; what is held goes to others."""
        self._error = error
        if self._reader is not None:
            self._reader.cancel()

    def forget(self, user: UserKey) -> None:
        """See `Leavable`: of what is held nothing is handed out any more, nor put aside; what the worker has is its own matter."""
        shard = self._node.shard_of(user)
        for held in list(self._held.values()):
            if subjects.is_of_user(held.delivery.subject, user, shard):
                held.erased = True
                self._release(held, settled=True)
        self._waiting = [each for each in self._waiting if (each.message.user.tenant, each.message.user.id) != user]

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

    async def _extend(self) -> None:
        """Tell the server, for everything held, that it is worked on."""
        while True:
            await asyncio.sleep(limits.INBOX_EXTEND_S)
            for held in list(self._held.values()):
                if self._check_lease(held):
                    with contextlib.suppress(UnavailableError):  # the lease goes on running out
                        await self._queue.extend(held.delivery)
                        held.renew(time.monotonic())

    async def _follow(self, subject: str, changed: asyncio.Event) -> None:
        """Hand out a user's messages as their turn comes; ends when none waits."""
        turns = self._turns
        wait_s = limits_client.BACKOFF_FIRST_S
        while turns.waits(subject) and not self._leaving:
            changed.clear()
            pause = True
            with contextlib.suppress(UnavailableError):  # asked again after a pause
                asked = turns.question(subject)
                verdict = turns.answer(subject, asked, await self._queue.first_from(subject, asked))
                pause = verdict.turn in (Turn.BLOCKED, Turn.FULL)
                if verdict.turn is Turn.HAND_OUT:
                    await self._hand_out(self._held[verdict.seqs[0]])
                elif verdict.turn is Turn.GONE:
                    for seq in verdict.seqs:
                        self._release(self._held[seq], settled=True)
                elif pause:
                    self._puller.wake()  # what waits for something elsewhere makes room
                    await self._queue.offer(verdict.seqs, verdict.behind)
            if pause:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(random.uniform(wait_s / 2, wait_s)):  # noqa: S311 # jitter, not a secret
                        await changed.wait()
                wait_s = min(2 * wait_s, limits.INBOX_BLOCKED_WAIT_S)
            else:
                wait_s = limits_client.BACKOFF_FIRST_S
        del self._lines[subject]

    async def _confirm(self, held: Held) -> None:
        self._release(held, settled=await self._settlement.confirm(held))

    async def _retry(self, held: Held) -> None:
        await self._settlement.retry(held)
        self._release(held)

    async def _refer(self, held: Held, tenant: str) -> None:
        """What the worker may not see goes to a stream whose worker may, if there is one; else it goes back for a while.

        Left to the server alone it would come here again and again, each time for longer: one tenant's worker would hold up another's.
        """
        seq = held.delivery.seq
        with contextlib.suppress(UnavailableError):  # then it goes back at once
            await self._queue.offer((seq,), seq, tenant)
            await asyncio.sleep(limits.INBOX_REFER_S)
        if self._held.get(seq) is held and held.untouched:
            self._start(held, DISPOSITION_RETRY)

    async def _return(self, held: Held) -> None:
        """What was not handed out goes to others at once."""
        await self._settlement.give_up(held)
        self._release(held)

    # --- messages ---

    def _take(self, delivery: Delivery) -> None:
        self._puller.came()
        self._hold(delivery)

    def _wants(self, seq: int, behind: int, tenant: str) -> bool:
        """Another stream offers a message: wanted when the one before it is here, or, if anybody may have it, when there is room."""
        if self._leaving or self._closed or len(self._held) >= self._in_flight_max + limits.INBOX_BLOCKED_MAX:
            return False
        if tenant and not self._principal.scopes.may_reach(tenant):
            return False
        return self._room() > 0 if behind == seq else self._turns.knows(behind)

    def _give(self, seq: int) -> Delivery | None:
        """Another stream asks for a message that was offered."""
        held = self._held.get(seq)
        if held is None or not held.untouched or not self._check_lease(held):
            return None
        self._counts["passed_on"] += 1
        self._release(held)
        return held.delivery

    def _hold(self, delivery: Delivery) -> None:
        known = self._held.get(delivery.seq)
        if known is not None:
            known.delivery = delivery
            known.renew(time.monotonic())
            if known.lost:
                known.lost = False
                self._line_up(known)
            return
        held = self._held[delivery.seq] = Held(delivery, time.monotonic())
        if self._closed:  # given back with the others
            return
        try:
            user = subjects.user_of_subject(delivery.subject)
            message = held.message = InboxMessage.FromString(self._node.bus.seals.open(user, delivery.subject, delivery.data))
            for value, what in ((message.id, "message id"), (message.user.tenant, "tenant id"), (message.user.id, "user id")):
                check_id(value, what)
        except UnreadableError as exc:
            if exc.waits:
                self._start(held, DISPOSITION_RETRY)
            else:
                self._park(held, exc.message)
            return
        except (DecodeError, RuncastError) as exc:
            self._park(held, f"it can't be read: {exc}")
            return
        try:
            self._principal.scopes.check_tenant(message.user.tenant)
        except RuncastError as exc:  # it is for a worker that may see it
            self._node.denials.note(self._peer, exc.code.name, exc.message)
            self._spawn(self._refer(held, message.user.tenant))
            return
        if self._node.erasures.holds(held.user):  # it is being removed
            self._release(held)
            return
        if self._leaving or len(self._held) > self._in_flight_max + limits.INBOX_BLOCKED_MAX:  # a late answer to a pull that was given up
            self._start(held, DISPOSITION_RETRY)
            return
        self._looking += 1
        self._spawn(self._look_up(held))

    def _room(self) -> int:
        """How many more to ask the inbox for."""
        return max(0, self._turns.room - self._looking)

    async def _look_up(self, held: Held) -> None:
        """Was it handed out before, and is it time to put it aside?"""
        try:
            with contextlib.suppress(UnavailableError):  # then it gets another try
                held.tries = await self._queue.hand_outs(held.delivery)
        finally:
            self._looking -= 1
        if self._held.get(held.delivery.seq) is not held or not held.untouched:
            return
        if held.tries >= limits.INBOX_TRIES_MAX:
            self._park(held, f"it was handed out {held.tries} times, and no worker settled it")
        else:
            self._line_up(held)

    def _line_up(self, held: Held) -> None:
        """Let a message wait for its turn."""
        subject = held.delivery.subject
        self._turns.add(subject, held.delivery.seq, held.tries + 1)
        changed = self._lines.get(subject)
        if changed is None:
            changed = self._lines[subject] = asyncio.Event()
            self._spawn(self._follow(subject, changed))
        changed.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._followers.add(task)
        task.add_done_callback(self._followers.discard)

    async def _hand_out(self, held: Held) -> None:
        if held.delivery_id:  # the worker has had it all the time
            return
        delivery = held.delivery
        held.delivery_id = f"{delivery.seq}.{delivery.tries}"
        held.tries += 1
        with contextlib.suppress(UnavailableError):  # then this one is not counted
            await self._queue.note_hand_out(delivery, held.tries)
        if held.erased:
            return
        if held.lost:  # meanwhile; whoever gets it now hands it out
            self._release(held)
            return
        self._counts["delivered"] += 1
        self._waiting.append(InboxDelivery(delivery_id=held.delivery_id, tries=max(held.tries, delivery.tries), message=held.message))
        self._wake_writer.set()

    def _park(self, held: Held, reason: str) -> None:
        delivery, message = held.delivery, held.message or InboxMessage()
        held.parked = reason[: limits.REFUSAL_CHARS_MAX].replace("\r", " ").replace("\n", " ")
        self._counts["parked"] += 1
        self._log.error("message_parked", seq=delivery.seq, tries=held.tries, user=message.user.id, message=message.id, reason=held.parked)
        self._group.create_task(self._confirm(held))

    def _check_lease(self, held: Held) -> bool:
        """Whether a message is still ours; if not, its turn is over here."""
        if not held.lost and time.monotonic() >= held.until:
            held.lost = True
            self._log.warning("message_lease_lost", seq=held.delivery.seq)
            self._turns.lost(held.delivery.seq)
            if not held.delivery_id:
                self._release(held)
        return not held.lost

    def _pull_ended(self, problem: str) -> None:
        self._puller.ended(problem)

    def _settle(self, ack: InboxAck) -> None:
        found = _DELIVERY_ID.fullmatch(ack.delivery_id)
        held = self._held.get(int(found[1])) if found else None
        if held is None or held.delivery_id != ack.delivery_id or held.disposition is not None:
            return  # settled before, or another delivery than the newest, or never delivered here
        if not self._check_lease(held):
            self._release(held)
            return
        # Of a word that this version does not know, the safest meaning is that the message is delivered again.
        known = ack.disposition in (DISPOSITION_ACK, DISPOSITION_REJECT)
        self._start(held, ack.disposition if known else DISPOSITION_RETRY)

    def _start(self, held: Held, disposition: Disposition) -> None:
        held.disposition = disposition
        self._counts[_COUNTED[disposition]] += 1
        self._group.create_task(self._retry(held) if disposition == DISPOSITION_RETRY else self._confirm(held))

    def _release(self, held: Held, *, settled: bool = False) -> None:
        """Hold a message no longer; `settled`: it is gone from the inbox."""
        seq = held.delivery.seq
        if self._held.get(seq) is held:
            del self._held[seq]
            if settled:
                self._turns.settled(seq)
            else:
                self._turns.lost(seq)
            for changed in self._lines.values():
                changed.set()
        self._puller.wake()
        self._end_if_left()
