"""Frames that break RFC 6455 never pass; those that don't always do, however they were cut on their way."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.edge.framing import Frames
from runcast.testkit.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from runcast.wire import limits, limits_floods

BROKEN = "protocol_broken"
MAX = limits.FRAME_BYTES_MAX

PASS = {
    "text": [frame(TEXT, b"x")],
    "empty": [frame(TEXT)],
    "binary": [frame(BINARY, b"x" * 125)],
    "sixteen bits": [frame(TEXT, b"x" * 126)],
    "the longest": [frame(TEXT, b"x" * MAX)],
    "in pieces": [frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b", fin=False), frame(CONTINUATION, b"c")],
    "empty pieces": [frame(TEXT, fin=False), frame(CONTINUATION, fin=False), frame(CONTINUATION)],
    "control between pieces": [frame(TEXT, b"a", fin=False), frame(PING, b"p"), frame(PONG), frame(CONTINUATION, b"c")],
    "so many pieces": [frame(TEXT, fin=False), *[frame(CONTINUATION, fin=False)] * (limits_floods.FRAGMENTS_MAX - 2), frame(CONTINUATION)],
    "close": [frame(CLOSE, b"\x03\xe8")],
    "one after the other": [frame(TEXT, b"a"), frame(BINARY, b"b"), frame(PING, b"x" * 125)],
}
BREAK = {
    "no mask": (frame(TEXT, b"x", mask=None), BROKEN),
    "no mask, control": (frame(PING, mask=None), BROKEN),
    "reserved 1 (a compressed bomb)": (frame(TEXT, b"x", reserved=4), BROKEN),
    "reserved 2": (frame(TEXT, b"x", reserved=2), BROKEN),
    "reserved 3": (frame(TEXT, b"x", reserved=1), BROKEN),
    "reserved on control": (frame(PING, reserved=4), BROKEN),
    **{f"opcode {code}": (frame(code, b"x"), BROKEN) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "control in pieces": (frame(PING, b"x", fin=False), BROKEN),
    "long control": (frame(PING, b"x" * 126), BROKEN),
    "goes on before it began": (frame(CONTINUATION, b"x"), BROKEN),
    "goes on before it began, not last": (frame(CONTINUATION, b"x", fin=False), BROKEN),
    "16 bits for little": (frame(TEXT, b"x", form=16), BROKEN),
    "64 bits for little": (frame(TEXT, b"x" * 300, form=64), BROKEN),
    "sign bit": (frame(TEXT, b"x", length=1 << 63, form=64), "frame_too_large"),
    "giant": (frame(TEXT, b"x", length=1 << 40), "frame_too_large"),
    "one too large": (frame(TEXT, b"x" * (MAX + 1)), "frame_too_large"),
}
AFTER_PIECE = {
    "text within a message": (frame(TEXT, b"x"), BROKEN),
    "binary within a message": (frame(BINARY, b"x", fin=False), BROKEN),
    "too large in all": (frame(CONTINUATION, b"x" * MAX), "frame_too_large"),
}


def feed(frames: Frames, data: bytes, cuts: list[int] | None = None, budget: float = math.inf) -> int:
    """How many bytes pass."""
    passed = 0
    bounds = [0, *sorted(set(cuts or [])), len(data)]
    for start, end in itertools.pairwise(bounds):
        piece = data[start:end]
        stop, _ = frames.scan(piece, 0, budget, 1.0)
        passed += stop
        if stop < len(piece) or frames.fault:
            break
    return passed


@pytest.mark.parametrize("parts", PASS.values(), ids=PASS)
@pytest.mark.parametrize("bytewise", [False, True])
def test_what_keeps_the_rules_passes(parts: list[bytes], *, bytewise: bool) -> None:
    frames, data = Frames(), b"".join(parts)
    assert feed(frames, data, list(range(1, min(len(data), 3000))) if bytewise else None) == len(data)
    assert frames.fault is None
    assert frames.begun_at == math.inf


@pytest.mark.parametrize("before", [b"", frame(TEXT, b"fine")], ids=["at once", "after a good one"])
@pytest.mark.parametrize(("bad", "code"), BREAK.values(), ids=BREAK)
def test_what_breaks_a_rule_does_not(bad: bytes, code: str, before: bytes) -> None:
    frames = Frames()
    assert feed(frames, before + bad) == len(before)
    assert frames.fault is not None
    assert frames.fault.code == code
    frames = Frames()
    assert feed(frames, before + bad, list(range(1, 14 + len(before)))) < len(before) + 14
    assert frames.fault is not None


@pytest.mark.parametrize(("bad", "code"), AFTER_PIECE.values(), ids=AFTER_PIECE)
@pytest.mark.parametrize("piece", [b"", b"a"])
def test_a_message_is_whole_before_another_begins(bad: bytes, code: str, piece: bytes) -> None:
    frames, first = Frames(), frame(TEXT, piece, fin=False)
    if code == "frame_too_large" and not piece:
        return
    assert feed(frames, first + bad) == len(first)
    assert frames.fault is not None
    assert frames.fault.code == code


def test_a_message_has_so_many_pieces() -> None:
    frames = Frames()
    data = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 10_000
    assert feed(frames, data) == limits_floods.FRAGMENTS_MAX * len(frame(TEXT))
    assert frames.fault is not None
    assert frames.fault.code == "frame_invalid"


def test_a_budget_ends_between_frames_and_control_frames_cost_more() -> None:
    frames, one = Frames(), frame(TEXT, b"x")
    assert frames.scan(one * 10, 0, 3, 0.0) == (3 * len(one), 3)
    ping = frame(PING)
    assert frames.scan(ping * 10, 0, 1, 0.0) == (len(ping), limits_floods.CONTROL_FRAME_COST)
    assert frames.scan(one[:3], 0, 0, 0.0) == (0, 0), "nothing begins without a budget"


def test_what_is_under_way_says_since_when() -> None:
    frames = Frames()
    frames.scan(frame(TEXT, b"abc", fin=False), 0, 9, 5.0)
    frames.scan(frame(PING), 0, 9, 6.0)
    assert frames.begun_at == 5.0
    frames.scan(frame(CONTINUATION, b"d")[:-1], 0, 9, 7.0)
    assert frames.begun_at == 5.0
    frames.scan(frame(CONTINUATION, b"d")[-1:], 0, 9, 8.0)
    assert frames.begun_at == math.inf
    frames.scan(b"\x81", 0, 9, 9.0)
    assert frames.begun_at == 9.0, "half a head too"


@given(st.lists(st.sampled_from(sorted(PASS)), min_size=1, max_size=6), st.data())
def test_cuts_change_nothing(names: list[str], data: st.DataObject) -> None:
    stream = b"".join(part for name in names for part in PASS[name] if len(part) < 1000)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    whole, cut = Frames(), Frames()
    assert feed(whole, stream) == feed(cut, stream, cuts) or whole.fault is not None
    assert whole.fault == cut.fault


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_nonsense_is_never_more_than_it_is(noise: bytes, cuts: list[int]) -> None:
    frames = Frames()
    assert 0 <= feed(frames, noise, [cut for cut in cuts if cut <= len(noise)]) <= len(noise)
    assert len(frames._head) < 14
