"""Users who are kept out while they are erased."""

import pytest

from runcast.bus.withheld import Withheld
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.limits_erasure import ERASE_AT_ONCE_MAX, ERASE_HOLD_S

ALICE, BOB = UserKey("t", "alice"), UserKey("t", "bob")


def test_a_user_is_kept_out_until_the_last_who_erases_is_done() -> None:
    withheld = Withheld()
    assert withheld.hold(ALICE, "a", 0.0)
    assert withheld.hold(ALICE, "b", 1.0)
    withheld.release(ALICE, "a")
    withheld.release(BOB, "a")
    with pytest.raises(UnavailableError) as refused:
        withheld.check(ALICE, 2.0)
    assert refused.value.code.retry
    assert refused.value.retry_after_s > 0
    withheld.check(BOB, 2.0)
    withheld.release(ALICE, "b")
    withheld.check(ALICE, 2.0)


def test_nobody_is_kept_out_for_ever() -> None:
    withheld = Withheld()
    withheld.hold(ALICE, "a", 0.0)
    assert withheld.holds(ALICE, ERASE_HOLD_S - 0.1)
    assert not withheld.holds(ALICE, ERASE_HOLD_S)


def test_so_many_at_once() -> None:
    withheld = Withheld()
    assert all(withheld.hold(UserKey("t", str(number)), "a", 0.0) for number in range(ERASE_AT_ONCE_MAX))
    assert not withheld.hold(ALICE, "a", 1.0)
    assert withheld.hold(UserKey("t", "0"), "b", 1.0)
    assert withheld.hold(ALICE, "a", ERASE_HOLD_S)
