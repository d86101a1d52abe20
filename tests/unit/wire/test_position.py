"""Positions: text that sorts like the numbers, and nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.wire.errors import PositionMalformedError
from runcast.wire.position import EARLIEST, LATEST, Position, parse_position

epochs = st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567", min_size=8, max_size=8)
seqs = st.integers(0, 10**16 - 1)


@given(epochs, seqs)
def test_reading_reverses_writing(epoch: str, seq: int) -> None:
    position = Position(epoch, seq)
    assert parse_position(str(position)) == position
    assert len(str(position)) == 25


@given(epochs, seqs, seqs)
def test_text_sorts_as_numbers_do(epoch: str, one: int, other: int) -> None:
    assert (str(Position(epoch, one)) < str(Position(epoch, other))) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        EARLIEST,
        LATEST,
        "0",
        "abcdefgh",
        "abcdefgh-",
        "abcdefgh-1",
        "abcdefgh-000000000000001",  # 15 digits
        "abcdefgh-00000000000000001",  # 17
        "abcdefg-0000000000000001",
        "abcdefghi-0000000000000001",
        "ABCDEFGH-0000000000000001",
        "abcdefg1-0000000000000001",
        "abcdefg8-0000000000000001",
        "abcdefgh_0000000000000001",
        "abcdefgh-000000000000000a",
        "abcdefgh--000000000000001",
        "abcdefgh-+000000000000001",
        "abcdefgh-0000000000000_01",
        " abcdefgh-0000000000000001",
        "abcdefgh-0000000000000001 ",
        "abcdefgh-0000000000000001\n",
        "abcdefgh-0000000000000001\x00",
        "abcdefgh-" + "\u0660" * 16,  # digits, but not ASCII ones
        "ábcdefgh-0000000000000001",
    ],
)
def test_malformed_positions_are_refused(text: str) -> None:
    with pytest.raises(PositionMalformedError) as caught:
        parse_position(text)
    assert caught.value.code.name == "position_malformed"
    assert repr(text[:64]) in str(caught.value)


def test_the_message_does_not_repeat_a_long_text() -> None:
    with pytest.raises(PositionMalformedError) as caught:
        parse_position("x" * 60_000)
    assert len(str(caught.value)) < 200
