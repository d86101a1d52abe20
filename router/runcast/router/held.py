"""A message that a worker's stream holds: what is known of it, and until when the hold is good.

Rule: the lease is the server's clock for redelivery, looked at from here, where everything is heard a little later: so it ends a little
sooner. Past `until` somebody else may have the message.
"""

from runcast.bus.queue import Delivery
from runcast.v1.inbox_pb2 import Disposition, InboxMessage
from runcast.wire import limits, subjects
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import UserKey


class Held:
    """A message that is held here.

    Attributes:
        delivery: the newest one.
        message: its content.
        delivery_id: what the worker knows it by; "" while it was not handed out.
        disposition: what the worker said became of it.
        parked: why it is being parked; "" when it is not.
        tries: how often it was handed to workers, this time included.
        until: end of the lease, monotonic seconds.
        lost: the lease ended; somebody else may have it.
        erased: its user was erased, and it with them.
    """

    __slots__ = ("delivery", "delivery_id", "disposition", "erased", "lost", "message", "parked", "tries", "until")

    def __init__(self, delivery: Delivery, now: float) -> None:
        self.delivery = delivery
        self.message: InboxMessage | None = None
        self.delivery_id = ""
        self.disposition: Disposition | None = None
        self.parked = ""
        self.tries = 0
        self.lost = False
        self.erased = False
        self.until = 0.0
        self.renew(now)

    @property
    def user(self) -> UserKey:
        """Whose message it is; nobody's when its subject is not an edge's."""
        try:
            return subjects.user_of_subject(self.delivery.subject)
        except IdInvalidError:
            return UserKey("", "")

    @property
    def untouched(self) -> bool:
        """Whether nothing was begun with it: it waits for its turn."""
        return not (self.delivery_id or self.disposition or self.parked)

    def renew(self, now: float) -> None:
        """The server counts from `now` on again."""
        self.until = now + limits.INBOX_ACK_WAIT_S - limits.INBOX_ACK_MARGIN_S
