"""A user's stream as a Durable Stream (the Durable Streams protocol 1.0, its read side): what is asked, and what is answered. Pure.

Theory. That protocol reads a log by offset: what follows an offset, and the offset that is reached with it. Ours are positions, so one
cursor counts for every transport. The stream's content type is JSON: an answer is an array of events, in the form that they have in every
frame. What is read comes as frames of a session, like any device's; a batch stays whole, so that an offset is always one of a batch.

    offset   "-1", or none: everything that is kept; "now": what is to come; else what follows that position
    live     none: a page, at once; "long-poll": a page, as soon as it has something; "sse": events as they come

Rules: a page ends when it has reached where the stream ended as it began, or is full (`PAGE_BYTES_MAX`); a long poll that had to wait takes
in what comes right after (`PAGE_GATHER_S`), and has nothing when its time is over. An offset that can't be gone on from is told so, with
one that can; it is never passed over. The offset of an empty stream is the beginning, whatever leaves the log later: nothing was read.
Invariants: offsets of a stream's answers rise as text; "-1" and "now" are never given as offsets.

Nothing is merged here: the protocol has the same messages at the same offset each time. Superseded attempts are left out as for all.

Imports no asyncio, clock, randomness, logs.
"""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from runcast.wire import limits_http
from runcast.wire.errors import FrameInvalidError, RuncastError
from runcast.wire.frames import JsonCodec
from runcast.wire.position import EARLIEST, LATEST, parse_position

BEGINNING: Final = "-1"
NOW: Final = "now"
LONG_POLL: Final = "long-poll"
SSE: Final = "sse"
NEXT: Final = "Stream-Next-Offset"
UP_TO_DATE: Final = "Stream-Up-To-Date"
CURSOR: Final = "Stream-Cursor"
_CURSORS_BEGAN_S: Final = 1_728_432_000
"""When the protocol begins to count them: October 9, 2024, UTC."""
_LINE_ENDS: Final = bytes.maketrans(b"\r\n", b"  ")


class StreamCodec(JsonCodec):
    """Frames of a session that is read as a Durable Stream."""

    subprotocol = "runcast.v1.stream"
    merges = False


# --- what is asked ---


class Asked(NamedTuple):
    """One request.

    Attributes:
        offset: as it was given, and is well-formed.
        live: "", `LONG_POLL` or `SSE`.
        cursor: that the reader was given last; -1 for none.
        wait_s: how long to wait for something new.
    """

    offset: str
    live: str = ""
    cursor: int = -1
    wait_s: float = limits_http.PAGE_WAIT_S

    @property
    def position(self) -> str:
        """What a device says in its `hello` to begin there."""
        if self.offset == NOW:
            return LATEST
        return EARLIEST if self.from_beginning else self.offset

    @property
    def from_beginning(self) -> bool:
        """Nothing was read yet."""
        return self.offset == BEGINNING or (self.offset != NOW and parse_position(self.offset).seq == 0)


def read_query(query: Iterable[tuple[str, str]]) -> Asked:
    """What a URL asks for, from its parameters; unknown ones are for others.

    Raises:
        FrameInvalidError: they are not as the protocol has them.
        PositionMalformedError: the offset is none of ours.
    """
    said: dict[str, str] = {}
    for name, value in query:
        if name in ("offset", "live", "cursor", "timeout"):
            if name in said:
                raise FrameInvalidError(f"{name}: say it once")
            said[name] = value
    live = said.get("live", "")
    if live not in ("", LONG_POLL, SSE) or ("live" in said and not live):
        raise FrameInvalidError(f"live: say {LONG_POLL} or {SSE}, or leave it out")
    if live and "offset" not in said:
        raise FrameInvalidError("offset: say where to read on; -1 is the beginning")
    offset = said.get("offset", BEGINNING)
    if offset not in (BEGINNING, NOW):
        parse_position(offset)
    cursor = said.get("cursor", "")
    counts = cursor.isascii() and cursor.isdecimal() and len(cursor) <= limits_http.STREAM_CURSOR_DIGITS_MAX
    return Asked(offset, live, int(cursor) if counts else -1, _wait_s(said.get("timeout")))


def _wait_s(said: str | None) -> float:
    if said is None:
        return limits_http.PAGE_WAIT_S
    if not (said.isascii() and said.isdecimal() and len(said) <= 3 and int(said)):
        raise FrameInvalidError(f"timeout: say whole seconds, from 1; {limits_http.PAGE_WAIT_S:.0f} at most are waited")
    return min(float(said), limits_http.PAGE_WAIT_S)


def choose_cursor(now_s: float, given: int, ahead: int) -> int:
    """The cursor of a live answer: the number of this interval, or one past what the reader was given (Durable Streams, 10.1).

    Args:
        now_s: seconds since the Unix epoch.
        given: the reader's; -1 for none.
        ahead: by how much to pass it, drawn from 1 to `STREAM_CURSOR_AHEAD_MAX`.
    """
    current = int((now_s - _CURSORS_BEGAN_S) // limits_http.STREAM_CURSOR_S)
    return current if given < current else given + ahead


# --- what is answered ---


class _Welcome(msgspec.Struct, tag_field="type", tag="welcome"):
    outcome: str
    position: str
    tip: str
    reason: str = ""


class _Batch(msgspec.Struct, tag_field="type", tag="batch"):
    pos: str
    events: msgspec.Raw


class _Drain(msgspec.Struct, tag_field="type", tag="drain"):
    pass


class _Error(msgspec.Struct, tag_field="type", tag="error"):
    pass


_decode: Final = msgspec.json.Decoder(_Welcome | _Batch | _Drain | _Error).decode


class GoneError(RuncastError):
    """An offset that can't be gone on from.

    Attributes:
        offset: from which it can.
    """

    default_code = "position_gone"

    def __init__(self, message: str, offset: str) -> None:
        super().__init__(message)
        self.offset = offset


class Reading:
    """What one request has read so far.

    Args:
        asked: by it.

    Attributes:
        start: offset that it began at; "" before the session did.
        end: offset that is reached.
        draining: the edge is about to stop.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.start = ""
        self.end = ""
        self.draining = False
        self._tip = ""

    @property
    def up_to_date(self) -> bool:
        """All is read that was there when it began."""
        return bool(self.start) and self.end >= self._tip

    def receive(self, payload: bytes) -> bytes | None:
        """A frame of the session, as `StreamCodec` wrote it.

        Returns:
            Of a batch its events, JSON between the array's brackets; None for another frame.

        Raises:
            GoneError: the session can't begin at the offset that was asked for.
        """
        frame = _decode(payload)
        if isinstance(frame, _Batch):
            self.end = frame.pos
            return bytes(frame.events).strip()[1:-1].translate(_LINE_ENDS)
        if isinstance(frame, _Welcome):
            self._begin(frame)
        elif isinstance(frame, _Drain):
            self.draining = True
        return None

    def _begin(self, welcome: _Welcome) -> None:
        offset = self.asked.offset
        other = offset not in (BEGINNING, NOW) and parse_position(offset).epoch != parse_position(welcome.position).epoch
        if other or (welcome.outcome != "resumed" and not self.asked.from_beginning):
            reason = welcome.reason or "unknown_epoch"
            raise GoneError(f"what followed this offset is no longer all there ({reason}); read on from {NEXT}", welcome.position)
        self.start = self.end = welcome.position
        self._tip = welcome.tip


class Page(Reading):
    """A catch-up read, or a long poll.

    Args:
        asked: by the request.
        now: monotonic seconds; so are all `now` below.
        bytes_max: it takes no further batch when it holds so much.
    """

    def __init__(self, asked: Asked, now: float, *, bytes_max: int = limits_http.PAGE_BYTES_MAX) -> None:
        super().__init__(asked)
        self._ends_at = now + asked.wait_s
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0
        self._gathers_until = math.inf
        self._over = False

    @property
    def empty(self) -> bool:
        """It has no event."""
        return not self._parts

    @property
    def worth(self) -> bool:
        """It says something, though it may be less than was asked for."""
        return bool(self.start) and (self.up_to_date or self.end > self.start)

    @property
    def body(self) -> bytes:
        """The events, a JSON array."""
        return b"[" + b",".join(self._parts) + b"]"

    @property
    def etag(self) -> str:
        """Weak: what is left out of superseded attempts may differ."""
        return f'W/"{self.start}:{self.end}:{"tip" if self.up_to_date else "part"}"'

    def add(self, payload: bytes, now: float) -> None:
        """A frame of the session came; errors as of `receive`."""
        said = self.receive(payload)
        if said is None:
            self._over = self._over or self.draining
        elif said.strip():
            self._parts.append(said)
            self._size += len(said)
            self._gathers_until = min(self._gathers_until, now + limits_http.PAGE_GATHER_S)

    def finish(self) -> None:
        """Nothing more comes."""
        self._over = True

    def due_s(self, now: float) -> float:
        """In how many seconds it is to be answered; 0.0: now."""
        left_s = max(0.0, self._ends_at - now)
        if self._over or self._size >= self._bytes_max:
            return 0.0
        if not self.up_to_date:
            return left_s
        if self.asked.live != LONG_POLL:
            return 0.0
        if self.empty:
            return left_s
        return max(0.0, min(left_s, self._gathers_until - now)) if self.start >= self._tip else 0.0


def sse_data(events: bytes) -> bytes:
    """Events of a batch as one server-sent event; nothing for none."""
    return b"event: data\ndata: [" + events + b"]\n\n" if events.strip() else b""


def sse_control(reading: Reading, cursor: int) -> bytes:
    """What follows them: the offset that is reached."""
    said: dict[str, object] = {"streamNextOffset": reading.end, "streamCursor": str(cursor)}
    if reading.up_to_date:
        said["upToDate"] = True
    return b"event: control\ndata: " + msgspec.json.encode(said) + b"\n\n"


def matches(etag: str, header: str) -> bool:
    """Whether a reader that says `If-None-Match: header` has what `etag` stands for (RFC 9110, 13.1.2)."""
    named = [each.strip().removeprefix("W/") for each in header.split(",")]
    return etag.removeprefix("W/") in named or named == ["*"]
