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

Invariants: meters of at most `METERED_TENANTS_MAX` tenants and `METERED_USERS_MAX` users are kept, and the longest unused are forgotten,
which gives them a burst at most; open runs are counted only while there are any, so they are bounded by what the streams hold.

Pure: imports no asyncio, clock, random, logging, grpc, nats.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

from runcast.bus.policy.bucket import Bucket
from runcast.bus.policy.meter import Meter
from runcast.bus.policy.recent import Recent
from runcast.bus.policy.tiers import Tier, rate
from runcast.v1.event_pb2 import Batch
from runcast.wire import limits, limits_policy
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey

OTHERS: Final = "*"
"""Stands for the tenants that statistics do not name. No token is that."""

_REFUSED: Final = rate(limits_policy.REFUSED_BYTES_PER_S)

K = TypeVar("K")


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
        self._tenants: Recent[str, _TenantMeters] = Recent(_TenantMeters, limits_policy.METERED_TENANTS_MAX)
        self._users: Recent[UserKey, Meter] = Recent(Meter, limits_policy.METERED_USERS_MAX)
        self._callers: Recent[str, Bucket] = Recent(Bucket, limits_policy.REFUSED_CALLERS_MAX)
        self._tenant_runs: Counter[str] = Counter()
        self._user_runs: Counter[UserKey] = Counter()

    def take_batch(self, now: float, user: UserKey, batch: Batch, size: int, *, begins: bool = False) -> None:
        """A batch came.

        Args:
            now: monotonic seconds.
            user: whose stream it is for.
            batch: it.
            size: its serialized bytes.
            begins: it begins a run that will be open.

        Raises:
            RuncastError: `rate_limited`, with the time after which it should come again, or `event_too_large`; nothing was counted.
        """
        tier = self._tier_of(user.tenant)
        if size > tier.event_bytes_max and tier.event_bytes_max < limits.EVENT_BYTES_MAX:  # no event can be larger than its batch
            _check_events(tier, batch)
        if begins:  # before anything is counted: what waits for this must not use up what open runs need to end
            self._check_run(user, tier)
        if math.inf == tier.events_per_s == tier.bytes_per_s == tier.user_events_per_s:
            return
        count = len(batch.events) or 1  # of a batch without events, too, something has to be looked at
        own, own_rate = self._users.get(user), tier.user_events
        tenant, events_rate, volume_rate = self._tenants.get(user.tenant), tier.events, tier.volume
        if own.wait_s(now, own_rate, count):
            raise self._refused(user, tier, "user_events_per_s", own.refuse(now, own_rate, count))
        if tenant.events.wait_s(now, events_rate, count):
            raise self._refused(user, tier, "events_per_s", tenant.events.refuse(now, events_rate, count))
        if tenant.volume.wait_s(now, volume_rate, size):
            raise self._refused(user, tier, "bytes_per_s", tenant.volume.refuse(now, volume_rate, size))
        own.spend(now, own_rate, count)
        tenant.events.spend(now, events_rate, count)
        tenant.volume.spend(now, volume_rate, size)

    def pause_s(self, now: float, caller: str, size: int) -> float:
        """A batch of `size` bytes was refused; for how long the stream that it came on should not be read, seconds."""
        bucket = self._callers.get(caller)
        bucket.spend(now, _REFUSED, max(size, limits_policy.REFUSED_BATCH_BYTES_MIN))
        over_s = (bucket.spent(now, _REFUSED) - _REFUSED.burst) / _REFUSED.per_s
        return min(max(over_s, 0.0), limits_policy.REFUSED_PAUSE_MAX_S)

    # --- open runs ---

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

    def _check_run(self, user: UserKey, tier: Tier) -> None:
        """See whether one more run of a user may begin.

        Raises:
            RuncastError: `rate_limited`.
        """
        if self._user_runs[user] >= tier.open_runs_per_user:
            raise self._refused(user, tier, "open_runs_per_user", limits_policy.OPEN_RUNS_RETRY_S)
        if self._tenant_runs[user.tenant] >= tier.open_runs:
            raise self._refused(user, tier, "open_runs", limits_policy.OPEN_RUNS_RETRY_S)

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


def _check_events(tier: Tier, batch: Batch) -> None:
    """See that no event of a batch is larger than the tier allows.

    Raises:
        RuncastError: `event_too_large`.
    """
    for event in batch.events:
        if (size := event.ByteSize()) > tier.event_bytes_max:
            raise RuncastError(
                f"event seq {event.seq} has {size} bytes; the most that this tenant's tier ({tier.name}) allows is {tier.event_bytes_max}",
                code="event_too_large",
            )


def _count_down(counts: "Counter[K]", key: K) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
