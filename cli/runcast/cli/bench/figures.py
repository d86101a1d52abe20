"""From what agents published and devices received to figures. Pure.

Definitions: *offered*: events that the schedule wanted; *published*: of these, the ones a router acknowledged; *lost*: published and never
delivered; *duplicated*: delivered again to the same device; *misordered*: delivered after a later one of the same run. Latency counts
from two moments: when the agent handed the event to the library (`emit`), and when the schedule wanted it (`due`: a generator that falls
behind can't hide it). Both clocks are the same machine's wall clock.
"""

from collections.abc import Sequence

import msgspec


class Sighting(msgspec.Struct, array_like=True):
    """One event as a device got it: number in its run, when it was due, emitted and received (Unix microseconds)."""

    number: int
    due_us: int
    emitted_us: int
    received_us: int


class Latency(msgspec.Struct):
    """Percentiles in milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float


class Delivery(msgspec.Struct):
    """What became of the events."""

    offered: int
    published: int
    delivered: int
    lost: int
    duplicated: int
    misordered: int
    emit_to_device_ms: Latency
    due_to_device_ms: Latency


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank; 0.0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def summarize(milliseconds: Sequence[float]) -> Latency:
    """Percentiles of a sample, rounded to hundredths."""
    ordered = sorted(milliseconds)
    return Latency(*(round(percentile(ordered, share), 2) for share in (0.5, 0.9, 0.99, 1.0)))


def judge(offered: int, published: dict[str, int], seen: dict[str, list[Sighting]]) -> Delivery:
    """Compare both ends.

    Args:
        offered: by the schedule, of all users.
        published: by user, how many were acknowledged: numbers 1 to that.
        seen: by user, in the order of arrival.
    """
    delivered = lost = duplicated = misordered = 0
    emitted: list[float] = []
    due: list[float] = []
    for user, count in published.items():
        numbers: set[int] = set()
        highest = 0
        for sighting in seen.get(user, []):
            if sighting.number in numbers:
                duplicated += 1
                continue
            numbers.add(sighting.number)
            if sighting.number < highest:
                misordered += 1
            highest = max(highest, sighting.number)
            emitted.append((sighting.received_us - sighting.emitted_us) / 1000)
            due.append((sighting.received_us - sighting.due_us) / 1000)
        delivered += len(numbers)
        lost += len(set(range(1, count + 1)) - numbers)
    return Delivery(offered, sum(published.values()), delivered, lost, duplicated, misordered, summarize(emitted), summarize(due))
