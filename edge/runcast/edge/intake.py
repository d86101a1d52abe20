"""What the peer of one TCP connection sends, and how much of it goes on to the HTTP server now. Pure.

    HEAD ── its end ──► ASKED ── opened ──► OPEN ── answered ──► HEAD        any ── fault ──► ENDED
                          └───── upgraded ──► FRAMES

Theory. TCP is the buffer: what is over a device's rate stays in its socket, so nothing is lost and nobody else is kept waiting. What was
read already waits here, at most one read of the socket.

Rules
1. A request's head has a largest size; nothing that follows it goes on until the application has said what it is. So no frame reaches the
   HTTP server unseen, however early it was sent.
2. Frames go on as `framing` and two buckets let them, frames and bytes; so many in a turn.
3. A stranger has one message, in so many frames, then waits to be known.
4. Who has sent too much for FLOOD_S without a break is told so, and ends. ENDED: whatever comes is dropped.

The driver hands in what it read, passes on what it gets, stops reading while something `waits`, and calls `take` after `wait_s`.
"""

import enum
import math
from typing import Final

from runcast.bus.policy.bucket import Bucket, Rate
from runcast.edge.framing import Fault, Frames
from runcast.wire import limits, limits_floods

_END_OF_HEAD: Final = b"\r\n\r\n"
_FRAMES: Final = Rate(limits_floods.FRAMES_PER_S, limits_floods.FRAMES_BURST)
_BYTES: Final = Rate(limits_floods.INGRESS_BYTES_PER_S, limits_floods.INGRESS_BURST_BYTES)


class Stage(enum.Enum):
    """What the peer may send."""

    HEAD = "head"
    ASKED = "asked"
    OPEN = "open"
    FRAMES = "frames"
    ENDED = "ended"


class Intake:
    """Of one connection.

    Attributes:
        stage: what the peer may send now.
        fault: why it ended; None as long as it did not.
        wait_s: how long until `take` gives more of what waits, seconds; inf: not by waiting.
    """

    __slots__ = ("_at", "_bytes", "_count", "_flood_at", "_frames", "_held", "_known", "_seen", "_tail", "fault", "stage", "wait_s")

    def __init__(self) -> None:
        self.stage = Stage.HEAD
        self.fault: Fault | None = None
        self.wait_s = math.inf
        self._held = b""
        self._at = 0  # what of it went on
        self._seen = 0  # bytes of the head; then frames of a stranger
        self._tail = b""  # of the head
        self._known = False
        self._frames: Frames | None = None
        self._count = Bucket()
        self._bytes = Bucket()
        self._flood_at = math.inf

    @property
    def waits(self) -> bool:
        """Something that was read may not go on yet."""
        return self._at < len(self._held)

    def unfinished_s(self, now: float) -> float:
        """How long a message has been under way, seconds; 0.0: none is."""
        return max(0.0, now - self._frames.begun_at) if self._frames is not None else 0.0

    def receive(self, data: bytes, now: float) -> bytes:
        """This was read; returns what goes on now. `now` in monotonic seconds."""
        if not self.waits and self._known and self._frames is not None and self._frames.whole(data) and self._afford(now, len(data)):
            return data
        self._held = self._held[self._at :] + data if self.waits else data
        self._at = 0
        return self.take(now)

    def take(self, now: float) -> bytes:
        """Returns what goes on now of what waits."""
        self.wait_s = math.inf
        if not self.waits:
            return b""
        if self.stage is Stage.FRAMES:
            return self._take_frames(now)
        if self.stage is Stage.HEAD:
            return self._take_head()
        return self._give(len(self._held) if self.stage is Stage.OPEN else 0)

    def opened(self) -> None:
        """The request is an ordinary one: what it brings goes on as it comes."""
        if self.stage is Stage.ASKED:
            self.stage = Stage.OPEN

    def answered(self) -> None:
        """It has its answer: another request may follow."""
        if self.stage is Stage.OPEN:
            self.stage, self._seen, self._tail = Stage.HEAD, 0, b""

    def upgraded(self) -> None:
        """The request, of which nothing but the head went on, is a WebSocket's: frames follow."""
        if self.stage is not Stage.ASKED:  # the connection is gone
            return
        self.stage, self._seen = Stage.FRAMES, 0
        self._frames = Frames(limits_floods.HELLO_BYTES_MAX, one=True)

    def known(self) -> None:
        """The peer has proved who it is."""
        self.closing()
        if self._frames is not None:
            self._frames.bytes_max = limits.FRAME_BYTES_MAX

    def closing(self) -> None:
        """We are about to close: what a stranger sent too soon goes by, at the rate of all, for the peer's own end is seen behind it."""
        self._known = True
        if self._frames is not None:
            self._frames.one = False

    def end(self) -> None:
        """Nothing more goes on."""
        self.stage, self._held, self._at, self.wait_s = Stage.ENDED, b"", 0, math.inf

    def _give(self, end: int) -> bytes:
        data = self._held[self._at : end]
        self._at = end
        if end == len(self._held):
            self._held, self._at = b"", 0
        return data

    def _take_head(self) -> bytes:
        joined = self._tail + self._held
        end = joined.find(_END_OF_HEAD)
        cut = end + len(_END_OF_HEAD) - len(self._tail) if end >= 0 else len(self._held)
        self._seen += cut
        if self._seen > limits_floods.HEAD_BYTES_MAX:
            self._fail(Fault("frame_too_large", f"the request's head is larger than {limits_floods.HEAD_BYTES_MAX} bytes"))
            return b""
        if end >= 0:
            self.stage, self._tail = Stage.ASKED, b""
        else:
            self._tail = joined[-3:]
        return self._give(cut)

    def _take_frames(self, now: float) -> bytes:
        frames = self._frames
        assert frames is not None  # noqa: S101 # made by `upgraded`
        budget = self._budget(now)
        if budget <= 0:
            self._note_flood(now)
            return b""
        start = self._at
        end, cost = frames.scan(self._held, start, min(budget, limits_floods.FRAMES_PER_TURN), now)
        self._seen += cost
        self._count.spend(now, _FRAMES, cost)
        self._bytes.spend(now, _BYTES, end - start)
        data = self._give(end)
        if frames.fault is not None:
            self._fail(frames.fault)
        elif self.waits:
            self.wait_s = 0.0 if data else math.inf
        else:
            self._flood_at = math.inf
        return data

    def _afford(self, now: float, size: int) -> bool:
        """Take a frame of so many bytes, if it fits: as `_take_frames` would."""
        if self.stage is not Stage.FRAMES or self._bytes.wait_s(now, _BYTES) or self._count.take(now, _FRAMES):
            return False
        self._bytes.spend(now, _BYTES, size)
        self.wait_s = self._flood_at = math.inf
        return True

    def _budget(self, now: float) -> float:
        """How much the frames may cost that go on now; 0 or less: none, and `wait_s` says until when."""
        if not self._known:
            return limits_floods.STRANGER_FRAMES - self._seen
        wait_s = self._bytes.wait_s(now, _BYTES)
        left = _FRAMES.burst - self._count.spent(now, _FRAMES)
        if left < 1.0:
            wait_s = max(wait_s, (limits_floods.FRAMES_WAKE - left) / _FRAMES.per_s)
        self.wait_s = wait_s or math.inf
        return 0.0 if wait_s else left

    def _note_flood(self, now: float) -> None:
        if not self._known or len(self._held) - self._at <= limits_floods.FLOOD_BYTES:
            return
        self._flood_at = min(self._flood_at, now)
        if now - self._flood_at >= limits_floods.FLOOD_S:
            message = f"more than {_FRAMES.per_s:.0f} frames or {_BYTES.per_s:.0f} bytes a second for {limits_floods.FLOOD_S:.0f} s"
            self._fail(Fault("rate_limited", message, limits_floods.FLOOD_RETRY_S))

    def _fail(self, fault: Fault) -> None:
        self.fault = fault
        self.end()
