"""A snapshot: what a stream comes to, for a device that holds nothing or missed too much (PROTOCOL.md, "Snapshots"). Pure.

Theory. A reader that begins anew needs no more than the state that the stream has brought about. So the whole stream is folded, batch by
batch, into an entry for each run and each user message, in the order in which they began:
- a run that ended: its agent_started, its messages, its end;
- an open run: all of it, but its text merged and only its newest thinking;
- a superseded attempt: nothing; a user message: itself.
What is given of a run is a sequence of events with rising seqs, whose ranges (`first_seq` to `seq`) cover the attempt without a hole.

Because runs are given one after the other, a device that got a part of a snapshot is nowhere in the stream: positions within a snapshot
are of an epoch of their own, and nothing can be continued from them.

Rules: what is held is bounded (`too_large` says that the bound was passed; then there is no snapshot); what was given is held no more.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from runcast.edge.conflate import Merge, RunMerger
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.frames import RunSummary
from runcast.wire.lifecycle import ends_run


class Fold:
    """Takes a stream from its beginning.

    Args:
        bytes_max: what may be held.

    Attributes:
        too_large: it would take more than that; nothing is held any more.
        size: bytes held, estimated from above.
    """

    def __init__(self, bytes_max: int = limits.SNAPSHOT_BYTES_MAX) -> None:
        self.too_large = False
        self.size = 0
        self._bytes_max = bytes_max
        self._count_at = bytes_max
        self._timeline: deque[_Run | Event] = deque()
        self._runs: dict[str, _Run] = {}
        self._said: set[str] = set()

    def add(self, event: Event) -> None:
        """Take the next event of the stream."""
        if self.too_large:
            return
        if event.run_id:
            run = self._runs.get(event.run_id)
            if run is None:
                run = self._runs[event.run_id] = _Run(event)
                self._timeline.append(run)
            self.size -= run.size
            run.add(event)
            self.size += run.size
        elif event.id not in self._said:
            self._said.add(event.id)
            self._timeline.append(event)
            self.size += event.ByteSize() + limits.SNAPSHOT_OVERHEAD_BYTES
        if self.size > self._count_at:
            self._count()

    def _count(self) -> None:
        """Let go of what was superseded, and see what is left. Seldom: only after a quarter of the bound has come in."""
        for run in self._runs.values():
            if not run.ended:
                self.size -= run.size
                run.compact()
                self.size += run.size
        self._count_at = self.size + self._bytes_max // 4
        if self.size > self._bytes_max:
            self.too_large = True
            self.size = 0
            self._timeline.clear()
            self._runs.clear()
            self._said.clear()

    def finish(self) -> "Snapshot":
        """The snapshot. It takes over what is held; the fold is of no more use."""
        runs = [run.summary() for run in self._runs.values() if not run.ended]
        for run in self._runs.values():
            if not run.ended:
                run.compact()
        self._runs.clear()
        return Snapshot(self._timeline, runs)


class Snapshot:
    """What is given in place of the stream.

    Args:
        timeline: runs and other events, in order; it is emptied.
        runs: those that have not ended.
    """

    def __init__(self, timeline: "deque[_Run | Event]", runs: list[RunSummary]) -> None:
        self.runs = runs
        self._pieces = _pieces(timeline)
        self._next = next(self._pieces, None)

    @property
    def empty(self) -> bool:
        """Everything was taken."""
        return self._next is None

    def take(self) -> list[Event]:
        """The events of the next frame; not when `empty`."""
        taken, self._next = self._next, next(self._pieces, None)
        assert taken is not None  # noqa: S101 # the caller looked
        return taken


class _Run:
    """What is held of one run: its newest attempt."""

    __slots__ = ("_first", "_made", "_merger", "_seq", "_started", "attempt", "ended", "size")

    def __init__(self, event: Event) -> None:
        self._begin(event)

    def _begin(self, event: Event) -> None:
        self.attempt = event.attempt
        self.ended = False
        self.size = 0
        self._first = event
        self._started: Event | None = None
        self._seq = 0
        self._merger = RunMerger()
        self._made: list[Merge] = []

    def add(self, event: Event) -> None:
        """Take the run's next event, unless it is a repeat, of a superseded attempt, or after the end."""
        if event.attempt > self.attempt:
            self._begin(event)
        elif event.attempt < self.attempt or self.ended or 0 < event.seq <= self._seq:
            return
        self._seq = max(self._seq, event.seq)
        if event.HasField("agent_started"):
            self._started = event
        merge = self._merger.add(event)
        self._made.append(merge)
        self.size += merge.size + limits.SNAPSHOT_OVERHEAD_BYTES
        if ends_run(event):
            self.ended = True
            self._keep(lambda each: each is merge or each.kind in _OUTCOME)

    def compact(self) -> None:
        """Let go of every thinking but the newest."""
        newest = next((each for each in reversed(self._made) if each.kind == "agent_thinking" and not each.gone), None)
        self._keep(lambda each: each is newest or each.kind != "agent_thinking")

    def _keep(self, wanted: Callable[[Merge], bool]) -> None:
        """Keep what is wanted; what comes next stands for what is not. The newest event is always wanted."""
        kept: list[Merge] = []
        first = 0
        for merge in self._made:
            if merge.gone:
                continue
            first = first or merge.first_seq
            if not wanted(merge):
                continue
            merge.first_seq, first = first, 0
            if not (kept and kept[-1].join(merge)):
                kept.append(merge)
        self._made = kept
        self._merger = RunMerger()  # the one before knows what is gone
        self.size = sum(each.size + limits.SNAPSHOT_OVERHEAD_BYTES for each in kept)

    def events(self) -> Iterator[Event]:
        """What is given of it."""
        return (each.event() for each in self._made if not each.gone)

    def summary(self) -> RunSummary:
        """Itself in few words."""
        first = self._first
        title, at = (self._started.agent_started.title, self._started.time_unix_ms) if self._started else ("", 0)
        return RunSummary(first.run_id, self.attempt, first.agent, first.thread, title, self._seq, at)


_OUTCOME: Final = frozenset({"agent_started", "agent_response"})
"""What is kept of a run that ended, beside its end."""


def _pieces(timeline: "deque[_Run | Event]") -> Iterator[list[Event]]:
    piece: list[Event] = []
    size = 0
    while timeline:
        entry = timeline.popleft()
        for event in (entry,) if isinstance(entry, Event) else entry.events():
            piece.append(event)
            size += event.ByteSize()
            if len(piece) >= limits.MERGED_EVENTS_MAX or size >= limits.MERGED_BYTES_MAX:
                yield piece
                piece, size = [], 0
    if piece:
        yield piece
