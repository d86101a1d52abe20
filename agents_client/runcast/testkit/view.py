"""What one device shows, told again from its frames: the checker's own reading of what a client does (PROTOCOL.md, "What a client does").

Theory. A view begins at a base (a position) and holds every event after it, in order. A frame whose `prev` is the place held goes on; one
whose `pos` is at or before it is a repeat; anything else is a gap that nobody announced. A `reset` empties the view; a device that
comes back with an older position takes back what it had after it. Within a view an event appears once, and an attempt's seqs have no
hole: an event with first_seq stands for the run's deltas and progress from there on, and for nothing else.

Invariants: `ids` maps each event shown to the interval (after, upto] of log positions in which it lies; `covered` of an attempt holds each
seq that is shown, by itself or by one that stands for it.

Pure; never imports the clock or anything that does I/O.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from runcast.testkit.history import Framed, Opened, Planned, Seen
from runcast.wire.errors import PositionMalformedError
from runcast.wire.position import LATEST, parse_position

MERGEABLE: Final = frozenset({"agent_thinking", "agent_response"})
"""Kinds that an event with first_seq may stand for."""
ENDS: Final = frozenset({"agent_completed", "agent_error", "run_cancelled", "run_lost"})
"""Kinds that end an attempt (trials emit no error but fatal ones)."""
CLOSERS: Final = ENDS | {"tool_completed", "agent_response"}
"""Kinds that the library or a router may add to what was planned."""

Report = Callable[[str, str], None]
"""Told the anomaly's kind and what happened."""
Try = tuple[str, int]
"""An attempt: run id and number."""


class Place(NamedTuple):
    """An event lies in the log at a seq in (after, upto]."""

    after: int
    upto: int


class View:
    """What one device shows.

    Args:
        user: whose device.
        device: its id.
        plans: what was emitted, by attempt.
        report: told of anomalies.

    Attributes:
        base: seq at which the view begins; -1 before the first welcome.
        held: seq up to which it goes.
        ids: events shown, in order, with their places.
        merged: ids shown that stand for others too.
        covered: by attempt, seqs shown.
        skipped: ranges that a snapshot stands for.
        times: when an event, or a seq of an attempt, was first shown, in any state of the view.
        superseded: events dropped because a later attempt had begun.
    """

    def __init__(self, user: str, device: str, plans: Mapping[Try, Planned], report: Report) -> None:
        self.user = user
        self.device = device
        self._plans = plans
        self._report = report
        self._epoch = ""
        self._peak = -1
        self._order: list[tuple[Place, Seen]] = []
        self.base = self.held = -1
        self.ids: dict[str, Place] = {}
        self.merged: set[str] = set()
        self.covered: dict[Try, set[int]] = {}
        self.skipped: list[Place] = []
        self.times: dict[str | tuple[str, int, int], float] = {}
        self.superseded = 0
        self._loose: dict[tuple[str, Place], Seen] = {}
        self._loose_ids: set[str] = set()
        self._last: dict[Try, int] = {}
        self._ended: dict[Try, str] = {}
        self._newest: dict[str, int] = {}

    @property
    def name(self) -> str:
        """The device, for people."""
        return f"{self.device} of {self.user}"

    def open(self, record: Opened) -> None:
        """A welcome."""
        position = parse_position(record.position)
        first = self.base < 0
        if record.outcome == "reset":
            self._begin(position.epoch, position.seq)
            return
        if record.trick in ("future", "epoch"):
            self._report("gaps_unannounced", f"{self.name} came with a position ({record.trick}) {record.asked}: {record.outcome}")
        if record.outcome == "snapshot":
            self._rewind(min(position.seq, max(self.held, 0)) if not first else position.seq)
            self.held = self.base if first else position.seq
            self.skipped.append(Place(position.seq, parse_position(record.tip).seq))
            self._epoch = position.epoch
        elif first or record.asked == LATEST:
            self._begin(position.epoch, position.seq)
        elif position.epoch != self._epoch:
            self._report("gaps_unannounced", f"{self.name} was resumed in another epoch, {record.position}")
            self._begin(position.epoch, position.seq)
        elif (record.trick or not record.asked) and self.held < position.seq <= self._peak:
            self._begin(position.epoch, position.seq)  # it was there once, and went back since
        elif position.seq > self.held and record.trick != "foreign":
            self._report("gaps_unannounced", f"{self.name} held {self.held} and was resumed at {position.seq}")
            self._begin(position.epoch, position.seq)
        elif position.seq > self.held:
            self._begin(position.epoch, position.seq)
        else:
            self._rewind(position.seq)

    def frame(self, record: Framed) -> list[tuple[Place, Seen]]:
        """A frame; returns what of it is new, as a client would hand it on."""
        try:
            prev, pos = parse_position(record.prev), parse_position(record.pos)
        except PositionMalformedError:
            self._report("gaps_unannounced", f"{self.name} got a frame ({record.prev}, {record.pos}]")
            return []
        if pos.epoch == self._epoch and pos.seq <= self.held:
            return []
        if (prev.epoch, prev.seq) != (self._epoch, self.held) or pos.epoch != prev.epoch:
            self._report("gaps_unannounced", f"{self.name} held {self.held} and got ({record.prev}, {record.pos}]")
            self._begin(pos.epoch, pos.seq)
            return []
        place = Place(prev.seq, pos.seq)
        self.held = pos.seq
        self._peak = max(self._peak, pos.seq)
        return [(place, event) for event in record.events if self._show(place, event, record.t)]

    def holds(self, event_id: str, attempt: Try | None, seq: int, place: Place) -> bool:
        """Whether an event that lies at `place` is shown, or stood for, or before the view's base."""
        if event_id in self.ids or event_id in self._loose_ids or place.after < self.base:
            return True
        if attempt is not None and seq in self.covered.get(attempt, ()):
            return True
        return any(place.after >= part.after and place.upto <= part.upto for part in self.skipped)

    def finish(self) -> None:
        """The history is over: no hole may be left."""
        for attempt, last in self._last.items():
            self._check_holes(attempt, last)

    # --- inside ---

    def _begin(self, epoch: str, seq: int) -> None:
        self._epoch, self.base, self.held = epoch, seq, seq
        self._order.clear()
        self._loose.clear()
        self._loose_ids.clear()
        self.skipped.clear()
        self._rebuild()

    def _rewind(self, seq: int) -> None:
        if seq == self.held:
            return
        self.held, self.base = seq, min(self.base, seq) if self.base >= 0 else seq
        # Of a frame that reaches over `seq` it can't be told what lay before: that may come again, or not.
        # What was in doubt before stays so: a device that goes back twice has not been shown less for it.
        loose = {(event.id, place): event for place, event in self._order if place.after < seq < place.upto}
        self._loose = {key: event for key, event in self._loose.items() if key[1].after < seq} | loose
        self._order = [(place, event) for place, event in self._order if place.upto <= seq]
        self.skipped = [part for part in self.skipped if part.upto <= seq]
        self._rebuild()
        self._loose_ids = {event_id for event_id, _ in self._loose}
        for event in self._loose.values():
            if event.run:
                self._cover(event)

    def _rebuild(self) -> None:
        order, self._order = self._order, []
        for table in (self.ids, self.covered, self._last, self._ended, self._newest):
            table.clear()
        self.merged.clear()
        for place, event in order:
            self._note(place, event, None)

    def _show(self, place: Place, event: Seen, t: float) -> bool:
        """Check an event against what is shown; True when it is new."""
        if event.kind == "unknown":
            self._report("leaked", f"{self.name} got an event {event.id} that nobody emitted")
            return False
        attempt = (event.run, event.attempt)
        if event.id in self.ids:
            self._report("duplicated", f"{self.name} was shown {event.id} at {self.ids[event.id].upto} and at {place.upto}")
            return False
        if event.run:
            if event.attempt < self._newest.get(event.run, 0):
                self.superseded += 1
                return False
            last = self._last.get(attempt, 0)
            if event.seq <= last:
                self._report("reordered", f"{self.name} was shown {event.id} after seq {last} of its run")
                return False
            ended = self._ended.get(attempt)
            if ended and self._after_end(place, event, ended):
                return False
            if event.first > event.seq or (event.first and event.first < event.seq and event.kind not in MERGEABLE):
                self._report("gaps_unannounced", f"{self.name}: {event.id}, {event.kind}, claims to stand for seqs from {event.first} on")
        self._note(place, event, t)
        if event.run and event.kind not in MERGEABLE:
            self._check_holes(attempt, event.seq)
        return True

    def _after_end(self, place: Place, event: Seen, ended: str) -> bool:
        if event.kind in ENDS:
            self._report("duplicated", f"{self.name} was shown a second end of {event.run}.{event.attempt}: {event.id} after {ended}")
        else:
            self._report("reordered", f"{self.name} was shown {event.id}, {event.kind}, after the end {ended}, at {place.upto}")
        return True

    def _note(self, place: Place, event: Seen, t: float | None) -> None:
        self._order.append((place, event))
        self.ids[event.id] = place
        if t is not None:
            self.times.setdefault(event.id, t)
        if not event.run:
            return
        attempt = (event.run, event.attempt)
        self._cover(event)
        if t is not None:
            for seq in range(event.first or event.seq, event.seq + 1):
                self.times.setdefault((event.run, event.attempt, seq), t)
        self._last[attempt] = event.seq
        self._newest[event.run] = max(event.attempt, self._newest.get(event.run, 0))
        if event.kind in ENDS:
            self._ended[attempt] = event.id

    def _cover(self, event: Seen) -> None:
        attempt = (event.run, event.attempt)
        covered = self.covered.setdefault(attempt, set())
        if event.first and event.first < event.seq:
            self.merged.add(event.id)
            plan = self._plans.get(attempt)
            kinds = plan.kinds if plan else []
            covered.update(seq for seq in range(event.first, event.seq) if seq > len(kinds) or kinds[seq - 1] in MERGEABLE)
        covered.add(event.seq)

    def _check_holes(self, attempt: Try, upto: int) -> None:
        """Every seq below `upto`, from the first shown (from 1 when the view begins at the beginning), is shown or stood for."""
        covered = self.covered[attempt]
        first = 1 if self.base == 0 and not self.skipped else min(covered)
        if len(covered) < upto - first + 1:
            missing = sorted(set(range(first, upto)) - covered)
            if missing and not self.skipped:
                run, number = attempt
                self._report("gaps_unannounced", f"{self.name} was shown seq {upto} of {run}.{number} without {missing[:5]}")
                covered.update(missing)  # said once
