"""From the history of a trial to its anomalies: a pure function.

What is checked, and against what promise (PROTOCOL.md, "The contract"):

    lost                 P2  acknowledged, or shown to another device of the user, and never shown to a device that is owed it
    duplicated           P3  shown twice in one view; an attempt that ends twice
    reordered            P1  against the run's own order, the order on another device, or the run's end
    altered              P2  shown with another content than was emitted, or than on another device
    leaked               P5  shown to another user; or emitted by nobody
    gaps_unannounced     P4  a broken chain, a hole in a run, a skip without `reset`, a position taken that can't be continued
    false_resets         P4  a device was sent back to the beginning from a place where it could have gone on
    false_snapshots      P4  a snapshot that does not come to what the stream comes to
    stale                P1  of an attempt that was superseded or lost, given by an edge that had given what superseded it
    false_receipts       P6  "delivered" before the device had it; "not stored", and it is
    upstream_lost            a message whose sender was told "stored", and which no agent settled and nobody put aside
    upstream_duplicated      a message that is in the inbox twice (redelivery of the one is no anomaly: agents get messages at least once)
    upstream_reordered       a message handed out before an earlier one of its user was settled, to another worker
    false_parkings           put aside too early, or too late
    false_cancels            a cancel that was not honoured, or a run that was cancelled and nobody of its user had asked for it
    frozen_runs          P7  a run that began and has no end when all is quiet
    false_losses         P7  a run declared lost while nothing was wrong with its agent
    drain_waits              somebody waited more than 3 s for a process that was asked to end, or it did not end well

What a snapshot comes to: each event that it gives is held against what was emitted (its text against the texts of all that it stands for,
everything else against the same event on other devices); what it does not give must be stood for, by an event that may; and the runs that
it says are under way are those, up to the event. So whoever applies it ends where the raw stream ends.

What is no anomaly: an indeterminate batch that is there, or is not, or is there on all devices; a reset that is due; what comes again
because the device itself went back; events of an attempt after a later one began, which readers drop.

What a device is owed: at `Settled`, every event of its user that lies after the base of its view, whoever was told about it.

Pure; never imports the clock or anything that does I/O.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from runcast.testkit.calm import Calm, disturbs_agents
from runcast.testkit.check_cancels import CancelCheck
from runcast.testkit.check_drains import DrainCheck
from runcast.testkit.check_inbox import InboxCheck
from runcast.testkit.check_snapshots import SnapshotCheck
from runcast.testkit.history import (
    Acked,
    AnyRecord,
    Dropped,
    Failed,
    Framed,
    Injected,
    Opened,
    Planned,
    Receipted,
    Seen,
    Sent,
    Settled,
    emitted_at,
    event_id,
)
from runcast.testkit.known_log import KnownLog
from runcast.testkit.timings import Timings
from runcast.testkit.verdict import ANOMALIES, EXAMPLES_MAX, Verdict, spread
from runcast.testkit.view import CLOSERS, ENDS, Try, View
from runcast.wire.position import SNAPSHOT_EPOCH, parse_position

LOSS_S = 20.0
"""So long before a run was declared lost something must have been wrong: the lease, a sweep, and what a busy machine adds."""


def check(history: Iterable[AnyRecord], *, expires: bool = False) -> Verdict:
    """Judge a history.

    Args:
        history: records in any order, each writer's own ones in theirs.
        expires: events may have left the log meanwhile, so that a device may rightly be told `reset(expired)`.
    """
    records = sorted(history, key=lambda record: record.t)
    calm = Calm(record for record in records if isinstance(record, Injected))
    checker = _Checker(calm, began=records[0].t if records else 0.0, expires=expires)
    for record in records:
        if isinstance(record, Planned):
            checker.log.plan(record)
        elif isinstance(record, Framed):
            checker.log.note_kinds(record)
        elif isinstance(record, Sent):
            checker.senders[record.id] = record.user
    for record in records:
        checker.take(record)
    return checker.verdict()


class _Checker:
    """The state of one check."""

    def __init__(self, calm: Calm, *, began: float, expires: bool) -> None:
        self._calm = calm
        self._expires = expires
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)
        self.log = KnownLog(self.report)
        self.senders: dict[str, str] = {}
        self._inbox = InboxCheck(self.report, calm)
        self._cancels = CancelCheck(self.report)
        self._drains = DrainCheck(self.report, calm)
        self._timings = Timings(calm, began)
        self._views: dict[tuple[str, str], View] = {}
        self._foreign: set[tuple[str, str]] = set()  # devices that were believed a position of another user
        self._unsure: set[tuple[str, int, int]] = set()
        self._dropped: dict[tuple[str, int, int], str] = {}
        self._gave_up: set[Try] = set()
        self._losses: dict[Try, float] = {}  # when it was first shown
        self._receipts: list[Receipted] = []
        self._settled: Settled | None = None
        self._resets = self._shown = 0

    def report(self, kind: str, text: str) -> None:
        self._counts[kind] += 1
        if len(self._examples[kind]) < EXAMPLES_MAX:
            self._examples[kind].append(text)

    def take(self, record: AnyRecord) -> None:
        self._inbox.take(record)
        self._cancels.take(record)
        self._drains.take(record)
        match record:
            case Framed():
                self._framed(record)
            case Opened():
                self._opened(record)
            case Dropped():
                self._timings.dropped(record)
            case Acked():
                self.log.acks[record.run, record.attempt].append((record.upto, parse_position(record.pos).seq))
            case Failed():
                self._gave_up.add((record.run, record.attempt))
                self._unsure.update((record.run, record.attempt, seq) for seq in record.unsure)
                if record.why != "attempt_taken":  # what is shown of the attempt is another producer's
                    self._dropped.update(((record.run, record.attempt, seq), record.why) for seq in record.dropped)
            case Receipted():
                self._receipts.append(record)
            case Settled():
                self._settled = record

    # --- as it comes ---

    def _view(self, user: str, device: str) -> View:
        view = self._views.get((user, device))
        if view is None:
            view = self._views[user, device] = View(user, device, self.log.kind_at, self.report)
        return view

    def _opened(self, record: Opened) -> None:
        if record.reason and not record.trick:
            self._resets += record.outcome == "reset"
            in_snapshot = record.reason == "unfinished" and record.asked.startswith(SNAPSHOT_EPOCH)
            # Its cursor may be what it acknowledged under a position that was not its own.
            gone = record.reason == "expired" and (self._expires or (not record.asked and (record.user, record.device) in self._foreign))
            if not in_snapshot and not gone:
                who, asked = f"{record.device} of {record.user}", record.asked or "its cursor"
                told = f"{record.outcome}({record.reason})"
                self.report("false_resets", f"{who} came honestly with {asked}, and was told {told} by {record.edge}")
        if record.trick == "foreign" and record.outcome == "resumed":
            self._foreign.add((record.user, record.device))
        view = self._view(record.user, record.device)
        view.open(record)
        self._timings.opened(record, view)

    def _framed(self, record: Framed) -> None:
        view = self._view(record.user, record.device)
        live = self._timings.is_live(record)
        for place, event in view.frame(record):
            self._shown += 1
            if not self._is_ours(record, event):
                continue
            self.log.locate(view, place, event)
            self.log.check_content(view, event)
            self._drains.shown(record, event)
            if event.kind in ENDS:
                self._ended(record, event)
            if live:
                self._timings.shown(record, event)
        self._timings.moved(view, record.t)

    def _ended(self, record: Framed, event: Seen) -> None:
        attempt = (event.run, event.attempt)
        self._cancels.ended(attempt, event.kind, emitted_at(record, event), record.t)
        if event.kind == "run_lost":
            self._losses.setdefault(attempt, record.t)

    def _is_ours(self, record: Framed, event: Seen) -> bool:
        """Whether the user may see the event, and somebody emitted it."""
        if not event.run:
            owner = self.senders.get(event.id)
            known = owner is not None and event.kind == "user_message"
        else:
            owner = self.log.owners.get(event.run)
            plan = self.log.plans.get((event.run, event.attempt))
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

    # --- at the end ---

    def verdict(self) -> Verdict:
        accepted = {(run, number): max(upto for upto, _ in acks) for (run, number), acks in self.log.acks.items()}
        missing: set[tuple[str, int, int]] = set()
        for view in self._views.values():
            view.finish()
        self._check_same_order()
        SnapshotCheck(self.log, self.report).check(self._views.values())
        if self._settled is not None:
            missing = self._check_owed(self._settled, accepted)
            self._check_frozen()
        self._inbox.finish(settled=self._settled is not None)
        self._cancels.finish()
        self._drains.finish()
        self._check_claims()
        self._check_losses()
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
            snapshots={
                "whole": sum(len(view.given) for view in self._views.values()),
                "broken_off": sum(view.broken_off for view in self._views.values()),
            },
            upstream_accepted=len(self._inbox.stored),
            upstream_redelivered=sum(max(len(letter.taken) - 1, 0) for letter in self._inbox.letters.values()),
            upstream_ordered=self._inbox.ordered,
            parked=sum(letter.parked is not None for letter in self._inbox.letters.values()),
            cancels=self._cancels.honoured,
            receipts=dict(Counter(receipt.outcome for receipt in self._receipts)),
            faults=dict(Counter(fault.kind for fault in self._calm.faults)),
            recover=spread(self._timings.recover_ms),
            latency=spread(self._timings.latency_ms),
            receipt=spread(self._timings.receipt_ms),
            receipt_calm=spread(self._timings.receipt_calm_ms),
            cancel=spread(self._cancels.took_ms),
            drain=spread(self._drains.took_ms),
        )

    def _check_same_order(self) -> None:
        """Events that lie in one stretch of the log for one device (a frame may cover several batches) have one order on all."""
        by_user: dict[str, list[View]] = defaultdict(list)
        for view in self._views.values():
            by_user[view.user].append(view)
        for views in by_user.values():
            reference = max(views, key=lambda view: len(view.ids) - len(view.unordered))
            index = {name: number for number, name in enumerate(reference.ids) if name not in reference.unordered}
            for view in views:
                last, last_name = -1, ""
                for name in view.ids:
                    here = index.get(name, -1)
                    if here < 0 or name in view.unordered:
                        continue
                    if here < last:
                        self.report("reordered", f"{view.name} was shown {last_name} before {name}, {reference.name} the other way round")
                        break
                    last, last_name = here, name

    def _check_owed(self, settled: Settled, accepted: dict[Try, int]) -> set[tuple[str, int, int]]:
        missing: set[tuple[str, int, int]] = set()
        log = self.log
        for (run, number), upto in accepted.items():
            for seq in range(1, upto + 1):
                if (run, number, seq) not in log.seen and not log.late(run, number, None, log.bound(run, number, seq)):
                    missing.add((run, number, seq))
                    name, owner = event_id(run, number, seq), log.owners.get(run)
                    self.report("lost", f"{name} of {owner} was acknowledged and shown to nobody")
        for letter in self._inbox.stored:
            name, owner = letter.sent.id, letter.sent.user
            if name not in log.places[owner]:
                self.report("lost", f"message {name} of {owner} was stored, and no device was shown it")
        for user, device in settled.devices:
            view = self._views.get((user, device))
            if view is None or view.base < 0:
                self.report("lost", f"{device} of {user} was never let in")
                continue
            for name, place in log.places[user].items():
                attempt, seq = log.who.get(name, (None, 0))
                if view.holds(name, attempt, seq, place):
                    continue
                if attempt is not None and log.late(*attempt, place, -1):
                    continue
                if attempt is not None and seq <= accepted.get(attempt, 0):
                    missing.add((*attempt, seq))
                if place.upto <= view.held:
                    self.report("gaps_unannounced", f"{view.name} is at {view.held} and was never shown {name}, at {place.upto}")
                else:
                    self.report("lost", f"{view.name} stayed at {view.held} and was never shown {name}, at {place.upto}")
        return missing

    def _check_frozen(self) -> None:
        for run, attempts in self.log.started.items():
            if (run, max(attempts)) not in self.log.ended:
                self.report("frozen_runs", f"{run} of {self.log.owners.get(run)}, attempt {max(attempts)}, began and has no end")

    def _check_losses(self) -> None:
        """Nobody is declared lost whose agent was well, and did not give the run up itself."""
        for attempt, at in self._losses.items():
            agent = self.log.plans[attempt].agent
            if agent and attempt not in self._gave_up and self._calm.during(at - LOSS_S, at, disturbs_agents):
                run, number = attempt
                self.report("false_losses", f"{run}, attempt {number}, was declared lost, and nothing was wrong with {agent}")

    def _check_claims(self) -> None:
        """Receipts, refusals and acknowledgements are true."""
        for receipt in self._receipts:
            if receipt.outcome != "delivered":
                continue
            view = self._views.get((receipt.user, receipt.device))
            at = view.times.get((receipt.run, receipt.attempt, receipt.upto)) if view else None
            event = (receipt.run, receipt.attempt, receipt.upto)
            self._timings.receipt(receipt)
            if at is None or at > receipt.t:
                name = event_id(*event)
                self.report("false_receipts", f"{name} was called delivered to {receipt.device} of {receipt.user}, which did not have it")
        for (run, number, seq), why in self._dropped.items():
            # Whoever ends the run instead (the library, or a router that declares it lost) goes on with the seqs that were not used.
            plan, (ended, _) = self.log.plans.get((run, number)), self.log.ended.get((run, number), ("", None))
            planned = not ended or plan is None or ended == plan.kinds[-1]
            if (run, number, seq) in self.log.seen and planned:
                self.report("false_receipts", f"{event_id(run, number, seq)} was said not to be stored ({why}), and is")
        for (run, number), acks in self.log.acks.items():
            for upto, pos in acks:
                place = self.log.seen.get((run, number, upto))
                if place is not None and not place.after < pos <= place.upto:
                    self.report("false_receipts", f"{event_id(run, number, upto)} was acknowledged at {pos}, and is at {place.upto}")
