from runcast.v1 import event_pb2 as _event_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResumeOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESUME_OUTCOME_UNSPECIFIED: _ClassVar[ResumeOutcome]
    RESUME_OUTCOME_RESUMED: _ClassVar[ResumeOutcome]
    RESUME_OUTCOME_SNAPSHOT: _ClassVar[ResumeOutcome]
    RESUME_OUTCOME_RESET: _ClassVar[ResumeOutcome]
RESUME_OUTCOME_UNSPECIFIED: ResumeOutcome
RESUME_OUTCOME_RESUMED: ResumeOutcome
RESUME_OUTCOME_SNAPSHOT: ResumeOutcome
RESUME_OUTCOME_RESET: ResumeOutcome

class ClientFrame(_message.Message):
    __slots__ = ("hello", "ack", "send", "refresh", "ping")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    hello: HelloFrame
    ack: AckFrame
    send: SendFrame
    refresh: RefreshFrame
    ping: PingFrame
    def __init__(self, hello: _Optional[_Union[HelloFrame, _Mapping]] = ..., ack: _Optional[_Union[AckFrame, _Mapping]] = ..., send: _Optional[_Union[SendFrame, _Mapping]] = ..., refresh: _Optional[_Union[RefreshFrame, _Mapping]] = ..., ping: _Optional[_Union[PingFrame, _Mapping]] = ...) -> None: ...

class ServerFrame(_message.Message):
    __slots__ = ("welcome", "batch", "sent", "error", "drain", "pong", "refreshed")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    REFRESHED_FIELD_NUMBER: _ClassVar[int]
    welcome: WelcomeFrame
    batch: BatchFrame
    sent: SentFrame
    error: ErrorFrame
    drain: DrainFrame
    pong: PongFrame
    refreshed: RefreshedFrame
    def __init__(self, welcome: _Optional[_Union[WelcomeFrame, _Mapping]] = ..., batch: _Optional[_Union[BatchFrame, _Mapping]] = ..., sent: _Optional[_Union[SentFrame, _Mapping]] = ..., error: _Optional[_Union[ErrorFrame, _Mapping]] = ..., drain: _Optional[_Union[DrainFrame, _Mapping]] = ..., pong: _Optional[_Union[PongFrame, _Mapping]] = ..., refreshed: _Optional[_Union[RefreshedFrame, _Mapping]] = ...) -> None: ...

class HelloFrame(_message.Message):
    __slots__ = ("device", "position", "token", "snapshot")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    device: str
    position: str
    token: str
    snapshot: bool
    def __init__(self, device: _Optional[str] = ..., position: _Optional[str] = ..., token: _Optional[str] = ..., snapshot: bool = ...) -> None: ...

class AckFrame(_message.Message):
    __slots__ = ("pos",)
    POS_FIELD_NUMBER: _ClassVar[int]
    pos: str
    def __init__(self, pos: _Optional[str] = ...) -> None: ...

class SendFrame(_message.Message):
    __slots__ = ("id", "message", "cancel", "answer")
    ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    id: str
    message: SendMessage
    cancel: SendCancel
    answer: SendAnswer
    def __init__(self, id: _Optional[str] = ..., message: _Optional[_Union[SendMessage, _Mapping]] = ..., cancel: _Optional[_Union[SendCancel, _Mapping]] = ..., answer: _Optional[_Union[SendAnswer, _Mapping]] = ...) -> None: ...

class SendMessage(_message.Message):
    __slots__ = ("group", "thread", "text", "data_json")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    group: str
    thread: str
    text: str
    data_json: bytes
    def __init__(self, group: _Optional[str] = ..., thread: _Optional[str] = ..., text: _Optional[str] = ..., data_json: _Optional[bytes] = ...) -> None: ...

class SendCancel(_message.Message):
    __slots__ = ("run_id", "reason")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    reason: str
    def __init__(self, run_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SendAnswer(_message.Message):
    __slots__ = ("group", "thread", "run_id", "request_id", "value_json")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    group: str
    thread: str
    run_id: str
    request_id: str
    value_json: bytes
    def __init__(self, group: _Optional[str] = ..., thread: _Optional[str] = ..., run_id: _Optional[str] = ..., request_id: _Optional[str] = ..., value_json: _Optional[bytes] = ...) -> None: ...

class RefreshFrame(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class PingFrame(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WelcomeFrame(_message.Message):
    __slots__ = ("outcome", "reason", "position", "tip", "user", "device", "limits", "edge", "version", "runs", "token_expires_in_ms", "replay")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TIP_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    EDGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_EXPIRES_IN_MS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    outcome: ResumeOutcome
    reason: str
    position: str
    tip: str
    user: _event_pb2.User
    device: str
    limits: SessionLimits
    edge: str
    version: str
    runs: _containers.RepeatedCompositeFieldContainer[RunSummary]
    token_expires_in_ms: int
    replay: bool
    def __init__(self, outcome: _Optional[_Union[ResumeOutcome, str]] = ..., reason: _Optional[str] = ..., position: _Optional[str] = ..., tip: _Optional[str] = ..., user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., device: _Optional[str] = ..., limits: _Optional[_Union[SessionLimits, _Mapping]] = ..., edge: _Optional[str] = ..., version: _Optional[str] = ..., runs: _Optional[_Iterable[_Union[RunSummary, _Mapping]]] = ..., token_expires_in_ms: _Optional[int] = ..., replay: bool = ...) -> None: ...

class RunSummary(_message.Message):
    __slots__ = ("run_id", "attempt", "agent", "thread", "title", "seq", "started_unix_ms")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    agent: str
    thread: str
    title: str
    seq: int
    started_unix_ms: int
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., agent: _Optional[str] = ..., thread: _Optional[str] = ..., title: _Optional[str] = ..., seq: _Optional[int] = ..., started_unix_ms: _Optional[int] = ...) -> None: ...

class SessionLimits(_message.Message):
    __slots__ = ("frame_bytes_max", "window_events", "window_bytes", "ping_interval_ms")
    FRAME_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    WINDOW_EVENTS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    PING_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    frame_bytes_max: int
    window_events: int
    window_bytes: int
    ping_interval_ms: int
    def __init__(self, frame_bytes_max: _Optional[int] = ..., window_events: _Optional[int] = ..., window_bytes: _Optional[int] = ..., ping_interval_ms: _Optional[int] = ...) -> None: ...

class BatchFrame(_message.Message):
    __slots__ = ("prev", "pos", "events")
    PREV_FIELD_NUMBER: _ClassVar[int]
    POS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    prev: str
    pos: str
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    def __init__(self, prev: _Optional[str] = ..., pos: _Optional[str] = ..., events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ...) -> None: ...

class SentFrame(_message.Message):
    __slots__ = ("id", "duplicate")
    ID_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    duplicate: bool
    def __init__(self, id: _Optional[str] = ..., duplicate: bool = ...) -> None: ...

class ErrorFrame(_message.Message):
    __slots__ = ("code", "message", "id", "retry", "definite", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    DEFINITE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    id: str
    retry: bool
    definite: bool
    retry_after_ms: int
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., id: _Optional[str] = ..., retry: bool = ..., definite: bool = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class DrainFrame(_message.Message):
    __slots__ = ("reconnect_in_ms", "reason")
    RECONNECT_IN_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    reconnect_in_ms: int
    reason: str
    def __init__(self, reconnect_in_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class PongFrame(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RefreshedFrame(_message.Message):
    __slots__ = ("token_expires_in_ms",)
    TOKEN_EXPIRES_IN_MS_FIELD_NUMBER: _ClassVar[int]
    token_expires_in_ms: int
    def __init__(self, token_expires_in_ms: _Optional[int] = ...) -> None: ...
