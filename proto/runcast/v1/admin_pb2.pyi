from runcast.v1 import event_pb2 as _event_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("id", "version", "nats_server_version", "shards", "streams", "uptime_s", "processes", "parked", "dependencies")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NATS_SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    PARKED_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    id: str
    version: str
    nats_server_version: str
    shards: int
    streams: _containers.RepeatedCompositeFieldContainer[StreamStatus]
    uptime_s: int
    processes: _containers.RepeatedCompositeFieldContainer[ProcessStatistics]
    parked: int
    dependencies: _containers.RepeatedCompositeFieldContainer[DependencyStatus]
    def __init__(self, id: _Optional[str] = ..., version: _Optional[str] = ..., nats_server_version: _Optional[str] = ..., shards: _Optional[int] = ..., streams: _Optional[_Iterable[_Union[StreamStatus, _Mapping]]] = ..., uptime_s: _Optional[int] = ..., processes: _Optional[_Iterable[_Union[ProcessStatistics, _Mapping]]] = ..., parked: _Optional[int] = ..., dependencies: _Optional[_Iterable[_Union[DependencyStatus, _Mapping]]] = ...) -> None: ...

class DependencyStatus(_message.Message):
    __slots__ = ("name", "state", "reason", "for_s", "attempts", "recoveries")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FOR_S_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RECOVERIES_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    reason: str
    for_s: int
    attempts: int
    recoveries: int
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., for_s: _Optional[int] = ..., attempts: _Optional[int] = ..., recoveries: _Optional[int] = ...) -> None: ...

class ProcessStatistics(_message.Message):
    __slots__ = ("role", "id", "age_ms", "statistics_json")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_JSON_FIELD_NUMBER: _ClassVar[int]
    role: str
    id: str
    age_ms: int
    statistics_json: bytes
    def __init__(self, role: _Optional[str] = ..., id: _Optional[str] = ..., age_ms: _Optional[int] = ..., statistics_json: _Optional[bytes] = ...) -> None: ...

class GetPresenceRequest(_message.Message):
    __slots__ = ("user", "first")
    USER_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    first: bool
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., first: bool = ...) -> None: ...

class GetPresenceResponse(_message.Message):
    __slots__ = ("edges",)
    EDGES_FIELD_NUMBER: _ClassVar[int]
    edges: _containers.RepeatedCompositeFieldContainer[EdgePresence]
    def __init__(self, edges: _Optional[_Iterable[_Union[EdgePresence, _Mapping]]] = ...) -> None: ...

class EdgePresence(_message.Message):
    __slots__ = ("edge", "devices")
    EDGE_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    edge: str
    devices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, edge: _Optional[str] = ..., devices: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamStatus(_message.Message):
    __slots__ = ("name", "epoch", "messages", "bytes", "first_seq", "last_seq", "replicas")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    name: str
    epoch: str
    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    replicas: int
    def __init__(self, name: _Optional[str] = ..., epoch: _Optional[str] = ..., messages: _Optional[int] = ..., bytes: _Optional[int] = ..., first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., replicas: _Optional[int] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("user", "device", "token_id", "agent")
    USER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    device: UserDevice
    token_id: str
    agent: str
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., device: _Optional[_Union[UserDevice, _Mapping]] = ..., token_id: _Optional[str] = ..., agent: _Optional[str] = ...) -> None: ...

class UserDevice(_message.Message):
    __slots__ = ("user", "device")
    USER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    device: str
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., device: _Optional[str] = ...) -> None: ...

class DisconnectRequest(_message.Message):
    __slots__ = ("target", "reason")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    target: Target
    reason: str
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class DisconnectResponse(_message.Message):
    __slots__ = ("processes", "connections")
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    processes: int
    connections: int
    def __init__(self, processes: _Optional[int] = ..., connections: _Optional[int] = ...) -> None: ...

class RevokeRequest(_message.Message):
    __slots__ = ("target", "reason", "lasts_s", "until_new_token")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LASTS_S_FIELD_NUMBER: _ClassVar[int]
    UNTIL_NEW_TOKEN_FIELD_NUMBER: _ClassVar[int]
    target: Target
    reason: str
    lasts_s: int
    until_new_token: bool
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., reason: _Optional[str] = ..., lasts_s: _Optional[int] = ..., until_new_token: bool = ...) -> None: ...

class RevokeResponse(_message.Message):
    __slots__ = ("revocation", "connections")
    REVOCATION_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    revocation: Revocation
    connections: int
    def __init__(self, revocation: _Optional[_Union[Revocation, _Mapping]] = ..., connections: _Optional[int] = ...) -> None: ...

class Revocation(_message.Message):
    __slots__ = ("id", "target", "reason", "by", "at_ms", "ends_at_ms", "until_new_token")
    ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    ENDS_AT_MS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_NEW_TOKEN_FIELD_NUMBER: _ClassVar[int]
    id: str
    target: Target
    reason: str
    by: str
    at_ms: int
    ends_at_ms: int
    until_new_token: bool
    def __init__(self, id: _Optional[str] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., reason: _Optional[str] = ..., by: _Optional[str] = ..., at_ms: _Optional[int] = ..., ends_at_ms: _Optional[int] = ..., until_new_token: bool = ...) -> None: ...

class LiftRequest(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class LiftResponse(_message.Message):
    __slots__ = ("found",)
    FOUND_FIELD_NUMBER: _ClassVar[int]
    found: bool
    def __init__(self, found: bool = ...) -> None: ...

class ListRevocationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRevocationsResponse(_message.Message):
    __slots__ = ("revocations",)
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    revocations: _containers.RepeatedCompositeFieldContainer[Revocation]
    def __init__(self, revocations: _Optional[_Iterable[_Union[Revocation, _Mapping]]] = ...) -> None: ...

class EraseRequest(_message.Message):
    __slots__ = ("user", "reason")
    USER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    reason: str
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class EraseResponse(_message.Message):
    __slots__ = ("removed", "connections")
    class RemovedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    removed: _containers.ScalarMap[str, int]
    connections: int
    def __init__(self, removed: _Optional[_Mapping[str, int]] = ..., connections: _Optional[int] = ...) -> None: ...

class ListAuditRequest(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class ListAuditResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ("at_ms", "by", "address", "action", "target", "reason", "outcome", "id")
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    by: str
    address: str
    action: str
    target: str
    reason: str
    outcome: str
    id: str
    def __init__(self, at_ms: _Optional[int] = ..., by: _Optional[str] = ..., address: _Optional[str] = ..., action: _Optional[str] = ..., target: _Optional[str] = ..., reason: _Optional[str] = ..., outcome: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class ReadStreamRequest(_message.Message):
    __slots__ = ("user", "run_id", "after", "upto", "from_ms", "to_ms", "reason")
    USER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    UPTO_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    TO_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    run_id: str
    after: str
    upto: str
    from_ms: int
    to_ms: int
    reason: str
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., run_id: _Optional[str] = ..., after: _Optional[str] = ..., upto: _Optional[str] = ..., from_ms: _Optional[int] = ..., to_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ReadStreamResponse(_message.Message):
    __slots__ = ("head", "page", "end")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    head: StreamHead
    page: StreamPage
    end: StreamEnd
    def __init__(self, head: _Optional[_Union[StreamHead, _Mapping]] = ..., page: _Optional[_Union[StreamPage, _Mapping]] = ..., end: _Optional[_Union[StreamEnd, _Mapping]] = ...) -> None: ...

class StreamHead(_message.Message):
    __slots__ = ("version", "read_ms", "tip", "incomplete", "redacted")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    READ_MS_FIELD_NUMBER: _ClassVar[int]
    TIP_FIELD_NUMBER: _ClassVar[int]
    INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    version: str
    read_ms: int
    tip: str
    incomplete: bool
    redacted: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., read_ms: _Optional[int] = ..., tip: _Optional[str] = ..., incomplete: bool = ..., redacted: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamPage(_message.Message):
    __slots__ = ("batches",)
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    batches: _containers.RepeatedCompositeFieldContainer[RecordedBatch]
    def __init__(self, batches: _Optional[_Iterable[_Union[RecordedBatch, _Mapping]]] = ...) -> None: ...

class RecordedBatch(_message.Message):
    __slots__ = ("pos", "stored_ms", "events", "unreadable")
    POS_FIELD_NUMBER: _ClassVar[int]
    STORED_MS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    pos: str
    stored_ms: int
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    unreadable: str
    def __init__(self, pos: _Optional[str] = ..., stored_ms: _Optional[int] = ..., events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ..., unreadable: _Optional[str] = ...) -> None: ...

class StreamEnd(_message.Message):
    __slots__ = ("batches", "events", "redacted")
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    batches: int
    events: int
    redacted: int
    def __init__(self, batches: _Optional[int] = ..., events: _Optional[int] = ..., redacted: _Optional[int] = ...) -> None: ...
