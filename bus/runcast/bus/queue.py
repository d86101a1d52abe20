"""The inbox as a queue: what users sent to one agent group, handed out once, and again when it is not settled.

Behind it is a durable pull consumer per group, shared by all routers (NATS ADR-13). Every router that needs it creates it;
the same settings again change nothing. A delivery is *held* until it is settled (done, retry, reject); who holds one extends
it, or the server hands it to somebody else after `limits.INBOX_ACK_WAIT_S`.

A pull asks for a number of messages and ends when so many came, after its time, or when the server says why not; a pull that
was lost with its server ends by the caller's own clock.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig

from runcast.bus.connection import Bus
from runcast.bus.storage import storage_error
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError


class Delivery(NamedTuple):
    """One message, handed out.

    Attributes:
        seq: in the inbox's stream; the same when it is delivered again.
        tries: how often it was delivered, this time included.
        data: the payload.
        reply: where its settling is told.
    """

    seq: int
    tries: int
    data: bytes
    reply: str


class GroupQueue:
    """The messages for one agent group, for one taker.

    Args:
        bus: the connection.
        group: the agent group.
        take: called with each delivery.
        ended: called when a pull is over before all that was asked for came, with the reason; "" when its time was over.
    """

    def __init__(self, bus: Bus, group: str, take: Callable[[Delivery], None], ended: Callable[[str], None]) -> None:
        self._bus = bus
        self._group = group
        self._consumer = subjects.inbox_consumer(group)
        self._take = take
        self._ended = ended
        self._inbox = ""
        self._subscription: Subscription | None = None

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
            await self._bus.js.add_consumer(subjects.INBOX_STREAM, config)
        except (TimeoutError, nats.errors.Error, nats.js.errors.APIError) as exc:
            raise _unavailable(exc) from exc

    async def close(self) -> None:
        """Take no more; what is pulled and not yet here goes to others."""
        if self._subscription is not None and not self._bus.nc.is_closed:
            await self._subscription.unsubscribe()
        self._subscription = None

    async def pull(self, count: int, expires_s: float) -> None:
        """Ask for up to `count` messages within `expires_s`.

        Raises:
            UnavailableError: there is no connection; nothing was asked for.
        """
        request = msgspec.json.encode({"batch": count, "expires": int(expires_s * 1e9)})
        await self._say(f"$JS.API.CONSUMER.MSG.NEXT.{subjects.INBOX_STREAM}.{self._consumer}", request, reply=self._inbox)

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
            self._take(Delivery(metadata.sequence.stream, metadata.num_delivered, msg.data, msg.reply))
        elif status in ("404", "408"):
            self._ended("")
        elif status != "100":
            self._ended(f"{status} {headers.get('Description', '')}".rstrip())


def _unavailable(exc: Exception) -> UnavailableError:
    mapped = storage_error(exc)
    return mapped if isinstance(mapped, UnavailableError) else UnavailableError(f"the inbox can't be reached: {mapped}")
