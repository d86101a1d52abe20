"""Joining history and live into one unbroken sequence (ARCHITECTURE.md, "History and live"). Pure.

Theory. A live message says `prev -> seq`, `prev` being the message before it on the same subject. A reader at `pos` takes it when
`prev == pos`; `seq <= pos` is a repeat; anything else is a gap, and history is read from `pos`. `prev == 0` means that nothing of
the subject is left before it: contiguous when `pos` was known to be the tip less than the retention ago, for then what is gone is
what had been delivered; but not when `pos` itself is too young to have aged out: then it was erased, and so may have been what came after.

What a replica says may be old. A tip above `pos` proves a loss, whatever others say; a tip of `pos` proves that there was none; a tip
below `pos` proves nothing. No tip at all (0) carries the knowledge on, as long as it has not run out, and as `pos` may have aged out; else
history is asked.

History is always asked for from `pos` itself, not one past it: getting that message back proves that nothing after it has left the log.
At 0 no message can prove it, and the retention must: there, what left the log for the number of messages alone goes unnoticed.

Rules: `take()` hands entries on in order, each once, none left out; what can't be continued is `broken`, for good, never skipped.
Invariants: pos never falls; pending is bounded (past the bound it is dropped, and read from the log instead).
"""

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from runcast.edge.entry import Entry
from runcast.wire import limits
from runcast.wire.errors import PositionMalformedError
from runcast.wire.position import EARLIEST, LATEST, SNAPSHOT_EPOCH, Position, parse_position

_YOUNG_SHARE: Final = 0.9
"""What is younger than this share of the retention can't have aged out, whatever clocks say."""
SUSPICION_S: Final = 0.5
"""A tip ahead of what was delivered may just be under way; after this long it is a loss."""


class Splice:
    """One user's live stream, kept whole.

    Args:
        retention_s: age at which messages leave the log.

    Attributes:
        retention_s: the same; it may be changed.
    """

    def __init__(self, retention_s: float) -> None:
        self.retention_s = retention_s
        self._ready: list[Entry] = []
        self._pending: list[Entry] = []
        self._pending_dropped = False
        self._known = 0
        self._suspicious_since = 0.0
        self._verified_at = 0.0
        self._stored_at = -math.inf  # what is at `pos`, at the earliest
        self.pos: int | None = None
        self.gap = False
        self.broken = False

    def opened(self, tip: int, now: float, *, age_s: float = math.inf) -> None:
        """Begin at `tip`, the newest seq as the leader told it (0: none), and its age, after the live subscription was made."""
        self.pos = tip
        self._stored_at = now - age_s
        self._verified_at = now
        self._drain_pending(now)

    def live(self, entry: Entry, now: float) -> None:
        """A live message arrived; before `opened` it is kept."""
        if self.broken:
            return
        if self.pos is None or self.gap:
            self._keep(entry)
        elif entry.seq > self.pos:
            if self._follows(entry, now):
                self._advance(entry, now)
                self._stored_at = now
            else:
                self.gap = True
                self._keep(entry)

    def history(self, entries: Sequence[Entry], now: float) -> None:
        """What the log holds from `pos` on (inclusive), in order; [] when it holds nothing."""
        if self.pos is None or not self.gap or self.broken:
            return
        covered = bool(entries) and entries[0].seq == self.pos if self.pos else self._fresh(now)
        if not covered:
            self.broken = True
            return
        for entry in entries:
            if entry.seq > self.pos:
                self._advance(entry, now)
        self.gap = False
        self._drain_pending(now)

    def tip(self, seq: int, now: float) -> None:
        """The newest seq of the subject, as some replica told it in a verification (0: none)."""
        if self.pos is None:
            return
        if seq > self.pos:
            if not self.suspicious:
                self._suspicious_since = now
            self._known = max(self._known, seq)
        elif seq == 0 and self._young(now):
            self.gap = True
        elif (seq == self.pos and seq) or (seq == 0 and self._fresh(now)):
            self._verified_at = now

    def outrun(self, seq: int, now: float) -> None:
        """The leader told that `seq` is there: what is before it is read from the log now, not when it becomes suspicious."""
        if self.pos is not None and seq > self.pos:
            self.tip(seq, now)
            self.gap = True

    def tick(self, now: float) -> None:
        """Time passed: a suspicion that did not clear up becomes a gap."""
        if self.suspicious and now - self._suspicious_since >= SUSPICION_S:
            self.gap = True

    @property
    def suspicious(self) -> bool:
        """A seq ahead of `pos` is known and has not been delivered yet: `tick` is wanted after `SUSPICION_S`."""
        return self.pos is not None and self._known > self.pos

    def take(self) -> list[Entry]:
        """Entries that come next, in order; each is handed out once."""
        taken = list(self._ready)
        self._ready.clear()
        return taken

    def _fresh(self, now: float) -> bool:
        """Nothing that came after `pos` can have aged out: `pos` was the tip less than the retention ago."""
        return now - self._verified_at < self.retention_s

    def _young(self, now: float) -> bool:
        """What is at `pos` can't have aged out."""
        return bool(self.pos) and now - self._stored_at < self.retention_s * _YOUNG_SHARE

    def _follows(self, entry: Entry, now: float) -> bool:
        return entry.prev == self.pos if entry.prev else self._fresh(now) and not self._young(now)

    def _advance(self, entry: Entry, now: float) -> None:
        assert self.pos is not None  # noqa: S101 # both callers have checked it
        entry.prev = self.pos
        self.pos = entry.seq
        self._verified_at = now
        self._stored_at = -math.inf
        self._ready.append(entry)

    def _keep(self, entry: Entry) -> None:
        if len(self._pending) >= limits.PENDING_ENTRIES_MAX:
            self._pending.clear()
            self._pending_dropped = True
        if not self._pending_dropped:
            self._pending.append(entry)
        self._known = max(self._known, entry.seq)

    def _drain_pending(self, now: float) -> None:
        pending, self._pending = self._pending, []
        self._pending_dropped = False
        for entry in pending:
            self.live(entry, now)
        if self.suspicious:
            self.gap = True


class Plan(NamedTuple):
    """How a session begins.

    Attributes:
        outcome: for `welcome`.
        reason: why it is a reset; "" otherwise.
        base: seq that the first batch follows on.
        proof: the log must still hold the message at `base`, else the outcome is reset(expired).
    """

    outcome: Literal["resumed", "snapshot", "reset"]
    reason: str
    base: int
    proof: bool


def place_asked(wanted: str, cursor: Position | None) -> Position | None:
    """The position that a device asks for; None when it asks for none, or for what is no position. Arguments as of `plan_resume`."""
    try:
        return parse_position(wanted) if wanted not in ("", EARLIEST, LATEST) else None if wanted else cursor
    except PositionMalformedError:
        return None


def plan_resume(wanted: str, cursor: Position | None, epoch: str, tip: int, *, short: bool = False) -> Plan:
    """Decide where a device goes on.

    Args:
        wanted: `position` of its hello: a position, "earliest", "latest" or "".
        cursor: what the device acknowledged last, as far as is known; used when `wanted` is "".
        epoch: of the user's shard.
        tip: newest seq of the user's stream; 0 for none.
        short: what is stored of this tenant is kept for less than the stream's age: what is newest may have left, and be the tip no more.
    """
    if wanted == LATEST:
        return Plan("resumed", "", tip, proof=False)
    if wanted == EARLIEST or (not wanted and cursor is None):
        return Plan("resumed", "", 0, proof=False)
    try:
        position = parse_position(wanted) if wanted else cursor
    except PositionMalformedError:
        return Plan("reset", "malformed", 0, proof=False)
    assert position is not None  # noqa: S101 # "" without a cursor was decided above
    if position.epoch == SNAPSHOT_EPOCH:
        return Plan("reset", "unfinished", 0, proof=False)
    if position.epoch != epoch:
        return Plan("reset", "unknown_epoch", 0, proof=False)
    if position.seq > tip:
        # Everything aged out, or a place that never was: either way it can't be continued.
        return Plan("reset", "expired" if tip == 0 else "future", 0, proof=False)
    return Plan("resumed", "", position.seq, proof=position.seq < tip or (short and position.seq > 0))


def prove_resume(plan: Plan, first_seq: int, *, whole: bool) -> Plan:
    """Turn a plan that needs proof into its outcome.

    Args:
        plan: of `plan_resume`, with `proof`.
        first_seq: the first message that the log gave when asked from `plan.base` on; 0 for none.
        whole: nothing ever left the shard; only looked at when `plan.base` is 0, where no message can prove anything.
    """
    covered = whole if plan.base == 0 else first_seq == plan.base
    return plan._replace(proof=False) if covered else Plan("reset", "expired", 0, proof=False)


def wants_snapshot(asked: bool | None, missed: int) -> bool:
    """Whether a device is given a snapshot.

    Args:
        asked: `snapshot` of its hello: True asks for one, False forbids it, None leaves it to the edge.
        missed: how many batches lie between where it goes on and the tip.
    """
    return missed > 0 if asked else asked is None and missed > limits.SNAPSHOT_BACKLOG_BATCHES
