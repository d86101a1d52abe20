"""How fast a device is fed: its bytes per second hold over time, and what they keep back is never lost and no stall."""

import pytest

from runcast.bus.policy.bucket import Bucket, Rate
from runcast.edge.effects import Data, Wake
from runcast.edge.life import State
from runcast.edge.pace import Pace
from runcast.wire import limits, limits_floods
from tests.unit.edge.device_model import EPOCH, DeviceModel, stored

TEN_KIB = stored(1, "x" * 10 * limits.KIB)
SLOW = Rate(50_000.0, 100_000.0)


def test_without_a_rate_nothing_is_kept_back() -> None:
    pace = Pace(limits.STALL_S)
    for key in range(1000):
        pace.sent(key, 1, 10**6)
        pace.acknowledged(key)
        pace.socket_bytes(0)
        assert not pace.full
    assert pace.rest_s == 0.0


def test_what_was_spent_by_one_request_counts_for_the_next() -> None:
    spent, now = Bucket(), 10.0
    for _ in range(2):
        pace = Pace(limits.STALL_S, windowed=False)
        pace.advance(now)
        pace.allow(SLOW, spent)
        assert not pace.full
        pace.sent(1, 1, int(SLOW.burst * 0.6))
        pace.socket_bytes(0)
    last = Pace(limits.STALL_S, windowed=False)
    last.advance(now)
    last.allow(SLOW, spent)
    assert last.full
    assert last.rest_s > 0


def test_without_a_window_the_socket_alone_keeps_back() -> None:
    pace = Pace(limits.STALL_S, windowed=False)
    for key in range(10 * limits.WINDOW_EVENTS):
        pace.sent(key, 1, 100)
        pace.socket_bytes(0)
    assert not pace.full
    pace.socket_bytes(limits.SOCKET_BYTES_MAX)
    assert pace.full
    assert not pace.stalled(0.0, waiting=True)
    assert not pace.socket_bytes(limits.SOCKET_BYTES_MAX + 1), "nothing was taken"
    assert pace.stalled(limits.STALL_S, waiting=True)
    pace.socket_bytes(limits.SOCKET_BYTES_MAX)
    assert not pace.stalled(limits.STALL_S, waiting=True), "something was"


def test_at_the_rate_it_is_full_and_hungry_again_after_half_the_burst() -> None:
    pace = Pace(limits.STALL_S)
    pace.allow(SLOW)
    sent = 0
    while not pace.full:
        pace.sent(sent, 1, 10_000)
        pace.acknowledged(sent)
        pace.socket_bytes(0)
        sent += 1
    assert sent == 10
    assert not pace.hungry
    assert pace.rest_s == pytest.approx(1.0)
    pace.advance(0.9)
    assert not pace.hungry
    pace.advance(1.0)
    assert pace.hungry
    assert not pace.full


def paced(entries: int) -> DeviceModel:
    device = DeviceModel()
    device.session.allow(SLOW)
    device.hello()
    device.open()
    for _ in range(entries):
        device.publish(TEN_KIB)
    return device


def sent_bytes(device: DeviceModel) -> int:
    return sum(len(effect.payload) for effect in device.effects if isinstance(effect, Data))


def test_all_arrives_at_the_rate_and_by_itself() -> None:
    device, now, largest = paced(200), 0.0, limits.MERGED_BYTES_MAX + 2 * len(TEN_KIB)
    wakes = 0
    while True:
        device.settle()  # which checks the chain of what arrives
        assert sent_bytes(device) <= SLOW.burst + SLOW.per_s * now + largest
        if device.session.sent == device.tip:
            break
        assert device.session.state is State.BEHIND
        wake = [effect for effect in device.effects if isinstance(effect, Wake)][-1]
        wakes += 1
        assert wake.after_s >= limits_floods.EGRESS_WAKE_S
        now += wake.after_s
        device.session.tick(now)
        device.carry()
    assert device.got[-1] == device.tip
    assert now == pytest.approx((sent_bytes(device) - SLOW.burst) / SLOW.per_s, rel=0.1)
    assert wakes <= now + 2, "in mouthfuls"


def test_who_rests_has_not_stalled_and_who_does_not_acknowledge_has() -> None:
    device = paced(200)
    device.settle()
    for second in range(1, int(limits.STALL_S) * 2):
        device.session.heard(float(second))
        device.session.tick(float(second))
        device.carry()
        device.settle()
    assert device.closed is None
    silent = paced(600)
    for second in range(1, int(limits.STALL_S) * 4):
        silent.session.heard(float(second))
        silent.session.tick(float(second))
        silent.carry()
        silent.flush()
        if silent.reading is not None:
            silent.answer()
    assert silent.closed is not None
    assert silent.closed.code == "slow"


def test_another_rate_counts_at_once() -> None:
    device = paced(100)
    device.settle()
    assert device.session.state is State.BEHIND
    device.session.allow(Rate(10**9, 10**9))
    device.session.tick(0.01)
    device.carry()
    device.settle()
    assert device.got[-1] == device.tip
    assert device.welcome is not None
    assert device.welcome.position.startswith(EPOCH)
