"""The book of revocations: whom each hits, when it ends, and that nothing is missed unnoticed."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runcast.bus.revocations import Book, Change, Peer, Revocation, disconnected, in_force, read_revocation, write_revocation
from runcast.wire.ids import UserKey
from runcast.wire.targets import Target, make_target, targets_of_agent, targets_of_device

NOW = 1_800_000_000_000
HOUR = 3_600_000
ALICE = make_target("user", "acme", "alice")
TAB = make_target("device", "acme", "alice", "tab")
TOKEN = make_target("token", "j1")
ANALYST = make_target("agent", "analyst")


def device(user: str = "alice", name: str = "tab", jti: str = "j1", issued_at: float = 0.0, tenant: str = "acme") -> Peer:
    return Peer(targets_of_device(UserKey(tenant, user), name, jti), issued_at)


def agent(name: str = "analyst", jti: str = "k1") -> Peer:
    return Peer(targets_of_agent(name, jti), 0.0)


def change(seq: int, target: Target, *, ends_at_ms: int = NOW + HOUR, until_new_token: bool = False) -> Change:
    return Change(seq, target.key, write_revocation(Revocation(target, NOW, ends_at_ms, "operator", "why", until_new_token)))


def book(*changes: Change) -> Book:
    made = Book()
    made.replace(changes, changes[-1].seq if changes else 0, NOW)
    return made


@pytest.mark.parametrize(
    ("target", "peer", "hit"),
    [
        (ALICE, device(), True),
        (ALICE, device(name="phone", jti=""), True),
        (ALICE, device(user="bob"), False),
        (ALICE, device(tenant="globex"), False),
        (TAB, device(), True),
        (TAB, device(name="phone"), False),
        (TAB, device(user="bob"), False),
        (TOKEN, device(user="bob"), True),
        (TOKEN, device(jti="j2"), False),
        (TOKEN, device(jti=""), False),
        (TOKEN, agent(), False),
        (TOKEN, agent(jti="j1"), True),
        (ANALYST, agent(), True),
        (ANALYST, agent("writer"), False),
        (ANALYST, device(user="analyst"), False),
        (make_target("user", "acme", "analyst"), agent(), False),
    ],
)
def test_whom_it_hits(target: Target, peer: Peer, hit: bool) -> None:
    found = book(change(1, target)).find(peer, NOW)
    assert (found is not None) is hit


@pytest.mark.parametrize(
    ("issued_at_ms", "hit"), [(0, True), (NOW - 1000, True), (NOW, True), (NOW + 1, False), (NOW + HOUR, False)], ids=str
)
def test_until_a_new_token(issued_at_ms: int, hit: bool) -> None:
    peer = device(issued_at=issued_at_ms / 1000)
    assert (book(change(1, ALICE, until_new_token=True)).find(peer, NOW + 1) is not None) is hit
    assert book(change(1, ALICE)).find(peer, NOW + 1) is not None, "without it no token helps"
    both = book(change(1, ALICE, until_new_token=True), change(2, TAB))
    assert both.find(peer, NOW + 1) is not None, "what one lets through another may keep out"


def test_it_ends_by_itself() -> None:
    made = book(change(1, ALICE, ends_at_ms=NOW + 10))
    assert made.find(device(), NOW + 9) is not None
    assert made.find(device(), NOW + 10) is None
    assert made.entries(NOW + 10) == []
    made.prune(NOW + 9)
    assert len(made) == 1
    made.prune(NOW + 10)
    assert len(made) == 0
    assert len(book(change(1, ALICE, ends_at_ms=NOW))) == 0, "over before it was read"


def test_the_newest_counts_also_when_it_is_milder() -> None:
    made = book(change(1, ALICE))
    made.hear(change(2, ALICE, until_new_token=True), NOW)
    assert made.find(device(issued_at=(NOW + 1) / 1000), NOW) is None
    made.hear(Change(3, ALICE.key, b""), NOW)
    assert made.find(device(), NOW) is None


def test_a_hole_is_noticed_and_a_reading_fills_it() -> None:
    made = Book()
    assert not made.whole
    made.hear(change(1, ALICE), NOW)
    assert not made.whole, "heard, never read"
    assert made.find(device(), NOW) is not None, "what is known counts at once"
    made.replace([change(1, ALICE)], 1, NOW)
    assert made.whole
    assert made.hear(change(2, TAB), NOW)
    assert made.whole
    assert not made.hear(change(2, TAB), NOW), "a repeat"
    made.hear(change(4, TOKEN), NOW)
    assert (made.whole, made.known, made.newest) == (False, 2, 4)
    made.hear(change(5, ANALYST), NOW)
    assert not made.whole, "later ones don't fill it"
    made.replace([change(3, ANALYST), change(5, TOKEN)], 5, NOW)
    assert made.whole
    assert made.find(device(jti=""), NOW) is None, "what the bucket does not hold is gone"


def test_what_can_not_be_read_keeps_out() -> None:
    for value in (b"{", b"[]", b"\xff", b'{"at_ms": "soon"}'):
        made = book(Change(1, ALICE.key, value))
        entry = made.find(device(issued_at=NOW), NOW)
        assert entry is not None
        assert entry.revocation.reason == "it can't be read"
    assert len(book(Change(1, "nobody.at.all", b"{}"))) == 0


def test_it_is_bounded_and_those_that_end_soonest_go() -> None:
    made = Book(size=3)
    made.replace([change(seq, make_target("token", f"t{seq}"), ends_at_ms=NOW + HOUR * seq) for seq in range(1, 6)], 5, NOW)
    assert (len(made), made.left_out) == (3, 2)
    assert [entry.revocation.target.names[0] for entry in made.entries(NOW)] == ["t3", "t4", "t5"]
    made.hear(change(6, make_target("token", "t3")), NOW)
    assert made.left_out == 2, "the same target takes no further place"
    made.hear(change(7, make_target("token", "t9"), ends_at_ms=NOW + 9 * HOUR), NOW + 2 * HOUR)
    assert (len(made), made.left_out) == (3, 2), "what is over makes room first"


def test_written_and_read() -> None:
    revocation = Revocation(ALICE, NOW, NOW + HOUR, "operator", "stolen laptop", until_new_token=True)
    assert read_revocation(ALICE, write_revocation(revocation)) == revocation
    assert [entry.revocation for entry in in_force([Change(7, ALICE.key, write_revocation(revocation))], NOW)] == [revocation]
    assert in_force([], NOW) == []


def test_what_is_told() -> None:
    assert str(Revocation(ALICE, NOW, NOW, "x", "stolen laptop").error) == "revoked: an operator has ended this access: stolen laptop"
    assert str(disconnected("")) == "disconnected: an operator has closed this connection"


class Follower(RuleBasedStateMachine):
    """A bucket, and a book that follows it over a line that loses messages."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket: dict[str, Change] = {}
        self.seq = 0
        self.book = Book()
        self.way: list[Change] = []

    @rule(name=st.integers(0, 4), lifted=st.booleans(), lost=st.booleans())
    def store(self, name: int, lifted: bool, lost: bool) -> None:
        self.seq += 1
        target = make_target("token", f"t{name}")
        stored = Change(self.seq, target.key, b"") if lifted else change(self.seq, target)
        self.bucket[target.key] = stored
        if not lost:
            self.way.append(stored)

    @rule(count=st.integers(1, 5))
    def arrive(self, count: int) -> None:
        for arrived in self.way[:count]:
            self.book.hear(arrived, NOW)
        del self.way[:count]

    @rule(name=st.integers(0, 4))
    def expire(self, name: int) -> None:
        """A marker's time is over: the bucket forgets it without a word."""
        key = make_target("token", f"t{name}").key
        if key in self.bucket and not self.bucket[key].value:
            del self.bucket[key]

    @rule()
    def read(self) -> None:
        """What is on the way meanwhile is heard after it."""
        self.book.replace(sorted(self.bucket.values()), self.seq, NOW)

    @rule()
    def slow_round(self) -> None:
        if not (self.book.whole and self.book.known == self.seq):
            self.read()

    @invariant()
    def whole_and_abreast_is_right(self) -> None:
        if not (self.book.whole and self.book.known == self.seq):
            return
        for name in range(5):
            target = make_target("token", f"t{name}")
            stored = self.bucket.get(target.key)
            revoked = stored is not None and bool(stored.value)
            assert (self.book.find(Peer((target,), 0.0), NOW) is not None) is revoked

    @invariant()
    def known_is_never_ahead(self) -> None:
        assert self.book.known <= self.book.newest <= self.seq


TestFollower = Follower.TestCase
