"""The frames between a device and an edge, in both subprotocols (PROTOCOL.md, "Frames from the client" and after).

One set of structs, two codecs. A codec turns a frame into the bytes of one WebSocket message (text for JSON, binary for protobuf) and back.
Reading is strict about types and lenient about unknown fields, so that newer peers can be talked to.
"""

from typing import Any, Final, Literal, Protocol

import msgspec
from google.protobuf.message import DecodeError

from runcast.v1 import session_pb2
from runcast.v1.event_pb2 import Event, User
from runcast.wire.errors import FrameInvalidError
from runcast.wire.eventjson import EventJson, event_from_json, event_to_json
from runcast.wire.position import Position

JSON_SUBPROTOCOL: Final = "runcast.v1.json"
PROTO_SUBPROTOCOL: Final = "runcast.v1.proto"


_NOTHING: Final = msgspec.Raw()


class _Frame(msgspec.Struct, tag_field="type", tag=lambda name: name.lower(), omit_defaults=True):
    pass


# --- client to server ---


class Hello(_Frame):
    """First frame: who this is, and where to go on ("" = the device's cursor, else earliest).

    `snapshot`: True asks for one, False forbids it, None leaves it to the edge.
    """

    device: str
    position: str = ""
    token: str = ""
    snapshot: bool | None = None


class Ack(_Frame):
    """Everything up to `pos` was handled by the application."""

    pos: str


class Send(_Frame):
    """Something for an agent. `kind` decides which of the other fields count: message (group, thread, text, data), cancel (run_id,
    reason), answer (group, thread, run_id, request_id, data).
    """

    id: str
    kind: Literal["message", "cancel", "answer"]
    group: str = ""
    thread: str = ""
    text: str = ""
    run_id: str = ""
    request_id: str = ""
    reason: str = ""
    data: msgspec.Raw = _NOTHING

    def __post_init__(self) -> None:
        if not bytes(self.data):
            self.data = _NOTHING  # left out of JSON, where nothing can't be written


class Refresh(_Frame):
    """A new token for the same user."""

    token: str


class Ping(_Frame):
    """Are you there?"""


# --- server to client ---


class Limits(msgspec.Struct):
    """What the edge allows; units in session.proto."""

    frame_bytes_max: int
    window_events: int
    window_bytes: int
    ping_interval_ms: int


class RunSummary(msgspec.Struct, omit_defaults=True):
    """A run that was open at the tip; as in session.proto."""

    run_id: str
    attempt: int
    agent: str = ""
    thread: str = ""
    title: str = ""
    seq: int = 0
    started_unix_ms: int = 0


class Welcome(_Frame):
    """First frame: the session is open. `position` is the `prev` of the first batch to come; at `tip` the client is caught up.

    `replay`: what comes is a recording that is played again.
    """

    outcome: Literal["resumed", "snapshot", "reset"]
    position: str
    tip: str
    tenant: str
    user: str
    device: str
    limits: Limits
    edge: str
    version: str
    reason: str = ""
    runs: list[RunSummary] = []
    token_expires_in_ms: int = 0
    replay: bool = False


class Batch(_Frame):
    """Everything of the stream in (prev, pos]."""

    prev: str
    pos: str
    events: list[Event]


class Sent(_Frame):
    """What was sent under `id` is stored."""

    id: str
    duplicate: bool = False


class Error(_Frame):
    """Something was not accepted; codes in `runcast.wire.codes`."""

    code: str
    message: str
    id: str = ""
    retry: bool = False
    definite: bool = True
    retry_after_ms: int = 0


class Drain(_Frame):
    """The edge is about to stop: reconnect after this time, to any edge."""

    reconnect_in_ms: int
    reason: str = ""


class Pong(_Frame):
    """Yes."""


class Refreshed(_Frame):
    """The new token counts, for so long; 0: no end is known."""

    token_expires_in_ms: int = 0


ClientFrame = Hello | Ack | Send | Refresh | Ping
ServerFrame = Welcome | Batch | Sent | Error | Drain | Pong | Refreshed


class Codec(Protocol):
    """Frames to the payload of a WebSocket message and back.

    Attributes:
        subprotocol: its name.
        binary: payloads are bytes, not text.
        shared: a frame is the same for every connection.
        merges: a device that is behind may get events that stand for several.
        place: what the reader has read up to, where hello does not say it; None for nothing.
    """

    subprotocol: str
    binary: bool
    shared: bool
    merges: bool
    place: Position | None

    def encode(self, frame: ClientFrame | ServerFrame) -> bytes:
        """The payload of one WebSocket message."""
        ...

    def decode_client(self, payload: bytes) -> ClientFrame:
        """A frame from a client.

        Raises:
            FrameInvalidError: it is none.
        """
        ...

    def decode_server(self, payload: bytes) -> ServerFrame:
        """A frame from a server.

        Raises:
            FrameInvalidError: it is none.
        """
        ...


class _BatchJson(_Frame, tag="batch"):
    prev: str
    pos: str
    events: list[EventJson]


class JsonCodec:
    """Subprotocol runcast.v1.json."""

    subprotocol = JSON_SUBPROTOCOL
    binary = False
    shared = True
    merges = True
    place: Position | None = None

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._client: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)
        self._server: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Welcome | _BatchJson | Sent | Error | Drain | Pong | Refreshed)

    def encode(self, frame: ClientFrame | ServerFrame) -> bytes:
        """See `Codec.encode`."""
        if type(frame) is Batch:
            return self._encoder.encode(_BatchJson(frame.prev, frame.pos, [event_to_json(event) for event in frame.events]))
        return self._encoder.encode(frame)

    def decode_client(self, payload: bytes) -> ClientFrame:
        """See `Codec.decode_client`."""
        try:
            return self._client.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise FrameInvalidError(f"not a frame: {exc}; send one JSON object as PROTOCOL.md describes it") from exc

    def decode_server(self, payload: bytes) -> ServerFrame:
        """See `Codec.decode_server`."""
        try:
            frame = self._server.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise FrameInvalidError(f"not a frame: {exc}") from exc
        if type(frame) is _BatchJson:
            return Batch(frame.prev, frame.pos, [event_from_json(form, strict=False) for form in frame.events])
        known: ServerFrame = frame
        return known


class ProtoCodec:
    """Subprotocol runcast.v1.proto."""

    subprotocol = PROTO_SUBPROTOCOL
    binary = True
    shared = True
    merges = True
    place: Position | None = None

    def encode(self, frame: ClientFrame | ServerFrame) -> bytes:
        """See `Codec.encode`."""
        return _TO_PROTO[type(frame)](frame).SerializeToString()  # type: ignore[no-any-return]

    def decode_client(self, payload: bytes) -> ClientFrame:
        """See `Codec.decode_client`."""
        try:
            message = session_pb2.ClientFrame.FromString(payload)
        except DecodeError as exc:
            raise FrameInvalidError("not a frame: send one serialized runcast.v1.ClientFrame") from exc
        match message.WhichOneof("frame"):
            case "hello":
                hello = message.hello
                return Hello(hello.device, hello.position, hello.token, hello.snapshot if hello.HasField("snapshot") else None)
            case "ack":
                return Ack(message.ack.pos)
            case "send":
                return _send_from_proto(message.send)
            case "refresh":
                return Refresh(message.refresh.token)
            case "ping":
                return Ping()
        raise FrameInvalidError("the frame is empty or of an unknown kind; set one of hello, ack, send, refresh, ping")

    def decode_server(self, payload: bytes) -> ServerFrame:
        """See `Codec.decode_server`."""
        try:
            message = session_pb2.ServerFrame.FromString(payload)
        except DecodeError as exc:
            raise FrameInvalidError("not a frame: expected a serialized runcast.v1.ServerFrame") from exc
        match message.WhichOneof("frame"):
            case "welcome":
                return _welcome_from_proto(message.welcome)
            case "batch":
                return Batch(message.batch.prev, message.batch.pos, list(message.batch.events))
            case "sent":
                return Sent(message.sent.id, message.sent.duplicate)
            case "error":
                e = message.error
                return Error(e.code, e.message, e.id, e.retry, e.definite, e.retry_after_ms)
            case "drain":
                return Drain(message.drain.reconnect_in_ms, message.drain.reason)
            case "pong":
                return Pong()
            case "refreshed":
                return Refreshed(message.refreshed.token_expires_in_ms)
        raise FrameInvalidError("the frame is empty or of an unknown kind")


def _send_from_proto(send: session_pb2.SendFrame) -> Send:
    match send.WhichOneof("kind"):
        case "message":
            m = send.message
            return Send(send.id, "message", m.group, m.thread, m.text, data=msgspec.Raw(m.data_json))
        case "cancel":
            return Send(send.id, "cancel", run_id=send.cancel.run_id, reason=send.cancel.reason)
        case "answer":
            a = send.answer
            return Send(send.id, "answer", a.group, a.thread, run_id=a.run_id, request_id=a.request_id, data=msgspec.Raw(a.value_json))
    raise FrameInvalidError("a send needs one of message, cancel, answer")


def _send_to_proto(send: Send) -> session_pb2.ClientFrame:
    frame = session_pb2.SendFrame(id=send.id)
    data = bytes(send.data)
    if send.kind == "message":
        frame.message.MergeFrom(session_pb2.SendMessage(group=send.group, thread=send.thread, text=send.text, data_json=data))
        frame.message.SetInParent()
    elif send.kind == "cancel":
        frame.cancel.MergeFrom(session_pb2.SendCancel(run_id=send.run_id, reason=send.reason))
        frame.cancel.SetInParent()
    else:
        answer = session_pb2.SendAnswer(
            group=send.group, thread=send.thread, run_id=send.run_id, request_id=send.request_id, value_json=data
        )
        frame.answer.MergeFrom(answer)
        frame.answer.SetInParent()
    return session_pb2.ClientFrame(send=frame)


_OUTCOMES: Final[dict[str, session_pb2.ResumeOutcome]] = {
    "resumed": session_pb2.RESUME_OUTCOME_RESUMED,
    "snapshot": session_pb2.RESUME_OUTCOME_SNAPSHOT,
    "reset": session_pb2.RESUME_OUTCOME_RESET,
}
_OUTCOME_WORDS: Final[dict[int, Any]] = {int(number): word for word, number in _OUTCOMES.items()}


def _welcome_to_proto(frame: Welcome) -> session_pb2.ServerFrame:
    limits = frame.limits
    return session_pb2.ServerFrame(
        welcome=session_pb2.WelcomeFrame(
            outcome=_OUTCOMES[frame.outcome],
            reason=frame.reason,
            runs=[session_pb2.RunSummary(**msgspec.structs.asdict(run)) for run in frame.runs],
            position=frame.position,
            tip=frame.tip,
            user=User(tenant=frame.tenant, id=frame.user),
            device=frame.device,
            limits=session_pb2.SessionLimits(
                frame_bytes_max=limits.frame_bytes_max,
                window_events=limits.window_events,
                window_bytes=limits.window_bytes,
                ping_interval_ms=limits.ping_interval_ms,
            ),
            edge=frame.edge,
            version=frame.version,
            token_expires_in_ms=frame.token_expires_in_ms,
            replay=frame.replay,
        )
    )


def _welcome_from_proto(w: session_pb2.WelcomeFrame) -> Welcome:
    outcome = _OUTCOME_WORDS.get(w.outcome)
    if outcome is None:
        raise FrameInvalidError(f"unknown outcome {w.outcome} in welcome")
    limits = Limits(w.limits.frame_bytes_max, w.limits.window_events, w.limits.window_bytes, w.limits.ping_interval_ms)
    runs = [RunSummary(r.run_id, r.attempt, r.agent, r.thread, r.title, r.seq, r.started_unix_ms) for r in w.runs]
    over = w.token_expires_in_ms
    return Welcome(
        outcome, w.position, w.tip, w.user.tenant, w.user.id, w.device, limits, w.edge, w.version, w.reason, runs, over, w.replay
    )


_TO_PROTO: Final[dict[type, Any]] = {
    Hello: lambda f: session_pb2.ClientFrame(
        hello=session_pb2.HelloFrame(device=f.device, position=f.position, token=f.token, snapshot=f.snapshot)
    ),
    Ack: lambda f: session_pb2.ClientFrame(ack=session_pb2.AckFrame(pos=f.pos)),
    Send: _send_to_proto,
    Refresh: lambda f: session_pb2.ClientFrame(refresh=session_pb2.RefreshFrame(token=f.token)),
    Ping: lambda _: session_pb2.ClientFrame(ping=session_pb2.PingFrame()),
    Welcome: _welcome_to_proto,
    Batch: lambda f: session_pb2.ServerFrame(batch=session_pb2.BatchFrame(prev=f.prev, pos=f.pos, events=f.events)),
    Sent: lambda f: session_pb2.ServerFrame(sent=session_pb2.SentFrame(id=f.id, duplicate=f.duplicate)),
    Error: lambda f: session_pb2.ServerFrame(
        error=session_pb2.ErrorFrame(
            code=f.code, message=f.message, id=f.id, retry=f.retry, definite=f.definite, retry_after_ms=f.retry_after_ms
        )
    ),
    Drain: lambda f: session_pb2.ServerFrame(drain=session_pb2.DrainFrame(reconnect_in_ms=f.reconnect_in_ms, reason=f.reason)),
    Pong: lambda _: session_pb2.ServerFrame(pong=session_pb2.PongFrame()),
    Refreshed: lambda f: session_pb2.ServerFrame(refreshed=session_pb2.RefreshedFrame(token_expires_in_ms=f.token_expires_in_ms)),
}

CODECS: Final[dict[str, Codec]] = {codec.subprotocol: codec for codec in (JsonCodec(), ProtoCodec())}
"""Codecs by subprotocol, in the order in which an edge prefers them."""
