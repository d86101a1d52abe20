"""What is used lately is kept, and no more than a bound."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from runcast.bus.policy.recent import Recent


def test_what_is_used_again_and_again_stays_while_others_come_and_go():
    recent: Recent[str, list[int]] = Recent(list, 10)
    mine = recent.get("mine")
    for number in range(1_000):
        recent.get(f"other{number}")
        assert recent.get("mine") is mine
        assert len(recent) <= 10


@given(st.integers(2, 12), st.lists(st.integers(0, 15), max_size=120))
def test_at_least_half_of_the_bound_is_kept_in_order_of_use_and_never_more_than_it(most, keys):
    recent: Recent[int, list[int]] = Recent(list, most)
    model: OrderedDict[int, list[int]] = OrderedDict()
    for key in keys:
        found = recent.get(key)
        if key in list(model)[-(most // 2) :]:
            assert found is model[key]
        model[key] = found
        model.move_to_end(key)
        assert len(recent) <= most
