"""Whether an edge has memory for new sessions. Pure.

Rules: at the bound no new session is taken, and those that there are go on; below MEMORY_AGAIN of it new ones are taken again, so that one
that leaves does not open the door for one that comes. Without a bound there is always room.
"""

from runcast.wire import limits_floods
from runcast.wire.limits import MIB

_UNBOUNDED = 1 << 50
"""What containers without a bound are told by Linux is more than this, bytes."""


class Memory:
    """Of one process.

    Args:
        bytes_max: the bound; 0 for none.

    Attributes:
        bytes_max: as given.
        used: as it was observed last, bytes.
        full: no new session is taken.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.used = 0
        self.full = False
        self._trimmed_at = -limits_floods.MEMORY_TRIM_S

    def observe(self, used: int) -> bool:
        """So much is used now, bytes; says whether `full` changed."""
        self.used = used
        bound = self.bytes_max * (limits_floods.MEMORY_AGAIN if self.full else 1.0)
        was, self.full = self.full, bool(self.bytes_max) and used >= bound
        return was != self.full

    def wants_trim(self, now: float) -> bool:
        """Whether to return to the system what the allocator keeps; `now` in monotonic seconds."""
        if not self.full or now - self._trimmed_at < limits_floods.MEMORY_TRIM_S:
            return False
        self._trimmed_at = now
        return True


def choose_bound(setting_mib: int, container: str) -> int:
    """The bound in bytes; 0 for none.

    Args:
        setting_mib: as the operator set it; 0 when he did not.
        container: what Linux says of the container's bound: bytes, or "max", or "" when it says nothing.
    """
    if setting_mib:
        return setting_mib * MIB
    given = container.strip()
    if not given.isdecimal() or int(given) >= _UNBOUNDED:
        return 0
    return int(int(given) * limits_floods.MEMORY_SHARE)
