"""Who is let in, who is refused, who is cut: rules by themselves, and a machine that comes, asks, proves itself and goes at random."""

import math
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runcast.bus.policy.bucket import Rate
from runcast.edge.buckets import Buckets
from runcast.edge.memory import Memory, choose_bound
from runcast.edge.strangers import Bounds, Refused, Stranger, Strangers
from runcast.wire import limits_floods
from runcast.wire.limits import MIB

FREE = Rate(math.inf, math.inf)


def come(strangers: Strangers, address: str = "a", now: float = 0.0) -> Stranger:
    arrived = strangers.arrive(address, now)
    assert not isinstance(arrived, Refused)
    return arrived[0]


def test_an_address_connects_at_its_rate_and_others_do_not_notice() -> None:
    strangers = Strangers(Bounds(Rate(10.0, 20.0), 0, 10_000))
    let_in = sum(not isinstance(strangers.arrive("a", 0.0), Refused) for _ in range(100))
    assert let_in == 20
    refused = strangers.arrive("a", 0.0)
    assert isinstance(refused, Refused)
    assert refused.retry_after_s == pytest.approx(0.1)
    come(strangers, "b", 0.0)
    come(strangers, "a", refused.retry_after_s)
    assert strangers.refused == {"rate": 81}


def test_an_address_has_so_many_strangers() -> None:
    strangers = Strangers(Bounds(FREE, 3, 100))
    first = [come(strangers) for _ in range(3)]
    assert isinstance(strangers.arrive("a", 0.0), Refused)
    come(strangers, "b")
    strangers.leave(first[0])
    come(strangers)
    assert strangers.refused == {"crowd": 1}


def test_when_all_are_too_many_the_longest_waiting_goes() -> None:
    strangers = Strangers(Bounds(FREE, 0, 3))
    first = [come(strangers, f"{number}", float(number)) for number in range(3)]
    strangers.answered(first[0], 5.0)
    arrived = strangers.arrive("x", 6.0)
    assert not isinstance(arrived, Refused)
    assert arrived[1] is first[1], "the first had an answer since"
    assert len(strangers) == 3


def test_who_waits_for_too_long_goes() -> None:
    strangers = Strangers(Bounds(FREE, 0, 100))
    silent, answered, known = (come(strangers, now=0.0) for _ in range(3))
    strangers.answered(answered, 10.0)
    strangers.leave(known)
    assert strangers.overdue(limits_floods.STRANGER_S - 0.1) == []
    assert strangers.overdue(limits_floods.STRANGER_S) == [silent]
    assert strangers.overdue(limits_floods.STRANGER_S + 10.0) == [answered]
    assert len(strangers) == 0


def test_a_connect_pays_for_the_first_request_and_each_further_one_pays() -> None:
    strangers = Strangers(Bounds(Rate(1.0, 3.0), 0, 100))
    one = come(strangers)
    assert strangers.ask(one, "a", 0.0) is None
    assert [strangers.ask(one, "a", 0.0) is None for _ in range(4)] == [True, True, False, False]


def test_behind_a_proxy_the_address_that_it_names_counts() -> None:
    strangers = Strangers(Bounds(Rate(1.0, 2.0), 1, 100))
    through = [come(strangers, "") for _ in range(5)]
    assert strangers.ask(through[0], "a", 0.0) is None
    assert strangers.ask(through[1], "a", 0.0) is not None, "one stranger of an address at once"
    assert strangers.ask(through[2], "b", 0.0) is None
    strangers.leave(through[0])
    assert strangers.ask(through[3], "a", 0.0) is None
    strangers.leave(through[3])
    assert strangers.ask(through[4], "a", 0.0) is not None, "and so many a second"


def test_the_book_of_addresses_is_bounded() -> None:
    strangers = Strangers(Bounds(Rate(1.0, 1.0), 0, 10), addresses_max=100)
    for number in range(1000):
        come(strangers, f"{number}")
    assert strangers.addresses == 100
    assert isinstance(strangers.arrive("999", 0.0), Refused)


def test_the_longest_unused_name_is_forgotten() -> None:
    book, rate = Buckets(2), Rate(1.0, 1.0)
    assert book.take("a", rate, 0.0) == 0.0
    assert book.take("b", rate, 0.0) == 0.0
    assert book.take("a", rate, 0.0) > 0.0
    assert book.take("c", rate, 0.0) == 0.0  # forgets b
    assert book.take("a", rate, 0.0) > 0.0
    assert book.take("b", rate, 0.0) == 0.0
    assert len(book) == 2


def test_memory_is_full_at_its_bound_and_has_room_again_below_it() -> None:
    memory = Memory(1000)
    assert [memory.observe(used) for used in (999, 1000, 999, 951, 949, 999)] == [False, True, False, False, True, False]
    assert not memory.full
    assert not memory.wants_trim(0.0)
    memory.observe(1000)
    assert [memory.wants_trim(at) for at in (0.0, 1.0, limits_floods.MEMORY_TRIM_S)] == [True, False, True]
    boundless = Memory(0)
    boundless.observe(1 << 60)
    assert not boundless.full


@pytest.mark.parametrize(
    ("setting", "container", "bound"),
    [(0, "", 0), (0, "max\n", 0), (0, f"{1000 * MIB}\n", 800 * MIB), (7, f"{1000 * MIB}", 7 * MIB), (0, str((1 << 63) - 4096), 0)],
)
def test_the_bound_is_the_operators_or_most_of_the_containers(setting: int, container: str, bound: int) -> None:
    assert choose_bound(setting, container) == bound


class StrangersMachine(RuleBasedStateMachine):
    """Invariants: never more strangers than there may be, of an address and in all; counts agree with who is there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.strangers = Strangers(Bounds(Rate(5.0, 10.0), 4, 9), addresses_max=3)
        self.here: list[Stranger] = []

    @rule(address=st.sampled_from(["a", "b", "c", "d", ""]))
    def arrive(self, address: str) -> None:
        arrived = self.strangers.arrive(address, self.now)
        if not isinstance(arrived, Refused):
            self.here.append(arrived[0])
            if arrived[1] is not None:
                self.here.remove(arrived[1])

    @rule(index=st.integers(0, 20), address=st.sampled_from(["a", "b", "c"]))
    def ask(self, index: int, address: str) -> None:
        if self.here:
            one = self.here[index % len(self.here)]
            self.strangers.ask(one, one.address or address, self.now)

    @rule(index=st.integers(0, 20))
    def answered(self, index: int) -> None:
        if self.here:
            self.strangers.answered(self.here[index % len(self.here)], self.now)

    @rule(index=st.integers(0, 20))
    def leave(self, index: int) -> None:
        if self.here:
            one = self.here.pop(index % len(self.here))
            self.strangers.leave(one)
            self.strangers.leave(one)  # known, then gone

    @rule(seconds=st.floats(0.0, 10.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for late in self.strangers.overdue(self.now):
            self.here.remove(late)
        assert all(self.now - one.since < limits_floods.STRANGER_S for one in self.here)

    @invariant()
    def bounded(self) -> None:
        counts = Counter(one.address for one in self.here)
        assert len(self.strangers) == len(self.here) <= 9
        assert all(count <= 4 for address, count in counts.items() if address)
        assert self.strangers._here == counts
        assert self.strangers.addresses <= 3


TestStrangersMachine = StrangersMachine.TestCase
