"""From where, to where, and how fast: what people write, as numbers. Pure: `now` is given.

A place is a position (as frames and exports have it), a time (ISO 8601; without an offset it is the machine's own, or of another zone that
is said), or how long ago (`-90s`, `-10m`, `-2h`, `-1d`).
"""

import re
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from runcast.wire.errors import PositionMalformedError
from runcast.wire.limits_replay import SPEED_MAX, SPEED_MIN
from runcast.wire.position import EARLIEST, LATEST, parse_position

FASTEST: Final = float("inf")
"""No waits at all."""
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGO: Final = re.compile(r"-([0-9]{1,9})([smhd])", re.ASCII)
_SPEED: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)x?", re.ASCII)


class SpanError(ValueError):
    """What was written is no place or speed; `str(error)` says what to write."""


class Place(NamedTuple):
    """One end of a span; "" and 0 for none.

    Attributes:
        position: as text.
        ms: Unix milliseconds.
    """

    position: str = ""
    ms: int = 0


def parse_place(text: str, now: float, zone: Callable[[], tzinfo | None] = lambda: None) -> Place:
    """Read a place.

    Args:
        text: as written; "" or `earliest` for no bound.
        now: Unix seconds.
        zone: of a time without an offset; asked only for such a one. None is the machine's.

    Raises:
        SpanError: it is none.
    """
    if text in ("", EARLIEST, LATEST):
        return Place()
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return Place(ms=_in_time(now - int(ago[1]) * _UNITS[ago[2]], text))
    try:
        parse_position(text)
    except PositionMalformedError:
        pass
    else:
        return Place(position=text)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone())
        seconds = moment.timestamp()
    except (ValueError, OverflowError, OSError) as exc:
        raise SpanError(f"{text[:64]!r}: write a time like 2026-11-21T14:30 or 14:30Z with its day, -10m, or a position") from exc
    return Place(ms=_in_time(seconds, text))


def parse_speed(text: str) -> float:
    """How many times as fast: `10x`, `10`, `0.5x`; `max` for no waits.

    Raises:
        SpanError: it is no speed.
    """
    if text == "max":
        return FASTEST
    found = _SPEED.fullmatch(text)
    speed = float(found[1]) if found is not None else 0.0
    if not SPEED_MIN <= speed <= SPEED_MAX:
        raise SpanError(f"{text[:64]!r}: write a speed from {SPEED_MIN:g}x to {SPEED_MAX:,.0f}x, such as 10x, or max for no waits")
    return speed


def _in_time(seconds: float, text: str) -> int:
    if seconds <= 0:
        raise SpanError(f"{text[:64]!r}: that is before 1970; there are no streams from then")
    return int(seconds * 1000)
