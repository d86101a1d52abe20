"""The splice against a model of a log, its replicas and a live subscription that loses and repeats.

The model: one subject of a stream. Messages get rising seqs with holes (other users' messages). A live subscription keeps order, may lose,
may repeat. A replica answers from any state that the log had since time last passed (lag is short against the retention); time passes
only when nothing is under way. Messages leave by age and, once the reader is past 0, by number.
"""

from collections import deque
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runcast.edge.entry import Entry
from runcast.edge.replay import SUSPICION_S, Splice

EPOCH = "abcdefgh"
RETENTION_S = 100.0


class Stored(NamedTuple):
    seq: int
    prev: int
    at: float


class AnySplice(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.splice = Splice(RETENTION_S)
        self.seq = 0
        self.log: list[Stored] = []  # what is kept
        self.after_opening: list[int] = []  # every seq that was stored after the tip of the opening
        self.replicas: list[list[Stored]] = [[]]
        self.under_way: deque[Stored] = deque()
        self.delivered: list[Stored] = []
        self.taken: list[int] = []
        self.subscribed = False
        self.given_up = False

    @property
    def tip(self) -> int:
        return self.log[-1].seq if self.log else 0

    @initialize(before=st.integers(0, 3), between=st.integers(0, 3))
    def begin(self, before: int, between: int) -> None:
        for _ in range(before):
            self.publish(1)
        self.subscribed = True
        for _ in range(between):
            self.publish(1)

    @rule(step=st.integers(1, 3))
    def publish(self, step: int) -> None:
        message = Stored(self.seq + step, self.tip, self.now)
        self.seq = message.seq
        self.log.append(message)
        self.replicas.append(list(self.log))
        if self.subscribed:
            self.under_way.append(message)
        if self.splice.pos is not None:
            self.after_opening.append(message.seq)

    def hand_over(self, message: Stored) -> None:
        self.splice.live(Entry(EPOCH, message.prev, message.seq, b""), self.now)

    @precondition(lambda self: self.under_way)
    @rule(count=st.integers(1, 4), lost=st.integers(0, 15))
    def deliver(self, count: int, lost: int) -> None:
        for index in range(min(count, len(self.under_way))):
            message = self.under_way.popleft()
            if not lost >> index & 1:
                self.delivered.append(message)
                self.hand_over(message)

    @precondition(lambda self: self.delivered)
    @rule(back=st.integers(1, 5))
    def repeat(self, back: int) -> None:
        self.hand_over(self.delivered[-min(back, len(self.delivered))])

    @precondition(lambda self: self.splice.pos is None)
    @rule()
    def open(self) -> None:
        self.splice.opened(self.tip, self.now)

    @precondition(lambda self: self.splice.gap and not self.splice.broken)
    @rule(behind=st.integers(0, 6), chunk=st.integers(1, 4))
    def read(self, behind: int, chunk: int) -> None:
        replica = self.replicas[-min(behind + 1, len(self.replicas))]
        self.answer([message.seq for message in replica], chunk)

    def answer(self, kept: list[int], chunk: int) -> None:
        """As the feed does it: nothing is said of an empty answer, and entries are joined one to the other."""
        pos = self.splice.pos or 0
        seqs = [seq for seq in kept if seq >= pos][:chunk]
        if seqs:
            self.splice.history([Entry(EPOCH, prev, seq, b"") for prev, seq in zip((pos, *seqs), seqs, strict=False)], self.now)

    @rule(behind=st.integers(0, 6))
    def verify(self, behind: int) -> None:
        replica = self.replicas[-min(behind + 1, len(self.replicas))]
        self.splice.tip(replica[-1].seq if replica else 0, self.now)

    @rule()
    def tick(self) -> None:
        self.splice.tick(self.now)

    @precondition(lambda self: self.splice.pos is not None)  # opening takes no time worth the name
    @rule(seconds=st.sampled_from([0.1, SUSPICION_S, 30.0, 60.0, 99.0, 100.0, 250.0]))
    def pass_time(self, seconds: float) -> None:
        self.under_way.clear()
        self.now += seconds
        self.log = [message for message in self.log if self.now - message.at < RETENTION_S]
        self.replicas = [list(self.log)]

    @precondition(lambda self: self.splice.pos and len(self.log) > 1)
    @rule(kept=st.integers(1, 4))
    def evict_by_number(self, kept: int) -> None:
        self.log = self.log[-kept:]
        self.replicas.append(list(self.log))

    @invariant()
    def in_order_once_and_whole(self) -> None:
        self.taken += [entry.seq for entry in self.splice.take()]
        assert self.taken == self.after_opening[: len(self.taken)]
        if self.taken:
            assert self.splice.pos == self.taken[-1]

    @invariant()
    def broken_only_when_it_cannot_go_on(self) -> None:
        if self.splice.broken:
            assert self.splice.pos == 0 or all(message.seq != self.splice.pos for message in self.log)

    def teardown(self) -> None:
        """All quiet, everything up to date, and one more message: then the splice is at the tip, or says that it can't be."""
        if self.splice.pos is None:
            self.splice.opened(self.tip, self.now)
        self.under_way.clear()
        self.replicas = [list(self.log)]
        self.publish(1)
        self.hand_over(self.log[-1])
        self.splice.tip(self.tip, self.now)
        self.splice.tick(self.now + SUSPICION_S)
        while self.splice.gap and not self.splice.broken:
            before = self.splice.pos
            self.answer([message.seq for message in self.log], 3)
            assert self.splice.pos != before or self.splice.broken or not self.splice.gap, "neither goes on nor gives up"
        self.in_order_once_and_whole()
        self.broken_only_when_it_cannot_go_on()
        if not self.splice.broken:
            assert self.taken == self.after_opening
            assert not self.splice.suspicious


AnySplice.TestCase.settings = settings(max_examples=settings().max_examples * 3)
TestAnySplice = AnySplice.TestCase
