from runcast.v1 import event_pb2 as _event_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReceiptOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECEIPT_OUTCOME_UNSPECIFIED: _ClassVar[ReceiptOutcome]
    RECEIPT_OUTCOME_DELIVERED: _ClassVar[ReceiptOutcome]
    RECEIPT_OUTCOME_EXPIRED: _ClassVar[ReceiptOutcome]
    RECEIPT_OUTCOME_OFFLINE: _ClassVar[ReceiptOutcome]
    RECEIPT_OUTCOME_STORED: _ClassVar[ReceiptOutcome]
RECEIPT_OUTCOME_UNSPECIFIED: ReceiptOutcome
RECEIPT_OUTCOME_DELIVERED: ReceiptOutcome
RECEIPT_OUTCOME_EXPIRED: ReceiptOutcome
RECEIPT_OUTCOME_OFFLINE: ReceiptOutcome
RECEIPT_OUTCOME_STORED: ReceiptOutcome

class IsOnlineRequest(_message.Message):
    __slots__ = ("user",)
    USER_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ...) -> None: ...

class IsOnlineResponse(_message.Message):
    __slots__ = ("online",)
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    online: bool
    def __init__(self, online: bool = ...) -> None: ...

class PublishRequest(_message.Message):
    __slots__ = ("hello", "batches", "abandons", "receipt_asks", "answer_asks", "open_runs")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    ABANDONS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_ASKS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_ASKS_FIELD_NUMBER: _ClassVar[int]
    OPEN_RUNS_FIELD_NUMBER: _ClassVar[int]
    hello: ProducerHello
    batches: _containers.RepeatedCompositeFieldContainer[_event_pb2.Batch]
    abandons: _containers.RepeatedCompositeFieldContainer[RunAbandon]
    receipt_asks: _containers.RepeatedCompositeFieldContainer[ReceiptAsk]
    answer_asks: _containers.RepeatedCompositeFieldContainer[AnswerAsk]
    open_runs: _containers.RepeatedCompositeFieldContainer[OpenRun]
    def __init__(self, hello: _Optional[_Union[ProducerHello, _Mapping]] = ..., batches: _Optional[_Iterable[_Union[_event_pb2.Batch, _Mapping]]] = ..., abandons: _Optional[_Iterable[_Union[RunAbandon, _Mapping]]] = ..., receipt_asks: _Optional[_Iterable[_Union[ReceiptAsk, _Mapping]]] = ..., answer_asks: _Optional[_Iterable[_Union[AnswerAsk, _Mapping]]] = ..., open_runs: _Optional[_Iterable[_Union[OpenRun, _Mapping]]] = ...) -> None: ...

class OpenRun(_message.Message):
    __slots__ = ("user", "run_id", "attempt")
    USER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    run_id: str
    attempt: int
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., run_id: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class AnswerAsk(_message.Message):
    __slots__ = ("user", "run_id", "request_id", "dropped")
    USER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    run_id: str
    request_id: str
    dropped: bool
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., run_id: _Optional[str] = ..., request_id: _Optional[str] = ..., dropped: bool = ...) -> None: ...

class ReceiptAsk(_message.Message):
    __slots__ = ("user", "run_id", "attempt", "number", "position", "deadline_ms", "elapsed_ms")
    USER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    run_id: str
    attempt: int
    number: int
    position: str
    deadline_ms: int
    elapsed_ms: int
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., number: _Optional[int] = ..., position: _Optional[str] = ..., deadline_ms: _Optional[int] = ..., elapsed_ms: _Optional[int] = ...) -> None: ...

class ProducerHello(_message.Message):
    __slots__ = ("producer", "agent", "client_version")
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    producer: str
    agent: str
    client_version: str
    def __init__(self, producer: _Optional[str] = ..., agent: _Optional[str] = ..., client_version: _Optional[str] = ...) -> None: ...

class PublishResponse(_message.Message):
    __slots__ = ("hello", "acks", "refusals", "window", "go_away", "cancels", "receipts", "abandoned", "answers")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    hello: RouterHello
    acks: _containers.RepeatedCompositeFieldContainer[BatchAck]
    refusals: _containers.RepeatedCompositeFieldContainer[BatchRefusal]
    window: Window
    go_away: GoAway
    cancels: _containers.RepeatedCompositeFieldContainer[RunCancel]
    receipts: _containers.RepeatedCompositeFieldContainer[Receipt]
    abandoned: _containers.RepeatedCompositeFieldContainer[RunAbandon]
    answers: _containers.RepeatedCompositeFieldContainer[RunAnswer]
    def __init__(self, hello: _Optional[_Union[RouterHello, _Mapping]] = ..., acks: _Optional[_Iterable[_Union[BatchAck, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[BatchRefusal, _Mapping]]] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., go_away: _Optional[_Union[GoAway, _Mapping]] = ..., cancels: _Optional[_Iterable[_Union[RunCancel, _Mapping]]] = ..., receipts: _Optional[_Iterable[_Union[Receipt, _Mapping]]] = ..., abandoned: _Optional[_Iterable[_Union[RunAbandon, _Mapping]]] = ..., answers: _Optional[_Iterable[_Union[RunAnswer, _Mapping]]] = ...) -> None: ...

class RouterHello(_message.Message):
    __slots__ = ("router", "version", "window", "resend_horizon_ms")
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    RESEND_HORIZON_MS_FIELD_NUMBER: _ClassVar[int]
    router: str
    version: str
    window: Window
    resend_horizon_ms: int
    def __init__(self, router: _Optional[str] = ..., version: _Optional[str] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., resend_horizon_ms: _Optional[int] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("batches", "bytes")
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    batches: int
    bytes: int
    def __init__(self, batches: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class BatchAck(_message.Message):
    __slots__ = ("run_id", "attempt", "number", "position", "duplicate")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    number: int
    position: str
    duplicate: bool
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., number: _Optional[int] = ..., position: _Optional[str] = ..., duplicate: bool = ...) -> None: ...

class BatchRefusal(_message.Message):
    __slots__ = ("run_id", "attempt", "number", "code", "message", "retry", "definite", "retry_after_ms")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    DEFINITE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    number: int
    code: str
    message: str
    retry: bool
    definite: bool
    retry_after_ms: int
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., number: _Optional[int] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., retry: bool = ..., definite: bool = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("run_id", "attempt", "number", "outcome", "device", "latency_ms")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    attempt: int
    number: int
    outcome: ReceiptOutcome
    device: str
    latency_ms: int
    def __init__(self, run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., number: _Optional[int] = ..., outcome: _Optional[_Union[ReceiptOutcome, str]] = ..., device: _Optional[str] = ..., latency_ms: _Optional[int] = ...) -> None: ...

class RunAbandon(_message.Message):
    __slots__ = ("user", "run_id", "attempt")
    USER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    run_id: str
    attempt: int
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., run_id: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("reason", "grace_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    grace_ms: int
    def __init__(self, reason: _Optional[str] = ..., grace_ms: _Optional[int] = ...) -> None: ...

class RunCancel(_message.Message):
    __slots__ = ("user", "run_id", "reason")
    USER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    run_id: str
    reason: str
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., run_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RunAnswer(_message.Message):
    __slots__ = ("user", "run_id", "request_id", "value_json", "device")
    USER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    user: _event_pb2.User
    run_id: str
    request_id: str
    value_json: bytes
    device: str
    def __init__(self, user: _Optional[_Union[_event_pb2.User, _Mapping]] = ..., run_id: _Optional[str] = ..., request_id: _Optional[str] = ..., value_json: _Optional[bytes] = ..., device: _Optional[str] = ...) -> None: ...
