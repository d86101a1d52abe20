"""What one device shows, told again from its frames: the checker's own reading of what a client does (PROTOCOL.md, "What a client does").

Theory. A view begins at a base (a position) and holds every event after it, in order. A frame whose `prev` is the place held goes on; one
whose `pos` is at or before it is a repeat; anything else is a gap that nobody announced. A `reset` or a `snapshot` empties the view; a
device that comes back with an older position takes back what it had after it. Within a view an event appears once, and an attempt's seqs
have no hole: an event with first_seq stands for the seqs from there on, if they are of kinds that it may stand for.

In a snapshot positions have an epoch of their own, runs come one after the other, and only the last frame says where in the stream all of
it lies: before its `pos`. Until then its events have a place without an end.

Invariants: `ids` maps each event shown to the interval (after, upto] of log positions in which it lies; `covered` of an attempt holds each
seq that is shown, by itself or by one that stands for it.

Pure; never imports the clock or anything that does I/O.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from runcast.testkit.history import Framed, Opened, Seen, emitted_at
from runcast.wire.errors import PositionMalformedError
from runcast.wire.position import LATEST, SNAPSHOT_EPOCH, Position, parse_position

MERGEABLE: Final = frozenset({"agent_thinking", "agent_response"})
"""Kinds that an event with first_seq may stand for, in the stream."""
ENDS: Final = frozenset({"agent_completed", "agent_error", "run_cancelled", "run_lost"})
"""Kinds that end an attempt (trials emit no error but fatal ones)."""
CLOSERS: Final = ENDS | {"tool_completed", "agent_response"}
"""Kinds that the library or a router may add to what was planned."""
OUTCOME: Final = ENDS | {"agent_started", "agent_response"}
"""Kinds that a snapshot gives of a run that has ended."""
ENDLESS: Final = 1 << 62
"""Above every seq."""

Report = Callable[[str, str], None]
"""Told the anomaly's kind and what happened."""
Try = tuple[str, int]
"""An attempt: run id and number."""


class Place(NamedTuple):
    """An event lies in the log at a seq in (after, upto]."""

    after: int
    upto: int


class Given(NamedTuple):
    """A whole snapshot: the runs that it said were under way, with attempt and newest seq, and the place in the stream where it ends."""

    runs: dict[str, tuple[int, int]]
    end: int


class _Shown(NamedTuple):
    place: Place
    event: Seen
    snapshot: bool
    ended: bool
    """By a snapshot that said that the run has ended."""


class View:
    """What one device shows.

    Args:
        user: whose device.
        device: its id.
        kind_at: kind of the event at a seq of an attempt, "" when that is not known.
        report: told of anomalies.

    Attributes:
        base: seq at which the view begins; -1 before the first welcome.
        held: seq up to which it goes; 0 within a snapshot.
        ids: events shown, in order, with their places.
        unordered: ids shown for whose order against those of other runs nothing is promised.
        covered: by attempt, seqs shown.
        given: the snapshots that came to their end.
        broken_off: snapshots that did not.
        times: when an event, or a seq of an attempt, was first shown, in any state of the view.
        superseded: events dropped because a later attempt had begun, or theirs was lost.
    """

    def __init__(self, user: str, device: str, kind_at: Callable[[Try, int], str], report: Report) -> None:
        self.user = user
        self.device = device
        self._kind_at = kind_at
        self._report = report
        self._epoch = ""
        self._peak = -1
        self._order: list[_Shown] = []
        self.base = self.held = -1
        self.ids: dict[str, Place] = {}
        self.unordered: set[str] = set()
        self.covered: dict[Try, set[int]] = {}
        self.given: list[Given] = []
        self.broken_off = 0
        self.times: dict[str | tuple[str, int, int], float] = {}
        self.superseded = 0
        self._piece = 0  # of a snapshot, held
        self._under_way: dict[str, tuple[int, int]] = {}
        self._folded = -1  # up to where a snapshot stands for the stream
        self._loose: dict[tuple[str, Place], _Shown] = {}
        self._loose_ids: set[str] = set()
        self._last: dict[Try, int] = {}
        self._ended: dict[Try, Seen] = {}
        self._newest: dict[str, int] = {}
        self._fenced: dict[str, tuple[int, float]] = {}  # newest attempt that this connection told of, and when
        self._lost: dict[Try, float] = {}  # attempts that it said are lost, and when

    @property
    def name(self) -> str:
        """The device, for people."""
        return f"{self.device} of {self.user}"

    @property
    def in_snapshot(self) -> bool:
        """Whether it holds a part of a snapshot, and so is nowhere in the stream."""
        return self._epoch == SNAPSHOT_EPOCH

    def open(self, record: Opened) -> None:
        """A welcome."""
        position = parse_position(record.position)
        self._fenced.clear()
        self._lost.clear()
        self.broken_off += self.in_snapshot
        if record.outcome != "resumed":
            if record.outcome == "snapshot" and record.wants is False:
                self._report("false_snapshots", f"{self.name} forbade a snapshot, and was given one by {record.edge}")
            self._begin(position, snapshot=record.outcome == "snapshot")
            self._under_way = {run: (attempt, seq) for run, attempt, seq in record.runs}
            if record.outcome == "snapshot" and not self.in_snapshot:  # of nothing
                self._check_snapshot()
            return
        if record.trick in ("future", "epoch"):
            self._report("gaps_unannounced", f"{self.name} came with a position ({record.trick}) {record.asked}: {record.outcome}")
        if record.asked.startswith(SNAPSHOT_EPOCH):
            self._report("gaps_unannounced", f"{self.name} was resumed at {record.position} from within a snapshot")
            self._begin(position)
        elif self.base < 0 or record.asked == LATEST or self.in_snapshot:
            self._begin(position)
        elif position.epoch != self._epoch:
            self._report("gaps_unannounced", f"{self.name} was resumed in another epoch, {record.position}")
            self._begin(position)
        elif (record.trick or not record.asked) and self.held < position.seq <= self._peak:
            self._begin(position)  # it was there once, and went back since
        elif position.seq > self.held and record.trick != "foreign":
            self._report("gaps_unannounced", f"{self.name} held {self.held} and was resumed at {position.seq}")
            self._begin(position)
        elif position.seq > self.held:
            self._begin(position)
        else:
            self._rewind(position.seq)

    def frame(self, record: Framed) -> list[tuple[Place, Seen]]:
        """A frame; returns what of it is new, as a client would hand it on."""
        try:
            prev, pos = parse_position(record.prev), parse_position(record.pos)
        except PositionMalformedError:
            self._report("gaps_unannounced", f"{self.name} got a frame ({record.prev}, {record.pos}]")
            return []
        here = Position(self._epoch, self._piece if self.in_snapshot else self.held)
        if pos.epoch == here.epoch and pos.seq <= here.seq:
            return []
        if prev != here or (pos.epoch != prev.epoch and not self.in_snapshot):
            self._report("gaps_unannounced", f"{self.name} held {here.seq} and got ({record.prev}, {record.pos}]")
            self._begin(pos)
            return []
        snapshot = self.in_snapshot
        if pos.epoch == SNAPSHOT_EPOCH:
            self._piece = pos.seq
            place = Place(0, ENDLESS)
        elif snapshot:
            self._arrive(pos)
            place = Place(0, pos.seq)
        else:
            self.held = pos.seq
            place = Place(prev.seq, pos.seq)
        self._peak = max(self._peak, self.held)
        shown = [(place, event) for event in record.events if self._show(place, event, record, snapshot=snapshot)]
        if snapshot and not self.in_snapshot:
            self._check_snapshot()
        return shown

    def holds(self, event_id: str, attempt: Try | None, seq: int, place: Place) -> bool:
        """Whether an event that lies at `place` is shown, or stood for, or before the view's base."""
        if event_id in self.ids or event_id in self._loose_ids or place.after < self.base:
            return True
        if attempt is None:
            return False
        if seq in self.covered.get(attempt, ()):
            return True
        return place.after < self._folded and attempt[1] < self._newest.get(attempt[0], 0)  # a snapshot has nothing of it

    def finish(self) -> None:
        """The history is over: no hole may be left."""
        for attempt, last in self._last.items():
            self._check_holes(attempt, last)

    # --- inside ---

    def _begin(self, position: Position, *, snapshot: bool = False) -> None:
        self._epoch = position.epoch
        self._piece = position.seq if self.in_snapshot else 0
        self.held = 0 if self.in_snapshot else position.seq
        self.base = 0 if snapshot else self.held
        self._folded = self.held if snapshot else -1
        self._under_way = {}
        self._order.clear()
        self._loose.clear()
        self._loose_ids.clear()
        self._rebuild()

    def _rewind(self, seq: int) -> None:
        if seq == self.held:
            return
        self.held, self.base = seq, min(self.base, seq) if self.base >= 0 else seq
        # Of a frame that reaches over `seq` it can't be told what lay before: that may come again, or not.
        # What was in doubt before stays so: a device that goes back twice has not been shown less for it.
        loose = {(each.event.id, each.place): each for each in self._order if each.place.after < seq < each.place.upto}
        self._loose = {key: each for key, each in self._loose.items() if key[1].after < seq} | loose
        self._order = [each for each in self._order if each.place.upto <= seq]
        self._rebuild()
        self._loose_ids = {event_id for event_id, _ in self._loose}
        for each in self._loose.values():
            if each.event.run:
                self._cover(each)
                self._newest[each.event.run] = max(each.event.attempt, self._newest.get(each.event.run, 0))

    def _rebuild(self) -> None:
        order, self._order = self._order, []
        for table in (self.ids, self.covered, self._last, self._ended, self._newest):
            table.clear()
        self.unordered.clear()
        for each in order:
            self._note(each, None)

    def _arrive(self, pos: Position) -> None:
        """The last frame of a snapshot says where all of it lies."""
        self._epoch, self.held, self._folded = pos.epoch, pos.seq, pos.seq
        place = Place(0, pos.seq)
        self._order = [each._replace(place=place) for each in self._order]
        self.ids = dict.fromkeys(self.ids, place)

    def _show(self, place: Place, event: Seen, record: Framed, *, snapshot: bool) -> bool:
        """Check an event against what is shown; True when it is new."""
        t = record.t
        if event.kind == "unknown":
            self._report("leaked", f"{self.name} got an event {event.id} that nobody emitted")
            return False
        attempt = (event.run, event.attempt)
        if event.id in self.ids:
            self._report("duplicated", f"{self.name} was shown {event.id} at {self.ids[event.id].upto} and at {place.upto}")
            return False
        shown = _Shown(place, event, snapshot, snapshot and event.run not in self._under_way)
        if event.run:
            if not self._fence(event, t, emitted_at(record, event)):
                return False
            last = self._last.get(attempt, 0)
            if event.seq <= last:
                self._report("reordered", f"{self.name} was shown {event.id} after seq {last} of its run")
                return False
            ended = self._ended.get(attempt)
            if ended and not self._take_after_end(place, event, ended):
                return False
            self._check_range(shown)
        self._note(shown, t)
        if event.run and event.kind not in MERGEABLE:
            self._check_holes(attempt, event.seq)
        return True

    def _fence(self, event: Seen, t: float, emitted: float) -> bool:
        """False for an event of an attempt that was superseded: readers drop it.

        An edge leaves it out, too, when it knew what superseded it as the event came: when it had given that before the event was emitted.
        """
        attempt = (event.run, event.attempt)
        newest, since = self._fenced.get(event.run, (0, 0.0))
        stale = event.attempt < newest and emitted > since
        stale = stale or (attempt in self._lost and event.kind != "run_lost" and emitted > self._lost[attempt])
        if stale:
            self._report("stale", f"{self.name} was given {event.id}, {event.kind}, by an edge that knew that its attempt was over")
        elif event.kind == "agent_started" and event.attempt > newest:
            self._fenced[event.run] = (event.attempt, t)
        elif event.kind == "run_lost":
            self._lost.setdefault(attempt, t)
        if event.attempt < self._newest.get(event.run, 0):
            self.superseded += 1
            return False
        return True

    def _take_after_end(self, place: Place, event: Seen, ended: Seen) -> bool:
        """An attempt goes on after its end: never good, but for what is void because it was lost."""
        if ended.kind == "run_lost" and event.kind != "run_lost":
            self.superseded += 1
        elif event.kind in ENDS:
            self._report("duplicated", f"{self.name} was shown a second end of {event.run}.{event.attempt}: {event.id} after {ended.id}")
        else:
            self._report("reordered", f"{self.name} was shown {event.id}, {event.kind}, after the end {ended.id}, at {place.upto}")
        return False

    def _check_range(self, shown: _Shown) -> None:
        event = shown.event
        if event.first > event.seq or (event.first and event.first < event.seq and event.kind not in MERGEABLE and not shown.snapshot):
            self._report("gaps_unannounced", f"{self.name}: {event.id}, {event.kind}, claims to stand for seqs from {event.first} on")
        if not shown.snapshot:
            return
        if shown.ended and event.kind not in OUTCOME:
            self._report("false_snapshots", f"{self.name} was given {event.id}, {event.kind}, of a run that has ended")
        expected = self._under_way.get(event.run, (event.attempt, 0))[0]
        if event.attempt != expected or self._newest.get(event.run, event.attempt) != event.attempt:
            self._report("false_snapshots", f"{self.name} was given {event.id} in a snapshot, of an attempt that was superseded")

    def _note(self, shown: _Shown, t: float | None) -> None:
        place, event = shown.place, shown.event
        self._order.append(shown)
        self.ids[event.id] = place
        if event.first and event.first < event.seq:
            self.unordered.add(event.id)
        if shown.snapshot and event.run and (event.seq, event.attempt) != (1, 1):
            self.unordered.add(event.id)  # runs come in the order in which they began, and whole
        if t is not None:
            self.times.setdefault(event.id, t)
        if not event.run:
            return
        attempt = (event.run, event.attempt)
        self._cover(shown)
        if t is not None:
            for seq in range(event.first or event.seq, event.seq + 1):
                self.times.setdefault((event.run, event.attempt, seq), t)
        self._last[attempt] = event.seq
        self._newest[event.run] = max(event.attempt, self._newest.get(event.run, 0))
        if event.kind in ENDS:
            self._ended[attempt] = event

    def _cover(self, shown: _Shown) -> None:
        event = shown.event
        attempt = (event.run, event.attempt)
        covered = self.covered.setdefault(attempt, set())
        if event.first and event.first < event.seq:
            covered.update(seq for seq in range(event.first, event.seq) if _may_stand_for(shown, self._kind_at(attempt, seq)))
        covered.add(event.seq)

    def _check_holes(self, attempt: Try, upto: int) -> None:
        """Every seq below `upto`, from the first shown (from 1 when the view begins at the beginning), is shown or stood for."""
        covered = self.covered[attempt]
        first = 1 if self.base == 0 else min(covered)
        if len(covered) < upto - first + 1:
            missing = sorted(set(range(first, upto)) - covered)
            if missing:
                run, number = attempt
                self._report("gaps_unannounced", f"{self.name} was shown seq {upto} of {run}.{number} without {missing[:5]}")
                covered.update(missing)  # said once

    def _check_snapshot(self) -> None:
        """A snapshot is whole: what it said is under way is, and is there up to its newest event; everything else has ended."""
        for run, (number, seq) in self._under_way.items():
            last = self._last.get((run, number), 0)
            if last != seq or (run, number) in self._ended:
                what = "its end" if (run, number) in self._ended else f"seq {last}"
                self._report("false_snapshots", f"{self.name} was told that {run}.{number} is under way at seq {seq}, and was given {what}")
        for run, number in self._newest.items():
            if run not in self._under_way and (run, number) not in self._ended:
                self._report("false_snapshots", f"{self.name} was given a part of {run}.{number}, which was not said to be under way")
        self.given.append(Given(dict(self._under_way), self.held))


def _may_stand_for(shown: _Shown, kind: str) -> bool:
    """Whether an event with first_seq may stand for one of `kind` (""; not known: it may)."""
    if kind == "agent_response":
        return shown.event.kind == "agent_response"
    if kind in ("agent_thinking", ""):
        return shown.snapshot or shown.event.kind in MERGEABLE
    return shown.ended and kind not in OUTCOME
