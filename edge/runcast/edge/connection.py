"""One device's connection: carries frames between aiohttp and the session machine, and effects out of it.

Thin: every decision is `session.Session`'s. Three things run per connection: a reader, a writer (control frames before data), and
at most one read of the log. Storing what a device sent belongs to the edge, not to the connection, so that it is finished when the
tab closes.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aiohttp import WSCloseCode, WSMsgType

from runcast.bus.identity.claims import Identity, Term
from runcast.bus.revocations import Peer
from runcast.edge.delivery import Delivery, find_cursor
from runcast.edge.door import FOREIGN, peer_of
from runcast.edge.effects import Acked, Close, Control, Data, Effect, Open, Probe, Read, Reauthenticate, Store, Wake
from runcast.edge.entry import Entry
from runcast.edge.feed import Feed
from runcast.edge.framing import Fault
from runcast.edge.handshake import Handshake
from runcast.edge.life import State
from runcast.edge.line import Line
from runcast.edge.resume import begin
from runcast.edge.session import Session
from runcast.edge.socket import Socket
from runcast.edge.statistics import Unacknowledged
from runcast.wire import limits, limits_floods
from runcast.wire.codes import CODES
from runcast.wire.errors import FrameInvalidError, RuncastError
from runcast.wire.frames import Ack, Hello, Send
from runcast.wire.ids import UserKey
from runcast.wire.position import Position

if TYPE_CHECKING:
    from runcast.edge.node import Edge

_CLOSE_REASON_BYTES_MAX: Final = 120
"""RFC 6455 5.5: a control frame carries at most 125 bytes, two of them the code."""

_NOTHING_MORE: Final = frozenset({"revoked", "token_expired"})
"""Ends after which a peer gets nothing that was waiting for its socket either."""


class Connection:
    """A device's connection. `run` serves it to its end.

    Args:
        edge: that it is to.
        ws: its socket.
        handshake: what it said when it came.
        line: below the socket.
        framed: it is a WebSocket. Else the peer can say nothing after its first frame: it is fed as its socket takes it, and what it has
            handled is said elsewhere (`acknowledge`).
    """

    __slots__ = (
        "_address",
        "_closing",
        "_codec",
        "_control",
        "_data",
        "_delivery",
        "_edge",
        "_feed",
        "_framed",
        "_group",
        "_handshake",
        "_held",
        "_line",
        "_opcode",
        "_ping",
        "_probe",
        "_queued",
        "_tasks",
        "_wake",
        "_waking",
        "_ws",
        "admitted",
        "session",
        "term",
        "unacknowledged",
        "user",
    )

    def __init__(self, edge: "Edge", ws: Socket, handshake: Handshake, line: Line, *, framed: bool = True) -> None:
        codec = handshake.codec
        self.user: UserKey | None = None
        self.admitted = False  # counted as one of its tenant's connections
        self.term: Term | None = None  # of the token that counts now
        self.session = Session(codec, edge=edge.settings.id, now=time.monotonic(), windowed=framed)
        self._edge = edge
        self._ws = ws
        self._codec = codec
        self._handshake = handshake
        self._line = line
        self._framed = framed
        self._address = line.stranger.address
        self._opcode = WSMsgType.BINARY if codec.binary else WSMsgType.TEXT
        self._feed: Feed | None = None
        self._control: list[bytes] = []  # lists: nearly always empty, where a deque takes 760 bytes
        self._data: list[bytes] = []
        self._queued = 0
        self._held = 0  # of the edge's room for snapshots
        self._probe = False
        self._ping: bytes | None = None  # the newest that has no pong yet
        self._waking: asyncio.TimerHandle | None = None
        self._closing: Close | None = None
        self._delivery: Delivery | None = None
        self.unacknowledged = Unacknowledged(edge.statistics, answers=framed, kept=codec.shared)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Serve until the connection ends, whoever ends it."""
        try:
            async with self._group:
                writer = self._spawn(self._write())
                if self._framed:
                    self._line.upgraded(self.fault)
                if not self._handshake.welcome:
                    self._edge.denials.note(self._address, "origin_refused", FOREIGN)
                    self.session.close("origin_refused", FOREIGN)
                    self._carry()
                elif self._handshake.foreign:
                    self.session.close("upgrade_required", self._handshake.upgrade)
                    self._carry()
                await self._receive()
                self.session.gone()
                if self._closing is not None:  # the writer is saying so to the peer
                    await asyncio.wait([writer], timeout=limits.CLOSE_WAIT_S)
                for task in tuple(self._tasks):
                    task.cancel()
        finally:
            self.session.gone()
            self._give_room()
            if self._waking is not None:
                self._waking.cancel()
            if self._feed is not None:
                await self._edge.hub.leave(self._feed, self)

    # --- what the edge tells ---

    def offer(self, entry: Entry) -> None:
        """See `feed.Listener`."""
        self.session.offer(entry)
        self._carry()

    def lost(self, why: str, code: str, retry_after_s: float) -> None:
        """See `feed.Listener`. What is not written yet is not sent any more."""
        self._queued -= sum(map(len, self._data))
        self._data.clear()
        self.session.close(code, f"{why}; connect again", retry_after_s)
        self._carry()

    def hurry(self, seq: int) -> None:
        """See `feed.Listener`."""
        self.session.hurry(seq)
        self._carry()

    @property
    def device(self) -> str:
        """See `feed.Listener`; "" when nobody acknowledges for it."""
        return self.session.device if self._codec.shared else ""

    def tick(self, now: float) -> None:
        """Time passed."""
        self.session.tick(now)
        if self._line.unfinished_s(now) >= limits_floods.MESSAGE_S:
            self.session.close("silent", f"a message was begun and not finished for {limits_floods.MESSAGE_S:.0f} s")
        self._carry()
        if not self.session.gives_snapshot:
            self._give_room()

    def drain(self, *, reconnect_in_s: float, grace_s: float) -> None:
        """The edge is stopping."""
        self.session.drain(reconnect_in_s=reconnect_in_s, grace_s=grace_s, now=time.monotonic())
        self._carry()

    def acknowledge(self, position: Position) -> bool:
        """Its application handled everything up to there, as it said elsewhere; False: that was not sent here."""
        feed = self._feed
        if feed is None or position.epoch != feed.epoch or position.seq > self.session.sent or self.session.state is State.CLOSED:
            return False
        self.session.receive(Ack(str(position)), time.monotonic())
        self._carry()
        return True

    def fault(self, fault: Fault) -> None:
        """What the device sends breaks a rule of the line: it ends."""
        self.session.close(*fault)
        self._carry()

    @property
    def peer(self) -> Peer | None:
        """See `guard.Guest`."""
        if self.user is None or self.term is None or self.session.state is State.CLOSED:
            return None
        return peer_of(self.user, self.session.device, self.term)

    def expel(self, error: RuncastError) -> None:
        """See `guard.Guest`."""
        self.session.close(error.code.name, error.message, error.retry_after_s)
        self._carry()

    # --- effects ---

    def _carry(self) -> None:
        while effects := self.session.take_effects():
            for effect in effects:
                self._carry_one(effect)
            self.session.socket_bytes(self._queued)

    def _carry_one(self, effect: Effect) -> None:
        match effect:
            case Data():
                payload, events, entries = effect
                self._data.append(payload)
                self._count(len(payload))
                if self._delivery is not None:
                    self._delivery.sent(events, entries)
            case Control(frame):
                payload = self._codec.encode(frame)
                self._control.append(payload)
                self._count(len(payload))
            case Acked():
                if self._delivery is not None:
                    self._delivery.acked(effect.seq, awaited=effect.awaited)
            case Read(seq):
                self._spawn(self._read(seq))
            case Open(hello):
                self._spawn(self._open(hello))
            case Store(send):
                self._edge.tasks.create_task(self._store(send))
            case Reauthenticate(token):
                self._spawn(self._reauthenticate(token))
            case Probe():
                self._probe = True
                self._wake.set()
            case Wake(after_s):
                self._waking = asyncio.get_running_loop().call_later(after_s, self._woken)
            case Close():
                self._closing = effect
                if effect.code in _NOTHING_MORE:
                    self._data.clear()
                self._line.closing()
                self._spawn(self._cut())
                self._wake.set()

    def _count(self, size: int) -> None:
        self._queued += size
        self._wake.set()

    def _woken(self) -> None:
        self._waking = None
        self.session.tick(time.monotonic())
        self._carry()

    def _give_room(self) -> None:
        self._edge.room.take(-self._held)
        self._held = 0

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- tasks ---

    async def _receive(self) -> None:
        while True:
            msg = await self._ws.receive()
            kind = msg.type
            now = time.monotonic()
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                if kind is WSMsgType.TEXT and not _is_utf8(msg.data):
                    self.session.close("text_invalid", "the text is not UTF-8")
                elif kind is not self._opcode:
                    self.session.close("frame_invalid", f"{self._codec.subprotocol} has {self._opcode.name.lower()} messages only")
                else:
                    try:
                        self.session.receive(self._codec.decode_client(msg.data), now)
                    except FrameInvalidError as exc:
                        self.session.close("frame_invalid", exc.message)
                self._carry()
                if self._closing is not None:
                    # Whoever closes reads on until the peer has seen why. Were this still reading, aiohttp would drop the connection at
                    # once, and with more on the way from the peer the kernel would take back what it was told.
                    return
            elif kind is WSMsgType.PING:
                self.session.heard(now)
                # Only the newest is answered (RFC 6455, 5.5.3), by the writer: who doesn't read pongs must not stop us from reading.
                self._ping = msg.data
                self._wake.set()
            elif kind is WSMsgType.PONG:
                self.session.heard(now)
            else:  # CLOSE, CLOSING, CLOSED, ERROR
                return

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._control or self._data:
                    payload = (self._control or self._data).pop(0)
                    await self._ws.send_frame(payload, self._opcode)  # waits while the socket is full
                    self._queued -= len(payload)
                if self._ping is not None:
                    ping, self._ping = self._ping, None
                    await self._ws.pong(ping)
                if self._probe:
                    self._probe = False
                    await self._ws.ping()
                if self._closing is not None:
                    row = CODES[self._closing.code]
                    reason = self._closing.message.encode()[:_CLOSE_REASON_BYTES_MAX].decode(errors="ignore").encode()
                    await self._ws.close(code=row.close or WSCloseCode.INTERNAL_ERROR, message=reason)
                    return
                self.session.socket_bytes(self._queued)
                self._carry()
        except ConnectionError:
            return  # the reader sees the end too

    async def _cut(self) -> None:
        """A peer that does not take the close is cut off."""
        await asyncio.sleep(limits.CLOSE_WAIT_S)
        self._line.cut()

    async def _open(self, hello: Hello) -> None:
        try:
            identity = await self._edge.door.enter(self._handshake, hello.token, hello.device, self._address)
            user = identity.user
            self.user, self.term = user, identity.term  # from now on it counts, and the guard sees it
            self._edge.admit(user)
            self.admitted = True
            spent = None if self._framed or not self.device else self._edge.allowance.spent(user, self.device)
            self.session.allow(self._edge.allowance.egress(user), spent)
            self._edge.entrance.strangers.leave(self._line.stranger)
            self._line.known()
            feed = await self._edge.hub.join(user, self, self._edge.allowance.devices(user))
            self._feed = feed
            found = await find_cursor(self._edge.cursors, user, feed.shard, hello)
            place = found.cursor.position if found.cursor else None
            if (seen := self._codec.place) is not None and seen.epoch == feed.epoch and seen.seq > feed.pos:
                await feed.reach(seen.seq)
            plan, snapshot, self._held = await begin(feed, hello.position, place, snapshot=hello.snapshot, room=self._edge.room)
            elsewhere = not self._framed and bool(self.device)
            self._delivery = Delivery(feed, hello, plan, found, self._edge.cursors, self.unacknowledged, elsewhere=elsewhere)
            self.session.opened(user, feed.epoch, plan, feed.pos, snapshot, now=time.monotonic(), expires_at=_deadline(identity))
            self._edge.log.info(
                "session_opened",
                user=user.token,
                issuer=identity.issuer,
                device=self.session.device,
                outcome=plan.outcome,
                reason=plan.reason,
                base=plan.base,
                tip=feed.pos,
                protocol=self._codec.subprotocol,
            )
        except RuncastError as exc:
            code = exc.code.name if CODES[exc.code.name].close else "unavailable"
            self.session.close(code, exc.message, exc.retry_after_s)
        self._carry()

    async def _read(self, seq: int) -> None:
        feed = self._feed
        assert feed is not None  # noqa: S101 # the machine reads only after `opened`
        try:
            entries, proved = await feed.read(seq)
            self.session.history(entries, proved=proved)
        except RuncastError as exc:
            self.session.read_failed(exc)
        self._carry()

    async def _store(self, send: Send) -> None:
        feed = self._feed
        if feed is None or self._delivery is None:
            self.session.refused(send.id, RuncastError("the session is not open yet; wait for welcome", code="hello_expected"))
        else:
            try:
                self._edge.allowance.send(feed.user, time.monotonic())
                with self._edge.erasures.storing(feed.user):
                    duplicate = await self._edge.upstream.store(feed.user, feed.shard, self.session.device, send, feed.requests)
                self.session.stored(send.id, duplicate=duplicate)
            except RuncastError as exc:
                self.session.refused(send.id, exc)
        if self.session.state is not State.CLOSED:
            self._carry()

    async def _reauthenticate(self, token: str) -> None:
        try:
            identity = await self._edge.door.renew(self._handshake, token, self.user, self.session.device, self._address)
            self.term = identity.term
            self.session.reauthenticated(_deadline(identity), now=time.monotonic())
        except RuncastError as exc:
            self.session.not_reauthenticated(exc)
        self._carry()


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _deadline(identity: Identity) -> float:
    """When the token is over, monotonic seconds."""
    return time.monotonic() + identity.term.expires_at - time.time()
