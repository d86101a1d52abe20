"""What a device asks for is bounded: sends, tokens, answers."""

import pytest

from runcast.edge.requests import Requests
from runcast.wire import limits, limits_floods
from runcast.wire.errors import RuncastError
from runcast.wire.frames import Send

SEND = Send("m", "message", "g", text="x")


def test_sends_are_bounded_and_each_answer_makes_room() -> None:
    requests = Requests()
    for _ in range(limits.SENDS_IN_FLIGHT_MAX):
        requests.begin_send(SEND)
    with pytest.raises(RuncastError) as caught:
        requests.begin_send(SEND)
    assert (caught.value.code.name, caught.value.code.retry) == ("rate_limited", True)
    requests.end_send()
    requests.begin_send(SEND)


def test_one_token_is_checked_at_a_time_and_the_newest_is_next() -> None:
    requests = Requests()
    assert requests.begin_check("a", 0.0) == (["a"], ())
    assert [requests.begin_check(token, 100.0) for token in ("b", "c", "d")] == [([], ())] * 3
    assert requests.end_check() == (["d"], ())
    assert requests.begin_check("e", 200.0) == ([], ())
    assert requests.end_check() == (["e"], ())
    assert requests.end_check() == ([], ())
    assert requests.begin_check("f", 300.0) == (["f"], ())


def test_what_is_sent_behind_a_new_token_is_held_until_that_is_checked() -> None:
    requests = Requests()
    assert requests.begin_send(SEND) == [SEND]
    requests.begin_check("a", 0.0)
    behind = tuple(Send(f"b{number}", "message", "g", text="x") for number in range(limits.SENDS_IN_FLIGHT_MAX - 1))
    assert [requests.begin_send(send) for send in behind[:5]] == [[]] * 5
    assert requests.begin_check("b", 0.0) == ([], ())
    assert [requests.begin_send(send) for send in behind[5:]] == [[]] * (len(behind) - 5)
    with pytest.raises(RuncastError):
        requests.begin_send(SEND)
    assert requests.end_check() == (["b"], behind[:5])
    assert requests.begin_check("c", 0.0) == ([], ())
    assert requests.end_check() == (["c"], behind[5:])
    assert requests.end_check() == ([], ())


def test_what_is_sent_behind_a_token_that_is_never_checked_is_given_up() -> None:
    requests = Requests()
    requests.begin_check("a", 0.0)
    requests.begin_check("b", 0.0)
    assert requests.begin_send(SEND) == []
    assert requests.begin_check("c", 0.0) == ([], (SEND,))
    assert requests.end_check() == (["c"], ())
    assert requests.end_check() == ([], ())


def test_new_tokens_have_a_rate() -> None:
    requests = Requests()
    for number in range(int(limits_floods.REFRESHES_BURST)):
        assert requests.begin_check(str(number), 0.0) == ([str(number)], ())
        requests.end_check()
    with pytest.raises(RuncastError) as caught:
        requests.begin_check("too many", 0.0)
    assert (caught.value.code.name, caught.value.retry_after_s) == ("rate_limited", pytest.approx(1 / limits_floods.REFRESHES_PER_S))
    assert requests.begin_check("later", caught.value.retry_after_s) == (["later"], ())
    refused = 0
    for second in range(1000):
        try:
            requests.begin_check("t", 100.0 + second)
        except RuncastError:
            refused += 1
        requests.end_check()
    assert 1000 - refused <= limits_floods.REFRESHES_BURST + 1000 * limits_floods.REFRESHES_PER_S


def test_answers_that_wait_are_bounded_and_those_that_are_read_are_not() -> None:
    requests = Requests()
    assert all(requests.answer(waiting=False) for _ in range(10 * limits.ANSWERS_WAITING_MAX))
    assert all(requests.answer(waiting=True) for _ in range(limits.ANSWERS_WAITING_MAX))
    assert not requests.answer(waiting=True)
    requests.answers_read()
    assert requests.answer(waiting=True)
