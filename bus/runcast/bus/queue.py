"""The inbox as a queue: what users sent to one agent group, handed out once, and again when it is not settled.

Behind it is a durable pull consumer per group, shared by all routers (NATS ADR-13). Every router that needs it creates it;
the same settings again change nothing. A delivery is *held* until it is settled (done, retry, reject); who holds one extends
it, or the server hands it to somebody else after `limits.INBOX_ACK_WAIT_S`.

A delivery may also pass from taker to taker, without the server counting it as another, over core NATS: its holder *offers* it to all
takers of the group, one that wants it *asks* for it, and the holder *gives* it to the first that asks. Each step may get lost. What was
given is held no longer by who gave it; lost on its way, it is delivered again like what a dead taker held.

A pull asks for a number of messages and ends when so many came, after its time, or when the server says why not; a pull that
was lost with its server ends by the caller's own clock.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig

from runcast.bus.connection import Bus
from runcast.bus.storage import storage_error, store
from runcast.wire import limits, subjects
from runcast.wire.errors import RuncastError, UnavailableError


class Delivery(msgspec.Struct, frozen=True, tag="delivery"):
    """One message, handed out.

    Attributes:
        seq: in the inbox's stream; the same when it is delivered again.
        tries: how often it was delivered, this time included.
        data: the payload.
        reply: where its settling is told.
        subject: in the inbox: the group and the user.
        stored_at: when it was stored in the inbox, Unix seconds; 0.0 when a router of an older version gave it.
    """

    seq: int
    tries: int
    data: bytes
    reply: str
    subject: str
    stored_at: float = 0.0


class _Offer(msgspec.Struct, tag="offer"):
    """What the taker who listens at `by` would rather see elsewhere; see `GroupQueue.offer`."""

    by: str
    seqs: tuple[int, ...]
    behind: int
    tenant: str = ""


class _Ask(msgspec.Struct, tag="ask"):
    """One that is wanted; it is given to who listens at `to`."""

    seq: int
    to: str


_read_passing: Final = msgspec.msgpack.Decoder(_Offer | _Ask | Delivery).decode


class GroupQueue:
    """The messages for one agent group, for one taker.

    Args:
        bus: the connection.
        group: the agent group.
        take: called with each delivery that was pulled.
        passed: called with each that another taker gave.
        ended: called when a pull is over before all that was asked for came, with the reason; "" when its time was over.
        wants: asked whether a delivery that another taker offers is wanted: its seq, the one that it is behind, and whose tenant's it
            is, "" when that does not matter.
        give: asked for a delivery that was offered; it is held no longer by who returns it. None: it is not to be had.
    """

    def __init__(
        self,
        bus: Bus,
        group: str,
        *,
        take: Callable[[Delivery], None],
        passed: Callable[[Delivery], None],
        ended: Callable[[str], None],
        wants: Callable[[int, int, str], bool],
        give: Callable[[int], Delivery | None],
    ) -> None:
        self._bus = bus
        self._group = group
        self._consumer = subjects.inbox_consumer(group)
        self._take = take
        self._passed = passed
        self._ended = ended
        self._wants = wants
        self._give = give
        self._inbox = ""
        self._offers = subjects.inbox_offers(group)
        self._subscription: Subscription | None = None
        self._passing = ""
        self._others: list[Subscription] = []

    async def open(self) -> None:
        """Create the group's consumer unless it is there, and listen for deliveries. May be called again.

        Raises:
            UnavailableError: not possible just now; try again.
        """
        config = ConsumerConfig(
            durable_name=self._consumer,
            filter_subject=subjects.inbox_group_subjects(self._group),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=limits.INBOX_ACK_WAIT_S,
            max_ack_pending=limits.INBOX_GROUP_IN_FLIGHT_MAX,
        )
        try:
            if self._subscription is None:
                self._inbox = self._bus.nc.new_inbox()
                self._subscription = await self._bus.nc.subscribe(self._inbox, cb=self._on_message)
                self._passing = self._bus.nc.new_inbox()
                self._others = [await self._bus.nc.subscribe(subject, cb=self._on_passing) for subject in (self._offers, self._passing)]
            await self._bus.js.add_consumer(subjects.INBOX_STREAM, config)
        except (TimeoutError, nats.errors.Error, nats.js.errors.APIError) as exc:
            raise _unavailable(exc) from exc

    async def close(self) -> None:
        """Take no more; what is pulled and not yet here goes to others."""
        subscriptions = [*([self._subscription] if self._subscription else []), *self._others]
        self._subscription, self._others = None, []
        for subscription in subscriptions:
            if not self._bus.nc.is_closed:
                await subscription.unsubscribe()

    async def pull(self, count: int, expires_s: float) -> None:
        """Ask for up to `count` messages within `expires_s`.

        Raises:
            UnavailableError: there is no connection; nothing was asked for.
        """
        request = msgspec.json.encode({"batch": count, "expires": int(expires_s * 1e9)})
        await self._say(f"$JS.API.CONSUMER.MSG.NEXT.{subjects.INBOX_STREAM}.{self._consumer}", request, reply=self._inbox)

    async def first_from(self, subject: str, seq: int) -> int:
        """The seq of the first message of `subject` in the inbox at or past `seq`, asked of the leader; 0 when there is none.

        Raises:
            UnavailableError: no answer; ask again.
        """
        found = await self._bus.leaders.message(subjects.INBOX_STREAM, {"seq": seq, "next_by_subj": subject}, 0.0)
        return found.seq if found is not None else 0

    async def hand_outs(self, delivery: Delivery) -> int:
        """How often a message was handed to a worker before, as it was noted; of one that NATS delivers again, at least once.

        It is asked of every message: NATS's own count begins anew when a server is killed before it wrote it down. Any replica may answer:
        one that lags costs a try.

        Raises:
            UnavailableError: no answer; ask again.
        """
        if not self._bus.connected:
            raise UnavailableError("there is no connection to NATS just now")
        key = subjects.kv_subject(subjects.RUNS_BUCKET, subjects.tries_key(delivery.seq))
        try:
            answer = await self._bus.replies.request(
                f"$JS.API.DIRECT.GET.KV_{subjects.RUNS_BUCKET}.{key}", b"", None, limits.INBOX_SETTLE_S
            )
        except nats.errors.Error as exc:
            raise _unavailable(exc) from exc
        noted = int(answer.data) if not (answer.headers or {}).get("Status") and answer.data.isdigit() else 0
        return max(noted, min(delivery.tries - 1, 1))

    async def note_hand_out(self, delivery: Delivery, count: int) -> None:
        """Keep that a message is about to be handed out for the `count`-th time; the first time goes without saying.

        Raises:
            UnavailableError: that was not confirmed.
        """
        if count > 1:
            key = subjects.kv_subject(subjects.RUNS_BUCKET, subjects.tries_key(delivery.seq))
            await self._store(key, str(count).encode(), ttl_s=int(limits.INBOX_AGE_S))

    async def offer(self, seqs: tuple[int, ...], behind: int, tenant: str = "") -> None:
        """Offer deliveries that are held, and not handed out, to the other takers of the group.

        Args:
            seqs: which ones.
            behind: the message that they must not overtake; the first one's own seq when anybody may have it.
            tenant: only for takers that may serve this one; "" for all.

        Raises:
            UnavailableError: there is no connection.
        """
        await self._say(self._offers, msgspec.msgpack.encode(_Offer(self._passing, seqs, behind, tenant)))

    async def park(self, delivery: Delivery, tries: int, reason: str, *, ttl_s: int = 0) -> None:
        """Put a message that was handed out `tries` times aside, and out of the inbox; for `ttl_s` seconds, or as long as all (0).

        Raises:
            UnavailableError: that was not confirmed; say it again.
        """
        headers = {subjects.HEADER_TRIES: str(tries), subjects.HEADER_REASON: reason}
        subject = subjects.parked_subject(delivery.subject)
        await self._store(subject, delivery.data, msg_id=f"{delivery.subject}.{delivery.seq}", headers=headers, ttl_s=ttl_s)
        await self.reject(delivery)

    async def done(self, delivery: Delivery) -> None:
        """It was handled; returns when the server has forgotten it.

        Raises:
            UnavailableError: that was not confirmed; say it again.
        """
        await self._confirm(delivery, b"+ACK")

    async def tell_done(self, delivery: Delivery) -> None:
        """Like `done`, for who can't wait: without confirmation.

        Raises:
            UnavailableError: there is no connection.
        """
        await self._say(delivery.reply, b"+ACK")

    async def reject(self, delivery: Delivery) -> None:
        """It can never be handled; returns when the server has forgotten it.

        Raises:
            UnavailableError: that was not confirmed; say it again.
        """
        await self._confirm(delivery, b"+TERM")

    async def retry(self, delivery: Delivery, delay_s: float) -> None:
        """It can't be handled here now; it is delivered again, to anyone, after `delay_s`.

        Raises:
            UnavailableError: there is no connection; it is delivered again all the same, when its time is over.
        """
        body = b"-NAK " + msgspec.json.encode({"delay": int(delay_s * 1e9)}) if delay_s else b"-NAK"
        await self._say(delivery.reply, body)

    async def extend(self, delivery: Delivery) -> None:
        """It is still worked on.

        Raises:
            UnavailableError: there is no connection.
        """
        await self._say(delivery.reply, b"+WPI")

    async def _store(self, subject: str, data: bytes, **how: Any) -> None:
        try:
            await store(self._bus, subject, data, timeout_s=limits.INBOX_SETTLE_S, **how)
        except UnavailableError:
            raise
        except RuncastError as exc:
            raise UnavailableError(f"storage does not take it: {exc.message}") from exc

    async def _confirm(self, delivery: Delivery, body: bytes) -> None:
        try:
            await self._bus.nc.request(delivery.reply, body, timeout=limits.INBOX_SETTLE_S)
        except (TimeoutError, nats.errors.Error) as exc:
            raise _unavailable(exc) from exc

    async def _say(self, subject: str, body: bytes, *, reply: str = "") -> None:
        if not self._bus.connected:
            raise UnavailableError("there is no connection to NATS just now")
        try:
            await self._bus.nc.publish(subject, body, reply=reply)
        except nats.errors.Error as exc:
            raise _unavailable(exc) from exc

    async def _on_message(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status = headers.get("Status", "")
        if not status:
            metadata = msg.metadata
            stored_at = metadata.timestamp.timestamp()
            self._take(Delivery(metadata.sequence.stream, metadata.num_delivered, msg.data, msg.reply, msg.subject, stored_at))
        elif status in ("404", "408"):
            self._ended("")
        elif status != "100":
            self._ended(f"{status} {headers.get('Description', '')}".rstrip())

    async def _on_passing(self, msg: Msg) -> None:
        with contextlib.suppress(UnavailableError):  # it is offered again, or delivered again
            match _read_passing(msg.data):
                case _Offer(by, seqs, behind, tenant) if by != self._passing:
                    for seq in seqs:
                        if self._wants(seq, behind, tenant):
                            await self._say(by, msgspec.msgpack.encode(_Ask(seq, self._passing)))
                case _Ask(seq, to):
                    given = self._give(seq)
                    if given is not None:
                        await self._say(to, msgspec.msgpack.encode(given))
                case Delivery() as delivery:
                    self._passed(delivery)


def _unavailable(exc: Exception) -> UnavailableError:
    mapped = storage_error(exc)
    return mapped if isinstance(mapped, UnavailableError) else UnavailableError(f"the inbox can't be reached: {mapped}")
