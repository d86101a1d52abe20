"""A place in a user's stream, as `<epoch>-<seq>`: sortable text that clients keep and send back without looking into it.

The epoch (8 characters of `[a-z2-7]`) is chosen when a shard's storage is created and kept in its metadata; wiped or recreated
storage has another one, so that a position from before is recognised. Seq 0 is the place before everything.
"""

import re
from typing import Final, NamedTuple

from runcast.wire.errors import PositionMalformedError

_FORM = re.compile(r"([a-z2-7]{8})-([0-9]{16})", re.ASCII)

EARLIEST: Final = "earliest"
"""In `hello`: everything that is still kept."""
LATEST: Final = "latest"
"""In `hello`: only what is to come."""
SNAPSHOT_EPOCH: Final = "snapshot"
"""Epoch of positions within a snapshot: they are no places in the stream, and nothing can be continued from them."""


class Position(NamedTuple):
    """Epoch and sequence number (0 to 10^16 - 1) in the stream of the user's shard."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq:016d}"


def parse_position(text: str) -> Position:
    """Read a position.

    Raises:
        PositionMalformedError: the text is not `<epoch>-<seq, 16 digits>`.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise PositionMalformedError(f"{text[:64]!r} is not a position; send one exactly as a frame gave it")
    return Position(match[1], int(match[2]))
