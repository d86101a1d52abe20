"""How long things took for devices and agents, from a history. Pure; judges nothing."""

from typing import Final

from runcast.testkit.calm import Calm
from runcast.testkit.history import Dropped, Framed, Opened, Receipted, Seen
from runcast.testkit.view import View
from runcast.wire.position import parse_position

Key = tuple[str, str]
WARM_S: Final = 3.0
"""After the first record: all devices connect at once, and what is timed until then says little."""


class Timings:
    """What was timed. Told of the records in the order of their times, each after the device's view was.

    Args:
        calm: when nothing was broken.
        began: when the first record was written, seconds.

    Attributes:
        recover_ms: from a device's lost connection until it was caught up again.
        latency_ms: from an agent's emit until a device that was caught up had it.
        receipt_ms: from storing until an agent knew that it was delivered.
        receipt_calm_ms: the same, of those while nothing was broken and after `WARM_S`.
    """

    def __init__(self, calm: Calm, began: float) -> None:
        self._calm = calm
        self._warm_at = began + WARM_S
        self._down: dict[Key, float] = {}
        self._behind: dict[Key, int] = {}  # the tip to reach before the device is caught up
        self._slow: set[Key] = set()
        self.recover_ms: list[float] = []
        self.latency_ms: list[float] = []
        self.receipt_ms: list[float] = []
        self.receipt_calm_ms: list[float] = []

    def opened(self, record: Opened, view: View) -> None:
        """A welcome."""
        key = (record.user, record.device)
        if record.slow:
            self._slow.add(key)
        self._behind[key] = parse_position(record.tip).seq
        self.moved(view, record.t)

    def dropped(self, record: Dropped) -> None:
        """A connection ended. Who leaves on purpose waits for nothing, whatever came before."""
        if record.meant:
            self._down.pop((record.user, record.device), None)
        else:
            self._down.setdefault((record.user, record.device), record.t)

    def is_live(self, record: Framed) -> bool:
        """Whether the device was caught up before this frame, and is not slow."""
        key = (record.user, record.device)
        return key not in self._behind and key not in self._slow

    def shown(self, record: Framed, event: Seen) -> None:
        """A device that is live was shown an event."""
        if event.ms and record.ms:
            self.latency_ms.append(max(record.ms - event.ms, 0))

    def moved(self, view: View, t: float) -> None:
        """A device may have caught up."""
        key = (view.user, view.device)
        if key in self._behind and not view.in_snapshot and view.held >= self._behind[key]:
            del self._behind[key]
            since = self._down.pop(key, None)
            if since is not None and key not in self._slow:
                self.recover_ms.append(1000 * (t - since))

    def receipt(self, record: Receipted) -> None:
        """An agent was told of a delivery, of something that readers do not drop."""
        self.receipt_ms.append(record.latency_ms)
        asked = record.t - record.latency_ms / 1000
        if asked >= self._warm_at and self._calm.during(asked, record.t):
            self.receipt_calm_ms.append(record.latency_ms)
