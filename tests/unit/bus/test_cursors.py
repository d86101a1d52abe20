"""The value of a cursor: what was written is read, and what is not a cursor is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.bus.cursors import Acknowledged, read_cursor, write_cursor
from runcast.wire.position import Position

seqs = st.integers(0, 10**12)


@given(seqs, seqs, seqs)
def test_it_covers_what_lies_within(since: int, seq: int, place: int) -> None:
    cursor = read_cursor(write_cursor(Acknowledged("abcdefgh", since, seq), 5))
    assert cursor == Acknowledged("abcdefgh", since, seq)
    assert cursor.covers(Position("abcdefgh", place)) == (since < place <= seq)
    assert not cursor.covers(Position("bbbbbbbb", place))


def test_it_does_not_cover_what_was_left_out() -> None:
    cursor = read_cursor(write_cursor(Acknowledged("abcdefgh", 2, 9, (4, 6)), 5))
    assert [seq for seq in range(12) if cursor.covers(Position("abcdefgh", seq))] == [3, 5, 7, 8, 9]


def test_one_without_a_beginning_begins_at_the_beginning() -> None:
    assert read_cursor(b'{"pos":"abcdefgh-0000000000000007","time_unix_ms":1}') == Acknowledged("abcdefgh", 0, 7)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b'{"pos":"x","time_unix_ms":1}', b'{"pos":7}', b"\xff", b'{"pos":"\xd0\xcf","time_unix_ms":1}']
)
def test_anything_else_is_none(data: bytes) -> None:
    assert read_cursor(data) is None
