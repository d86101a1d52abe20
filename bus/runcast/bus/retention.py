"""How long what is stored of a tenant is kept, and what follows from it. Pure.

Theory. A stream has one age for all. A tenant whose retention is shorter has every message stored with a time to live of its own (NATS
ADR-43), so its messages leave from the midst of the stream, each at its time. While a tenant's retention stays the same they leave in the
order in which they came, and who finds a message knows that nothing after it is gone. When it was made shorter, what was stored before
outlives what was stored after: finding an old message proves nothing then. So a message is a proof only while it is younger than the
retention that counts now: whatever came after it is younger still, and was stored with no shorter one.

Rules: at most the stream's age; without a shorter retention nothing is said to NATS, and nothing changes.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Final

from runcast.bus.policy.tiers import Tier
from runcast.wire import limits
from runcast.wire.errors import UnavailableError

RetentionOf = Callable[[str], float]
"""The retention of a tenant, by its id, seconds."""

_PROOF_SHARE: Final = 0.95
"""A message is a proof up to this share of the retention: clocks differ, and NATS counts whole seconds."""


def keep_all(tenant: str) -> float:  # noqa: ARG001 # as of every RetentionOf
    """No tenant has a retention of its own."""
    return math.inf


def retention_of(tier_of: Callable[[str], Tier]) -> RetentionOf:
    """The retention that a policy gives; a tier that allows the longest keeps things for as long as the streams do."""

    def of(tenant: str) -> float:
        retention_s = tier_of(tenant).retention_s
        return retention_s if retention_s < limits.RETENTION_S else math.inf

    return of


def ttl_s(retention_s: float, age_s: float) -> int:
    """The time to live to store a message with, whole seconds; 0: the stream's own age does it.

    Args:
        retention_s: of the tenant.
        age_s: of the stream.
    """
    return max(1, int(retention_s)) if retention_s < age_s else 0


def shorter(kept_s: float, retention_s: float) -> int:
    """The time to live of what would be kept for `kept_s` anyway, whole seconds."""
    return max(1, int(min(kept_s, retention_s)))


def rest_s(ttl_s: int, age_s: float) -> int:
    """What is left of a time to live for something that moves to another stream, whole seconds, at least 1; ages below 0 are clocks that
    differ.
    """
    return max(1, ttl_s - max(0, int(age_s)))


def proves(stored_at: str, now: float, retention_s: float) -> bool:
    """Whether a message that is there proves that nothing after it has left, though others of its tenant may have been kept for less.

    Args:
        stored_at: RFC 3339, as NATS says it.
        now: Unix seconds.
        retention_s: of the tenant, just now.
    """
    return age_s(stored_at, now) < retention_s * _PROOF_SHARE


def age_s(stored_at: str, now: float) -> float:
    """How long ago a message was stored, seconds; `inf` when it does not say.

    Args:
        stored_at: RFC 3339, as NATS says it: with up to nine digits of a second, and Z.
        now: Unix seconds.
    """
    if not stored_at:
        return math.inf
    whole, _, rest = stored_at.partition(".")
    fraction = rest.rstrip("Z") or "0"
    try:
        return now - datetime.fromisoformat(f"{whole.rstrip('Z')}+00:00").timestamp() - float(f"0.{fraction}")
    except ValueError:
        return math.inf


def refused() -> UnavailableError:
    """What is said where the stream takes no times to live: what is to be kept for less must not be kept for longer."""
    return UnavailableError(
        "this tenant's retention is shorter than the stream's age, and the stream takes no message TTL: an operator must allow it"
        " (`nats stream edit NAME --allow-msg-ttl`, or a router that may update streams); it is kept and sent again until then",
        retry_after_s=1.0,
    )
