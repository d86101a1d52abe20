"""When each batch of a recording is due. Pure.

Rules: what was apart is apart by that time divided by the speed; no wait is longer than the longest allowed; clocks that went back make no
wait. So the order is the recording's, and a replay takes at most (batches - 1) times the longest wait.
"""

from collections.abc import Sequence


def due_at(stored_ms: Sequence[int], speed: float, gap_max_s: float) -> list[float]:
    """Seconds from the beginning until each batch is due; the first is at once.

    Args:
        stored_ms: when they were stored, Unix milliseconds.
        speed: how many times as fast; inf for no waits.
        gap_max_s: the longest wait, seconds.
    """
    due: list[float] = []
    at, before = 0.0, None
    for each in stored_ms:
        if before is not None:
            at += min(max(each - before, 0) / 1000 / speed, gap_max_s)
            before = max(before, each)
        else:
            before = each
        due.append(at)
    return due
