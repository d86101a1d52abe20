"""What goes on to the HTTP server, and when: nothing unseen, nothing lost, nothing faster than it may."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.edge.intake import Intake, Stage
from runcast.testkit.raw_socket import BINARY, CONTINUATION, PING, TEXT, frame, request
from runcast.wire import limits, limits_floods

HEAD = request()
ACK = frame(TEXT, b'{"type":"ack","pos":"k3f9a2bc-0000000000000120"}')


def upgraded(*, known: bool = True) -> Intake:
    intake = Intake()
    assert intake.receive(HEAD, 0.0) == HEAD
    intake.upgraded()
    if known:
        intake.known()
    return intake


def test_what_follows_a_handshake_waits_until_it_is_answered() -> None:
    intake = Intake()
    assert intake.receive(HEAD + ACK, 0.0) == HEAD
    assert intake.waits
    assert intake.receive(ACK, 0.0) == b""
    intake.upgraded()
    intake.known()
    assert intake.take(0.0) == ACK + ACK
    assert not intake.waits


def test_what_follows_an_ordinary_request_goes_on_when_the_application_says_so() -> None:
    intake = Intake()
    assert intake.receive(HEAD + b"body", 0.0) == HEAD
    intake.opened()
    assert intake.take(0.0) == b"body"
    assert intake.receive(b"more", 0.0) == b"more"
    intake.answered()
    assert intake.receive(HEAD, 0.0) == HEAD
    assert intake.stage is Stage.ASKED


def test_frames_that_went_on_unseen_are_no_websocket() -> None:
    intake = Intake()
    intake.receive(HEAD, 0.0)
    intake.opened()
    intake.receive(HEAD + ACK, 0.0)  # sent after a request that was an ordinary one
    assert intake.stage is Stage.OPEN
    intake.upgraded()
    assert intake.stage is Stage.OPEN


def test_what_a_stranger_sent_too_soon_goes_by_when_it_is_closed() -> None:
    intake = upgraded(known=False)
    assert intake.receive(ACK + ACK, 0.0) == ACK
    assert intake.waits
    intake.closing()
    assert intake.take(0.0) == ACK
    assert intake.receive(ACK, 0.0) == ACK
    intake.receive(frame(TEXT, b" " * (limits_floods.HELLO_BYTES_MAX + 1)), 0.0)
    assert intake.stage is Stage.ENDED, "what it may say is no larger than before"


@given(st.lists(st.integers(1, len(HEAD) + 20), max_size=8))
def test_the_end_of_a_head_is_found_wherever_it_is_cut(cuts: list[int]) -> None:
    intake, data = Intake(), HEAD + b"frames follow here..."
    bounds = [0, *sorted(set(cuts)), len(data)]
    passed = b"".join(intake.receive(data[a:b], 0.0) for a, b in itertools.pairwise(bounds))
    assert passed == HEAD
    assert intake.stage is Stage.ASKED


@pytest.mark.parametrize("piece", [1, 100, 100_000])
def test_a_head_has_a_size(piece: int) -> None:
    intake, passed, line = Intake(), 0, b"GET / HTTP/1.1\r\nX: "
    intake.receive(line, 0.0)
    while intake.fault is None:
        passed += len(intake.receive(b"x" * piece, 0.0))
        assert passed <= limits_floods.HEAD_BYTES_MAX
    assert intake.receive(b"y", 0.0) == b""
    assert intake.stage is Stage.ENDED


def all_of(intake: Intake, data: bytes) -> bytes:
    passed = intake.receive(data, 0.0)
    while more := intake.take(0.0):
        passed += more
    return passed


def test_a_stranger_has_one_message_then_waits() -> None:
    intake, large = upgraded(known=False), frame(TEXT, b"x" * limits.FRAME_BYTES_MAX)
    assert all_of(intake, ACK + large + ACK) == ACK
    assert intake.waits
    assert intake.wait_s == math.inf
    intake.known()
    assert all_of(intake, b"") == large + ACK


@pytest.mark.parametrize("one", [frame(PING), frame(CONTINUATION, fin=False)])
def test_and_so_many_frames(one: bytes) -> None:
    intake = upgraded(known=False)
    passed = all_of(intake, frame(TEXT, fin=False) + one * 100)
    assert len(passed) <= limits_floods.STRANGER_FRAMES * len(one)
    assert intake.waits
    assert intake.wait_s == math.inf


def test_a_stranger_has_a_smaller_message() -> None:
    large = frame(TEXT, b"x" * (limits_floods.HELLO_BYTES_MAX + 1))
    stranger = upgraded(known=False)
    assert stranger.receive(large, 0.0) == b""
    assert stranger.fault is not None
    assert stranger.fault.code == "frame_too_large"
    assert upgraded().receive(large, 0.0) == large


def drive(intake: Intake, data: bytes, seconds: float, *, each: float = 0.01) -> tuple[bytes, float]:
    """What goes on of one large read, and when the last of it did."""
    passed, now, last = intake.receive(data, 0.0), 0.0, 0.0
    while now < seconds and intake.waits:
        now += intake.wait_s if 0 < intake.wait_s < math.inf else 0.0 if intake.wait_s == 0.0 else each
        more = intake.take(now)
        passed += more
        last = now if more else last
    return passed, last


@pytest.mark.parametrize(("one", "cost"), [(ACK, 1), (frame(PING), limits_floods.CONTROL_FRAME_COST)])
def test_frames_have_a_rate_and_none_is_lost(one: bytes, cost: int) -> None:
    many = int(limits_floods.FRAMES_BURST / cost) + 300
    passed, last = drive(upgraded(), one * many, 100.0)
    over = many * cost - limits_floods.FRAMES_BURST
    wanted = over / limits_floods.FRAMES_PER_S
    if wanted < limits_floods.FLOOD_S:
        assert passed == one * many
    assert wanted * 0.8 <= last <= wanted * 1.2 + 0.1 or last >= limits_floods.FLOOD_S


def test_so_many_frames_pass_in_a_turn() -> None:
    intake = upgraded()
    assert intake.receive(ACK * 100, 0.0) == ACK * limits_floods.FRAMES_PER_TURN
    assert intake.wait_s == 0.0


def test_bytes_have_a_rate_too() -> None:
    intake, large = upgraded(), frame(TEXT, b"x" * limits.FRAME_BYTES_MAX)
    passed, now = 0, 0.0
    while now < 5.0:
        got = intake.receive(b"" if intake.waits else large, now) if not intake.waits else intake.take(now)
        passed += len(got)
        now += 0.001
    assert passed <= limits_floods.INGRESS_BURST_BYTES + 5.0 * limits_floods.INGRESS_BYTES_PER_S + 2 * len(large)
    assert passed >= limits_floods.INGRESS_BURST_BYTES + 4.0 * limits_floods.INGRESS_BYTES_PER_S
    assert intake.fault is None


def test_a_flood_ends_and_says_when_to_come_back() -> None:
    intake = upgraded()
    _, _ = drive(intake, ACK * 20_000, 60.0)
    assert intake.fault is not None
    assert (intake.fault.code, intake.fault.retry_after_s) == ("rate_limited", limits_floods.FLOOD_RETRY_S)
    assert not intake.waits, "nothing is kept of it"


def test_a_device_that_acknowledges_as_fast_as_it_is_fed_is_no_flood() -> None:
    """A window allows for eight acknowledgements; the next come when those went on."""
    intake, now, passed = upgraded(), 0.0, 0
    while now < 60.0:
        passed += len(intake.take(now) if intake.waits else intake.receive(ACK * 8, now))
        now += 0.001
    assert intake.fault is None
    assert passed / len(ACK) == pytest.approx(limits_floods.FRAMES_BURST + 60 * limits_floods.FRAMES_PER_S, rel=0.05)


def test_a_message_that_never_ends_is_seen() -> None:
    intake = upgraded()
    intake.receive(frame(TEXT, b"a", fin=False), 1.0)
    intake.receive(frame(PING), 20.0)
    assert intake.unfinished_s(31.0) == 30.0
    intake.receive(frame(CONTINUATION, b"b"), 31.0)
    assert intake.unfinished_s(40.0) == 0.0


@given(st.lists(st.tuples(st.integers(1, 400), st.floats(0, 2)), min_size=1, max_size=30))
def test_whatever_the_pace_bytes_keep_their_order(steps: list[tuple[int, float]]) -> None:
    intake, now, sent, got = upgraded(), 0.0, b"", b""
    number = 0
    for count, pause in steps:
        burst = b""
        for _ in range(count):
            burst += frame(TEXT, b"%d" % number)
            number += 1
        sent += burst
        got += intake.receive(burst, now)
        now += pause
        got += intake.take(now)
        assert sent.startswith(got)
    if intake.fault is None:
        for _ in range(10_000):
            if not intake.waits:
                break
            now += min(intake.wait_s, 1.0)
            got += intake.take(now)
        assert intake.fault is not None or got == sent


KINDS = {
    "short": ACK,
    "binary": frame(BINARY, b"x" * 125),
    "long": frame(TEXT, b"x" * 300),
    "empty": frame(TEXT, b""),
    "ping": frame(PING, b"?"),
    "begins": frame(TEXT, b"a", fin=False),
    "goes on": frame(CONTINUATION, b"b", fin=False),
    "ends": frame(CONTINUATION, b"c"),
    "not masked": frame(TEXT, b"x", mask=None),
    "longer than it need be": frame(TEXT, b"x", length=200),
    "two": ACK + ACK,
}


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from([0.0, 0.001, 0.5])), max_size=60), st.booleans())
def test_a_frame_that_comes_whole_is_judged_as_one_that_comes_in_pieces(sent: list[tuple[str, float]], known: bool) -> None:
    whole, pieces, now = upgraded(known=known), upgraded(known=known), 0.0
    passed = [b"", b""]
    for name, pause in sent:
        now += pause
        passed[0] += whole.receive(KINDS[name], now)
        passed[1] += pieces.receive(KINDS[name][:1], now)
        passed[1] += pieces.receive(KINDS[name][1:], now)
        if whole.fault is None and pieces.fault is None:
            assert (whole.waits, whole.wait_s) == (pieces.waits, pieces.wait_s)
    assert passed[1].startswith(passed[0])
    assert len(passed[1]) - len(passed[0]) <= (0 if whole.fault is None else 1), "a first byte alone breaks no rule"
    assert (whole.fault, whole.stage) == (pieces.fault, pieces.stage)
