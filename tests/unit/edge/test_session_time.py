"""The session machine: deadlines, devices that stall, and tokens that end or are renewed."""

import math

import pytest

from runcast.edge.effects import Close, Control, Probe, Reauthenticate
from runcast.edge.replay import Plan
from runcast.wire import limits
from runcast.wire.codes import CODES
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.frames import Ack, Drain, Ping, Pong, Refresh, Refreshed, Send
from tests.unit.edge.device_model import EPOCH, MANY, USER, DeviceModel
from tests.unit.edge.device_states import behind, live, pos


class TestTime:
    def test_ping_and_pong(self) -> None:
        device = live()
        device.session.receive(Ping(), 1.0)
        device.carry()
        assert device.controls == [Pong()]

    @pytest.mark.parametrize(("at", "effects"), [(0.0, 0), (limits.HELLO_TIMEOUT_S - 0.1, 0), (limits.HELLO_TIMEOUT_S, 2)])
    def test_hello_is_awaited(self, at: float, effects: int) -> None:
        device = DeviceModel(now=100.0)
        device.session.tick(100.0 + at)
        device.carry()
        assert len(device.effects) == effects
        assert effects == 0 or (device.closed is not None and device.closed.code == "hello_timeout")

    def test_silence_is_probed_once_and_then_ends_it(self) -> None:
        device = live()
        for now in (limits.PING_INTERVAL_S - 1, limits.PING_INTERVAL_S, limits.PING_INTERVAL_S + 1, limits.DEAD_AFTER_S - 1):
            device.session.tick(now)
        device.carry()
        assert device.effects == [Probe()]
        device.session.tick(limits.DEAD_AFTER_S)
        device.carry()
        assert device.closed is not None
        assert device.closed.code == "silent"

    def test_anything_heard_begins_it_anew(self) -> None:
        device = live()
        device.session.tick(limits.PING_INTERVAL_S)
        device.session.heard(30.0)
        device.session.tick(limits.DEAD_AFTER_S)
        device.session.tick(30.0 + limits.PING_INTERVAL_S)
        device.carry()
        assert device.effects == [Probe(), Probe()]

    def test_draining_tells_feeds_and_closes(self) -> None:
        device = live()
        device.session.drain(reconnect_in_s=0.5, grace_s=2.0, now=10.0)
        device.session.drain(reconnect_in_s=0.7, grace_s=9.0, now=11.0)
        device.carry()
        assert device.controls == [Drain(500, "this edge is stopping")]
        device.publish()
        assert device.got == [1, 2, 3, 4]
        device.ack(4)
        assert device.acked[-1] == 4
        device.session.tick(11.9)
        device.carry()
        assert device.closed is None
        device.session.tick(12.0)
        device.carry()
        assert device.closed is not None
        assert device.closed.code == "draining"

    def test_draining_before_hello_closes_at_once(self) -> None:
        device = DeviceModel()
        device.session.drain(reconnect_in_s=0.5, grace_s=2.0, now=10.0)
        device.carry()
        assert [type(effect) for effect in device.effects] == [Control, Control, Close]

    def test_draining_before_the_welcome_sends_no_data(self) -> None:
        device = DeviceModel()
        device.hello()
        device.session.drain(reconnect_in_s=0.5, grace_s=2.0, now=10.0)
        device.publish()
        device.open()
        assert (device.got, device.welcome) == ([], None)

    def test_draining_feeds_no_device_that_is_behind(self) -> None:
        device = behind()
        device.ack(device.session.sent)
        device.session.drain(reconnect_in_s=0.5, grace_s=2.0, now=10.0)
        device.carry()
        got = len(device.got)
        device.answer()
        device.publish()
        assert len(device.got) == got


def test_refresh_is_passed_on() -> None:
    device = live()
    device.session.receive(Refresh("new"), 0.0)
    device.carry()
    assert device.effects == [Reauthenticate("new")]


def test_refreshes_are_checked_one_at_a_time() -> None:
    device = live()
    for token in ("a", "b", "c"):
        device.session.receive(Refresh(token), 0.0)
    device.carry()
    assert device.effects == [Reauthenticate("a")]
    device.judge()
    assert device.effects == [Reauthenticate("a"), Reauthenticate("c"), Control(Refreshed())]
    device.session.receive(Refresh("d"), 40.0)
    device.session.gone()
    device.session.reauthenticated()
    device.carry()
    assert device.effects == [Reauthenticate("a"), Reauthenticate("c"), Control(Refreshed())], "nothing follows the end"


def sent_behind_a_refresh() -> DeviceModel:
    device = live()
    for frame in (Send("before", "message", "g", text="x"), Refresh("new"), Send("behind", "message", "g", text="x")):
        device.session.receive(frame, 0.0)
    device.carry()
    assert device.to_store == ["before"]
    return device


def test_what_is_sent_behind_a_refresh_is_stored_once_that_is_good() -> None:
    device = sent_behind_a_refresh()
    device.judge()
    device.session.receive(Send("after", "message", "g", text="x"), 0.0)
    device.carry()
    assert device.to_store == ["before", "behind", "after"]


def test_what_is_sent_waits_for_the_refresh_that_it_is_behind() -> None:
    device = sent_behind_a_refresh()
    device.session.receive(Refresh("newer"), 0.0)
    device.session.receive(Send("behind it", "message", "g", text="x"), 0.0)
    device.judge()
    assert device.to_store == ["before", "behind"]
    device.judge()
    assert device.to_store == ["before", "behind", "behind it"]


def test_what_is_sent_behind_a_refresh_that_can_not_be_checked_is_refused_though_another_is_next() -> None:
    device = sent_behind_a_refresh()
    device.session.receive(Refresh("newer"), 0.0)
    device.session.receive(Send("behind it", "message", "g", text="x"), 0.0)
    device.judge(UnavailableError("its keys can't be had"))
    assert [error.id for error in device.errors] == ["", "behind"]
    device.judge()
    assert device.to_store == ["before", "behind it"]


def test_what_is_sent_behind_a_refresh_that_is_never_looked_at_is_refused_at_once() -> None:
    device = sent_behind_a_refresh()
    for frame in (Refresh("another's"), Send("another's words", "message", "g", text="x"), Refresh("newest")):
        device.session.receive(frame, 0.0)
    device.carry()
    assert [(error.id, error.code, error.retry, error.definite) for error in device.errors] == [
        ("another's words", "unavailable", True, True)
    ]
    for _ in range(2):
        device.judge()
    assert device.to_store == ["before", "behind"]


def test_what_is_sent_behind_a_refresh_that_can_not_be_checked_is_refused_and_makes_room() -> None:
    device = sent_behind_a_refresh()
    for number in range(limits.SENDS_IN_FLIGHT_MAX - 2):
        device.session.receive(Send(f"m{number}", "message", "g", text="x"), 0.0)
    device.judge(UnavailableError("its keys can't be had"))
    assert device.to_store == ["before"]
    refused = [(error.id, error.code, error.retry, error.definite) for error in device.errors]
    assert refused[:2] == [("", "unavailable", True, True), ("behind", "unavailable", True, True)]
    assert len(refused) == limits.SENDS_IN_FLIGHT_MAX
    device.session.receive(Send("after", "message", "g", text="x"), 0.0)
    device.carry()
    assert device.to_store == ["before", "after"], "the token before goes on"


@pytest.mark.parametrize("code", ["unauthenticated", "token_expired", "revoked"])
def test_what_is_sent_behind_a_refresh_that_is_not_good_is_never_stored(code: str) -> None:
    device = sent_behind_a_refresh()
    device.session.not_reauthenticated(RuncastError("no", code=code))
    device.judge()
    assert device.to_store == ["before"]
    assert device.session.close_code == code


def test_a_device_that_acknowledges_nothing_while_more_waits_is_sent_away() -> None:
    device = behind()
    session = device.session
    session.tick(0.0)
    session.receive(Ping(), limits.STALL_S - 0.1)  # it is heard, and does not say the right thing
    session.tick(limits.STALL_S - 0.1)
    device.carry()
    assert device.closed is None
    session.tick(limits.STALL_S)
    device.carry()
    assert device.closed is not None
    assert device.closed.code == "slow"
    assert CODES["slow"].retry


def test_any_acknowledgement_gives_a_stalled_device_its_time_again() -> None:
    device = behind()
    device.session.tick(0.0)
    device.session.receive(Ack(pos(device.got[0])), limits.STALL_S - 1)
    device.session.tick(limits.STALL_S)
    device.session.tick(2 * limits.STALL_S - 1)
    device.carry()
    assert device.closed is None


def test_a_device_that_nothing_waits_for_may_be_silent_about_what_it_has() -> None:
    device = live()
    device.publish(MANY)
    for second in range(0, 200, 10):
        device.session.receive(Ping(), float(second))
        device.session.tick(float(second))
    device.carry()
    assert device.closed is None


@pytest.mark.parametrize("tip", [0, 3])
def test_nobody_stays_longer_than_the_token(tip: int) -> None:
    device = DeviceModel()
    for _ in range(tip):
        device.publish()
    device.hello()
    device.session.opened(USER, EPOCH, Plan("resumed", "", 0, proof=False), tip, expires_at=5.0)
    device.carry()
    device.session.tick(4.9)
    assert device.session.close_code == ""
    device.session.tick(5.0)
    device.carry()
    assert device.session.close_code == "token_expired"
    got = list(device.got)
    device.publish()
    if device.reading is not None:
        device.answer()
    assert device.got == got, "nothing follows"


def test_a_refresh_moves_the_end() -> None:
    device = live()
    device.session.reauthenticated(5.0)
    device.session.reauthenticated(9.0)
    device.session.tick(8.9)
    assert device.session.close_code == ""
    device.session.reauthenticated(8.95)  # never later than the newest token says
    device.session.tick(8.96)
    assert device.session.close_code == "token_expired"


@pytest.mark.parametrize(("expires_at", "told_ms"), [(65.0, 60_000), (5.0001, 1), (4.0, 1), (math.inf, 0)])
def test_a_device_is_told_how_long_its_token_counts(expires_at: float, told_ms: int) -> None:
    device = DeviceModel()
    device.hello()
    device.session.opened(USER, EPOCH, Plan("resumed", "", 0, proof=False), 0, now=5.0, expires_at=expires_at)
    device.carry()
    assert device.welcome is not None
    assert device.welcome.token_expires_in_ms == told_ms
    device.session.reauthenticated(expires_at + 10.0, now=15.0)
    answers = [effect.frame for effect in device.session.take_effects() if isinstance(effect, Control)]
    assert answers == [Refreshed(told_ms)]


def test_a_refresh_that_can_not_be_checked_now_leaves_the_token_before() -> None:
    device = live()
    device.session.reauthenticated(5.0)
    for token in ("a", "b"):
        device.session.receive(Refresh(token), 0.0)
    device.carry()
    device.judge(UnavailableError("its keys can't be had"))
    assert device.effects[:2] == [Control(Refreshed()), Reauthenticate("a")]
    assert device.effects[-1] == Reauthenticate("b"), "the newer one is tried"
    assert device.session.close_code == ""
    device.session.tick(5.0)
    assert device.session.close_code == "token_expired"


@pytest.mark.parametrize("code", ["unauthenticated", "token_expired"])
def test_a_refresh_that_is_not_good_ends_the_session(code: str) -> None:
    device = live()
    device.session.receive(Refresh("a"), 0.0)
    device.session.not_reauthenticated(RuncastError("no", code=code))
    assert device.session.close_code == code
