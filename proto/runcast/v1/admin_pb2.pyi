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
    __slots__ = ("router", "version", "nats_server_version", "shards", "streams", "producers", "workers", "batches_stored", "events_stored", "uptime_s", "refusals", "receipts", "processes", "parked", "dependencies")
    class RefusalsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ReceiptsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NATS_SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    PRODUCERS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_STORED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_STORED_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    PARKED_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    router: str
    version: str
    nats_server_version: str
    shards: int
    streams: _containers.RepeatedCompositeFieldContainer[StreamStatus]
    producers: int
    workers: int
    batches_stored: int
    events_stored: int
    uptime_s: int
    refusals: _containers.ScalarMap[str, int]
    receipts: _containers.ScalarMap[str, int]
    processes: _containers.RepeatedCompositeFieldContainer[ProcessStatistics]
    parked: int
    dependencies: _containers.RepeatedCompositeFieldContainer[DependencyStatus]
    def __init__(self, router: _Optional[str] = ..., version: _Optional[str] = ..., nats_server_version: _Optional[str] = ..., shards: _Optional[int] = ..., streams: _Optional[_Iterable[_Union[StreamStatus, _Mapping]]] = ..., producers: _Optional[int] = ..., workers: _Optional[int] = ..., batches_stored: _Optional[int] = ..., events_stored: _Optional[int] = ..., uptime_s: _Optional[int] = ..., refusals: _Optional[_Mapping[str, int]] = ..., receipts: _Optional[_Mapping[str, int]] = ..., processes: _Optional[_Iterable[_Union[ProcessStatistics, _Mapping]]] = ..., parked: _Optional[int] = ..., dependencies: _Optional[_Iterable[_Union[DependencyStatus, _Mapping]]] = ...) -> None: ...

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
