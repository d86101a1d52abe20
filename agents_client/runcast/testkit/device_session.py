"""What a device decides: where it is in the stream, whether the chain holds, what to acknowledge, when to give up and come back.

Theory: every batch frame covers (prev, pos]. A device at position p takes a frame whose prev is p and is then at pos; a frame with
pos <= p is a repeat and is dropped; anything else is a broken chain: something was left out in silence, the one thing an edge must not do
(promise P4). A `reset` in the welcome is how an edge says aloud that it can't continue; a `snapshot`, that it gives what the stream came to
in place of the stream, in frames whose positions are the snapshot's own until the last one leads to its end.

Events of attempts that were superseded or lost are not delivered: an edge leaves them out as far as it knows, and a device remembers
longer than the edge that it is connected to just now.

    CLOSED --connected--> OPENING --welcome--> OPEN
       ^---------lost--------+--------lost------'

Duties of the driver: call `connected`, `receive_frame`, `tick` (at `deadline`) and `lost`; after each of them, and after `send`, carry out
`take_effects` in order. Pure: no I/O, no clock, no randomness; `now` is seconds of any monotonic clock. Never imports asyncio or
aiohttp.
"""

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple

from runcast.v1.event_pb2 import Event
from runcast.wire import limits, limits_client
from runcast.wire.codes import comes_back
from runcast.wire.errors import PositionMalformedError
from runcast.wire.fence import Fence
from runcast.wire.frames import Ack, Batch, ClientFrame, Drain, Error, Hello, Ping, Pong, Refreshed, Send, Sent, ServerFrame, Welcome
from runcast.wire.position import EARLIEST, LATEST, parse_position


class Phase(enum.Enum):
    """Where a connection is in its life."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"


class Step(enum.Enum):
    """What moves it."""

    CONNECTED = "connected"
    WELCOMED = "welcomed"
    LOST = "lost"


TABLE: Final[dict[Phase, dict[Step, Phase]]] = {
    Phase.CLOSED: {Step.CONNECTED: Phase.OPENING},
    Phase.OPENING: {Step.WELCOMED: Phase.OPEN, Step.LOST: Phase.CLOSED},
    Phase.OPEN: {Step.LOST: Phase.CLOSED},
}


class ChainBrokenError(Exception):
    """A frame does not continue where the one before ended: events were left out, or came out of order."""


class Received(NamedTuple):
    """An event as a device got it: the position of its frame, and when (`time.time()`, seconds)."""

    event: Event
    pos: str
    time_s: float


# --- effects, to be carried out in order ---


class Transmit(NamedTuple):
    """Send this frame."""

    frame: ClientFrame


class Opened(NamedTuple):
    """The session is open."""

    welcome: Welcome


class Deliver(NamedTuple):
    """Hand these events to the application."""

    events: Sequence[Event]
    pos: str


class Answered(NamedTuple):
    """The send `id` is stored (`error` is None), or was refused."""

    id: str
    duplicate: bool
    error: Error | None


class Broken(NamedTuple):
    """The chain broke; the message says how. The connection is to be closed."""

    message: str


class GiveUp(NamedTuple):
    """Close the connection; it is of no use any more."""

    reason: str


Effect = Transmit | Opened | Deliver | Answered | Broken | GiveUp


class DeviceSession:
    """The machine.

    Args:
        device: this client's id.
        position: where to begin: a position, "earliest", "latest", or "" (the device's cursor, else earliest).
        ack: acknowledge what was delivered; if not, only `acknowledge` does.
        snapshot: True: ask for a snapshot until caught up once; False: never have one; None: as the edge decides.

    Attributes:
        position: where the device is; "" or a word until the first welcome.
        tip: the stream's newest position when the session opened.
        phase: of the connection.
        repeats: frames dropped because they had been had.
        resets: how often an edge could not continue.
        snapshots: how often an edge gave a snapshot.
        superseded: events dropped because their attempt was superseded or lost.
        unacknowledged: events delivered and not yet acknowledged.
        acknowledging: acknowledge what is delivered.
    """

    def __init__(self, device: str, position: str = "", *, ack: bool = True, snapshot: bool | None = False) -> None:
        self.device = device
        self.position = position
        self.tip = ""
        self.phase = Phase.CLOSED
        self.repeats = 0
        self.resets = 0
        self.snapshots = 0
        self.superseded = 0
        self._fence = Fence()
        self.unacknowledged = 0
        self.acknowledging = ack
        self._snapshot = snapshot
        self._ack_at: float | None = None
        self._heard_at = 0.0
        self._pinged_at: float | None = None
        self._ping_interval_s = 0.0
        self._effects: list[Effect] = []
        self._pending: dict[str, Send] = {}
        self._failures = 0
        self._leave_at: float | None = None
        self._retry_after_s = 0.0  # of the newest error about the connection; it counts when the edge closes
        self._left = False
        self._handled = False  # something was delivered, so the position is one that the application has

    @property
    def caught_up(self) -> bool:
        """Whether the device is where the stream ended when the session opened, or past it."""
        if self.phase is not Phase.OPEN or not self._known:
            return False
        position, tip = parse_position(self.position), parse_position(self.tip)
        return position.epoch == tip.epoch and position.seq >= tip.seq

    @property
    def _known(self) -> bool:
        return self.position not in ("", EARLIEST, LATEST)

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in order; each is given once."""
        effects, self._effects = self._effects, []
        return effects

    def deadline(self) -> float | None:
        """When `tick` is wanted; None when nothing is waited for."""
        if self.phase is Phase.OPENING:
            return self._heard_at + limits.HELLO_TIMEOUT_S
        if self.phase is Phase.CLOSED:
            return None
        silent = (self._pinged_at if self._pinged_at is not None else self._heard_at) + self._ping_interval_s
        return min(at for at in (silent, self._ack_at, self._leave_at) if at is not None)

    def connected(self, now: float) -> None:
        """The socket is open."""
        self._move(Step.CONNECTED)
        self._heard_at = now
        self._effects.append(Transmit(Hello(self.device, self.position, snapshot=self._snapshot)))

    def receive_frame(self, frame: ServerFrame, now: float) -> None:
        """Take a frame from the edge."""
        self._heard_at, self._pinged_at = now, None
        if self.phase is Phase.CLOSED:
            return  # read from the socket before we knew that it is closed; it will come again
        if self.phase is Phase.OPENING and isinstance(frame, Batch | Sent | Pong | Refreshed):
            self._break(f"{type(frame).__name__.lower()} before welcome")
            return
        match frame:
            case Welcome():
                self._welcome(frame)
            case Batch():
                self._batch(frame, now)
            case Sent():
                self._answer(frame.id, frame.duplicate, None)
            case Error():
                if frame.id:
                    self._answer(frame.id, False, frame)
                else:
                    self._retry_after_s = frame.retry_after_ms / 1000
            case Drain():
                self._leave_at = now + frame.reconnect_in_ms / 1000
            case Pong() | Refreshed():
                pass

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._ack_at is not None and now >= self._ack_at:
            self.acknowledge()
        if self._leave_at is not None and now >= self._leave_at:
            self._leave_at, self._left = None, True
            self._effects.append(GiveUp("the edge asked us to go elsewhere"))
        elif self.phase is Phase.OPENING and now - self._heard_at >= limits.HELLO_TIMEOUT_S:
            self._effects.append(GiveUp("no welcome came"))
        elif self.phase is Phase.OPEN:
            if self._pinged_at is not None and now - self._pinged_at >= self._ping_interval_s:
                self._effects.append(GiveUp("a ping was not answered"))
            elif self._pinged_at is None and now - self._heard_at >= self._ping_interval_s:
                self._pinged_at = now
                self._effects.append(Transmit(Ping()))

    def lost(self) -> None:
        """The connection is gone. What was sent and not answered goes out again on the next one."""
        if self.phase is not Phase.CLOSED:
            self._move(Step.LOST)
        self._ack_at = self._pinged_at = None
        self.unacknowledged = 0  # the next hello says where we are

    def acknowledge(self) -> None:
        """Acknowledge everything delivered so far."""
        self._ack_at, self.unacknowledged = None, 0
        if self.phase is Phase.OPEN and self._known:
            self._effects.append(Transmit(Ack(self.position)))

    def send(self, frame: Send) -> None:
        """Send something for an agent, and again after every reconnect until it is answered.

        Raises:
            ValueError: too many sends are unanswered, or this id is under way.
        """
        if frame.id in self._pending:
            raise ValueError(f"a send with id {frame.id!r} is not answered yet")
        if len(self._pending) >= limits.SENDS_IN_FLIGHT_MAX:
            raise ValueError(f"{limits.SENDS_IN_FLIGHT_MAX} sends are not answered yet; wait for one")
        self._pending[frame.id] = frame
        if self.phase is Phase.OPEN:
            self._effects.append(Transmit(frame))

    @property
    def wants_snapshot(self) -> bool | None:
        """What the next hello says of snapshots."""
        return self._snapshot

    def ask_snapshot(self) -> None:
        """Ask for a snapshot from the next hello on, until caught up once."""
        self._snapshot = True

    def forget_send(self, send_id: str) -> None:
        """Do not send it again; nobody waits for its answer."""
        self._pending.pop(send_id, None)

    def reconnect_wait(self, close_code: int | None, jitter: float) -> float | None:
        """How long to wait before the next connection, after `lost`.

        Args:
            close_code: of the WebSocket; None when it ended without one or never opened.
            jitter: 0.0 to 1.0, random.

        Returns:
            Seconds; None: do not come back.
        """
        if close_code is not None and not comes_back(close_code):
            return None
        self._failures += 1
        if self._left or self._leave_at is not None:
            self._left, self._leave_at = False, None
            return 0.0  # it was the edge's own word when to come back
        bound: float = min(limits_client.BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 16), limits_client.BACKOFF_MAX_S)
        told_s, self._retry_after_s = self._retry_after_s, 0.0
        return bound * jitter + (told_s if close_code is not None and close_code >= 4000 else 0.0)

    def _move(self, step: Step) -> None:
        after = TABLE[self.phase].get(step)
        if after is None:
            raise RuntimeError(f"{step.value} can't happen while {self.phase.value}")
        self.phase = after

    def _welcome(self, frame: Welcome) -> None:
        if self.phase is not Phase.OPENING:
            self._break("a second welcome")
            return
        if frame.outcome == "resumed" and self._known and frame.position != self.position:
            self._break(f"resumed at {frame.position}, asked for {self.position}")
            return
        self._move(Step.WELCOMED)
        again = self.acknowledging and self._handled and frame.outcome == "resumed" and frame.position == self.position
        if frame.outcome == "reset":
            self.resets += 1
            self._fence = Fence()
        elif frame.outcome == "snapshot":
            self.snapshots += 1
            self._fence = Fence()
        self.position, self.tip = frame.position, frame.tip
        self._ping_interval_s = frame.limits.ping_interval_ms / 1000 or limits.PING_INTERVAL_S
        self._failures = 0
        self._effects.append(Opened(frame))
        if again:  # the edge before may not have heard of it, or not have told
            self.acknowledge()
        self._effects.extend(Transmit(send) for send in self._pending.values())
        self._note_caught_up()

    def _batch(self, frame: Batch, now: float) -> None:
        try:
            pos, here = parse_position(frame.pos), parse_position(self.position)
        except PositionMalformedError as exc:
            self._break(str(exc))
            return
        if pos.epoch == here.epoch and pos.seq <= here.seq:
            self.repeats += 1
            return
        if frame.prev != self.position:
            self._break(f"a batch covers ({frame.prev}, {frame.pos}], the device is at {self.position}")
            return
        self.position = frame.pos
        self._note_caught_up()
        events = self._fence.pass_on(frame.events, pos.seq)
        self.superseded += len(frame.events) - len(events)
        self._effects.append(Deliver(events, frame.pos))
        self._handled = True
        self.unacknowledged += max(len(frame.events), 1)
        if self.acknowledging and self.unacknowledged >= limits_client.DEVICE_ACK_EVENTS:
            self.acknowledge()
        elif self.acknowledging and self._ack_at is None:
            self._ack_at = now + limits_client.DEVICE_ACK_DELAY_S

    def _note_caught_up(self) -> None:
        if self._snapshot and self.caught_up:
            self._snapshot = None  # from here on there is something to go on from

    def _answer(self, send_id: str, duplicate: bool, error: Error | None) -> None:
        if self._pending.pop(send_id, None) is not None:
            self._effects.append(Answered(send_id, duplicate, error))

    def _break(self, message: str) -> None:
        self._effects.append(Broken(message))
