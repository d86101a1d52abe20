"""A user's devices: which are connected, what they acknowledged, and how far that is behind the log. Pure.

What is *behind* goes by cursors as they are written: of a connected device every few seconds, so it may be further by now. A device that
began later in the stream was not given what was before, and is not behind for that. Bounded: `FOUND_DEVICES_MAX`, connected ones first.
"""

import bisect
from collections import deque
from typing import Any, NamedTuple

import msgspec

from runcast.bus.cursors import Cursor
from runcast.wire import limits_dashboard as bounds
from runcast.wire.errors import PositionMalformedError
from runcast.wire.position import parse_position


class Place(NamedTuple):
    """A batch of the log: where it is, when it was stored, how many events it has."""

    seq: int
    stored_ms: int
    events: int


class Kept(NamedTuple):
    """A cursor's key and value."""

    device: str
    cursor: Cursor


class Places:
    """The batches of the log that were read, in their order."""

    def __init__(self) -> None:
        self._each: deque[Place] = deque(maxlen=bounds.FOUND_BATCHES_MAX)

    def take(self, place: Place) -> None:
        """The next one."""
        self._each.append(place)

    def behind(self, seq: int) -> tuple[int, int, int]:
        """What lies behind a place: batches, events, and when the first of them was stored (Unix milliseconds; 0 for none)."""
        number = bisect.bisect_right(self._each, seq, key=lambda place: place.seq)
        rest = [self._each[index] for index in range(number, len(self._each))]
        return len(rest), sum(place.events for place in rest), rest[0].stored_ms if rest else 0


def read_kept(data: bytes) -> Cursor | None:
    """A cursor's value; None when it is none."""
    try:
        return msgspec.json.decode(data, type=Cursor)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def devices_of(present: dict[str, str], kept: list[Kept], places: Places, epoch: str) -> tuple[list[dict[str, Any]], int]:
    """All that is known of the user's devices.

    Args:
        present: edge by device, of those that are connected.
        kept: cursors.
        places: of the log.
        epoch: of the log.

    Returns:
        Those that are listed, and how many are not.
    """
    found: dict[str, dict[str, Any]] = {
        device: {
            "device": device,
            "edge": edge,
            "position": "",
            "acked_ms": 0,
            "state": "nothing",
            "batches": 0,
            "events": 0,
            "since_ms": 0,
        }
        for device, edge in present.items()
    }
    for device, cursor in kept:
        row = found.setdefault(device, {"device": device, "edge": "", "batches": 0, "events": 0, "since_ms": 0})
        row |= {"position": cursor.pos, "acked_ms": cursor.time_unix_ms, "state": "foreign"}
        try:
            position = parse_position(cursor.pos)
        except PositionMalformedError:
            continue
        if position.epoch == epoch:
            batches, events, since_ms = places.behind(position.seq)
            row |= {"state": "behind" if batches else "up to date", "batches": batches, "events": events, "since_ms": since_ms}
    listed = sorted(found.values(), key=lambda row: (not row["edge"], -row["acked_ms"], row["device"]))
    return listed[: bounds.FOUND_DEVICES_MAX], max(len(listed) - bounds.FOUND_DEVICES_MAX, 0)
