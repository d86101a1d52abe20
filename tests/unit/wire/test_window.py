"""The ack window against a list that does the same naively."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.wire.window import AckWindow


@given(
    st.integers(1, 20),
    st.integers(1, 100),
    st.lists(st.tuples(st.sampled_from(["add", "free"]), st.integers(0, 8), st.integers(1, 6), st.integers(0, 60)), max_size=60),
)
def test_counts_like_a_list(events_max: int, bytes_max: int, steps: list[tuple[str, int, int, int]]) -> None:
    window = AckWindow(events_max, bytes_max)
    held: list[tuple[int, int, int]] = []
    seq = 0
    for step, gap, events, size in steps:
        if step == "add":
            seq += 1 + gap
            window.add(seq, events, size)
            held.append((seq, events, size))
        else:
            upto = max(0, seq - gap)
            freed = sum(entry[1] for entry in held if entry[0] <= upto)
            held = [entry for entry in held if entry[0] > upto]
            assert window.free_le(upto) == freed
            assert window.free_le(upto) == 0
        assert len(window) == len(held)
        assert window.events == sum(entry[1] for entry in held)
        assert window.bytes == sum(entry[2] for entry in held)
        assert window.last_seq == (held[-1][0] if held else 0)
        assert window.full == (window.events >= events_max or window.bytes >= bytes_max)
        assert window.half_empty == (window.events <= events_max / 2 and window.bytes <= bytes_max / 2)
        assert held or (window.half_empty and not window.full)


@pytest.mark.parametrize(
    ("frames", "full", "half_empty"),
    [
        ([], False, True),
        ([(5, 50)], False, True),
        ([(6, 50)], False, False),
        ([(5, 51)], False, False),
        ([(9, 99)], False, False),
        ([(10, 1)], True, False),
        ([(1, 100)], True, False),
        ([(4, 40), (4, 40), (4, 40)], True, False),
        ([(1, 1000)], True, False),  # larger than the window, alone in it
    ],
)
def test_fullness(frames: list[tuple[int, int]], *, full: bool, half_empty: bool) -> None:
    window = AckWindow(10, 100)
    for seq, (events, size) in enumerate(frames, 1):
        window.add(seq, events, size)
    assert (window.full, window.half_empty) == (full, half_empty)


def test_acknowledging_is_cumulative_and_between_frames_too() -> None:
    window = AckWindow(10, 100)
    for seq in (3, 5, 9):
        window.add(seq, 2, 10)
    assert window.free_le(2) == 0
    assert window.free_le(6) == 4
    assert (window.events, window.bytes, window.last_seq) == (2, 10, 9)
    assert window.free_le(10**9) == 2
    assert (window.events, window.bytes, window.last_seq, len(window)) == (0, 0, 0, 0)
