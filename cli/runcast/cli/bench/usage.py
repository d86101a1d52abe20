"""What processes have used, from /proc (Linux)."""

import os
from pathlib import Path
from typing import NamedTuple

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


class Usage(NamedTuple):
    """Processor time, user and system, in seconds (to a hundredth), and resident memory in KiB."""

    cpu_s: float
    rss_kib: float


def read_usage(pids: list[int]) -> Usage:
    """The sum over some processes, their ended threads included; those that are gone count nothing."""
    cpu_s = rss_kib = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue
        cpu_s += (int(fields[11]) + int(fields[12])) * _TICK_S
        rss_kib += pages * _PAGE_KIB
    return Usage(cpu_s, rss_kib)
