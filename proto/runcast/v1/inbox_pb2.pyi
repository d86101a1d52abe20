from runcast.v1 import event_pb2 as _event_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Disposition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DISPOSITION_UNSPECIFIED: _ClassVar[Disposition]
    DISPOSITION_ACK: _ClassVar[Disposition]
    DISPOSITION_RETRY: _ClassVar[Disposition]
    DISPOSITION_REJECT: _ClassVar[Disposition]
DISPOSITION_UNSPECIFIED: Disposition
DISPOSITION_ACK: Disposition
DISPOSITION_RETRY: Disposition
DISPOSITION_REJECT: Disposition

class ReceiveRequest(_message.Message):
    __slots__ = ("hello", "acks")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    hello: WorkerHello
    acks: _containers.RepeatedCompositeFieldContainer[InboxAck]
    def __init__(self, hello: _Optional[_Union[WorkerHello, _Mapping]] = ..., acks: _Optional[_Iterable[_Union[InboxAck, _Mapping]]] = ...) -> None: ...

class WorkerHello(_message.Message):
    __slots__ = ("group", "worker", "in_flight_max")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_MAX_FIELD_NUMBER: _ClassVar[int]
    group: str
    worker: str
    in_flight_max: int
    def __init__(self, group: _Optional[str] = ..., worker: _Optional[str] = ..., in_flight_max: _Optional[int] = ...) -> None: ...

class InboxAck(_message.Message):
    __slots__ = ("delivery_id", "disposition")
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    DISPOSITION_FIELD_NUMBER: _ClassVar[int]
    delivery_id: str
    disposition: Disposition
    def __init__(self, delivery_id: _Optional[str] = ..., disposition: _Optional[_Union[Disposition, str]] = ...) -> None: ...

class ReceiveResponse(_message.Message):
    __slots__ = ("deliveries", "go_away")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[InboxDelivery]
    go_away: bool
    def __init__(self, deliveries: _Optional[_Iterable[_Union[InboxDelivery, _Mapping]]] = ..., go_away: bool = ...) -> None: ...

class InboxDelivery(_message.Message):
    __slots__ = ("delivery_id", "tries", "message")
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    TRIES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    delivery_id: str
    tries: int
    message: InboxMessage
    def __init__(self, delivery_id: _Optional[str] = ..., tries: _Optional[int] = ..., message: _Optional[_Union[InboxMessage, _Mapping]] = ...) -> None: ...

class InboxMessage(_message.Message):
    __slots__ = ("id", "user", "group", "thread", "device", "time_unix_ms", "text", "answer")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    id: str
    user: _event_pb2.User
    group: str
    thread: str
    device: str
    time_unix_ms: int
    text: TextMessage
    answer: Answer
    def __init__(self, id: _Optional[str] = ..., user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., group: _Optional[str] = ..., thread: _Optional[str] = ..., device: _Optional[str] = ..., time_unix_ms: _Optional[int] = ..., text: _Optional[_Union[TextMessage, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...

class TextMessage(_message.Message):
    __slots__ = ("text", "data_json")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    text: str
    data_json: bytes
    def __init__(self, text: _Optional[str] = ..., data_json: _Optional[bytes] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("run_id", "request_id", "value_json")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    request_id: str
    value_json: bytes
    def __init__(self, run_id: _Optional[str] = ..., request_id: _Optional[str] = ..., value_json: _Optional[bytes] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("user", "run_id", "device", "reason", "time_unix_ms")
    USER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    run_id: str
    device: str
    reason: str
    time_unix_ms: int
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., run_id: _Optional[str] = ..., device: _Optional[str] = ..., reason: _Optional[str] = ..., time_unix_ms: _Optional[int] = ...) -> None: ...

class KeptAnswer(_message.Message):
    __slots__ = ("user", "run_id", "request_id", "value_json", "device", "id", "time_unix_ms")
    USER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    run_id: str
    request_id: str
    value_json: bytes
    device: str
    id: str
    time_unix_ms: int
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., run_id: _Optional[str] = ..., request_id: _Optional[str] = ..., value_json: _Optional[bytes] = ..., device: _Optional[str] = ..., id: _Optional[str] = ..., time_unix_ms: _Optional[int] = ...) -> None: ...
