"""Who is refused is told when his turn would be."""

from hypothesis import given
from hypothesis import strategies as st

from runcast.bus.policy.bucket import Rate
from runcast.bus.policy.meter import Meter
from runcast.wire import limits_policy as policy_limits


def test_those_who_wait_come_one_after_the_other():
    meter, rate = Meter(), Rate(100.0, 200.0)
    assert meter.wait_s(0.0, rate, 200.0) == 0.0
    meter.spend(0.0, rate, 200.0)
    told = [meter.refuse(0.0, rate, 50.0) for _ in range(6)]
    assert told == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    for wait_s in told:
        assert meter.wait_s(wait_s + 1e-9, rate, 50.0) == 0.0
        meter.spend(wait_s + 1e-9, rate, 50.0)


def test_a_line_has_an_end_and_is_over_when_they_are_through():
    meter, rate = Meter(), Rate(100.0, 200.0)
    meter.spend(0.0, rate, 200.0)
    told = [meter.refuse(0.0, rate, 50.0) for _ in range(1_000)]
    assert max(told) == policy_limits.LIMIT_RETRY_MAX_S
    assert meter.refuse(10.0, rate, 1.0) == policy_limits.LIMIT_RETRY_MIN_S, "nobody is punished for what was long ago"


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(1.0, 500.0)), max_size=60))
def test_what_is_told_is_within_its_bounds(asked):
    meter, rate, now = Meter(), Rate(100.0, 200.0), 0.0
    for pause_s, cost in asked:
        now += pause_s
        if meter.wait_s(now, rate, cost):
            assert policy_limits.LIMIT_RETRY_MIN_S <= meter.refuse(now, rate, cost) <= policy_limits.LIMIT_RETRY_MAX_S
        else:
            meter.spend(now, rate, cost)
