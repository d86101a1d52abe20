"""What devices may use of this edge, by the tier of their tenant: connections, sends, bytes. Pure.

Rules: a tenant has so many connections, a user so many of them and so many sends a second, whichever devices they come from; a device has
so many bytes a second, also when it reads by one request after the other. The tier is asked each time, so that another policy counts at
once; connections that there are stay. The books of users who sent something, and of devices that read so, are bounded, as in `buckets`.
"""

from collections import Counter
from collections.abc import Callable

from runcast.bus.policy.bucket import Bucket, Rate
from runcast.bus.policy.tiers import Tier
from runcast.edge.buckets import Buckets
from runcast.wire import limits_floods, limits_http
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey


class Allowance:
    """Of one edge.

    Args:
        tier_of: the tier of a tenant, by its id.
        senders_max: users whose sends are counted.
        readers_max: devices whose reads are counted beyond a connection.
    """

    def __init__(
        self,
        tier_of: Callable[[str], Tier],
        *,
        senders_max: int = limits_floods.SENDERS_MAX,
        readers_max: int = limits_http.READERS_MAX,
    ) -> None:
        self._tier_of = tier_of
        self._connections: Counter[str] = Counter()
        self._senders = Buckets(senders_max)
        self._readers = Buckets(readers_max)

    def connect(self, user: UserKey) -> None:
        """A device has proved whose it is; `leave` must follow, unless this raises.

        Raises:
            RuncastError: `rate_limited`: the tenant has as many connections as it may.
        """
        if self._connections[user.tenant] >= self._tier_of(user.tenant).connections:
            message = "the tenant has as many connections as it may; close some, or try again"
            raise RuncastError(message, code="rate_limited", retry_after_s=limits_floods.CONNECTIONS_RETRY_S)
        self._connections[user.tenant] += 1

    def leave(self, user: UserKey) -> None:
        """A device that was let in is gone."""
        self._connections[user.tenant] -= 1
        if not self._connections[user.tenant]:
            del self._connections[user.tenant]

    def send(self, user: UserKey, now: float) -> None:
        """A device of the user sends something; `now` in monotonic seconds.

        Raises:
            RuncastError: `rate_limited`, with when to send it again.
        """
        rate = self._tier_of(user.tenant).sends
        wait_s = self._senders.take(user.token, rate, now)
        if wait_s:
            message = f"this user sends more than {rate.per_s:g} times a second; send it again later"
            raise RuncastError(message, code="rate_limited", retry_after_s=wait_s)

    def devices(self, user: UserKey) -> int:
        """Connections that the user may have."""
        return self._tier_of(user.tenant).devices_per_user

    def egress(self, user: UserKey) -> Rate:
        """Bytes a second that each of the user's devices may be sent."""
        return self._tier_of(user.tenant).egress

    def spent(self, user: UserKey, device: str) -> Bucket:
        """What a device that reads over plain HTTP has been sent, by whichever requests."""
        return self._readers.find(f"{user.token} {device}")
