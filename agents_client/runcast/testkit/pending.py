"""What a trial still waits for before it may be called settled: runs without an end, messages nobody settled, devices that are behind.

A cheap look at the history as it grows; the verdict is the checker's. Pure; never imports the clock or anything that does I/O.
"""

from runcast.testkit.history import Acked, Answered, AnyRecord, Framed, Handled, Opened, Parked, Sent
from runcast.testkit.view import ENDS
from runcast.wire.errors import PositionMalformedError
from runcast.wire.position import SNAPSHOT_EPOCH, parse_position


class Pending:
    """What is waited for. `take` every record once, each writer's in their order."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._ended: set[tuple[str, int]] = set()
        self._open: set[str] = set()
        self._sent: set[str] = set()
        self._stored: set[str] = set()
        self._settled: set[str] = set()
        self._tips: dict[str, int] = {}
        self._held: dict[tuple[str, str], int] = {}

    def take(self, record: AnyRecord) -> None:
        """Note a record."""
        match record:
            case Framed():
                self._move(record.user, record.device, record.pos)
                for event in record.events:
                    if event.run:
                        self._newest[event.run] = max(event.attempt, self._newest.get(event.run, 0))
                        if event.kind in ENDS:
                            self._ended.add((event.run, event.attempt))
                        done = (event.run, self._newest[event.run]) in self._ended
                        (self._open.discard if done else self._open.add)(event.run)
            case Opened():
                self._move(record.user, record.device, record.position)
            case Acked():
                self._reach(record.user, record.pos)
            case Sent():
                self._sent.add(record.id)
            case Answered() if record.outcome == "stored" and record.id in self._sent - self._settled:
                self._stored.add(record.id)
            case Handled() | Parked():
                self._settled.add(record.id)
                self._stored.discard(record.id)

    def left(self, owed: list[tuple[str, str]]) -> str:
        """What is still waited for, for people; "" for nothing.

        Args:
            owed: (user, device) of those that are owed everything.
        """
        behind = sum(self._held.get((user, device), -1) < self._tips.get(user, 0) for user, device in owed)
        parts = ((len(self._open), "runs without an end"), (len(self._stored), "messages nobody settled"), (behind, "devices behind"))
        return ", ".join(f"{count} {what}" for count, what in parts if count)

    def _move(self, user: str, device: str, pos: str) -> None:
        self._held[user, device] = self._reach(user, pos)

    def _reach(self, user: str, pos: str) -> int:
        try:
            epoch, seq = parse_position(pos)
        except PositionMalformedError:
            return -1
        if epoch == SNAPSHOT_EPOCH:
            return 0  # nowhere in the stream
        self._tips[user] = max(seq, self._tips.get(user, 0))
        return seq
