"""How fast a device may be fed: its window, its socket, its patience. Pure.

Rules: nothing more goes out while the window of unacknowledged frames is full or too much waits for the socket; a device that is fed from
the log gets more once its window is half empty, so that it gets mouthfuls and not crumbs. A device that something waits for, and that
frees nothing for `stall_s`, has stalled: to hold its place any longer would cost others.

Its bytes per second are bounded too, by the tenant's tier: what is over them waits in the log, and goes on once half of the burst has come
back. The rate is judged by the time that `advance` was told last: between two of them nothing comes back, so never too much goes out.

A connection that can't acknowledge what it reads (server-sent events) has no window: its socket alone holds it back.
"""

import math
from typing import Final

from runcast.bus.policy.bucket import Bucket, Rate
from runcast.wire import limits
from runcast.wire.window import AckWindow

_UNBOUNDED: Final = Rate(math.inf, math.inf)


class Pace:
    """Of one connection.

    Args:
        stall_s: how long a device may free nothing while something waits for it.
        windowed: it has a window.
    """

    __slots__ = ("_egress", "_now", "_rate", "_socket_bytes", "_stall_s", "_stalled_at", "_window", "_windowed")

    def __init__(self, stall_s: float, *, windowed: bool = True) -> None:
        self._window = AckWindow(limits.WINDOW_EVENTS, limits.WINDOW_BYTES)
        self._rate = _UNBOUNDED
        self._egress = Bucket()
        self._now = 0.0
        self._windowed = windowed
        self._socket_bytes = 0
        self._stall_s = stall_s
        self._stalled_at: float | None = None

    @property
    def socket_full(self) -> bool:
        """Too much waits for the socket."""
        return self._socket_bytes >= limits.SOCKET_BYTES_MAX

    @property
    def full(self) -> bool:
        """No further frame may go out now."""
        return self._window.full or self.socket_full or (self._rate.burst < math.inf and self._egress.wait_s(self._now, self._rate) > 0.0)

    @property
    def hungry(self) -> bool:
        """It is worth reading more for the device."""
        return self._window.half_empty and not self.socket_full and not self.rest_s

    @property
    def rest_s(self) -> float:
        """How long until its bytes per second allow for more, seconds, from the time that was told last."""
        rate = self._rate
        return 0.0 if rate.burst == math.inf else max(0.0, (self._egress.spent(self._now, rate) - rate.burst / 2) / rate.per_s)

    def allow(self, rate: Rate, bucket: Bucket | None = None) -> None:
        """From now on so many bytes a second; `bucket`: what was spent of them, when others spend from it too."""
        self._rate = rate
        if bucket is not None:
            self._egress = bucket

    def advance(self, now: float) -> None:
        """Time passed; monotonic seconds."""
        self._now = now

    def sent(self, key: int, events: int, size: int) -> None:
        """A frame goes out; keys rise."""
        if self._windowed:
            self._window.add(key, max(1, events), size)
        self._egress.spend(self._now, self._rate, size)
        self._socket_bytes += size  # until it is known how much is left of it

    def acknowledged(self, key: int) -> None:
        """All frames up to `key` were handled."""
        if self._window.free_le(key):
            self._stalled_at = None

    def socket_bytes(self, waiting: int) -> bool:
        """So many bytes wait for the socket; says whether there is room again."""
        was_full = self.socket_full
        if waiting < self._socket_bytes and not self._windowed:
            self._stalled_at = None
        self._socket_bytes = waiting
        return was_full and not self.socket_full

    def stalled(self, now: float, *, waiting: bool) -> bool:
        """Time passed, and the device is or is not waited for; says whether that has lasted too long."""
        if not waiting:
            self._stalled_at = None
            return False
        if self._stalled_at is None:
            self._stalled_at = now
        return now - self._stalled_at >= self._stall_s
