"""Frames as server-sent events (WHATWG HTML, "Server-sent events"), and a run's events as AG-UI's. Pure.

A frame becomes one event: its type is the event's name, its JSON the data, and the position that is reached with it the event's id,
which is what a browser says (`Last-Event-ID`) when it comes back. A position within a snapshot is no place to go on from, so those events
have none.

    welcome  id, retry; data as the WebSocket's frame
    batch    id; data as the WebSocket's frame
    drain    retry: when to come back
    end      data: why the stream ends, as the WebSocket's `error`; not called "error", which EventSource keeps for itself

JSON that came from an agent may have line ends between its tokens; they would end the line, so they become spaces.

Imports no asyncio, clock, randomness, logs.
"""

from typing import Final

import msgspec

from runcast.edge.transports.agui import AguiEvent, AguiRun
from runcast.wire import limits_http
from runcast.wire.errors import FrameInvalidError
from runcast.wire.frames import Batch, ClientFrame, Drain, Error, JsonCodec, ServerFrame, Welcome
from runcast.wire.position import SNAPSHOT_EPOCH, Position, parse_position

HEARTBEAT: Final = b":\n\n"
"""A comment: it is ignored, and keeps what is in between from taking the stream for dead."""
NOTHING_LEFT: Final = b": nothing is left to tell\n\n"
"""In place of an end that was told before."""
_LINE_ENDS: Final = bytes.maketrans(b"\r\n", b"  ")
_NAMES: Final = {Welcome: b"welcome", Batch: b"batch", Drain: b"drain", Error: b"end"}


class SseCodec(JsonCodec):
    """Frames of a user's stream."""

    subprotocol = "runcast.v1.sse"

    def encode(self, frame: ClientFrame | ServerFrame) -> bytes:
        """One server-sent event; nothing for a frame that has no place here."""
        name = _NAMES.get(type(frame))
        if name is None:
            return b""
        head = b"event: " + name + b"\n"
        match frame:
            case Welcome(position=position):
                head = _id(position) + b"retry: %d\n" % limits_http.SSE_RETRY_MS + head
            case Batch(pos=pos):
                head = _id(pos) + head
            case Drain(reconnect_in_ms=wait_ms):
                head = b"retry: %d\n" % max(1, wait_ms) + head
        return head + _data(super().encode(frame))


def encode_refusal(error: Error, retry_ms: int) -> bytes:
    """A whole stream, for who may not come in now: a browser comes back after it, in `retry_ms`, as it does after no status."""
    return b"retry: %d\nevent: end\n" % retry_ms + _data(msgspec.json.encode(error))


class AguiCodec(JsonCodec):
    """The events of one run, in AG-UI's words; of no other connection, because it knows what it said.

    Rules: a reader goes on only from a place that this stream has. A place of other storage, or one past the stream's end, is none: the run
    is told from its beginning, for nothing of it that is there now was read. A reader that has read all that there is of a run that goes on
    is told at once that it goes on.

    Args:
        run_id: of the run.
        seen: the reader has read up to here, and is told what follows; None for all.

    Attributes:
        place: `seen`, until it is reached, or found to be none of this stream.
        final: the bytes in which the run ends; None before. `NOTHING_LEFT` when the reader has read the end before.
    """

    subprotocol = "agui"
    shared = False

    def __init__(self, run_id: str, seen: Position | None = None) -> None:
        super().__init__()
        self._run = AguiRun(run_id)
        self.place = seen
        self.merges = seen is None  # a frame for many batches could hold some that the reader has seen, and some that it has not
        self.final: bytes | None = None
        self._encode_json = msgspec.json.Encoder().encode

    @property
    def started(self) -> bool:
        """The run was found."""
        return self._run.started

    def encode(self, frame: ClientFrame | ServerFrame) -> bytes:
        """Server-sent events; nothing for frames that say nothing about the run."""
        if isinstance(frame, Welcome):
            self._check_place(parse_position(frame.tip))
        if not isinstance(frame, Batch):
            return b""
        seq = parse_position(frame.pos).seq
        told: list[AguiEvent] = []
        if self.place is not None and seq > self.place.seq:
            told, self.place = self._run.again(), None
        for event in frame.events:
            said = self._run.translate(event)
            told += said if self.place is None else []
        if self.place is not None and seq == self.place.seq:
            told, self.place = self._run.again(), None
        payload = self._write(told, frame.pos)
        if self._run.ended and self.final is None:
            payload = self.final = payload or NOTHING_LEFT
        return payload

    def _check_place(self, tip: Position) -> None:
        if self.place is not None and (self.place.epoch != tip.epoch or self.place.seq > tip.seq):
            self.place = None

    def _write(self, told: list[AguiEvent], pos: str) -> bytes:
        if not told:
            return b""
        # the id comes with the last: who goes away in the midst is told all of the batch again
        return b"".join([*(_data(self._encode_json(each)) for each in told[:-1]), _id(pos), _data(self._encode_json(told[-1]))])


def read_last_id(header: str, query: str) -> str:
    """Where a reader goes on: what its browser says, else what the URL says; "" for neither.

    Raises:
        FrameInvalidError: it is too long to be a position.
    """
    position = header or query
    if len(position) > limits_http.POSITION_CHARS_MAX:
        raise FrameInvalidError("Last-Event-ID and position are positions, exactly as events gave them")
    return position


def _id(position: str) -> bytes:
    return b"" if position.startswith(SNAPSHOT_EPOCH) else b"id: " + position.encode() + b"\n"


def _data(payload: bytes) -> bytes:
    return b"data: " + payload.translate(_LINE_ENDS) + b"\n\n"
