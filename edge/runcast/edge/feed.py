"""One connected user's stream on this edge: one subscription, one decode, one encoding, for all the user's devices here.

The adapter around `replay.Splice`: carries live messages and history into it and hands what comes out to the listeners. It keeps
the newest entries in a ring, so that a device which is only a little behind is fed without asking NATS.

Every entry that passes, live or read for one device, goes through the feed's one fence first: what one device's history tells of
superseded attempts holds for all.
"""

import asyncio
import time
from typing import Protocol

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.cursors import Acknowledged
from runcast.bus.presence import Presence
from runcast.bus.retention import age_s
from runcast.bus.sealing.seals import UnreadableError
from runcast.bus.storage import storage_error
from runcast.edge.entry import Entry
from runcast.edge.history import BACKOFF_S, History, Look
from runcast.edge.open_requests import OpenRequests
from runcast.edge.replay import Splice
from runcast.edge.ring import Ring
from runcast.edge.vigil import Vigil
from runcast.wire import limits, subjects
from runcast.wire.errors import PositionMalformedError, UnavailableError
from runcast.wire.fence import Fence
from runcast.wire.position import parse_position


class Listener(Protocol):
    """A device of the user."""

    def offer(self, entry: Entry) -> None:
        """The feed moved to `entry`."""
        ...

    def lost(self, why: str, code: str, retry_after_s: float) -> None:
        """The feed ended, with a code of the table; connect again, after so long."""
        ...

    def hurry(self, seq: int) -> None:
        """A receipt of `seq` is awaited."""
        ...

    @property
    def device(self) -> str:
        """Its id."""
        ...


class Feed:
    """A user's stream.

    Args:
        history: what of it is in the log.
        bus: an open connection.
        tasks: where filling gaps runs.
        log: told when a feed breaks.
        edge: id of this edge, for presence.
        vigil: watches what is critical.

    Attributes:
        requests: what the user is asked.
    """

    def __init__(self, history: History, bus: Bus, tasks: asyncio.TaskGroup, log: BoundLogger, edge: str, vigil: Vigil) -> None:
        self.user = history.user
        self.shard = history.shard
        self.epoch = history.epoch
        self.subject = history.subject
        self.stream = history.stream
        self.listeners: set[Listener] = set()
        self.verify_at = 0.0
        self.vigil = vigil
        self.requests = OpenRequests()
        self._history = history
        self._edge = edge
        self._bus = bus
        self._tasks = tasks
        self._log = log
        self._splice = Splice(history.kept_s)
        self._fence = Fence()
        self._void: list[int] = []  # seqs of which a receipt is awaited, and something was left out
        self._subscriptions: list[Subscription] = []
        self._opening: asyncio.Task[None] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._ring = Ring()
        self.closed = False

    @property
    def pos(self) -> int:
        """Seq up to which the listeners were told."""
        return self._splice.pos or 0

    @property
    def short(self) -> bool:
        """See `History.short`."""
        return self._history.short

    @property
    def suspicious(self) -> bool:
        """See `Splice.suspicious`."""
        return self._splice.suspicious

    async def opened(self) -> None:
        """Wait until the feed is live; the first caller opens it.

        Raises:
            UnavailableError: NATS did not answer.
        """
        if self._opening is None:
            self._opening = self._tasks.create_task(self._open())
        await asyncio.wait([self._opening])
        if self._splice.pos is None:
            raise UnavailableError("the stream could not be opened; connect again")

    async def _open(self) -> None:
        try:
            live = subjects.live_subject(self.user, self.shard)
            self._subscriptions.append(await self._bus.nc.subscribe(live, cb=self._on_live))
            presence = subjects.presence_subject(self.user, self.shard)
            self._subscriptions.append(await self._bus.nc.subscribe(presence, cb=self._on_presence))
            last = await self._history.last()
        except (UnavailableError, nats.errors.Error) as exc:
            self._log.warning("feed_not_opened", user=self.subject, error=str(storage_error(exc)))
            return
        now = time.monotonic()
        self.verify_at = now + limits.VERIFY_FIRST_S
        self._splice.opened(last.seq if last else 0, now, age_s=age_s(last.time, time.time()) if last else 0.0)
        self._advance()

    async def close(self) -> None:
        """Stop listening."""
        self.closed = True
        for subscription in self._subscriptions:
            if self._bus.connected:
                try:
                    await subscription.unsubscribe()
                except nats.errors.Error as exc:
                    self._log.warning("unsubscribe_failed", user=self.subject, error=str(exc))

    def _leave_out(self, entry: Entry) -> None:
        entry.leave_out(self._fence)
        for event in entry.events:
            self.requests.note(event, entry.seq)
        if entry.void and entry.awaited and entry.seq not in self._void:
            self._void.append(entry.seq)
            del self._void[: -limits.VOID_AWAITED_MAX]

    def acknowledged(self, since: int, seq: int) -> Acknowledged:
        """What a device says that acknowledges everything in `(since, seq]`."""
        return Acknowledged(self.epoch, since, seq, tuple(sorted(void for void in self._void if since < void <= seq)))

    def watch(self, entry: Entry) -> None:
        """Keep a vigil over an entry that came, or was sent from history, if it is critical."""
        event = entry.critical
        if event is not None:
            self.vigil.watch(entry.seq, event.run_id, event.id, event.WhichOneof("kind") or "unknown", time.monotonic())

    async def _on_presence(self, msg: Msg) -> None:
        """Somebody asks who is here, or says that a receipt is awaited (`runcast.bus.presence`)."""
        if msg.reply:
            devices = sorted({listener.device for listener in self.listeners if listener.device})
            try:
                await msg.respond(msgspec.json.encode(Presence(self._edge, devices)))
            except nats.errors.Error as exc:
                self._log.warning("presence_not_answered", user=self.subject, error=str(exc))
        elif msg.data:
            try:
                position = parse_position(msg.data.decode())
            except (UnicodeDecodeError, PositionMalformedError):
                return  # not a router of ours
            if position.epoch == self.epoch:
                for listener in tuple(self.listeners):
                    listener.hurry(position.seq)

    async def _on_live(self, msg: Msg) -> None:
        headers = msg.headers or {}
        seq, prev = headers.get(subjects.HEADER_SEQ), headers.get(subjects.HEADER_PREV)
        if seq is None or prev is None:
            return  # not republished by the stream: nobody's event
        self._splice.live(self._history.open(int(prev), int(seq), msg.data), time.monotonic())
        self._advance()

    async def reach(self, seq: int) -> None:
        """Before a place past the feed's own is called one that never was: ask the leader, and catch up with it.

        What is live may be late here, or lost, while another edge has shown it to the device long ago. A leader that was elected a
        moment ago may not know yet all that is stored: it is asked again, `limits.PLACE_TRIES_MAX` times.

        Raises:
            UnavailableError: the leader did not answer, or the log did not give what the leader has; connect again.
        """
        tip = 0
        for attempt in range(limits.PLACE_TRIES_MAX):
            if attempt:
                await asyncio.sleep(BACKOFF_S * 2**attempt)
            tip = await self._history.tip()
            if max(tip, self.pos) >= seq or self.closed:
                break
        if tip <= self.pos or self.closed:
            return
        self._splice.outrun(tip, time.monotonic())
        self._advance()
        while self._filling is not None and self.pos < min(seq, tip):
            await asyncio.wait([self._filling])
        if self.pos < min(seq, tip):
            raise UnavailableError("this edge is behind and could not catch up; connect again")

    def verified(self, tip: int, now: float) -> None:
        """The slow round found `tip` to be the newest seq."""
        self._splice.retention_s = self._history.kept_s
        self._splice.tip(tip, now)
        if not tip:  # nothing of the user is in the log: nothing is to be in memory
            self._ring.clear()
        self._advance()

    def tick(self, now: float) -> None:
        """Time passed while suspicious."""
        self._splice.tick(now)
        self._advance()

    def _advance(self) -> None:
        for entry in self._splice.take():
            if entry.unreadable is not None:  # the devices come back, and are told what becomes of it
                self.end(entry.unreadable.message, entry.unreadable.code.name, entry.unreadable.retry_after_s)
                return
            self._leave_out(entry)
            self.watch(entry)
            for listener in tuple(self.listeners):
                listener.offer(entry)
            self._ring.add(entry)
        if self._splice.broken:
            self.end("history does not reach back to what was delivered")
        elif self._splice.gap and self._filling is None and not self.closed:
            self._filling = self._tasks.create_task(self._fill())

    def end(self, why: str, code: str = "unavailable", retry_after_s: float = 0.0) -> None:
        """Send all devices away; they come back, not sooner than `retry_after_s`, to a feed that is opened anew. Nothing here is kept."""
        if self.closed:
            return
        self.closed = True
        self._log.warning("feed_ended", user=self.subject, pos=self.pos, why=why)
        for listener in tuple(self.listeners):
            listener.lost(why, code, retry_after_s)
        self._ring.clear()

    async def _fill(self) -> None:
        """Read the log until the gap is closed; give up, and send the devices to resume, when it does not move."""
        tries = 0
        try:
            while self._splice.gap and not self.closed:
                before = self.pos
                try:
                    entries = await self._history.next(before)
                except UnavailableError:
                    entries = []
                if entries:  # an empty answer comes from a replica that lags: ask again
                    self._splice.history(entries, time.monotonic())
                    self._advance()
                if self.pos == before and self._splice.gap:
                    tries += 1
                    if tries >= limits.HISTORY_TRIES_MAX:
                        self.end("the log does not give what its tip promises")
                        return
                    await asyncio.sleep(BACKOFF_S * 2**tries)
                else:
                    tries = 0
        finally:
            self._filling = None

    async def read(self, seq: int) -> tuple[list[Entry], bool]:
        """What follows `seq`, for one device.

        Returns:
            The entries after `seq`, in order, at least one while the feed is ahead of `seq`; and whether the log still held the message
            at `seq` (always true for 0), so that nothing is missing in between; no entries if not.

        Raises:
            UnavailableError: the log could not be read, however often it was tried.
        """
        near = self._ring.after(seq)
        if near is not None:
            return near, True
        entries, held = await self._history.read(seq, lambda: self.pos)
        for entry in entries:  # the one at `seq` too: an attempt may have begun there
            self._leave_out(entry)
        return [entry for entry in entries if entry.seq > seq], held

    async def look(self, seq: int) -> Look:
        """What the log has at `seq`, and right behind it. For a `seq` before the feed's.

        Raises:
            UnavailableError: the log could not be read, however often it was tried.
        """
        near = self._ring.after(seq)
        if near is not None:
            return Look(True, len(near))
        return await self._history.look(seq, lambda: self.pos)

    async def past_unreadable(self, seq: int) -> int:
        """The place behind what follows `seq` and can't be opened.

        Raises:
            UnavailableError: the log could not be read.
            UnreadableError: the key of a part of it may come yet.
        """
        while seq < self.pos:
            entries, _ = await self.read(seq)
            if not entries:  # it has left the log meanwhile: the session will be told
                return seq
            for entry in entries:
                if entry.unreadable is None:
                    return seq
                if isinstance(entry.unreadable, UnreadableError) and entry.unreadable.waits:
                    raise entry.unreadable
                seq = entry.seq
        return seq

    async def shard_whole(self) -> bool:
        """Whether nothing ever left the shard, neither from its beginning nor from its midst.

        Raises:
            UnavailableError: no answer.
        """
        return await self._history.whole()
