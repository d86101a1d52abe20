"""What a page asks to have played or exported, as its query says: whom, which run, from where to where, how fast.

Rules
1. Places and speeds are written as for `runcast replay`, and refused in the same words (`runcast.admin.replay.spans`).
2. A time without an offset is one of the browser's zone (`zone`, an IANA name), for that is the clock its operator reads. Where this
   machine does not know it, such a time is refused: another hour than was meant must not be shown.
"""

import time
from datetime import tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from aiohttp import web

from runcast.admin.reading import Wish
from runcast.admin.replay.spans import Place, SpanError, parse_place, parse_speed
from runcast.admin.users import wanted_user
from runcast.wire.errors import RuncastError
from runcast.wire.ids import check_id


class Places(NamedTuple):
    """From where, to where."""

    begin: Place
    end: Place


def places_of(request: web.Request) -> Places:
    """From where to where (`from`, `to`, `zone`).

    Raises:
        RuncastError: `request_invalid`: one is no place; the message begins with its name.
    """
    now = time.time()

    def read(name: str) -> Place:
        def zone() -> tzinfo | None:
            return _zone(name, request.query.get("zone", ""))

        try:
            return parse_place(request.query.get(name, "").strip(), now, zone)
        except SpanError as exc:
            raise RuncastError(f"{name} {exc}", code="request_invalid") from exc

    return Places(read("from"), read("to"))


def speed_of(request: web.Request) -> float:
    """How many times as fast.

    Raises:
        RuncastError: `request_invalid`.
    """
    try:
        return parse_speed(request.query.get("speed", "1"))
    except SpanError as exc:
        raise RuncastError(f"speed {exc}", code="request_invalid") from exc


def wish_of(request: web.Request) -> Wish:
    """What of whose stream.

    Raises:
        RuncastError: `request_invalid` or `id_invalid`.
    """
    run_id = request.query.get("run", "")
    begin, end = places_of(request)
    user = wanted_user(request)
    return Wish(user, check_id(run_id, "run id") if run_id else "", begin.position, end.position, begin.ms, end.ms)


def target_of(wish: Wish) -> str:
    """Of the audit log."""
    return f"user {wish.user.tenant}/{wish.user.user}" + (f", run {wish.run_id}" if wish.run_id else "")


def _zone(name: str, zone: str) -> tzinfo | None:
    if not zone:
        return None
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as exc:
        text = f"{name} is a time of the zone {zone[:64]!r}, which is not known here; write its offset, such as 14:30Z or 14:30+02:00"
        raise RuncastError(text, code="request_invalid") from exc
