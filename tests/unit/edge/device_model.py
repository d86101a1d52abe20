"""A driver of the session machine for tests: carries out effects as an edge does, and checks what a device would see."""

from collections import deque

from runcast.edge.effects import Acked, Close, Control, Data, Effect, Open, Read, Reauthenticate, Store
from runcast.edge.entry import Entry
from runcast.edge.life import State
from runcast.edge.replay import Plan
from runcast.edge.session import Session
from runcast.v1.event_pb2 import Batch as StoredBatch
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.errors import RuncastError
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, Ack, Batch, Codec, Error, Hello, ServerFrame, Welcome
from runcast.wire.ids import UserKey
from runcast.wire.position import Position

EPOCH = "abcdefgh"
USER = UserKey("default", "alice")


def stored(events: int, text: str = "") -> bytes:
    batch = StoredBatch(events=[Event(id=str(number)) for number in range(events)])
    if text:
        batch.events[0].agent_response.text = text
    return batch.SerializeToString()


SMALL = stored(1)
NOTHING = b"\xff"  # not a batch: a link without events
MANY = stored(200)
BIG = stored(1, "x" * 200 * limits.KIB)
HUGE = stored(1, "\x01" * 400 * limits.KIB)  # as JSON above the window's bytes


class DeviceModel:
    """A session, the frames its device got, and what it owes."""

    def __init__(self, codec: Codec = CODECS[JSON_SUBPROTOCOL], *, now: float = 0.0, stall_s: float = limits.STALL_S) -> None:
        self.codec = codec
        self.session = Session(codec, edge="e1", now=now, stall_s=stall_s)
        self.log: list[Entry] = []
        self.offered = 0
        self.reading: int | None = None
        self.opening = False
        self.checking: str | None = None
        self.welcome: Welcome | None = None
        self.at = 0
        self.got: list[int] = []
        self.unacked: deque[tuple[int, int, int]] = deque()
        self.socket: deque[int] = deque()
        self.controls: list[ServerFrame] = []
        self.acked: list[int] = []
        self.to_store: list[str] = []
        self.effects: list[Effect] = []
        self.closed: Close | None = None

    @property
    def tip(self) -> int:
        """Where the feed is: the newest entry that was offered."""
        return self.log[self.offered - 1].seq if self.offered else 0

    @property
    def errors(self) -> list[Error]:
        return [frame for frame in self.controls if isinstance(frame, Error)]

    @property
    def unacked_events(self) -> int:
        return sum(events for _, events, _ in self.unacked)

    @property
    def unacked_bytes(self) -> int:
        return sum(size for _, _, size in self.unacked)

    def publish(self, payload: bytes = SMALL, *, step: int = 1, offer: bool = True, unreadable: RuncastError | None = None) -> None:
        prev = self.log[-1].seq if self.log else 0
        self.log.append(Entry(EPOCH, prev, prev + step, payload, unreadable))
        if offer:
            self.offer_all()

    def offer_all(self) -> None:
        while self.offered < len(self.log):
            self.offered += 1
            self.session.offer(self.log[self.offered - 1])
            self.carry()

    def hello(self, device: str = "d1") -> None:
        self.session.receive(Hello(device), 0.0)
        self.carry()

    def open(self, base: int = 0, *, plan: Plan | None = None) -> None:
        self.opening = False
        self.session.opened(USER, EPOCH, plan or Plan("resumed", "", base, proof=False), self.tip)
        self.carry()

    def answer(self, count: int = 10**6) -> None:
        """Answer the read; as the feed does, with at least one entry while the feed is ahead."""
        assert self.reading is not None
        seq, self.reading = self.reading, None
        self.session.history([entry for entry in self.log if entry.seq > seq][:count], proved=True)
        self.carry()

    def judge(self, error: RuncastError | None = None) -> None:
        """Answer the check of a token."""
        assert self.checking is not None
        self.checking = None
        if error is None:
            self.session.reauthenticated()
        else:
            self.session.not_reauthenticated(error)
        self.carry()

    def ack(self, seq: int) -> None:
        while self.unacked and self.unacked[0][0] <= seq:
            self.unacked.popleft()
        self.session.receive(Ack(str(Position(EPOCH, seq))), 0.0)
        self.carry()

    def flush(self, count: int = 10**6) -> None:
        """The socket took some frames."""
        for _ in range(min(count, len(self.socket))):
            self.socket.popleft()
        self.session.socket_bytes(sum(self.socket))
        self.carry()

    def settle(self) -> None:
        """A device that takes and acknowledges everything, an edge that answers every read: until nothing happens any more."""
        for _ in range(10 * len(self.log) + 20):
            before = (self.session.sent, self.reading, len(self.unacked), len(self.socket), self.session.state)
            self.flush()
            if self.reading is not None:
                self.answer()
            self.flush()
            if self.got and self.unacked:
                self.ack(self.got[-1])
            if before == (self.session.sent, self.reading, len(self.unacked), len(self.socket), self.session.state):
                return
        raise AssertionError("it never comes to rest")

    def carry(self) -> None:
        while effects := self.session.take_effects():
            for effect in effects:
                assert self.closed is None, f"{effect} after the end"
                self.effects.append(effect)
                self.carry_one(effect)
            self.session.socket_bytes(sum(self.socket))

    def carry_one(self, effect: Effect) -> None:
        match effect:
            case Data(payload):
                self.receive_data(payload)
            case Control(frame):
                self.controls.append(frame)
                if isinstance(frame, Welcome):
                    assert self.welcome is None, "welcomed twice"
                    self.welcome = frame
                    self.at = int(frame.position.partition("-")[2])
                self.socket.append(len(self.codec.encode(frame)))
            case Open():
                self.opening = True
            case Read(seq):
                assert self.reading is None, "two reads at once"
                assert seq == self.at, "read from elsewhere than where the device is"
                self.reading = seq
            case Acked(seq):
                assert seq > (self.acked[-1] if self.acked else -1) or effect.awaited
                self.acked.append(seq)
            case Reauthenticate(token):
                assert self.checking is None, "two tokens checked at once"
                self.checking = token
            case Store(send):
                self.to_store.append(send.id)
            case Close():
                self.closed = effect

    def receive_data(self, payload: bytes) -> None:
        assert self.welcome is not None, "data before the welcome"
        assert self.unacked_events < limits.WINDOW_EVENTS, "sent although the window of events was full"
        assert self.unacked_bytes < limits.WINDOW_BYTES, "sent although the window of bytes was full"
        assert sum(self.socket) < limits.SOCKET_BYTES_MAX, "sent although the socket was full"
        batch = self.codec.decode_server(payload)
        assert isinstance(batch, Batch)
        assert batch.prev == str(Position(EPOCH, self.at)), "the chain is broken"
        pos = int(batch.pos.partition("-")[2])
        covered = [entry for entry in self.log if self.at < entry.seq <= pos]  # more than one: merged
        assert covered, "nothing new"
        assert covered[-1].seq == pos, "a place that is none"
        assert batch.events == [event for entry in covered for event in entry.events], "something was left out"
        self.at = pos
        self.got.append(pos)
        self.unacked.append((pos, max(1, len(batch.events)), len(payload)))
        self.socket.append(len(payload))

    def check_not_stuck(self) -> None:
        """What is behind waits for something that will come."""
        if self.welcome is not None and self.session.state in (State.RESUMING, State.BEHIND):
            assert self.reading is not None or self.unacked or self.socket, "nobody will ever feed this device again"
