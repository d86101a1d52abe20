"""Leaves messages out of what a NATS server says to a client, by their subject.

Reads the NATS text protocol piece by piece (`MSG <subject> <sid> [reply] <bytes>`, `HMSG <subject> <sid> [reply] <header bytes> <bytes>`,
each followed by its payload and CRLF; every other line stands alone) and never holds more than one control line: payloads pass, or are
dropped, as they come. What is not understood passes unchanged, and nothing is filtered after it: a proxy must not invent trouble.

Pure; never imports asyncio or sockets.
"""

import enum
from collections.abc import Callable
from typing import Final

LINE_BYTES_MAX: Final = 64 * 1024
"""A control line; INFO is the longest. Longer: the stream is not NATS, and passes as it is."""

Drop = Callable[[str], bool]
"""Asked with each message's subject."""


class _State(enum.Enum):
    LINE = enum.auto()
    PASS = enum.auto()
    DROP = enum.auto()


class NatsFilter:
    """The filter of one connection, server to client.

    Args:
        drop: says which messages are left out.

    Attributes:
        dropped: how many were.
    """

    def __init__(self, drop: Drop) -> None:
        self._drop = drop
        self._state = _State.LINE
        self._line = bytearray()
        self._left = 0
        self._blind = False
        self.dropped = 0

    @property
    def whole(self) -> bool:
        """Whether the stream stands between two lines, with nothing held back."""
        return self._state is _State.LINE and not self._line

    def feed(self, data: bytes) -> bytes:
        """Take what the server said; return what the client is to hear of it."""
        if self._blind:
            return data
        heard = bytearray()
        at = 0
        while at < len(data):
            if self._state is _State.LINE:
                end = data.find(b"\n", at)
                stop = len(data) if end < 0 else end + 1
                self._line += data[at:stop]
                at = stop
                if end >= 0:
                    heard += self._take_line(bytes(self._line))
                    self._line.clear()
                if len(self._line) > LINE_BYTES_MAX or self._blind:
                    self._blind = True
                    return bytes(heard + self._line + data[at:])
            else:
                part = data[at : at + self._left]
                at += len(part)
                self._left -= len(part)
                if self._state is _State.PASS:
                    heard += part
                if not self._left:
                    self._state = _State.LINE
        return bytes(heard)

    def _take_line(self, line: bytes) -> bytes:
        """Decide about a control line; returns it, or nothing when its message is dropped."""
        words = line.split()
        if not words or words[0].upper() not in (b"MSG", b"HMSG"):
            return line
        try:
            if len(words) not in ((4, 5) if words[0].upper() == b"MSG" else (5, 6)):
                raise ValueError(line)
            self._left = int(words[-1]) + 2
            subject = words[1].decode()
        except ValueError:
            self._blind = True
            return line
        if self._drop(subject):
            self.dropped += 1
            self._state = _State.DROP
            return b""
        self._state = _State.PASS
        return line


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS pattern (`*` for one token, `>` at the end for one or more) takes a subject."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, word in enumerate(wanted):
        if word == ">":
            return len(given) > index
        if index >= len(given) or word not in ("*", given[index]):
            return False
    return len(wanted) == len(given)
