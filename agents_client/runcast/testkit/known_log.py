"""What is known of the log, from what all devices were shown and agents were told: where each event lies, of what kind it is, what it says.

Invariant: of an event that several devices were shown the place is what all of them agree on; where they do not, that was reported.

Pure; never imports the clock or anything that does I/O.
"""

from collections import defaultdict

from runcast.testkit.history import Framed, Planned, Seen, delta_digest
from runcast.testkit.view import ENDS, Place, Report, Try, View


class KnownLog:
    """All users' logs, as far as they are known.

    Args:
        report: told of anomalies.

    Attributes:
        plans: what agents meant to emit, by attempt.
        owners: of runs.
        places: by user and event id.
        seen: by run, attempt and seq, also of events that were only stood for.
        who: of an event id, its attempt and seq.
        started: by run and attempt.
        ended: how, and where, by attempt.
        acks: by attempt, pairs: all events up to this seq lie at or before this place.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._kinds: dict[Try, dict[int, str]] = defaultdict(dict)
        self._digests: dict[str, int] = {}
        self._texts: dict[tuple[Try, int, int], int] = {}
        self.plans: dict[Try, Planned] = {}
        self.owners: dict[str, str] = {}
        self.places: dict[str, dict[str, Place]] = defaultdict(dict)
        self.seen: dict[tuple[str, int, int], Place] = {}
        self.who: dict[str, tuple[Try, int]] = {}
        self.started: dict[str, dict[int, Place]] = defaultdict(dict)
        self.ended: dict[Try, tuple[str, Place]] = {}
        self.acks: dict[Try, list[tuple[int, int]]] = defaultdict(list)

    def plan(self, record: Planned) -> None:
        """Note what an agent means to do. All of this is noted before anything is judged."""
        self.plans[record.run, record.attempt] = record
        self.owners[record.run] = record.user

    def note_kinds(self, record: Framed) -> None:
        """Note of what kinds events are. So is this."""
        for event in record.events:
            if event.run:
                self._kinds[event.run, event.attempt][event.seq] = event.kind

    def kind_at(self, attempt: Try, seq: int) -> str:
        """Kind of the event at a seq; "" when it is not known: never shown alone, and not planned."""
        kind = self._kinds.get(attempt, {}).get(seq, "")
        if kind:
            return kind
        plan = self.plans.get(attempt)
        return plan.kinds[seq - 1] if plan is not None and 1 <= seq <= len(plan.kinds) else ""

    def locate(self, view: View, place: Place, event: Seen) -> None:
        """A device was shown an event: note where it lies."""
        places = self.places[view.user]
        before = places.get(event.id)
        if before is not None:
            both = Place(max(before.after, place.after), min(before.upto, place.upto))
            if both.after >= both.upto:
                self._report("reordered", f"{event.id} lies at {place.upto} for {view.name}, at {before.upto} for another")
                return
            place = both
        places[event.id] = place
        if not event.run:
            return
        attempt = (event.run, event.attempt)
        self.who[event.id] = (attempt, event.seq)
        if event.first and event.first < event.seq:
            for seq in view.covered[attempt] & set(range(event.first, event.seq)):
                self.seen.setdefault((*attempt, seq), place)
        self.seen[*attempt, event.seq] = place
        if event.seq == 1:
            self.started[event.run][event.attempt] = place
        if event.kind in ENDS:
            self.ended[attempt] = (event.kind, place)

    def check_content(self, view: View, event: Seen) -> None:
        """An event says what was emitted, or at least the same on all devices."""
        if not event.digest:
            return
        attempt = (event.run, event.attempt)
        plan = self.plans.get(attempt)
        if event.kind != "agent_response":
            if self._digests.setdefault(event.id, event.digest) != event.digest:
                self._report("altered", f"{event.id}, {event.kind}, is not the same for {view.name} as for another")
        elif plan is not None and plan.words and self._text(attempt, event.first or event.seq, event.seq) != event.digest:
            stands_for = f", which stands for seqs from {event.first} on," if event.first else ""
            self._report("altered", f"{event.id}{stands_for} does not say to {view.name} what was emitted")

    def _text(self, attempt: Try, first: int, last: int) -> int:
        key = (attempt, first, last)
        if key not in self._texts:
            plan = self.plans[attempt]
            final = len(plan.kinds) - 1  # the library's own, without a text, right before the end
            seqs = [seq for seq in range(first, last + 1) if seq < final and self.kind_at(attempt, seq) == "agent_response"]
            self._texts[key] = delta_digest(seqs, plan.words)
        return self._texts[key]

    def bound(self, run: str, number: int, seq: int) -> int:
        """A seq of the log at or before which an acknowledged event lies; -1 for one that was not acknowledged."""
        return min((pos for upto, pos in self.acks.get((run, number), ()) if upto >= seq), default=-1)

    def late(self, run: str, number: int, place: Place | None, bound: int) -> bool:
        """Whether an event came, or may have come, after a later attempt had begun, or its own was lost: readers drop it."""
        upto = place.upto if place is not None else bound
        if any(attempt > number and upto > started.after for attempt, started in self.started.get(run, {}).items()):
            return True
        kind, end = self.ended.get((run, number), ("", Place(0, 0)))
        return kind == "run_lost" and upto > end.upto
