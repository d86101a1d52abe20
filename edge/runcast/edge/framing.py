"""The heads of WebSocket frames that a client sends: what breaks RFC 6455, and how much of what came are whole frames. Pure.

Why, when aiohttp reads them too: it takes frames without a mask, takes empty pieces of a message for ever, and parses whatever one read of
the socket brought, thousands of frames, before anybody else gets a turn. So frames are counted and checked before it sees them; it is
still the one that unmasks and joins them.

Rules (RFC 6455, 5.1 to 5.5): every frame is masked; reserved bits are 0, as no extension is ever agreed on (so nothing compressed comes
in); opcodes are 0, 1, 2, 8, 9, 10; a control frame is whole and at most 125 bytes; the frames of a message follow each other, first its
opcode, then 0; a length has its shortest form. Of ours: a message has a largest size and a most number of pieces.

Invariants: nothing of a frame that breaks a rule counts as passed; what is remembered of a frame is at most its head, 14 bytes.
"""

import math
from typing import Final, NamedTuple

from runcast.wire import limits, limits_floods

_HEAD_MIN: Final = 2
_MASK: Final = 4
_CONTROL: Final = 0x08
_OPCODES: Final = frozenset({0, 1, 2, 8, 9, 10})
_WHOLE: Final = frozenset({0x81, 0x82})
"""First byte of a message of one frame: text, binary."""


class Fault(NamedTuple):
    """Why a connection ends: a row of the code table, what to tell, and when to come back, seconds."""

    code: str
    message: str
    retry_after_s: float = 0.0


class Frames:
    """Of one connection.

    Attributes:
        fault: what broke a rule; None as long as nothing did.
        begun_at: since when a message, or a frame, is under way, monotonic seconds; inf: none is.
        bytes_max: of one message.
        one: no second message begins.
    """

    __slots__ = ("_control", "_fin", "_head", "_left", "_open", "_pieces", "_said", "_size", "begun_at", "bytes_max", "fault", "one")

    def __init__(self, bytes_max: int = limits.FRAME_BYTES_MAX, *, one: bool = False) -> None:
        self.fault: Fault | None = None
        self.one = one
        self._said = False  # a whole message
        self.begun_at = math.inf
        self.bytes_max = bytes_max
        self._head = b""
        self._left = 0  # of the payload under way
        self._fin = True
        self._control = False
        self._open = False  # a message is, whose last frame has not begun
        self._size = 0
        self._pieces = 0

    def whole(self, data: bytes) -> bool:
        """Whether `data` is one short message of one frame, and nothing else, where one may begin: what devices send nearly always. Nothing
        has to be noted then; it costs 1. What is anything else is for `scan` to say.
        """
        size = len(data) - _HEAD_MIN - _MASK
        return 0 <= size < 126 and data[0] in _WHOLE and data[1] == 0x80 | size and not (self._left or self._head or self._open or self.one)

    def scan(self, data: bytes, start: int, budget: float, now: float) -> tuple[int, int]:
        """Go through `data` from `start` on, as far as `budget` and the rules let it.

        Args:
            data: as it came.
            start: where to begin.
            budget: no further frame begins once they cost so much.
            now: monotonic seconds.

        Returns:
            The end of what may go on, and what its frames cost: 1 each, control frames more.
        """
        position, end, cost = start, len(data), 0
        while position < end:
            if self._left:
                step = min(self._left, end - position)
                position += step
                self._left -= step
                if not self._left:
                    self._finish()
                continue
            if cost >= budget or (self.one and self._said):
                break
            known = len(self._head)
            head = self._head + data[position : position + 14 - known]
            if len(head) >= _HEAD_MIN:
                self.fault = self._breaks(head)
                if self.fault is not None:
                    break
            size = _head_size(head)
            self.begun_at = min(self.begun_at, now)
            if len(head) < size:
                self._head = head
                position = end
                break
            length = _length(head)
            self.fault = self._breaks_by_length(head, length)
            if self.fault is not None:
                break
            position += size - known
            self._head = b""
            cost += self._begin(head[0], length)
        return position, cost

    def _begin(self, first: int, length: int) -> int:
        self._control = bool(first & _CONTROL)
        self._fin = first >= 0x80
        if not self._control:
            self._open = True
            self._size += length
            self._pieces += 1
        self._left = length
        if not length:
            self._finish()
        return limits_floods.CONTROL_FRAME_COST if self._control else 1

    def _finish(self) -> None:
        if not self._control and self._fin:
            self._open = False
            self._said = True
            self._size = self._pieces = 0
        if not self._open:
            self.begun_at = math.inf

    def _breaks(self, head: bytes) -> Fault | None:
        first, second = head[0], head[1]
        opcode = first & 0x0F
        if first & 0x70:
            return _broken("reserved bits are set; no extension was agreed on")
        if opcode not in _OPCODES:
            return _broken(f"opcode {opcode} is reserved")
        if second < 0x80:
            return _broken("the frame is not masked")
        if opcode & _CONTROL:
            if first < 0x80:
                return _broken("a control frame is in pieces")
            if second & 0x7F > 125:
                return _broken("a control frame is longer than 125 bytes")
        elif bool(opcode) == self._open:
            return _broken("a message begins within another" if opcode else "a message goes on that never began")
        return None

    def _breaks_by_length(self, head: bytes, length: int) -> Fault | None:
        if length < {126: 126, 127: 65_536}.get(head[1] & 0x7F, 0):
            return _broken("a length is longer than it has to be")
        if head[0] & _CONTROL:
            return None
        if self._size + length > self.bytes_max:
            return Fault("frame_too_large", f"a message is larger than {self.bytes_max} bytes")
        if self._pieces >= limits_floods.FRAGMENTS_MAX:
            return Fault("frame_invalid", f"a message is in more than {limits_floods.FRAGMENTS_MAX} pieces; send it whole")
        return None


def _broken(why: str) -> Fault:
    return Fault("protocol_broken", f"{why} (RFC 6455)")


def _head_size(head: bytes) -> int:
    if len(head) < _HEAD_MIN:
        return _HEAD_MIN + _MASK
    return _HEAD_MIN + _MASK + {126: 2, 127: 8}.get(head[1] & 0x7F, 0)


def _length(head: bytes) -> int:
    short = head[1] & 0x7F
    return short if short < 126 else int.from_bytes(head[2:4] if short == 126 else head[2:10], "big")
