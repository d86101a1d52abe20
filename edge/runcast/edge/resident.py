"""How much memory this process has, from Linux; elsewhere nothing is known, and nothing is bounded."""

import ctypes
import gc
import os
from pathlib import Path
from typing import Final

_CONTAINER: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def container_bytes() -> str:
    """What Linux says of this container's bound; "" when it says nothing."""
    for path in _CONTAINER:
        try:
            return path.read_text()
        except OSError:
            continue
    return ""


def resident_bytes() -> int:
    """Resident memory of this process, less what it shares with files; 0 when that is not known."""
    try:
        _, resident, shared, *_ = _STATM.read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE


def trim() -> None:
    """Return to the system what the allocator keeps for later: what a flood took would count for ever."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return
