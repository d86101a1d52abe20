"""Which router comes next, and after how long."""

import pytest

from runcast.client.routers import Routers, parse_targets
from runcast.wire import limits_client as limits


def test_targets_are_read() -> None:
    assert parse_targets("127.0.0.1:7400, router.example:7401,[::1]:7402,") == ["127.0.0.1:7400", "router.example:7401", "[::1]:7402"]


@pytest.mark.parametrize(
    "text", ["", ",", "localhost", ":7400", "localhost:", "localhost:0", "localhost:65536", "localhost:x", "a:1,b", "http://localhost:7400"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_targets(text)


@pytest.mark.parametrize(("draw", "first"), [(0.0, "a"), (0.34, "b"), (0.99, "c"), (1.0, "c")])
def test_all_are_tried_in_turn_from_a_drawn_one(draw: float, first: str) -> None:
    routers = Routers(["a", "b", "c"], draw)
    taken = [routers.take() for _ in range(6)]
    assert taken[0] == first
    assert taken[:3] == taken[3:]
    assert sorted(taken[:3]) == ["a", "b", "c"]


def test_patience_doubles_up_to_the_longest_and_begins_anew_after_a_success() -> None:
    routers = Routers(["a", "b"], 0.0)
    given = []
    for _ in range(40):
        given.append(routers.patience_s)
        routers.failed(0.0)
    assert given[:2] == [limits.CONNECT_FIRST_S, 2 * limits.CONNECT_FIRST_S]
    assert max(given) == given[-1] == limits.CONNECT_TIMEOUT_S
    routers.worked()
    assert routers.patience_s == limits.CONNECT_FIRST_S


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    routers = Routers(["a"], 0.0)
    waits = [routers.failed(1.0) for _ in range(100)]
    assert waits[:3] == [limits.BACKOFF_FIRST_S, 2 * limits.BACKOFF_FIRST_S, 4 * limits.BACKOFF_FIRST_S]
    assert max(waits) == waits[-1] == limits.BACKOFF_MAX_S
    routers.worked()
    assert routers.failed(0.5) == limits.BACKOFF_FIRST_S / 2


def test_ever_fewer_failures_in_a_row_are_worth_telling() -> None:
    routers = Routers(["a"], 0.0)
    told = []
    for number in range(1, 101):
        routers.failed(0.0)
        if routers.worth_telling:
            told.append(number)
    assert told == [1, 2, 4, 8, 16, 32, 64]
    routers.worked()
    assert routers.worth_telling
