"""What a device asks for is bounded: sends, tokens, answers."""

import pytest

from runcast.edge.requests import Requests
from runcast.wire import limits
from runcast.wire.errors import RuncastError


def test_sends_are_bounded_and_each_answer_makes_room() -> None:
    requests = Requests()
    for _ in range(limits.SENDS_IN_FLIGHT_MAX):
        requests.begin_send()
    with pytest.raises(RuncastError) as caught:
        requests.begin_send()
    assert (caught.value.code.name, caught.value.code.retry) == ("rate_limited", True)
    requests.end_send()
    requests.begin_send()


def test_one_token_is_checked_at_a_time_and_the_newest_is_next() -> None:
    requests = Requests()
    assert requests.begin_check("a") == "a"
    assert [requests.begin_check(token) for token in ("b", "c", "d")] == [None, None, None]
    assert requests.end_check() == "d"
    assert requests.begin_check("e") is None
    assert requests.end_check() == "e"
    assert requests.end_check() is None
    assert requests.begin_check("f") == "f"


def test_answers_that_wait_are_bounded_and_those_that_are_read_are_not() -> None:
    requests = Requests()
    assert all(requests.answer(waiting=False) for _ in range(10 * limits.ANSWERS_WAITING_MAX))
    assert all(requests.answer(waiting=True) for _ in range(limits.ANSWERS_WAITING_MAX))
    assert not requests.answer(waiting=True)
    requests.answers_read()
    assert requests.answer(waiting=True)
