"""From the history of a trial to its anomalies: a pure function.

What is checked, and against what promise (PROTOCOL.md, "The contract"):

    lost                 P2  acknowledged, or shown to another device of the user, and never shown to a device that is owed it
    duplicated           P3  shown twice in one view; an attempt that ends twice
    reordered            P1  against the run's own order, the order on another device, or the run's end
    leaked               P5  shown to another user; or emitted by nobody
    gaps_unannounced     P4  a broken chain, a hole in a run, a skip without `reset`, a position taken that can't be continued
    false_resets         P4  a device was sent back to the beginning from a place where it could have gone on
    false_receipts       P6  "delivered" before the device had it; "not stored", and it is
    upstream_lost            a message whose sender was told "stored", and no agent got it
    upstream_duplicated      a message that is in the inbox twice (redelivery of the one is no anomaly: agents get messages at least once)
    frozen_runs          P7  a run that began and has no end when all is quiet

What is no anomaly: an indeterminate batch that is there, or is not, or is there on all devices; a reset that is due; what comes again
because the device itself went back; events of an attempt after a later one began, which readers drop.

What a device is owed: at `Settled`, every event of its user that lies after the base of its view, whoever was told about it.

Pure; never imports the clock or anything that does I/O.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from runcast.testkit.history import (
    Acked,
    Answered,
    AnyRecord,
    Dropped,
    Failed,
    Framed,
    Injected,
    Opened,
    Parked,
    Planned,
    Receipted,
    Seen,
    Sent,
    Settled,
    Taken,
    event_id,
)
from runcast.testkit.view import CLOSERS, ENDS, Place, Try, View
from runcast.wire.position import parse_position

ANOMALIES: Final = (
    "lost",
    "duplicated",
    "reordered",
    "leaked",
    "gaps_unannounced",
    "false_resets",
    "false_receipts",
    "upstream_lost",
    "upstream_duplicated",
    "frozen_runs",
)
EXAMPLES_MAX: Final = 5


class Spread(msgspec.Struct, frozen=True):
    """How long something took, milliseconds."""

    count: int
    p50: float
    p99: float
    max: float


class Verdict(msgspec.Struct):
    """What the checker found.

    Attributes:
        anomalies: how many of each kind.
        examples: the first few of each kind that there is, in words.
        settled: whether the trial came to its end; without, what was lost can't be told, and the verdict is not clean.
        accepted: events acknowledged to agents.
        delivered: those of them that every device has that is owed them.
        shown: events shown to devices, each device counted.
        indeterminate: events of which an agent was told that they may or may not be stored.
        superseded: events dropped because a later attempt of their run had begun.
        resets: announced, to devices that came with an honest position.
        upstream_accepted: messages whose sender was told "stored".
        upstream_redelivered: deliveries to agents beyond the first.
        receipts: by outcome.
        faults: by kind.
        recover: from a device's lost connection until it was caught up again.
        latency: from the agent's emit until a device that was caught up had it.
        receipt: from storing until an agent knew that it was delivered.
    """

    anomalies: dict[str, int]
    examples: dict[str, list[str]]
    settled: bool
    accepted: int
    delivered: int
    shown: int
    indeterminate: int
    superseded: int
    resets: int
    upstream_accepted: int
    upstream_redelivered: int
    receipts: dict[str, int]
    faults: dict[str, int]
    recover: Spread
    latency: Spread
    receipt: Spread

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return self.settled and not any(self.anomalies.values())


def check(history: Iterable[AnyRecord], *, expires: bool = False) -> Verdict:
    """Judge a history.

    Args:
        history: records in any order, each writer's own ones in theirs.
        expires: events may have left the log meanwhile, so that a device may rightly be told `reset(expired)`.
    """
    checker = _Checker(expires=expires)
    records = sorted(history, key=lambda record: record.t)
    for record in records:
        if isinstance(record, Planned):
            checker.plans[record.run, record.attempt] = record
            checker.owners[record.run] = record.user
        elif isinstance(record, Sent):
            checker.owners_sent[record.id] = record.user
    for record in records:
        checker.take(record)
    return checker.verdict()


def spread(values: Sequence[float]) -> Spread:
    """Percentiles of durations, given in milliseconds."""
    if not values:
        return Spread(0, 0.0, 0.0, 0.0)
    line = sorted(values)
    return Spread(len(line), *(round(line[min(int(share * len(line)), len(line) - 1)], 1) for share in (0.5, 0.99, 1.0)))


class _Checker:
    """The state of one check."""

    def __init__(self, *, expires: bool) -> None:
        self._expires = expires
        self.plans: dict[Try, Planned] = {}
        self.owners: dict[str, str] = {}
        self.owners_sent: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)
        self._views: dict[tuple[str, str], View] = {}
        self._places: dict[str, dict[str, Place]] = defaultdict(dict)  # by user, id; from whoever was shown it
        self._seen: dict[tuple[str, int, int], Place] = {}  # the same by seq, with what merged events stand for
        self._who: dict[str, tuple[Try, int]] = {}
        self._started: dict[str, dict[int, Place]] = defaultdict(dict)
        self._ended: dict[Try, str] = {}
        self._acks: dict[Try, list[tuple[int, int]]] = defaultdict(list)
        self._unsure: set[tuple[str, int, int]] = set()
        self._dropped: dict[tuple[str, int, int], str] = {}
        self._receipts: list[Receipted] = []
        self._stored: set[str] = set()
        self._taken: dict[str, list[Taken]] = defaultdict(list)
        self._parked: set[str] = set()
        self._faults: Counter[str] = Counter()
        self._down: dict[tuple[str, str], float] = {}
        self._behind: dict[tuple[str, str], int] = {}  # the tip to reach before the device is caught up
        self._slow: set[tuple[str, str]] = set()
        self._recover: list[float] = []
        self._latency: list[float] = []
        self._settled: Settled | None = None
        self._resets = self._shown = 0

    def report(self, kind: str, text: str) -> None:
        self._counts[kind] += 1
        if len(self._examples[kind]) < EXAMPLES_MAX:
            self._examples[kind].append(text)

    def take(self, record: AnyRecord) -> None:
        match record:
            case Framed():
                self._framed(record)
            case Opened():
                self._opened(record)
            case Dropped() if not record.meant:
                self._down.setdefault((record.user, record.device), record.t)
            case Acked():
                self._acks[record.run, record.attempt].append((record.upto, parse_position(record.pos).seq))
            case Failed():
                self._unsure.update((record.run, record.attempt, seq) for seq in record.unsure)
                if record.why != "attempt_taken":  # what is shown of the attempt is another producer's
                    self._dropped.update(((record.run, record.attempt, seq), record.why) for seq in record.dropped)
            case Receipted():
                self._receipts.append(record)
            case Taken():
                self._taken[record.id].append(record)
            case Parked():
                self._parked.add(record.id)
            case Answered() if record.outcome == "stored":
                self._stored.add(record.id)
            case Injected():
                self._faults[record.kind] += 1
            case Settled():
                self._settled = record

    # --- as it comes ---

    def _view(self, user: str, device: str) -> View:
        view = self._views.get((user, device))
        if view is None:
            view = self._views[user, device] = View(user, device, self.plans, self.report)
        return view

    def _opened(self, record: Opened) -> None:
        if record.outcome == "reset" and not record.trick:
            self._resets += 1
            if record.reason != "expired" or not self._expires:
                who, asked = f"{record.device} of {record.user}", record.asked or "its cursor"
                self.report("false_resets", f"{who} came honestly with {asked}, and was told reset({record.reason}) by {record.edge}")
        if record.slow:
            self._slow.add((record.user, record.device))
        self._view(record.user, record.device).open(record)
        self._behind[record.user, record.device] = parse_position(record.tip).seq
        self._catch_up(record.user, record.device, record.t)

    def _catch_up(self, user: str, device: str, t: float) -> None:
        key = (user, device)
        if key in self._behind and self._views[key].held >= self._behind[key]:
            del self._behind[key]
            since = self._down.pop(key, None)
            if since is not None and key not in self._slow:
                self._recover.append(1000 * (t - since))

    def _framed(self, record: Framed) -> None:
        view = self._view(record.user, record.device)
        key = (record.user, record.device)
        live = key not in self._behind and key not in self._slow
        for place, event in view.frame(record):
            self._shown += 1
            if not self._is_ours(record, event):
                continue
            self._locate(record, place, event)
            if live and event.ms and record.ms:
                self._latency.append(max(record.ms - event.ms, 0))
        self._catch_up(record.user, record.device, record.t)

    def _is_ours(self, record: Framed, event: Seen) -> bool:
        """Whether the user may see the event, and somebody emitted it."""
        if not event.run:
            owner = self.owners_sent.get(event.id)
            known = owner is not None and event.kind == "user_message"
        else:
            owner = self.owners.get(event.run)
            plan = self.plans.get((event.run, event.attempt))
            known = plan is not None and event.id == event_id(event.run, event.attempt, event.seq)
            if plan is not None and known:
                planned = plan.kinds[event.seq - 1] if 1 <= event.seq <= len(plan.kinds) else ""
                known = event.kind == planned or event.kind in CLOSERS
        if owner is not None and owner != record.user:
            self.report("leaked", f"{event.id} of {owner} was shown to {record.device} of {record.user}")
            return False
        if not known:
            self.report("leaked", f"{event.id}, {event.kind}, was shown to {record.device} of {record.user}, and emitted by nobody")
            return False
        return True

    def _locate(self, record: Framed, place: Place, event: Seen) -> None:
        """Note where in the log the event lies; all devices must agree."""
        places = self._places[record.user]
        before = places.get(event.id)
        if before is not None:
            both = Place(max(before.after, place.after), min(before.upto, place.upto))
            if both.after >= both.upto:
                self.report(
                    "reordered", f"{event.id} lies at {place.upto} for {record.device} of {record.user}, at {before.upto} for another"
                )
                return
            place = both
        places[event.id] = place
        if not event.run:
            return
        attempt = (event.run, event.attempt)
        self._who[event.id] = (attempt, event.seq)
        for seq in self._views[record.user, record.device].covered[attempt] & set(range(event.first or event.seq, event.seq + 1)):
            self._seen.setdefault((*attempt, seq), place)
        self._seen[*attempt, event.seq] = place
        if event.seq == 1:
            self._started[event.run][event.attempt] = place
        if event.kind in ENDS:
            self._ended[attempt] = event.kind

    # --- at the end ---

    def verdict(self) -> Verdict:
        accepted = {(run, number): max(upto for upto, _ in acks) for (run, number), acks in self._acks.items()}
        missing: set[tuple[str, int, int]] = set()
        for view in self._views.values():
            view.finish()
        self._check_same_order()
        if self._settled is not None:
            missing = self._check_owed(self._settled, accepted)
            self._check_upstream_lost()
            self._check_frozen()
        self._check_claims()
        return Verdict(
            anomalies={kind: self._counts[kind] for kind in ANOMALIES},
            examples={kind: self._examples[kind] for kind in ANOMALIES if self._counts[kind]},
            settled=self._settled is not None,
            accepted=sum(accepted.values()),
            delivered=sum(accepted.values()) - len(missing),
            shown=self._shown,
            indeterminate=len(self._unsure),
            superseded=sum(view.superseded for view in self._views.values()),
            resets=self._resets,
            upstream_accepted=len(self._stored),
            upstream_redelivered=sum(len(taken) - 1 for taken in self._taken.values()),
            receipts=dict(Counter(receipt.outcome for receipt in self._receipts)),
            faults=dict(self._faults),
            recover=spread(self._recover),
            latency=spread(self._latency),
            receipt=spread([receipt.latency_ms for receipt in self._receipts if receipt.outcome == "delivered"]),
        )

    def _check_same_order(self) -> None:
        """Events that lie in one stretch of the log for one device (a frame may cover several batches) have one order on all."""
        by_user: dict[str, list[View]] = defaultdict(list)
        for view in self._views.values():
            by_user[view.user].append(view)
        for views in by_user.values():
            reference = max(views, key=lambda view: len(view.ids) - len(view.merged))
            index = {name: number for number, name in enumerate(reference.ids) if name not in reference.merged}
            for view in views:
                last, last_name = -1, ""
                for name in view.ids:
                    here = index.get(name, -1)
                    if here < 0 or name in view.merged:
                        continue
                    if here < last:
                        self.report("reordered", f"{view.name} was shown {last_name} before {name}, {reference.name} the other way round")
                        break
                    last, last_name = here, name

    def _bound(self, run: str, number: int, seq: int) -> int:
        """A seq of the log at or before which an acknowledged event lies."""
        return min((pos for upto, pos in self._acks.get((run, number), ()) if upto >= seq), default=-1)

    def _late(self, run: str, number: int, place: Place | None, bound: int) -> bool:
        """Whether an event came, or may have come, after a later attempt had begun: readers drop it."""
        for attempt, started in self._started.get(run, {}).items():
            if attempt > number and (place.upto if place is not None else bound) > started.after:
                return True
        return False

    def _check_owed(self, settled: Settled, accepted: dict[Try, int]) -> set[tuple[str, int, int]]:
        missing: set[tuple[str, int, int]] = set()
        for (run, number), upto in accepted.items():
            for seq in range(1, upto + 1):
                if (run, number, seq) not in self._seen and not self._late(run, number, None, self._bound(run, number, seq)):
                    missing.add((run, number, seq))
                    name, owner = event_id(run, number, seq), self.owners.get(run)
                    self.report("lost", f"{name} of {owner} was acknowledged and shown to nobody")
        for name in self._stored:
            owner = self.owners_sent.get(name, "")
            if name not in self._places[owner] and name not in self._parked:
                self.report("lost", f"message {name} of {owner} was stored, and no device was shown it")
        for user, device in settled.devices:
            view = self._views.get((user, device))
            if view is None or view.base < 0:
                self.report("lost", f"{device} of {user} was never let in")
                continue
            for name, place in self._places[user].items():
                attempt, seq = self._who.get(name, (None, 0))
                if view.holds(name, attempt, seq, place):
                    continue
                if attempt is not None and self._late(*attempt, place, -1):
                    continue
                if attempt is not None and seq <= accepted.get(attempt, 0):
                    missing.add((*attempt, seq))
                if place.upto <= view.held:
                    self.report("gaps_unannounced", f"{view.name} is at {view.held} and was never shown {name}, at {place.upto}")
                else:
                    self.report("lost", f"{view.name} stayed at {view.held} and was never shown {name}, at {place.upto}")
        return missing

    def _check_frozen(self) -> None:
        for run, attempts in self._started.items():
            if (run, max(attempts)) not in self._ended:
                self.report("frozen_runs", f"{run} of {self.owners.get(run)}, attempt {max(attempts)}, began and has no end")

    def _check_upstream_lost(self) -> None:
        for name in self._stored:
            if name not in self._taken and name not in self._parked:
                self.report("upstream_lost", f"message {name} of {self.owners_sent.get(name)} was stored, and no agent got it")

    def _check_claims(self) -> None:
        """Receipts, refusals, and what agents were handed."""
        for receipt in self._receipts:
            if receipt.outcome != "delivered":
                continue
            view = self._views.get((receipt.user, receipt.device))
            at = view.times.get((receipt.run, receipt.attempt, receipt.upto)) if view else None
            if at is None or at > receipt.t:
                name = event_id(receipt.run, receipt.attempt, receipt.upto)
                self.report("false_receipts", f"{name} was called delivered to {receipt.device} of {receipt.user}, which did not have it")
        for (run, number, seq), why in self._dropped.items():
            # Whoever ends the run instead (the library, or a router that declares it lost) goes on with the seqs that were not used.
            plan, ended = self.plans.get((run, number)), self._ended.get((run, number))
            planned = ended is None or plan is None or ended == plan.kinds[-1]
            if (run, number, seq) in self._seen and planned:
                self.report("false_receipts", f"{event_id(run, number, seq)} was said not to be stored ({why}), and is")
        for (run, number), acks in self._acks.items():
            for upto, pos in acks:
                place = self._seen.get((run, number, upto))
                if place is not None and not place.after < pos <= place.upto:
                    self.report("false_receipts", f"{event_id(run, number, upto)} was acknowledged at {pos}, and is at {place.upto}")
        for name, taken in self._taken.items():
            owner = self.owners_sent.get(name)
            for one in taken:
                if one.user != owner:
                    self.report("leaked", f"{one.agent} was handed message {name} of {one.user}, which {owner or 'nobody'} sent")
            if len({one.stamp for one in taken}) > 1:
                self.report("upstream_duplicated", f"message {name} of {owner} is in the inbox more than once")
