"""Lanes: bars that overlap are drawn under each other. Pure.

Rule: a bar goes to the first lane that is free when it begins, in the order in which bars begin; so bars of one lane never overlap, and
there are only as many lanes as bars at once.
"""

from collections.abc import Iterable


def lanes_of(spans: Iterable[tuple[int, int | None]]) -> list[int]:
    """The lane of each bar.

    Args:
        spans: begin and end of each, in the order in which they begin; an end of None is not yet.

    Returns:
        As many numbers, from 0. A bar may begin where another one ended.
    """
    free: list[int | None] = []
    lanes: list[int] = []
    for begin, end in spans:
        lane = next((number for number, until in enumerate(free) if until is not None and until <= begin), len(free))
        if lane == len(free):
            free.append(end)
        else:
            free[lane] = end
        lanes.append(lane)
    return lanes
