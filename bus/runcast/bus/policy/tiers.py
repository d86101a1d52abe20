"""Tiers: what a tenant may use, and the ones that are built in. Pure.

Rules: a tier is a value, never changed. Every bound is of *one process*, router or edge (ARCHITECTURE.md, "Decisions"): processes need not
ask each other, so that nobody's limit depends on another process being there. A tier can only make narrower what every event, message and
stream is bounded by anyway (`runcast.wire.limits`).
"""

import math
from functools import lru_cache
from typing import Annotated, Final

import msgspec

from runcast.bus.policy.bucket import Rate
from runcast.wire import limits
from runcast.wire import limits_policy as policy_limits

_Count = Annotated[int, msgspec.Meta(ge=1, le=policy_limits.COUNT_MAX)]
_PerSecond = Annotated[float, msgspec.Meta(gt=0)]
_BytesPerSecond = Annotated[float, msgspec.Meta(ge=policy_limits.BYTES_PER_S_MIN)]


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant may use of one process. The defaults are the built-in tier "standard".

    Attributes:
        name: of the tier.
        devices_per_user: connections of one user, on one edge.
        connections: of the tenant, on one edge.
        sends_per_s: of one user, on one edge: messages, cancels, answers.
        events_per_s: into the tenant's streams, through one router.
        bytes_per_s: of their batches.
        user_events_per_s: into one user's stream, through one router.
        open_runs: of the tenant, through one router.
        open_runs_per_user: of one user, through one router.
        inbox_per_user: messages of one user waiting, for all agent groups together.
        event_bytes_max: one serialized event.
        send_bytes_max: text and data of one send.
        egress_bytes_per_s: to one device; more waits in the log.
        retention_s: age at which what is stored of the tenant is removed, seconds.
    """

    name: str = "standard"
    devices_per_user: Annotated[int, msgspec.Meta(ge=1, le=policy_limits.DEVICES_PER_USER_TOP)] = limits.DEVICES_PER_USER_MAX
    connections: _Count = 20_000
    sends_per_s: _PerSecond = 10.0
    events_per_s: _PerSecond = 2_000.0
    bytes_per_s: _BytesPerSecond = 4_000_000.0
    user_events_per_s: _PerSecond = 500.0
    open_runs: _Count = 5_000
    open_runs_per_user: _Count = 200
    inbox_per_user: _Count = limits.INBOX_PER_USER_MAX
    event_bytes_max: Annotated[int, msgspec.Meta(ge=policy_limits.EVENT_BYTES_MIN, le=limits.EVENT_BYTES_MAX)] = limits.EVENT_BYTES_MAX
    send_bytes_max: Annotated[int, msgspec.Meta(ge=1, le=limits.TEXT_BYTES_MAX)] = limits.TEXT_BYTES_MAX
    egress_bytes_per_s: _BytesPerSecond = 2_000_000.0
    retention_s: Annotated[float, msgspec.Meta(ge=policy_limits.RETENTION_MIN_S, le=limits.RETENTION_S)] = limits.RETENTION_S

    @property
    def sends(self) -> Rate:
        """`sends_per_s`, with its burst; so are the others."""
        return rate(self.sends_per_s)

    @property
    def events(self) -> Rate:
        """`events_per_s`."""
        return rate(self.events_per_s)

    @property
    def volume(self) -> Rate:
        """`bytes_per_s`."""
        return rate(self.bytes_per_s)

    @property
    def user_events(self) -> Rate:
        """`user_events_per_s`."""
        return rate(self.user_events_per_s)

    @property
    def egress(self) -> Rate:
        """`egress_bytes_per_s`."""
        return rate(self.egress_bytes_per_s)


@lru_cache(maxsize=policy_limits.RATES_CACHED_MAX)
def rate(per_s: float) -> Rate:
    """A rate with the burst that all have: what comes in `BURST_S`, and 1 at least."""
    return Rate(per_s, max(1.0, per_s * policy_limits.BURST_S))


BUILT_IN: Final[dict[str, Tier]] = {
    tier.name: tier
    for tier in (
        Tier(
            name="free",
            devices_per_user=4,
            connections=1_000,
            sends_per_s=2.0,
            events_per_s=200.0,
            bytes_per_s=400_000.0,
            user_events_per_s=100.0,
            open_runs=200,
            open_runs_per_user=10,
            inbox_per_user=20,
            event_bytes_max=64 * limits.KIB,
            send_bytes_max=8 * limits.KIB,
            egress_bytes_per_s=500_000.0,
            retention_s=6 * 3600.0,
        ),
        Tier(),
        Tier(
            name="enterprise",
            devices_per_user=64,
            connections=100_000,
            sends_per_s=50.0,
            events_per_s=20_000.0,
            bytes_per_s=40_000_000.0,
            user_events_per_s=2_000.0,
            open_runs=50_000,
            open_runs_per_user=1_000,
            inbox_per_user=1_000,
            egress_bytes_per_s=10_000_000.0,
        ),
        Tier(
            name="unlimited",
            connections=policy_limits.COUNT_MAX,
            sends_per_s=math.inf,
            events_per_s=math.inf,
            bytes_per_s=math.inf,
            user_events_per_s=math.inf,
            open_runs=policy_limits.COUNT_MAX,
            open_runs_per_user=policy_limits.COUNT_MAX,
            inbox_per_user=policy_limits.COUNT_MAX,
            egress_bytes_per_s=math.inf,
        ),
    )
}
"""By name. "unlimited" leaves what bounds every process: it is development mode's, where no policy file is named."""
