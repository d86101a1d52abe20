"""What a process tells about itself (`stats.<role>.<id>`), as far as the dashboard shows it. Pure.

Rule: a process of another version may tell more, or less: what is unknown is passed over, what is missing counts as 0. What can't be
read at all is a `ValueError`, and changes nothing.
"""

import msgspec

from runcast.bus.histogram import BOUNDS_MS
from runcast.wire import limits_dashboard

BUCKETS = len(BOUNDS_MS) + 1


class Times(msgspec.Struct):
    """A histogram of `runcast.bus.histogram`, counted from the start of the process."""

    counts: list[int] = []
    max_ms: float = 0.0


class Dependency(msgspec.Struct):
    """One thing that the process depends on."""

    state: str = ""
    reason: str = ""
    for_s: float = 0.0
    attempts: int = 0
    recoveries: int = 0


class Health(msgspec.Struct):
    """How the process is."""

    state: str = ""
    dependencies: dict[str, Dependency] = {}


class Told(msgspec.Struct):
    """Statistics. Counts are from the start of the process; `uptime_s` says when that was."""

    version: str = ""
    uptime_s: float = 0.0
    users: int = 0
    devices: int = 0
    devices_behind: int = 0
    producers: int = 0
    workers: int = 0
    events_stored: int = 0
    events_sent: int = 0
    events_acked: int = 0
    oldest_unacked_s: float = 0.0
    alerts: int = 0
    memory_bytes: int = 0
    refusals: dict[str, int] = {}
    calls: dict[str, int] = {}
    to_send: Times = msgspec.field(default_factory=Times)
    to_ack: Times = msgspec.field(default_factory=Times)
    health: Health = msgspec.field(default_factory=Health)


def read_told(text: bytes) -> Told:
    """Read what was told.

    Raises:
        ValueError: it is nothing that this version understands.
    """
    try:
        told = msgspec.json.decode(text, type=Told)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ValueError(f"statistics that can't be read: {exc}") from exc
    for times in (told.to_send, told.to_ack):
        times.counts = [*times.counts[:BUCKETS], *[0] * (BUCKETS - len(times.counts))]
    told.version = told.version[: limits_dashboard.BOARD_WORD_CHARS_MAX]
    kept = list(told.health.dependencies.items())[: limits_dashboard.BOARD_DEPENDENCIES_MAX]
    told.health.dependencies = {name[: limits_dashboard.BOARD_WORD_CHARS_MAX]: each for name, each in kept}
    for each in told.health.dependencies.values():
        each.reason = each.reason[: limits_dashboard.BOARD_WORD_CHARS_MAX]
    return told
