"""From samples of resident memory to a judgement: the last third of the time against the middle one. Pure.

The first third is for what fills up to its bound: caches, the dedupe window (2 min), tombstones (150 s), a user's 10,000 batches. After it
memory that still rises is a leak.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

GROWTH_MAX: Final = 0.05
"""The last third's mean may be above the middle third's by so much of it."""
SAMPLES_MIN: Final = 6
"""Two for each third; of fewer nothing can be told."""


class Growth(msgspec.Struct):
    """Resident memory of one process.

    Attributes:
        name: the process.
        first_mib: mean of the first third of the samples.
        middle_mib: of the middle one.
        last_mib: of the last one.
        percent: by how much the last is above the middle.
        flat: whether that is no more than `GROWTH_MAX`, and there were samples enough.
    """

    name: str
    first_mib: float
    middle_mib: float
    last_mib: float
    percent: float
    flat: bool


def judge_growth(samples: Mapping[str, Sequence[float]]) -> list[Growth]:
    """Judge all processes.

    Args:
        samples: by process, KiB, at even distances in time.
    """
    return [_judge(name, line) for name, line in samples.items()]


def _judge(name: str, line: Sequence[float]) -> Growth:
    if len(line) < SAMPLES_MIN:
        return Growth(name, 0.0, 0.0, 0.0, 0.0, False)
    third = len(line) / 3
    first, middle, last = (_mean(line[int(part * third) : int((part + 1) * third)]) for part in range(3))
    growth = last / middle - 1 if middle else 0.0
    return Growth(name, _mib(first), _mib(middle), _mib(last), round(100 * growth, 1), growth <= GROWTH_MAX)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mib(kib: float) -> float:
    return round(kib / 1024, 1)
