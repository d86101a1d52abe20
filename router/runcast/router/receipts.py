"""What is awaited of users' devices: which batches, until when, and what became of them (PROTOCOL.md, "Receipts"). Pure.

Theory. A device's cursor says what its application acknowledged. So a batch is delivered when a cursor of its user covers its position;
cursors are heard of as they are written (a watch on the user's keys) and can be read (a look). A look follows the beginning of a watch,
for a device may have been quicker than the watch; a second one a little later, for a watch takes its time to reach all servers of a
cluster; and one precedes every answer that is not "delivered" (a check).

    expect ──► waiting ── a cursor covers it ─────────────────────► DELIVERED
                  └── the deadline ── check: look, ask who is there ──► DELIVERED, EXPIRED, OFFLINE; STORED when nobody can be asked

Rules
1. DELIVERED is said only for a cursor that covers the position: never because something was sent. Nor of an attempt that has a
   successor: whether its events were shown still, or left out, only the log could tell.
2. Every `expect` is answered once, unless its owner is forgotten before; asked again while it waits, it waits until the later deadline.
3. An owner awaits at most `per_owner_max` batches; the next is answered STORED at once.
4. A user is watched while anything is awaited and `limits.RECEIPT_LINGER_S` longer; one watch a user, whoever asks.
5. At most one check of a user is under way; it answers what was due when it began.

Invariants: a user with something awaited is watched; `waiting` is the number of batches awaited; a wake-up is planned for whatever has a
time.

Duties of the driver: carry out the effects in order; answer each `Check` by `checked`, and each `Watch` that fails by `abandon`; hand
every cursor that is heard or read to `cursor`; call `tick` at `deadline`. `now` is monotonic seconds.
"""

import heapq
from collections import OrderedDict
from typing import NamedTuple

from runcast.bus.cursors import Acknowledged
from runcast.router.effects import BatchKey, RunKey
from runcast.v1.ingest_pb2 import (
    RECEIPT_OUTCOME_DELIVERED,
    RECEIPT_OUTCOME_EXPIRED,
    RECEIPT_OUTCOME_OFFLINE,
    RECEIPT_OUTCOME_STORED,
    Receipt,
    ReceiptOutcome,
)
from runcast.wire import limits
from runcast.wire.ids import UserKey
from runcast.wire.position import Position


class Watch(NamedTuple):
    """Listen to the user's cursors, then read them."""

    user: UserKey


class Unwatch(NamedTuple):
    """Stop listening."""

    user: UserKey


class Look(NamedTuple):
    """Read the user's cursors."""

    user: UserKey


class Check(NamedTuple):
    """Read the user's cursors, then ask who is there, then call `checked`."""

    user: UserKey


class Hurry(NamedTuple):
    """Tell the user's edges that `position` is awaited: nothing in the stream says so."""

    user: UserKey
    position: Position


class Answer(NamedTuple):
    """Tell the owner what became of a batch."""

    owner: object
    receipt: Receipt


class Confirm(NamedTuple):
    """Tell the owner that a batch was delivered, unless a later attempt of its run has begun: STORED then.

    Readers leave out what comes of an attempt behind the next one's start, and a device acknowledges over it. Not every edge that takes
    the acknowledgement has read that start.
    """

    owner: object
    run: RunKey
    receipt: Receipt


Effect = Watch | Unwatch | Look | Check | Hurry | Answer | Confirm


class _Awaited:
    """A batch that waits for its receipt."""

    __slots__ = ("deadline", "key", "owner", "position", "stored_at")

    def __init__(self, owner: object, key: BatchKey, position: Position, stored_at: float, deadline: float) -> None:
        self.owner = owner
        self.key = key
        self.position = position
        self.stored_at = stored_at
        self.deadline = deadline


class _Watched:
    """A watched user: what is awaited, the newest cursors heard of, and what is planned.

    `checking` is when the check under way began, `look_at` when to look next, `leave_at` when to stop watching, `wake_at` the planned
    wake-up; each None when there is none.
    """

    __slots__ = ("awaited", "checking", "cursors", "leave_at", "look_at", "wake_at")

    def __init__(self) -> None:
        self.awaited: dict[tuple[object, BatchKey], _Awaited] = {}
        self.cursors: OrderedDict[str, Acknowledged] = OrderedDict()
        self.checking: float | None = None
        self.look_at: float | None = None
        self.leave_at: float | None = None
        self.wake_at: float | None = None


class ReceiptTracker:
    """The machine of one router.

    Args:
        per_owner_max: what one owner may await at once.

    Attributes:
        waiting: batches awaited now.
    """

    def __init__(self, *, per_owner_max: int = limits.RECEIPTS_PER_STREAM_MAX) -> None:
        self._per_owner_max = per_owner_max
        self._users: dict[UserKey, _Watched] = {}
        self._owned: dict[object, set[BatchKey]] = {}
        self._wakes: list[tuple[float, int, UserKey]] = []
        self._ties = 0
        self._effects: list[Effect] = []
        self.waiting = 0

    @property
    def watched(self) -> int:
        """Users whose cursors are listened to."""
        return len(self._users)

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in order; each is given once."""
        effects, self._effects = self._effects, []
        return effects

    def deadline(self) -> float | None:
        """When to call `tick`; None when nothing has a time."""
        return self._wakes[0][0] if self._wakes else None

    # --- inputs ---

    def expect(
        self, owner: object, key: BatchKey, position: Position, now: float, *, deadline_s: float, elapsed_s: float = 0.0, late: bool = False
    ) -> None:
        """Await a device's acknowledgement of a stored batch.

        Args:
            owner: who asks; gets the answer.
            key: the batch.
            position: where it is stored.
            now: when it is asked.
            deadline_s: answer after so many seconds at the latest, plus what a check takes.
            elapsed_s: how long ago it was stored.
            late: it was stored before, so cursors may have passed it, and edges do not know that it is awaited.
        """
        user = key.run.user
        place = (owner, key)
        deadline = now + min(deadline_s, limits.RECEIPT_DEADLINE_MAX_S)
        awaited = _Awaited(owner, key, position, now - elapsed_s, deadline)
        watched = self._users.get(user)
        if watched is not None and place in watched.awaited:
            waiting = watched.awaited[place]
            waiting.deadline = max(waiting.deadline, deadline)
            return
        if len(self._owned.get(owner, ())) >= self._per_owner_max:
            self._tell(awaited, RECEIPT_OUTCOME_STORED, "", now)
            return
        new = watched is None
        if watched is None:
            watched = self._users[user] = _Watched()
            watched.look_at = now + limits.RECEIPT_LOOK_S
            self._effects.append(Watch(user))
        watched.leave_at = None
        for device, cursor in watched.cursors.items():
            if cursor.covers(position):
                self._tell(awaited, RECEIPT_OUTCOME_DELIVERED, device, now)
                self._plan(user, watched, now)
                return
        watched.awaited[place] = awaited
        self._owned.setdefault(owner, set()).add(key)
        self.waiting += 1
        if late:
            if not new:
                self._effects.append(Look(user))
            self._effects.append(Hurry(user, position))
        self._plan(user, watched, now)

    def cursor(self, user: UserKey, device: str, cursor: Acknowledged, now: float) -> None:
        """A device's cursor was heard of, or read."""
        watched = self._users.get(user)
        if watched is None:
            return
        known = watched.cursors.get(device)
        if known is None or known.epoch != cursor.epoch or known.seq <= cursor.seq:  # reads may be older than what was heard
            watched.cursors[device] = cursor
            watched.cursors.move_to_end(device)
            if len(watched.cursors) > limits.RECEIPT_DEVICES_MAX:
                watched.cursors.popitem(last=False)
        passed = [awaited for awaited in watched.awaited.values() if cursor.covers(awaited.position)]
        for awaited in passed:
            self._drop(watched, awaited)
            self._tell(awaited, RECEIPT_OUTCOME_DELIVERED, device, now)
        if passed:
            self._plan(user, watched, now)

    def checked(self, user: UserKey, now: float, *, online: bool | None) -> None:
        """A check of the user is over; `online` says whether a device is connected, None that nobody could be asked."""
        watched = self._users.get(user)
        if watched is None or watched.checking is None:
            return
        began, watched.checking = watched.checking, None
        outcome = RECEIPT_OUTCOME_STORED if online is None else RECEIPT_OUTCOME_EXPIRED if online else RECEIPT_OUTCOME_OFFLINE
        for awaited in [each for each in watched.awaited.values() if each.deadline <= began]:
            self._drop(watched, awaited)
            self._tell(awaited, outcome, "", now)
        self._plan(user, watched, now)

    def abandon(self, user: UserKey, now: float) -> None:
        """The user can't be watched: what is awaited is answered STORED."""
        watched = self._users.pop(user, None)
        if watched is None:
            return
        for awaited in list(watched.awaited.values()):
            self._drop(watched, awaited)
            self._tell(awaited, RECEIPT_OUTCOME_STORED, "", now)
        self._effects.append(Unwatch(user))

    def forget(self, owner: object, now: float) -> None:
        """The owner is gone; nobody waits for its receipts any more."""
        users = {key.run.user for key in self._owned.get(owner, ())}
        for user in users:
            watched = self._users[user]
            for awaited in [each for each in watched.awaited.values() if each.owner is owner]:
                self._drop(watched, awaited)
            self._plan(user, watched, now)

    def look_again(self) -> None:
        """Cursors may have been missed: read those of all users with something awaited."""
        self._effects.extend(Look(user) for user, watched in self._users.items() if watched.awaited)

    def tick(self, now: float) -> None:
        """Time passed."""
        while self._wakes and self._wakes[0][0] <= now:
            at, _, user = heapq.heappop(self._wakes)
            watched = self._users.get(user)
            if watched is not None and watched.wake_at == at:
                watched.wake_at = None
                self._attend(user, watched, now)

    # --- inside ---

    def _attend(self, user: UserKey, watched: _Watched, now: float) -> None:
        """Do what is due for a user."""
        if watched.leave_at is not None and watched.leave_at <= now:
            del self._users[user]
            self._effects.append(Unwatch(user))
            return
        if watched.checking is None and any(awaited.deadline <= now for awaited in watched.awaited.values()):
            watched.checking = now
            watched.look_at = None
            self._effects.append(Check(user))
        elif watched.look_at is not None and watched.look_at <= now:
            watched.look_at = None
            if watched.awaited:
                self._effects.append(Look(user))
        self._plan(user, watched, now)

    def _plan(self, user: UserKey, watched: _Watched, now: float) -> None:
        """Plan the next wake-up of a user."""
        if not watched.awaited and watched.leave_at is None and watched.checking is None:
            watched.leave_at = now + limits.RECEIPT_LINGER_S
        times = [at for at in (watched.look_at, watched.leave_at) if at is not None]
        if watched.checking is None:
            times.extend(awaited.deadline for awaited in watched.awaited.values())
        wake_at = min(times, default=None)
        if wake_at is not None and (watched.wake_at is None or wake_at < watched.wake_at):
            watched.wake_at = wake_at
            self._ties += 1
            heapq.heappush(self._wakes, (wake_at, self._ties, user))

    def _drop(self, watched: _Watched, awaited: _Awaited) -> None:
        del watched.awaited[awaited.owner, awaited.key]
        owned = self._owned[awaited.owner]
        owned.discard(awaited.key)
        if not owned:
            del self._owned[awaited.owner]
        self.waiting -= 1

    def _tell(self, awaited: _Awaited, outcome: ReceiptOutcome, device: str, now: float) -> None:
        key = awaited.key
        latency_ms = max(0, round((now - awaited.stored_at) * 1000))
        receipt = Receipt(
            run_id=key.run.run_id,
            attempt=key.attempt,
            number=key.number,
            outcome=outcome,
            device=device,
            latency_ms=min(latency_ms, 2**32 - 1),
        )
        delivered = outcome == RECEIPT_OUTCOME_DELIVERED
        self._effects.append(Confirm(awaited.owner, key.run, receipt) if delivered else Answer(awaited.owner, receipt))
