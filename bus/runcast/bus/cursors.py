"""The value of a device's cursor in the CURSORS bucket, as edges write it and edges and routers read it.

A cursor says what the application on a device acknowledged: everything in `(since, pos]`. `since` is 0 for a device that was given
everything; a device that began at the stream's end (`latest`), or with a snapshot, was not given what was before, and its
acknowledgements say nothing about that. Nor do they about what is in `without`: batches whose receipt is awaited and of which events were
left out, because their attempt was superseded.
"""

from typing import NamedTuple

import msgspec

from runcast.wire.errors import PositionMalformedError
from runcast.wire.position import Position, parse_position


class Cursor(msgspec.Struct, frozen=True):
    """What a device acknowledged.

    Attributes:
        pos: up to where, as text.
        time_unix_ms: when this was written.
        since: seq from which on; 0 for the beginning.
        without: seqs within that were not shown.
    """

    pos: str
    time_unix_ms: int
    since: int = 0
    without: tuple[int, ...] = ()


class Acknowledged(NamedTuple):
    """A cursor that was read: everything of the epoch in `(since, seq]` was acknowledged, but for `without`."""

    epoch: str
    since: int
    seq: int
    without: tuple[int, ...] = ()

    @property
    def position(self) -> Position:
        """The cursor's position."""
        return Position(self.epoch, self.seq)

    def covers(self, position: Position) -> bool:
        """Whether what is at `position` was acknowledged."""
        return self.epoch == position.epoch and self.since < position.seq <= self.seq and position.seq not in self.without


def write_cursor(acknowledged: Acknowledged, now_ms: int) -> bytes:
    """The value of a key."""
    return msgspec.json.encode(Cursor(str(acknowledged.position), now_ms, acknowledged.since, acknowledged.without))


def read_cursor(data: bytes) -> Acknowledged | None:
    """Read a value; None when it is not a cursor (a deleted key, a foreign hand)."""
    try:
        cursor = msgspec.json.decode(data, type=Cursor)
        position = parse_position(cursor.pos)
    except (msgspec.DecodeError, UnicodeDecodeError, PositionMalformedError):
        return None
    return Acknowledged(position.epoch, cursor.since, position.seq, cursor.without)
