from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Urgency(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    URGENCY_UNSPECIFIED: _ClassVar[Urgency]
    URGENCY_LOW: _ClassVar[Urgency]
    URGENCY_NORMAL: _ClassVar[Urgency]
    URGENCY_HIGH: _ClassVar[Urgency]

class ToolStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOOL_STATUS_UNSPECIFIED: _ClassVar[ToolStatus]
    TOOL_STATUS_OK: _ClassVar[ToolStatus]
    TOOL_STATUS_ERROR: _ClassVar[ToolStatus]
    TOOL_STATUS_CANCELLED: _ClassVar[ToolStatus]

class TextMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_MODE_UNSPECIFIED: _ClassVar[TextMode]
    TEXT_MODE_WHOLE: _ClassVar[TextMode]
    TEXT_MODE_DELTA: _ClassVar[TextMode]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_RECOVERABLE: _ClassVar[Severity]
    SEVERITY_DEGRADED: _ClassVar[Severity]
    SEVERITY_FATAL: _ClassVar[Severity]

class InputType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT_TYPE_UNSPECIFIED: _ClassVar[InputType]
    INPUT_TYPE_APPROVAL: _ClassVar[InputType]
    INPUT_TYPE_QUESTION: _ClassVar[InputType]
    INPUT_TYPE_CHOICE: _ClassVar[InputType]

class InputOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT_OUTCOME_UNSPECIFIED: _ClassVar[InputOutcome]
    INPUT_OUTCOME_ANSWERED: _ClassVar[InputOutcome]
    INPUT_OUTCOME_DEFAULTED: _ClassVar[InputOutcome]
    INPUT_OUTCOME_WITHDRAWN: _ClassVar[InputOutcome]
URGENCY_UNSPECIFIED: Urgency
URGENCY_LOW: Urgency
URGENCY_NORMAL: Urgency
URGENCY_HIGH: Urgency
TOOL_STATUS_UNSPECIFIED: ToolStatus
TOOL_STATUS_OK: ToolStatus
TOOL_STATUS_ERROR: ToolStatus
TOOL_STATUS_CANCELLED: ToolStatus
TEXT_MODE_UNSPECIFIED: TextMode
TEXT_MODE_WHOLE: TextMode
TEXT_MODE_DELTA: TextMode
SEVERITY_UNSPECIFIED: Severity
SEVERITY_RECOVERABLE: Severity
SEVERITY_DEGRADED: Severity
SEVERITY_FATAL: Severity
INPUT_TYPE_UNSPECIFIED: InputType
INPUT_TYPE_APPROVAL: InputType
INPUT_TYPE_QUESTION: InputType
INPUT_TYPE_CHOICE: InputType
INPUT_OUTCOME_UNSPECIFIED: InputOutcome
INPUT_OUTCOME_ANSWERED: InputOutcome
INPUT_OUTCOME_DEFAULTED: InputOutcome
INPUT_OUTCOME_WITHDRAWN: InputOutcome

class Event(_message.Message):
    __slots__ = ("id", "run_id", "attempt", "seq", "time_unix_ms", "agent", "thread", "parent_run_id", "traceparent", "first_seq", "agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_response", "agent_completed", "agent_error", "user_message", "run_cancelled", "run_lost", "input_requested", "custom", "input_resolved")
    ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    AGENT_STARTED_FIELD_NUMBER: _ClassVar[int]
    AGENT_THINKING_FIELD_NUMBER: _ClassVar[int]
    TOOL_EXECUTING_FIELD_NUMBER: _ClassVar[int]
    TOOL_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    AGENT_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    AGENT_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    AGENT_ERROR_FIELD_NUMBER: _ClassVar[int]
    USER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RUN_CANCELLED_FIELD_NUMBER: _ClassVar[int]
    RUN_LOST_FIELD_NUMBER: _ClassVar[int]
    INPUT_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    INPUT_RESOLVED_FIELD_NUMBER: _ClassVar[int]
    id: str
    run_id: str
    attempt: int
    seq: int
    time_unix_ms: int
    agent: str
    thread: str
    parent_run_id: str
    traceparent: str
    first_seq: int
    agent_started: AgentStarted
    agent_thinking: AgentThinking
    tool_executing: ToolExecuting
    tool_completed: ToolCompleted
    agent_response: AgentResponse
    agent_completed: AgentCompleted
    agent_error: AgentError
    user_message: UserMessage
    run_cancelled: RunCancelled
    run_lost: RunLost
    input_requested: InputRequested
    custom: Custom
    input_resolved: InputResolved
    def __init__(self, id: _Optional[str] = ..., run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., seq: _Optional[int] = ..., time_unix_ms: _Optional[int] = ..., agent: _Optional[str] = ..., thread: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., traceparent: _Optional[str] = ..., first_seq: _Optional[int] = ..., agent_started: _Optional[_Union[AgentStarted, _Mapping]] = ..., agent_thinking: _Optional[_Union[AgentThinking, _Mapping]] = ..., tool_executing: _Optional[_Union[ToolExecuting, _Mapping]] = ..., tool_completed: _Optional[_Union[ToolCompleted, _Mapping]] = ..., agent_response: _Optional[_Union[AgentResponse, _Mapping]] = ..., agent_completed: _Optional[_Union[AgentCompleted, _Mapping]] = ..., agent_error: _Optional[_Union[AgentError, _Mapping]] = ..., user_message: _Optional[_Union[UserMessage, _Mapping]] = ..., run_cancelled: _Optional[_Union[RunCancelled, _Mapping]] = ..., run_lost: _Optional[_Union[RunLost, _Mapping]] = ..., input_requested: _Optional[_Union[InputRequested, _Mapping]] = ..., custom: _Optional[_Union[Custom, _Mapping]] = ..., input_resolved: _Optional[_Union[InputResolved, _Mapping]] = ...) -> None: ...

class AgentStarted(_message.Message):
    __slots__ = ("title", "reply_to", "input_json")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    title: str
    reply_to: str
    input_json: bytes
    def __init__(self, title: _Optional[str] = ..., reply_to: _Optional[str] = ..., input_json: _Optional[bytes] = ...) -> None: ...

class AgentThinking(_message.Message):
    __slots__ = ("text", "progress", "step", "steps", "urgency", "remaining_ms")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    URGENCY_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    text: str
    progress: float
    step: int
    steps: int
    urgency: Urgency
    remaining_ms: int
    def __init__(self, text: _Optional[str] = ..., progress: _Optional[float] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., urgency: _Optional[_Union[Urgency, str]] = ..., remaining_ms: _Optional[int] = ...) -> None: ...

class ToolExecuting(_message.Message):
    __slots__ = ("tool_call_id", "tool", "args_json", "purpose", "estimate_ms")
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGS_JSON_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_MS_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    tool: str
    args_json: bytes
    purpose: str
    estimate_ms: int
    def __init__(self, tool_call_id: _Optional[str] = ..., tool: _Optional[str] = ..., args_json: _Optional[bytes] = ..., purpose: _Optional[str] = ..., estimate_ms: _Optional[int] = ...) -> None: ...

class ToolCompleted(_message.Message):
    __slots__ = ("tool_call_id", "tool", "status", "result_json", "error", "duration_ms")
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    tool: str
    status: ToolStatus
    result_json: bytes
    error: str
    duration_ms: int
    def __init__(self, tool_call_id: _Optional[str] = ..., tool: _Optional[str] = ..., status: _Optional[_Union[ToolStatus, str]] = ..., result_json: _Optional[bytes] = ..., error: _Optional[str] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class AgentResponse(_message.Message):
    __slots__ = ("message_id", "text", "mode", "final")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    text: str
    mode: TextMode
    final: bool
    def __init__(self, message_id: _Optional[str] = ..., text: _Optional[str] = ..., mode: _Optional[_Union[TextMode, str]] = ..., final: bool = ...) -> None: ...

class AgentCompleted(_message.Message):
    __slots__ = ("summary", "result_json")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    summary: str
    result_json: bytes
    def __init__(self, summary: _Optional[str] = ..., result_json: _Optional[bytes] = ...) -> None: ...

class AgentError(_message.Message):
    __slots__ = ("severity", "category", "message", "suggestions", "retrying", "retry_after_ms")
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    RETRYING_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    severity: Severity
    category: str
    message: str
    suggestions: _containers.RepeatedScalarFieldContainer[str]
    retrying: bool
    retry_after_ms: int
    def __init__(self, severity: _Optional[_Union[Severity, str]] = ..., category: _Optional[str] = ..., message: _Optional[str] = ..., suggestions: _Optional[_Iterable[str]] = ..., retrying: bool = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class UserMessage(_message.Message):
    __slots__ = ("text", "data_json", "device", "group")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    text: str
    data_json: bytes
    device: str
    group: str
    def __init__(self, text: _Optional[str] = ..., data_json: _Optional[bytes] = ..., device: _Optional[str] = ..., group: _Optional[str] = ...) -> None: ...

class RunCancelled(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class RunLost(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class InputRequested(_message.Message):
    __slots__ = ("request_id", "type", "prompt", "options", "default_json", "expires_unix_ms")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_JSON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    type: InputType
    prompt: str
    options: _containers.RepeatedScalarFieldContainer[str]
    default_json: bytes
    expires_unix_ms: int
    def __init__(self, request_id: _Optional[str] = ..., type: _Optional[_Union[InputType, str]] = ..., prompt: _Optional[str] = ..., options: _Optional[_Iterable[str]] = ..., default_json: _Optional[bytes] = ..., expires_unix_ms: _Optional[int] = ...) -> None: ...

class InputResolved(_message.Message):
    __slots__ = ("request_id", "outcome", "value_json", "device")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    outcome: InputOutcome
    value_json: bytes
    device: str
    def __init__(self, request_id: _Optional[str] = ..., outcome: _Optional[_Union[InputOutcome, str]] = ..., value_json: _Optional[bytes] = ..., device: _Optional[str] = ...) -> None: ...

class Custom(_message.Message):
    __slots__ = ("name", "data_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    data_json: bytes
    def __init__(self, name: _Optional[str] = ..., data_json: _Optional[bytes] = ...) -> None: ...

class User(_message.Message):
    __slots__ = ("tenant", "id")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    id: str
    def __init__(self, tenant: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("user", "producer", "run_id", "attempt", "number", "events", "receipt_deadline_ms")
    USER_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    user: User
    producer: str
    run_id: str
    attempt: int
    number: int
    events: _containers.RepeatedCompositeFieldContainer[Event]
    receipt_deadline_ms: int
    def __init__(self, user: _Optional[_Union[User, _Mapping]] = ..., producer: _Optional[str] = ..., run_id: _Optional[str] = ..., attempt: _Optional[int] = ..., number: _Optional[int] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., receipt_deadline_ms: _Optional[int] = ...) -> None: ...
