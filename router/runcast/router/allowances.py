"""What tenants and users take of this router, against their tiers (PROTOCOL.md, "Limits by tenant").

Rules:
    - What comes is counted, whatever becomes of it: a batch that is refused for another reason has cost its tenant all the same, and so
      has a resend.
    - A batch is taken by all of its limits or by none. The user's own comes first: who is over it is not made to wait in the tenant's line.
    - A run that has begun is never stopped by a limit of open runs: it counts, wherever it began, and only a new one is refused.
    - An event that is larger than the tier allows is never taken; all else that is refused here may come again.
    - Tiers are asked for each time: another policy counts at once.
    - Refusing costs, too: whoever sends more that is refused than a little is read more slowly, so that a caller who heeds no answer does
      not take the processor from the others.

Invariants: meters of at most `METERED_TENANTS_MAX` tenants and `METERED_USERS_MAX` users are kept, and the longest unused is forgotten,
which gives it a burst at most; open runs are counted only while there are any, so they are bounded by what the streams hold.

Pure: imports no asyncio, clock, random, logging, grpc, nats.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

from runcast.bus.policy.bucket import Bucket
from runcast.bus.policy.meter import Meter
from runcast.bus.policy.tiers import Tier, rate
from runcast.v1.event_pb2 import Batch
from runcast.wire import limits, limits_policy
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey

OTHERS: Final = "*"
"""Stands for the tenants that statistics do not name. No token is that."""

_REFUSED: Final = rate(limits_policy.REFUSED_BYTES_PER_S)

K = TypeVar("K")
M = TypeVar("M")


class _TenantMeters:
    __slots__ = ("events", "volume")

    def __init__(self) -> None:
        self.events = Meter()
        self.volume = Meter()


class Allowances:
    """The meters of one router.

    Args:
        tier_of: the tier of a tenant, by its id.

    Attributes:
        limited: refusals by tenant, as tokens; see `limits_policy.LIMITED_TENANTS_TOLD_MAX`.
        limited_by: refusals by limit.
    """

    def __init__(self, tier_of: Callable[[str], Tier]) -> None:
        self.limited: Counter[str] = Counter()
        self.limited_by: Counter[str] = Counter()
        self._tier_of = tier_of
        self._tenants: OrderedDict[str, _TenantMeters] = OrderedDict()
        self._users: OrderedDict[UserKey, Meter] = OrderedDict()
        self._callers: OrderedDict[str, Bucket] = OrderedDict()
        self._tenant_runs: Counter[str] = Counter()
        self._user_runs: Counter[UserKey] = Counter()

    def take_batch(self, now: float, user: UserKey, events: int, size: int) -> None:
        """A batch came.

        Args:
            now: monotonic seconds.
            user: whose stream it is for.
            events: in it.
            size: its serialized bytes.

        Raises:
            RuncastError: `rate_limited`, with the time after which it should come again; nothing was counted.
        """
        tier = self._tier_of(user.tenant)
        if math.inf == tier.events_per_s == tier.bytes_per_s == tier.user_events_per_s:
            return
        tenant = _touch(self._tenants, user.tenant, _TenantMeters, limits_policy.METERED_TENANTS_MAX)
        own = _touch(self._users, user, Meter, limits_policy.METERED_USERS_MAX)
        events = max(events, 1)  # of a batch without events, too, something has to be looked at
        meters = (
            (own, tier.user_events, events, "user_events_per_s"),
            (tenant.events, tier.events, events, "events_per_s"),
            (tenant.volume, tier.volume, size, "bytes_per_s"),
        )
        for meter, most, cost, name in meters:
            if meter.wait_s(now, most, cost):
                raise self._refused(user, tier, name, meter.refuse(now, most, cost))
        for meter, most, cost, _ in meters:
            meter.spend(now, most, cost)

    def check_events(self, tenant: str, batch: Batch, size: int) -> None:
        """See that no event of a batch, which has `size` bytes, is larger than the tenant's tier allows.

        Raises:
            RuncastError: `event_too_large`.
        """
        tier = self._tier_of(tenant)
        if size <= tier.event_bytes_max or tier.event_bytes_max >= limits.EVENT_BYTES_MAX:  # no event can be larger than its batch
            return
        for event in batch.events:
            if (event_size := event.ByteSize()) > tier.event_bytes_max:
                raise RuncastError(
                    f"event seq {event.seq} has {event_size} bytes; the most that this tenant's tier ({tier.name}) allows is"
                    f" {tier.event_bytes_max}",
                    code="event_too_large",
                )

    def pause_s(self, now: float, caller: str, size: int) -> float:
        """A batch of `size` bytes was refused; for how long the stream that it came on should not be read, seconds."""
        bucket = _touch(self._callers, caller, Bucket, limits_policy.REFUSED_CALLERS_MAX)
        bucket.spend(now, _REFUSED, max(size, limits_policy.REFUSED_BATCH_BYTES_MIN))
        over_s = (bucket.spent(now, _REFUSED) - _REFUSED.burst) / _REFUSED.per_s
        return min(max(over_s, 0.0), limits_policy.REFUSED_PAUSE_MAX_S)

    # --- open runs ---

    def check_run(self, user: UserKey) -> None:
        """See whether one more run of a user may begin.

        Raises:
            RuncastError: `rate_limited`.
        """
        tier = self._tier_of(user.tenant)
        name = ""
        if self._user_runs[user] >= tier.open_runs_per_user:
            name = "open_runs_per_user"
        elif self._tenant_runs[user.tenant] >= tier.open_runs:
            name = "open_runs"
        if name:
            raise self._refused(user, tier, name, limits_policy.OPEN_RUNS_RETRY_S)

    def open_run(self, user: UserKey) -> None:
        """A run goes on here; `close_run` must follow."""
        self._user_runs[user] += 1
        self._tenant_runs[user.tenant] += 1

    def close_run(self, user: UserKey) -> None:
        """It goes on here no more."""
        _count_down(self._user_runs, user)
        _count_down(self._tenant_runs, user.tenant)

    def open_runs(self, user: UserKey) -> tuple[int, int]:
        """Of the user, and of the tenant."""
        return self._user_runs[user], self._tenant_runs[user.tenant]

    # --- inside ---

    def _refused(self, user: UserKey, tier: Tier, name: str, wait_s: float) -> RuncastError:
        token = user.token.partition(".")[0]
        known = token in self.limited or len(self.limited) < limits_policy.LIMITED_TENANTS_TOLD_MAX
        self.limited[token if known else OTHERS] += 1
        self.limited_by[name] += 1
        return RuncastError(
            f"tenant {user.tenant!r} is over {name} of its tier ({tier.name}) on this router; send it again after retry_after_ms",
            code="rate_limited",
            retry_after_s=wait_s,
        )


def _touch(kept: "OrderedDict[K, M]", key: K, make: Callable[[], M], most: int) -> M:
    """What is kept under `key`, new if there is none; the longest unused is forgotten past `most`."""
    found = kept.get(key)
    if found is None:
        found = kept[key] = make()
        if len(kept) > most:
            kept.popitem(last=False)
    else:
        kept.move_to_end(key)
    return found


def _count_down(counts: "Counter[K]", key: K) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
