"""An outbox's journal, kept in the spill: each call becomes a line or two in the file.

Rules: runs are found in the file by their id there. What happens after the spill was closed or given up is not written.

Never imports asyncio or grpc.
"""

from runcast.client.errors import RunKey
from runcast.client.spill import Spill
from runcast.v1.event_pb2 import Batch, Event
from runcast.wire import limits_client as limits


class SpillJournal:
    """The journal of one producer.

    Args:
        spill: the file.
        producer: whose outbox this is.
    """

    def __init__(self, spill: Spill, producer: str) -> None:
        self._spill = spill
        self._producer = producer
        self._runs: dict[RunKey, int] = {}
        self._newest: dict[int, int] = {}  # size of a run's newest event

    def has_room(self, size: int, *, closing: bool) -> bool:
        """As `Journal.has_room`."""
        return self._spill.has_room(size, reserve=limits.OUTBOX_RESERVE_BYTES if closing else 0)

    def opened(self, key: RunKey) -> None:
        """As `Journal.opened`."""
        self._runs[key] = self._spill.add_run(self._producer, key)

    def appended(self, key: RunKey, event: Event) -> None:
        """As `Journal.appended`."""
        run = self._runs[key]
        self._newest[run] = self._spill.put(run, event)

    def changed(self, key: RunKey, event: Event) -> None:
        """As `Journal.changed`."""
        run = self._runs[key]
        self._newest[run] = self._spill.put(run, event, self._newest[run])

    def built(self, key: RunKey, batch: Batch) -> None:
        """As `Journal.built`."""
        self._spill.fly(self._runs[key], batch.events[-1].seq, batch.receipt_deadline_ms)

    def stored(self, key: RunKey, number: int, last_seq: int) -> None:
        """As `Journal.stored`."""
        self._spill.land(self._runs[key], number, last_seq)

    def failed(self, key: RunKey) -> None:
        """As `Journal.failed`."""
        self._spill.cut(self._runs[key])

    def forgotten(self, key: RunKey) -> None:
        """As `Journal.forgotten`."""
        run = self._runs.pop(key, None)
        if run is not None:
            self._newest.pop(run, None)
            self._spill.drop(run)

    def commit(self) -> None:
        """As `Journal.commit`."""
        self._spill.commit()


class RemainsJournal(SpillJournal):
    """The journal of a dead producer, whose runs are in the file.

    It always has room for what ends them, and keeps what of a failed run is not stored: that may be told again.
    """

    def has_room(self, size: int, *, closing: bool) -> bool:  # noqa: ARG002 # the protocol's
        """Always: at most an end per run is added."""
        return True

    def failed(self, key: RunKey) -> None:
        """Nothing, until it is decided what becomes of the run."""

    def adopt(self, key: RunKey, run: int) -> None:
        """A run is in the file under this id; known under another key before, it is that no more."""
        self._runs = {other: id_ for other, id_ in self._runs.items() if id_ != run}
        self._runs[key] = run
