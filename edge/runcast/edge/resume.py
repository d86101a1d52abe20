"""How a session begins: where its device goes on, proved by the log, or with a snapshot in place of what it missed.

The adapter around `replay.plan_resume` and `snapshot.Fold`. What the snapshots of an edge hold is bounded (`limits.SNAPSHOTS_BYTES_MAX`);
where there is no room for one, and where one would be too large, the device is given the stream itself: that is longer, and lacks nothing.

What can't be opened is never passed over in silence: a device that is right before it waits while its key may still come, and otherwise
begins behind it, by a `reset(unreadable)`. A snapshot is not made of what has such a hole.
"""

import asyncio
from typing import Final, NamedTuple

from runcast.edge.feed import Feed
from runcast.edge.replay import Plan, place_asked, plan_resume, prove_resume, wants_snapshot
from runcast.edge.snapshot import Fold, Snapshot
from runcast.wire import limits
from runcast.wire.position import Position

_TURN_EVENTS: Final = 1024
"""Events folded before others get their turn: about five milliseconds."""


class Room:
    """Bytes that snapshots hold, of what they may hold together."""

    def __init__(self, bytes_max: int = limits.SNAPSHOTS_BYTES_MAX) -> None:
        self.held = 0
        self._bytes_max = bytes_max

    def take(self, size: int) -> bool:
        """Take so many bytes more (or give back, below 0); False: there is no room, and nothing was taken."""
        if size > 0 and self.held + size > self._bytes_max:
            return False
        self.held += size
        return True


class Beginning(NamedTuple):
    """How a session begins.

    Attributes:
        plan: proved.
        snapshot: what stands in for everything up to `plan.base`; None unless `plan.outcome` is "snapshot".
        held: bytes that it took of the room, to be given back when it is delivered.
    """

    plan: Plan
    snapshot: Snapshot | None = None
    held: int = 0


async def begin(feed: Feed, wanted: str, cursor: Position | None, *, snapshot: bool | None, room: Room) -> Beginning:
    """Find out how a device goes on.

    Args:
        feed: of its user, open.
        wanted: `position` of its hello.
        cursor: what it acknowledged last, where that is known.
        snapshot: of its hello.
        room: for the snapshot.

    Raises:
        UnavailableError: the log could not be read.
        UnreadableError: what comes next can't be opened now; it may be later.
    """
    asked = place_asked(wanted, cursor)
    if asked is not None and asked.epoch == feed.epoch and asked.seq > feed.pos:
        await feed.reach(asked.seq)
    plan = plan_resume(wanted, cursor, feed.epoch, feed.pos, short=feed.short)
    missed = 0
    if plan.base < feed.pos or plan.proof:
        proved, missed, unreadable = await feed.look(plan.base)
        if plan.proof:
            before = plan
            plan = prove_resume(plan, plan.base if proved else 0, whole=not plan.base and await feed.shard_whole())
            if plan.base != before.base and feed.pos:
                _, missed, unreadable = await feed.look(plan.base)
        if unreadable is not None:
            return Beginning(Plan("reset", "unreadable", await feed.past_unreadable(plan.base), proof=False))
    if wants_snapshot(snapshot, missed):
        return await _fold(feed, plan, room)
    return Beginning(plan)


async def _fold(feed: Feed, plan: Plan, room: Room) -> Beginning:
    fold, at, tip, held, events = Fold(), 0, feed.pos, 0, 0
    try:
        while at < tip:
            entries, proved = await feed.read(at)
            if not proved:  # the oldest left the log while it was read
                return Beginning(plan)
            for entry in entries:
                if entry.unreadable is not None:
                    return Beginning(plan)
                at = entry.seq
                for event in entry.events:
                    fold.add(event)
                events += len(entry.events)
                if events >= _TURN_EVENTS:
                    events = 0
                    await asyncio.sleep(0)
            if fold.too_large or not room.take(fold.size - held):
                return Beginning(plan)
            held = fold.size
        beginning = Beginning(plan._replace(outcome="snapshot", base=at), fold.finish(), held)
        held = 0
        return beginning
    finally:
        room.take(-held)
