"""The session against a model of the log, the feed, a socket and a device: whatever happens, the device's stream is whole."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runcast.edge.life import State
from runcast.wire import limits
from runcast.wire.errors import UnavailableError
from runcast.wire.frames import CODECS, Ack, ClientFrame, Hello, Ping, Refresh, Send
from runcast.wire.position import Position
from tests.unit.edge.device_model import BIG, EPOCH, HUGE, MANY, NOTHING, SMALL, DeviceModel

WRONG: list[tuple[ClientFrame, str]] = [
    (Hello("again"), "frame_invalid"),
    (Ack("nonsense"), "position_malformed"),
    (Ack(str(Position("zzzzzzzz", 1))), "frame_invalid"),
    (Ack(str(Position(EPOCH, 10**12))), "frame_invalid"),
]

PAYLOADS = {"small": SMALL, "nothing": NOTHING, "many": MANY, "big": BIG, "huge": HUGE}

awake = precondition(lambda self: self.device.closed is None)


class AnySession(RuleBasedStateMachine):
    """`DeviceModel` checks every effect: the chain, the bounds, one read at a time, silence after the end."""

    def __init__(self) -> None:
        super().__init__()
        self.device = DeviceModel()
        self.now = 0.0
        self.sends = 0
        self.behind: set[str] = set()  # sent behind the refresh that is being judged
        self.waiting: set[str] | None = None  # behind the next one, when there is one

    @initialize(codec=st.sampled_from(list(CODECS.values())), before=st.integers(0, 5))
    def begin(self, codec: object, before: int) -> None:
        self.device = DeviceModel(codec)  # type: ignore[arg-type]
        for _ in range(before):
            self.device.publish(step=2)
        self.device.hello()

    @precondition(lambda self: self.device.opening)
    @rule(base=st.integers(0, 20))
    def open(self, base: int) -> None:
        seqs = [0, *(entry.seq for entry in self.device.log[: self.device.offered])]
        self.device.open(seqs[base % len(seqs)])

    @rule(
        payloads=st.lists(st.sampled_from(list(PAYLOADS)), min_size=1, max_size=4),
        step=st.integers(1, 3),
        offer=st.booleans(),
    )
    def publish(self, payloads: list[str], step: int, *, offer: bool) -> None:
        for payload in payloads:
            self.device.publish(PAYLOADS[payload], step=step, offer=False)
        if offer:
            self.device.offer_all()

    @rule()
    def offer(self) -> None:
        self.device.offer_all()

    @precondition(lambda self: self.device.offered)
    @rule(back=st.integers(1, 4))
    def offer_again(self, back: int) -> None:
        self.device.session.offer(self.device.log[max(0, self.device.offered - back)])
        self.device.carry()

    @precondition(lambda self: self.device.reading is not None)
    @rule(count=st.integers(1, 6))
    def answer(self, count: int) -> None:
        self.device.answer(count)

    @awake
    @precondition(lambda self: self.device.got)
    @rule(back=st.integers(0, 6))
    def ack(self, back: int) -> None:
        self.device.ack(self.device.got[-1 - min(back, len(self.device.got) - 1)])

    @precondition(lambda self: self.device.socket)
    @rule(count=st.integers(1, 5))
    def flush(self, count: int) -> None:
        self.device.flush(count)

    @rule(answered=st.booleans())
    def send(self, *, answered: bool) -> None:
        self.sends += 1
        name = f"m{self.sends}"
        self.device.session.receive(Send(name, "message", "g", text="x"), self.now)
        self.device.carry()
        if self.device.checking is not None and name not in self.refused():
            (self.behind if self.waiting is None else self.waiting).add(name)
        assert (self.behind | (self.waiting or set())).isdisjoint(self.device.to_store)
        assert len(self.device.to_store) <= limits.SENDS_IN_FLIGHT_MAX
        if answered and self.device.to_store:
            self.device.session.stored(self.device.to_store.pop(0), duplicate=False)
            self.device.carry()

    @rule()
    def refresh(self) -> None:
        checking, errors = self.device.checking, len(self.device.errors)
        self.device.session.receive(Refresh("t"), self.now)
        self.device.carry()
        if checking is not None and "" not in [error.id for error in self.device.errors[errors:]]:
            assert self.device.closed is not None or (self.waiting or set()) <= self.refused()
            self.waiting = set()

    @precondition(lambda self: self.device.checking is not None)
    @rule(good=st.booleans())
    def judge(self, *, good: bool) -> None:
        self.device.judge(None if good else UnavailableError("no answer"))
        if self.device.closed is None:
            assert self.behind <= (set(self.device.to_store) if good else self.refused())
            assert good or self.behind.isdisjoint(self.device.to_store)
        self.behind, self.waiting = self.waiting or set(), None
        assert len(self.device.to_store) <= limits.SENDS_IN_FLIGHT_MAX

    def refused(self) -> set[str]:
        return {error.id for error in self.device.errors}

    @rule(seconds=st.sampled_from([0.1, 1.0, limits.PING_INTERVAL_S]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.device.session.receive(Ping(), self.now)
        self.device.session.tick(self.now)
        self.device.carry()

    @rule(dice=st.integers(0, 19), wrong=st.sampled_from(WRONG))
    def do_wrong(self, dice: int, wrong: tuple[ClientFrame, str]) -> None:
        if dice != 11 or self.device.welcome is None or self.device.closed is not None:
            return
        self.device.session.receive(wrong[0], self.now)
        self.device.carry()
        assert self.device.closed is not None
        assert self.device.closed.code == wrong[1]
        assert self.device.errors[-1].code == wrong[1]

    @rule(dice=st.integers(0, 39))
    def end(self, dice: int) -> None:
        if dice == 7:
            self.device.session.drain(reconnect_in_s=0.1, grace_s=5.0, now=self.now)
        elif dice == 9 and self.device.reading is not None:
            self.device.session.read_failed(UnavailableError("no answer"))
            self.device.reading = None
        self.device.carry()

    @invariant()
    def is_never_stuck(self) -> None:
        self.device.check_not_stuck()

    @invariant()
    def is_consistent(self) -> None:
        session = self.device.session
        if self.device.welcome is not None:
            assert session.sent == self.device.at
            assert session.acked <= session.sent
        if session.state is State.LIVE:
            assert session.sent >= self.device.tip, "live, but not where the feed is"

    def teardown(self) -> None:
        """A device that goes on taking and acknowledging reaches the tip."""
        if self.device.opening:
            self.device.open()
        self.device.offer_all()
        self.device.settle()
        if self.device.session.state in (State.RESUMING, State.LIVE, State.BEHIND):
            assert self.device.session.state is State.LIVE
            assert self.device.session.sent == self.device.tip
            assert self.device.session.acked == self.device.session.sent or not self.device.got


AnySession.TestCase.settings = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
TestAnySession = AnySession.TestCase
