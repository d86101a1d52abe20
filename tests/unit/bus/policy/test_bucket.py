"""A bucket never lets more pass than it says, and who waits as long as he is told is let pass."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runcast.bus.policy.bucket import Bucket, Rate

RATES = st.builds(Rate, st.floats(0.5, 50_000.0), st.floats(1.0, 100_000.0))


def test_a_burst_then_the_rate():
    bucket, rate = Bucket(), Rate(10.0, 20.0)
    assert [bucket.take(100.0, rate) for _ in range(20)] == [0.0] * 20
    assert bucket.take(100.0, rate) == 0.1
    assert bucket.take(100.05, rate) > 0.0
    assert bucket.take(100.1, rate) == 0.0
    assert bucket.take(100.1, rate) > 0.0


def test_after_a_rest_it_is_as_new():
    bucket, rate = Bucket(), Rate(10.0, 20.0)
    bucket.take(0.0, rate, 20.0)
    assert bucket.spent(1.0, rate) == 10.0
    assert bucket.spent(2.0, rate) == 0.0
    assert bucket.take(1e9, rate, 20.0) == 0.0
    assert bucket.take(1e9, rate, 1.0) > 0.0, "a long rest saves up no more than a burst"


def test_what_is_larger_than_a_burst_is_taken_and_paid_off():
    bucket, rate = Bucket(), Rate(100.0, 200.0)
    assert bucket.take(0.0, rate, 1_000.0) == 0.0
    assert bucket.take(0.0, rate, 1.0) == (1_000.0 + 1.0 - 200.0) / 100.0
    assert bucket.take(9.0, rate, 1_000.0) == 1.0, "the next one waits for an empty bucket"
    assert bucket.take(10.0, rate, 1_000.0) == 0.0


def test_no_bound_takes_everything():
    bucket, rate = Bucket(), Rate(math.inf, math.inf)
    assert bucket.take(0.0, rate, 1e12) == bucket.take(0.0, rate, 1e12) == 0.0
    assert bucket.take(0.0, Rate(1.0, 2.0)) == 0.0, "and is not remembered"


def test_a_clock_that_goes_backwards_gives_nothing_back():
    bucket, rate = Bucket(), Rate(1.0, 1.0)
    assert bucket.take(100.0, rate) == 0.0
    assert bucket.take(50.0, rate) == 1.0
    assert bucket.take(100.5, rate) == 0.5


def test_another_rate_counts_at_once():
    bucket = Bucket()
    assert bucket.take(0.0, Rate(10.0, 20.0), 20.0) == 0.0
    assert bucket.take(0.0, Rate(100.0, 200.0), 100.0) == 0.0
    assert bucket.take(0.0, Rate(10.0, 20.0), 1.0) == 10.1


@given(RATES, st.floats(0.001, 200_000.0), st.floats(0.001, 200_000.0), st.floats(0.0, 1e6))
def test_who_waits_as_told_is_let_pass(rate, first, second, start):
    bucket = Bucket()
    assert bucket.take(start, rate, first) == 0.0
    wait_s = bucket.wait_s(start, rate, second)
    assert wait_s >= 0.0
    if wait_s:
        early = start + wait_s * 0.98
        missing = 0.02 * wait_s * rate.per_s
        assert bucket.wait_s(early, rate, second) > 0.0 or early == start or missing < 2e-9 * rate.burst, "what is as good as nothing"
        assert bucket.take(start + wait_s + 1e-6, rate, second) == 0.0
    else:
        assert bucket.take(start, rate, second) == 0.0


class Over(RuleBasedStateMachine):
    """Whatever comes, however fast: what was taken in any time stays within burst, rate and one cost."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = Bucket()
        self.rate = Rate(7.0, 30.0)
        self.now = 0.0
        self.taken: list[tuple[float, float]] = []
        self.told: tuple[float, float] | None = None

    @rule(seconds=st.floats(0.0, 20.0))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(cost=st.floats(0.1, 60.0))
    def take(self, cost):
        wait_s = self.bucket.take(self.now, self.rate, cost)
        if wait_s:
            self.told = (self.now + wait_s, cost)
        else:
            self.taken.append((self.now, cost))
            self.told = None

    @precondition(lambda self: self.told is not None)
    @rule()
    def come_back_as_told(self):
        at, cost = self.told
        self.now = max(self.now, at + 1e-9)
        assert self.bucket.take(self.now, self.rate, cost) == 0.0
        self.taken.append((self.now, cost))
        self.told = None

    @invariant()
    def never_more_than_it_says(self):
        for first, (start, _) in enumerate(self.taken):
            total = sum(cost for _, cost in self.taken[first:])
            largest = max(cost for _, cost in self.taken[first:])
            most = self.rate.burst + self.rate.per_s * (self.now - start) + max(0.0, largest - self.rate.burst)
            assert total <= most * (1 + 1e-6)


TestOver = Over.TestCase
TestOver.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
