"""One device connection: what it has been sent, what it acknowledged, what it gets next. Pure (ARCHITECTURE.md, "Delivery").

    NEW ── hello ──► RESUMING ── caught up ──► LIVE ⇄ BEHIND         any ──► DRAINING ──► CLOSED

Theory. The log is the buffer. A session is only ever *at* a position: LIVE means that it is where the user's feed is, so the next
batch goes straight out; RESUMING and BEHIND mean that it is further back and reads the log, at the pace of its acknowledgements. A
session whose window is full or whose socket is slow simply stops being LIVE; nothing is queued for it and nothing is dropped.

Rules
1. Batches leave in order, each once: `sent` only rises, and a batch goes out only from the position before it.
2. At most the window is unacknowledged, or waits for the socket, but for the frame that reaches the bound; at most one read of the log
   is under way.
3. An acknowledgement is cumulative, never ahead of what was sent.
4. Control frames may pass data; data never passes data.
5. What a client does wrong gets a coded error; what breaks the protocol also ends the connection. Nothing follows the end.
6. Answers (pong, sent, error) are bounded too: who asks on and on without reading them is closed.

The driver calls the inputs, then carries out `take_effects()` in order; it calls `tick` now and then.
"""

import enum
from bisect import insort
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from runcast.edge.entry import Entry
from runcast.edge.replay import Plan
from runcast.wire import VERSION, limits
from runcast.wire.codes import CODES
from runcast.wire.errors import IdInvalidError, PositionMalformedError, RuncastError
from runcast.wire.frames import (
    Ack,
    ClientFrame,
    Codec,
    Drain,
    Error,
    Hello,
    Limits,
    Ping,
    Pong,
    Refresh,
    Send,
    Sent,
    ServerFrame,
    Welcome,
)
from runcast.wire.ids import UserKey, check_id
from runcast.wire.position import Position, parse_position
from runcast.wire.window import AckWindow


class State(enum.Enum):
    """Where a session is in its life."""

    NEW = "new"
    RESUMING = "resuming"
    LIVE = "live"
    BEHIND = "behind"
    DRAINING = "draining"
    CLOSED = "closed"


NEXT: Final[dict[State, frozenset[State]]] = {
    State.NEW: frozenset({State.RESUMING, State.CLOSED}),
    State.RESUMING: frozenset({State.LIVE, State.BEHIND, State.DRAINING, State.CLOSED}),
    State.LIVE: frozenset({State.BEHIND, State.DRAINING, State.CLOSED}),
    State.BEHIND: frozenset({State.LIVE, State.DRAINING, State.CLOSED}),
    State.DRAINING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}


# --- effects ---


class Control(NamedTuple):
    """Send this frame, ahead of data."""

    frame: ServerFrame


class Data(NamedTuple):
    """Send these bytes, the encoded frame of an entry, after all data before it."""

    payload: bytes
    entry: Entry


class Open(NamedTuple):
    """Find the device's place (`opened` answers): its hello."""

    hello: Hello


class Read(NamedTuple):
    """Read the log from `seq` on, inclusive (`history` answers)."""

    seq: int


class Acked(NamedTuple):
    """The device handled everything up to `seq`; `awaited`: somebody waits to hear of it."""

    seq: int
    awaited: bool = False


class Store(NamedTuple):
    """Store what the device sent (`stored` or `refused` answers)."""

    send: Send


class Reauthenticate(NamedTuple):
    """Check a new token; it must be the same user's."""

    token: str


class Probe(NamedTuple):
    """Send a WebSocket ping."""


class Close(NamedTuple):
    """Close the connection, after what was to be sent."""

    code: str
    message: str


Effect = Control | Data | Open | Read | Acked | Store | Reauthenticate | Probe | Close


class Session:
    """The machine of one connection.

    Args:
        codec: of the subprotocol.
        edge: id of this edge, for `welcome`.
        now: monotonic seconds; so are all `now` below.
    """

    def __init__(self, codec: Codec, *, edge: str, now: float) -> None:
        self.device = ""
        self.state = State.NEW
        self.sent = 0
        self.acked = 0
        self.events_sent = 0
        self.close_code = ""
        self._codec = codec
        self._edge = edge
        self._epoch = ""
        self._tip = 0
        self._window = AckWindow(limits.WINDOW_EVENTS, limits.WINDOW_BYTES)
        self._awaited: deque[int] = deque()  # seqs of which a receipt is awaited, among what is unacknowledged
        self._socket_bytes = 0
        self._answers = 0
        self._reading = False
        self._sends = 0
        self._confirmed = False
        self._effects: list[Effect] = []
        self._opened_at = now
        self._heard_at = now
        self._probed = False
        self._close_at: float | None = None

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
            self._effects.append(Reauthenticate(frame.token))
        else:
            self.close("frame_invalid", "hello was said already; say it once, first")

    def heard(self, now: float) -> None:
        """Anything at all arrived, a WebSocket pong included."""
        self._heard_at = now
        self._probed = False

    def _receive_hello(self, frame: ClientFrame) -> None:
        if not isinstance(frame, Hello):
            self.close("hello_expected", f"the first frame must be hello, not {type(frame).__name__.lower()}")
            return
        try:
            self.device = check_id(frame.device, "device")
        except IdInvalidError as exc:
            self.close("id_invalid", exc.message)
            return
        self._enter(State.RESUMING)
        self._effects.append(Open(frame))

    def _receive_ack(self, frame: Ack) -> None:
        try:
            position = parse_position(frame.pos)
        except PositionMalformedError as exc:
            self.close("position_malformed", exc.message)
            return
        if position.epoch != self._epoch or position.seq > self.sent:
            self.close("frame_invalid", f"{frame.pos} was not sent on this connection; acknowledge only what was handled")
            return
        self._window.free_le(position.seq)
        if position.seq > self.acked or not self._confirmed:
            awaited = position.seq <= self.acked  # said again after a reconnect: the edge before may not have written it
            while self._awaited and self._awaited[0] <= position.seq:
                self._awaited.popleft()
                awaited = True
            self._confirmed = True
            self.acked = max(self.acked, position.seq)
            self._effects.append(Acked(self.acked, awaited))
        self._read_on()

    def _receive_send(self, frame: Send) -> None:
        try:
            check_id(frame.id, "send id")
        except IdInvalidError as exc:
            self._answer(_error_frame(exc, ""))
            return
        if self._sends >= limits.SENDS_IN_FLIGHT_MAX:
            busy = RuncastError(
                f"{limits.SENDS_IN_FLIGHT_MAX} sends are unanswered; wait for their sent", code="rate_limited", retry_after_s=0.2
            )
            self._answer(_error_frame(busy, frame.id))
            return
        self._sends += 1
        self._effects.append(Store(frame))

    # --- inputs: what the driver found out ---

    def opened(self, user: UserKey, epoch: str, plan: Plan, tip: int) -> None:
        """Answer to `Open`: whose device it is and where it goes on.

        Args:
            user: as authenticated.
            epoch: of the user's shard.
            plan: outcome and base, proved.
            tip: where the user's feed is.
        """
        if self.state is not State.RESUMING:
            return
        self._epoch = epoch
        base = plan.base
        self.sent = self.acked = base
        self._tip = max(tip, self._tip)
        self._effects.append(
            Control(
                Welcome(
                    "reset" if plan.outcome == "reset" else "resumed",
                    position=str(Position(self._epoch, base)),
                    tip=str(Position(self._epoch, tip)),
                    tenant=user.tenant,
                    user=user.user,
                    device=self.device,
                    limits=Limits(limits.FRAME_BYTES_MAX, limits.WINDOW_EVENTS, limits.WINDOW_BYTES, int(limits.PING_INTERVAL_S * 1000)),
                    edge=self._edge,
                    version=VERSION,
                    reason=plan.reason,
                )
            )
        )
        self._read_on()

    def offer(self, entry: Entry) -> None:
        """The user's feed moved to `entry`; it goes out if the session is right before it, and may."""
        self._tip = max(self._tip, entry.seq)
        if self.state is State.DRAINING:  # until it goes, what was LIVE stays fed
            if self._epoch and entry.prev == self.sent and not self._window.full and not self._socket_full:
                self._deliver(entry)
        elif self.state is State.LIVE and entry.seq > self.sent:
            if self._window.full or self._socket_full:
                self._enter(State.BEHIND)
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
        for entry in entries:
            if self._window.full or self._socket_full:
                break
            if entry.seq > self.sent:
                self._deliver(entry)
        self._read_on()

    def hurry(self, seq: int) -> None:
        """A receipt of `seq` is awaited, and nothing in the stream said so."""
        if self._confirmed and self.acked >= seq:
            self._effects.append(Acked(self.acked, awaited=True))
        elif len(self._awaited) < limits.WINDOW_EVENTS and seq not in self._awaited:
            insort(self._awaited, seq)

    def read_failed(self, error: RuncastError) -> None:
        """The log could not be read, however often it was tried."""
        self._reading = False
        self.close("unavailable", error.message)

    def stored(self, send_id: str, *, duplicate: bool) -> None:
        """What was sent under this id is stored."""
        self._sends -= 1
        self._answer(Sent(send_id, duplicate))

    def refused(self, send_id: str, error: RuncastError) -> None:
        """What was sent under this id is not stored, or not for certain."""
        self._sends -= 1
        self._answer(_error_frame(error, send_id))

    def socket_bytes(self, waiting: int) -> None:
        """So many bytes wait for the socket."""
        was_full, self._socket_bytes = self._socket_full, waiting
        if not self._socket_full:
            self._answers = 0
            if was_full:
                self._read_on()

    # --- inputs: time and the end ---

    def tick(self, now: float) -> None:
        """Time passed."""
        if self.state is State.CLOSED:
            return
        if self._close_at is not None and now >= self._close_at:
            self.close("draining", "this edge is stopping; connect again, to any other")
        elif self.state is State.NEW and now - self._opened_at >= limits.HELLO_TIMEOUT_S:
            self.close("hello_timeout", f"no hello within {limits.HELLO_TIMEOUT_S:.0f} s")
        elif now - self._heard_at >= limits.DEAD_AFTER_S:
            self.close("silent", f"nothing was heard for {limits.DEAD_AFTER_S:.0f} s")
        elif not self._probed and now - self._heard_at >= limits.PING_INTERVAL_S:
            self._probed = True
            self._effects.append(Probe())

    def drain(self, *, reconnect_in_s: float, grace_s: float, now: float) -> None:
        """The edge is stopping: tell the device to come back elsewhere, close after `grace_s`."""
        if self.state in (State.CLOSED, State.DRAINING):
            return
        self._effects.append(Control(Drain(int(reconnect_in_s * 1000), "this edge is stopping")))
        if self.state is State.NEW:
            self.close("draining", "this edge is stopping; connect again, to any other")
            return
        self._enter(State.DRAINING)
        self._close_at = now + grace_s

    def close(self, code: str, message: str) -> None:
        """End the connection with a row of the code table."""
        if self.state is State.CLOSED:
            return
        self._enter(State.CLOSED)
        self.close_code = code
        self._effects.append(Control(_error_frame(RuncastError(message, code=code), "")))
        self._effects.append(Close(code, message))

    def gone(self) -> None:
        """The connection is no more."""
        if self.state is not State.CLOSED:
            self._enter(State.CLOSED)
            self.close_code = self.close_code or "gone"

    # --- the machine's own ---

    @property
    def _socket_full(self) -> bool:
        return self._socket_bytes >= limits.SOCKET_BYTES_MAX

    def _answer(self, frame: ServerFrame) -> None:
        if self.state is State.CLOSED:
            return
        if self._socket_full:
            self._answers += 1
            if self._answers > limits.ANSWERS_WAITING_MAX:
                self.close("slow", f"{limits.ANSWERS_WAITING_MAX} answers wait to be read; read what you asked for")
                return
        self._effects.append(Control(frame))

    def _deliver(self, entry: Entry) -> None:
        frame = entry.frame(self._codec, self.sent)
        self._window.add(entry.seq, max(1, len(entry.events)), len(frame))
        self.sent = entry.seq
        self.events_sent += len(entry.events)
        if entry.awaited:
            insort(self._awaited, entry.seq)
        self._socket_bytes += len(frame)  # until the driver says how much is left of it
        self._effects.append(Data(frame, entry))

    def _read_on(self) -> None:
        """Decide what a session that is not LIVE does next: it is where the feed is, or reads on, or waits."""
        if self.state not in (State.RESUMING, State.BEHIND) or self._reading:
            return
        if self.sent >= self._tip:
            self._enter(State.LIVE)
        elif self._window.half_empty and not self._socket_full:
            self._reading = True
            self._effects.append(Read(self.sent))
        elif self.state is State.RESUMING:
            self._enter(State.BEHIND)

    def _enter(self, state: State) -> None:
        assert state in NEXT[self.state], f"{self.state} -> {state}"  # noqa: S101 # the table is the invariant
        self.state = state


def _error_frame(error: RuncastError, send_id: str) -> Error:
    row = CODES[error.code.name]
    return Error(row.name, error.message, send_id, row.retry, row.definite, int(error.retry_after_s * 1000))
