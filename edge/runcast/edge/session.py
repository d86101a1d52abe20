"""One device connection: what it has been sent, what it acknowledged, what it gets next. Pure (ARCHITECTURE.md, "Delivery").

Its states and the times that end it are in `runcast.edge.life`.

Theory. The log is the buffer. A session is only ever *at* a position: LIVE means that it is where the user's feed is, so the next
batch goes straight out; RESUMING and BEHIND mean that it is further back and reads the log, at the pace of its acknowledgements. A
session whose window is full or whose socket is slow simply stops being LIVE; nothing is queued for it and nothing is dropped.

Rules
1. Batches leave in order, each once: `sent` only rises, and a batch goes out only from the position before it.
2. At most the window is unacknowledged, or waits for the socket, but for the frame that reaches the bound; at most one read of the log
   is under way.
3. An acknowledgement is cumulative, never ahead of what was sent.
4. Control frames may pass data; data never passes data.
5. Nothing is sent once the token is over. A refresh replaces it; one that can't be checked just now changes nothing. What a device
   says behind a refresh is stored only once that is good: it may be meant for another user.
6. What a client does wrong gets a coded error; what breaks the protocol also ends the connection. Nothing follows the end.
7. What is over the device's bytes per second stays in the log until they allow for more; nothing is lost by it, and it is no stall.
8. Answers (pong, sent, error) are bounded too: who asks on and on without reading them is closed (`runcast.edge.requests`).

The driver calls the inputs, then carries out `take_effects()` in order; it calls `tick` now and then.
"""

import math
from bisect import insort
from collections.abc import Sequence
from typing import Final

from runcast.bus.policy.bucket import Bucket, Rate
from runcast.edge.conflate import merge
from runcast.edge.effects import Acked, Close, Control, Data, Effect, Open, Probe, Read, Reauthenticate, Store, Wake, error_frame, welcome
from runcast.edge.entry import Entry
from runcast.edge.life import Life, State
from runcast.edge.pace import Pace
from runcast.edge.replay import Plan
from runcast.edge.requests import Requests
from runcast.edge.snapshot import Snapshot
from runcast.v1.event_pb2 import Event
from runcast.wire import limits, limits_floods
from runcast.wire.errors import IdInvalidError, PositionMalformedError, RuncastError, UnavailableError
from runcast.wire.frames import Ack, Batch, ClientFrame, Codec, Drain, Hello, Ping, Pong, Refresh, Refreshed, Send, Sent, ServerFrame
from runcast.wire.ids import UserKey, check_id
from runcast.wire.position import SNAPSHOT_EPOCH, Position, parse_position

_PIECE_KEYS: Final = -(10**16)
"""In the window, the n-th frame of a snapshot counts as this plus n: below every seq."""


class Session:
    """The machine of one connection.

    Args:
        codec: of the subprotocol.
        edge: id of this edge, for `welcome`.
        now: monotonic seconds; so are all `now` below.
        stall_s: how long a device may acknowledge nothing while something waits for it.
        windowed: it is fed as it acknowledges; otherwise as its socket takes it.
    """

    __slots__ = (
        "_awaited",
        "_codec",
        "_confirmed",
        "_edge",
        "_effects",
        "_epoch",
        "_life",
        "_pace",
        "_pieces",
        "_reading",
        "_requests",
        "_resting",
        "_snapshot",
        "_snapshot_end",
        "_tip",
        "acked",
        "close_code",
        "device",
        "events_sent",
        "sent",
    )

    def __init__(self, codec: Codec, *, edge: str, now: float, stall_s: float = limits.STALL_S, windowed: bool = True) -> None:
        self.device = ""
        self.sent = 0
        self.acked = 0
        self.events_sent = 0
        self.close_code = ""
        self._codec = codec
        self._edge = edge
        self._epoch = ""
        self._tip = 0
        self._pace = Pace(stall_s, windowed=windowed)
        self._awaited: list[int] = []  # seqs of which a receipt is awaited, among what is unacknowledged
        self._requests = Requests()
        self._reading = False
        self._resting = False  # for its bytes per second, with a Wake under way
        self._confirmed = False
        self._effects: list[Effect] = []
        self._life = Life(now)
        self._snapshot: Snapshot | None = None
        self._snapshot_end = 0
        self._pieces = 0  # of it that were sent

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._life.state

    @property
    def gives_snapshot(self) -> bool:
        """A part of a snapshot is still to be sent."""
        return self._snapshot is not None

    def take_effects(self) -> list[Effect]:
        """What is to be carried out now, in order."""
        effects, self._effects = self._effects, []
        return effects

    # --- inputs: the device ---

    def receive(self, frame: ClientFrame, now: float) -> None:
        """A frame arrived."""
        self.heard(now)
        if self.state is State.CLOSED:
            return
        if self.state is State.NEW:
            self._receive_hello(frame)
            return
        if isinstance(frame, Ack):
            self._receive_ack(frame)
        elif isinstance(frame, Send):
            self._receive_send(frame)
        elif isinstance(frame, Ping):
            self._answer(Pong())
        elif isinstance(frame, Refresh):
            self._receive_refresh(frame, now)
        else:
            self.close("frame_invalid", "hello was said already; say it once, first")

    def heard(self, now: float) -> None:
        """Anything at all arrived, a WebSocket pong included."""
        self._life.heard(now)
        self._pace.advance(now)

    def _receive_hello(self, frame: ClientFrame) -> None:
        if not isinstance(frame, Hello):
            self.close("hello_expected", f"the first frame must be hello, not {type(frame).__name__.lower()}")
            return
        try:
            self.device = check_id(frame.device, "device")
        except IdInvalidError as exc:
            self.close("id_invalid", exc.message)
            return
        self._life.enter(State.RESUMING)
        self._effects.append(Open(frame))

    def _receive_ack(self, frame: Ack) -> None:
        try:
            position = parse_position(frame.pos)
        except PositionMalformedError as exc:
            self.close("position_malformed", exc.message)
            return
        known = self._pieces if position.epoch == SNAPSHOT_EPOCH else self.sent if position.epoch == self._epoch else -1
        if position.seq > known:
            self.close("frame_invalid", f"{frame.pos} was not sent on this connection; acknowledge only what was handled")
            return
        if position.epoch == SNAPSHOT_EPOCH:
            self._pace.acknowledged(_PIECE_KEYS + position.seq)
        elif self._snapshot is None:
            self._acknowledged(position.seq)
        self._read_on()

    def _acknowledged(self, seq: int) -> None:
        self._pace.acknowledged(seq)
        if seq > self.acked or not self._confirmed:
            awaited = seq <= self.acked  # said again after a reconnect: the edge before may not have written it
            while self._awaited and self._awaited[0] <= seq:
                del self._awaited[0]
                awaited = True
            self._confirmed = True
            self.acked = max(self.acked, seq)
            self._effects.append(Acked(self.acked, awaited))

    def _receive_refresh(self, frame: Refresh, now: float) -> None:
        try:
            tokens, behind = self._requests.begin_check(frame.token, now)
        except RuncastError as exc:
            self._answer(error_frame(exc, ""))
            return
        self._effects.extend(map(Reauthenticate, tokens))
        for send in behind:
            self.refused(send.id, UnavailableError("the token before it was replaced before it was looked at; send it again"))

    def _receive_send(self, frame: Send) -> None:
        try:
            check_id(frame.id, "send id")
            self._effects.extend(map(Store, self._requests.begin_send(frame)))
        except RuncastError as exc:
            self._answer(error_frame(exc, "" if isinstance(exc, IdInvalidError) else frame.id))

    # --- inputs: what the driver found out ---

    def opened(
        self,
        user: UserKey,
        epoch: str,
        plan: Plan,
        tip: int,
        snapshot: Snapshot | None = None,
        *,
        now: float | None = None,
        expires_at: float = math.inf,
    ) -> None:
        """Answer to `Open`: whose device it is and where it goes on.

        Args:
            user: as authenticated.
            epoch: of the user's shard.
            plan: outcome and base, proved; of a snapshot, where it leads to.
            tip: where the user's feed is.
            snapshot: what is given in place of what lies before the base.
            now: so that the device is told how long its token counts; None: it is not told.
            expires_at: until when that is.
        """
        if self.state is not State.RESUMING:
            return
        self._life.expire_at(expires_at)
        self._epoch = epoch
        self._tip = max(tip, self._tip)
        if snapshot is not None and not snapshot.empty:
            position = Position(SNAPSHOT_EPOCH, 0)
            self._snapshot, self._snapshot_end = snapshot, plan.base
        else:
            position = Position(self._epoch, plan.base)
            self.sent = self.acked = plan.base
        runs = snapshot.runs if snapshot is not None else []
        lasts_ms = self._life.expires_in_ms(now)
        self._effects.append(welcome(user, self.device, self._edge, plan, position, Position(self._epoch, tip), runs, lasts_ms))
        self._read_on()

    def offer(self, entry: Entry) -> None:
        """The user's feed moved to `entry`; it goes out if the session is right before it, and may."""
        self._tip = max(self._tip, entry.seq)
        if self.state is State.DRAINING:  # until it goes, what was LIVE stays fed
            if self._epoch and self._snapshot is None and entry.prev == self.sent and not self._pace.full:
                self._deliver(entry)
        elif self.state is State.LIVE and entry.seq > self.sent:
            if self._pace.full:
                self._life.enter(State.BEHIND)
                self._rest()
            else:
                self._deliver(entry)

    def history(self, entries: Sequence[Entry], *, proved: bool) -> None:
        """Answer to `Read`: entries after its seq, in order.

        Args:
            entries: what follows; [] when nothing does (yet: a replica may lag).
            proved: the log still held the message at the asked seq, so nothing is missing in between.
        """
        self._reading = False
        if self.state in (State.CLOSED, State.DRAINING):
            return
        if not proved:
            self.close("unavailable", "history moved away while it was read; connect again to be told from where it goes on")
            return
        stop = next((number for number, entry in enumerate(entries) if entry.unreadable is not None), None)
        readable = entries[:stop]
        if self._codec.merges and len(readable) >= limits.MERGE_BACKLOG_BATCHES:
            self._deliver_merged(readable)
        else:
            for entry in readable:
                if self._pace.full:
                    break
                if entry.seq > self.sent:
                    self._deliver(entry)
        if stop is not None and self.sent == entries[stop].prev:  # the device comes back, and is told what becomes of it
            error = entries[stop].unreadable
            assert error is not None  # noqa: S101 # looked at above
            self.close(error.code.name, error.message, error.retry_after_s)
        self._read_on()

    def hurry(self, seq: int) -> None:
        """A receipt of `seq` is awaited, and nothing in the stream said so."""
        if self._confirmed and self.acked >= seq:
            self._effects.append(Acked(self.acked, awaited=True))
        elif len(self._awaited) < limits.WINDOW_EVENTS and seq not in self._awaited:
            insort(self._awaited, seq)

    def allow(self, egress: Rate, bucket: Bucket | None = None) -> None:
        """From now on so many bytes a second; `bucket`: what the device has spent of them elsewhere too."""
        self._pace.allow(egress, bucket)

    def read_failed(self, error: RuncastError) -> None:
        """The log could not be read, however often it was tried."""
        self._reading = False
        self.close("unavailable", error.message, error.retry_after_s)

    def stored(self, send_id: str, *, duplicate: bool) -> None:
        """What was sent under this id is stored."""
        self._requests.end_send()
        self._answer(Sent(send_id, duplicate))

    def refused(self, send_id: str, error: RuncastError) -> None:
        """What was sent under this id is not stored, or not for certain."""
        self._requests.end_send()
        self._answer(error_frame(error, send_id))

    def reauthenticated(self, expires_at: float = math.inf, *, now: float | None = None) -> None:
        """Answer to `Reauthenticate`: the token is good, until `expires_at`, and replaces the one before."""
        if self.state is not State.CLOSED:
            self._life.expire_at(expires_at)
            tokens, behind = self._requests.end_check()
            self._effects.extend(map(Store, behind))
            self._effects.extend(map(Reauthenticate, tokens))
            self._answer(Refreshed(self._life.expires_in_ms(now)))

    def not_reauthenticated(self, error: RuncastError) -> None:
        """Answer to `Reauthenticate`: it is not, which ends the session; or that can't be told now, and the one before goes on."""
        if error.code.retry and error.code.name != "token_expired":
            self._answer(error_frame(error, ""))
            if self.state is not State.CLOSED:
                tokens, behind = self._requests.end_check()
                self._effects.extend(map(Reauthenticate, tokens))
                for send in behind:
                    self.refused(send.id, error)
        else:
            self.close(error.code.name, error.message, error.retry_after_s)

    def socket_bytes(self, waiting: int) -> None:
        """The socket took something; so many bytes still wait for it."""
        has_room = self._pace.socket_bytes(waiting)
        if not self._pace.socket_full:
            self._requests.answers_read()
        if has_room:
            self._read_on()

    # --- inputs: time and the end ---

    def tick(self, now: float) -> None:
        """Time passed."""
        if self.state is State.CLOSED:
            return
        self._pace.advance(now)
        if self._resting and not self._pace.rest_s:
            self._resting = False
            self._read_on()
        stalled = self._pace.stalled(now, waiting=self._waiting)
        overdue = self._life.overdue(now)
        if overdue is not None:
            self.close(*overdue)
        elif stalled:
            self.close("slow", "nothing was acknowledged for too long while more waited; connect again and acknowledge what is handled")
        elif self._life.wants_probe(now):
            self._effects.append(Probe())

    def drain(self, *, reconnect_in_s: float, grace_s: float, now: float) -> None:
        """The edge is stopping: tell the device to come back elsewhere, close after `grace_s`."""
        if self.state in (State.CLOSED, State.DRAINING):
            return
        self._effects.append(Control(Drain(int(reconnect_in_s * 1000), "this edge is stopping")))
        if self.state is State.NEW:
            self.close("draining", "this edge is stopping; connect again, to any other")
            return
        self._life.enter(State.DRAINING)
        self._life.close_at(now + grace_s)

    def close(self, code: str, message: str, retry_after_s: float = 0.0) -> None:
        """End the connection with a row of the code table; `retry_after_s`: when it may come back."""
        if self.state is State.CLOSED:
            return
        self._life.enter(State.CLOSED)
        self.close_code = code
        self._snapshot = None
        self._effects.append(Control(error_frame(RuncastError(message, code=code, retry_after_s=retry_after_s), "")))
        self._effects.append(Close(code, message))

    def gone(self) -> None:
        """The connection is no more."""
        if self.state is not State.CLOSED:
            self._life.enter(State.CLOSED)
            self.close_code = self.close_code or "gone"

    # --- the machine's own ---

    def _answer(self, frame: ServerFrame) -> None:
        if self.state is State.CLOSED:
            return
        if not self._requests.answer(waiting=self._pace.socket_full):
            self.close("slow", f"{limits.ANSWERS_WAITING_MAX} answers wait to be read; read what you asked for")
            return
        self._effects.append(Control(frame))

    @property
    def _waiting(self) -> bool:
        """Something waits for the device, and only the device can change that."""
        return self.state in (State.RESUMING, State.BEHIND) and not self._reading and not self._pace.hungry and not self._pace.rest_s

    def _deliver(self, entry: Entry) -> None:
        self._send(entry.seq, len(entry.events), entry.frame(self._codec, self.sent), [entry])

    def _deliver_merged(self, entries: Sequence[Entry]) -> None:
        for events, covered in merge([entry for entry in entries if entry.seq > self.sent]):
            if self._pace.full:
                break
            if len(covered) == 1:
                self._deliver(covered[0])
            else:
                prev, pos = Position(self._epoch, self.sent), Position(self._epoch, covered[-1].seq)
                self._send(pos.seq, len(events), self._encode(prev, pos, events), covered)

    def _deliver_snapshot(self, snapshot: Snapshot) -> None:
        while not (snapshot.empty or self._pace.full):
            events = snapshot.take()
            prev = Position(SNAPSHOT_EPOCH, self._pieces)
            if snapshot.empty:
                self._snapshot = None
                insort(self._awaited, self._snapshot_end)  # a receipt may be awaited of anything before
                frame = self._encode(prev, Position(self._epoch, self._snapshot_end), events)
                self._send(self._snapshot_end, len(events), frame, [])
            else:
                self._pieces += 1
                frame = self._encode(prev, Position(SNAPSHOT_EPOCH, self._pieces), events)
                self._pace.sent(_PIECE_KEYS + self._pieces, len(events), len(frame))
                self._data(frame, len(events), [])

    def _encode(self, prev: Position, pos: Position, events: list[Event]) -> bytes:
        return self._codec.encode(Batch(str(prev), str(pos), events))

    def _send(self, seq: int, events: int, frame: bytes, covered: Sequence[Entry]) -> None:
        self._pace.sent(seq, events, len(frame))
        self.sent = seq
        for entry in covered:
            if entry.awaited:
                insort(self._awaited, entry.seq)
        self._data(frame, events, covered)

    def _data(self, frame: bytes, events: int, covered: Sequence[Entry]) -> None:
        self.events_sent += events
        self._effects.append(Data(frame, events, covered))

    def _read_on(self) -> None:
        """Decide what a session that is not LIVE does next: it is where the feed is, or reads on, or waits."""
        if self.state not in (State.RESUMING, State.BEHIND) or self._reading:
            return
        if self._snapshot is not None and self._pace.hungry:
            self._deliver_snapshot(self._snapshot)
        if self._snapshot is None and self.sent >= self._tip:
            self._life.enter(State.LIVE)
        elif self._snapshot is None and self._pace.hungry:
            self._reading = True
            self._effects.append(Read(self.sent))
        else:
            if self.state is State.RESUMING:
                self._life.enter(State.BEHIND)
            self._rest()

    def _rest(self) -> None:
        """If its bytes per second are what keeps it waiting: go on by itself when they allow for more."""
        rest_s = self._pace.rest_s
        if rest_s and not self._resting:
            self._resting = True
            self._effects.append(Wake(max(rest_s, limits_floods.EGRESS_WAKE_S)))
