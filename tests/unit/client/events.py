"""Events and keys for the tests of this folder."""

from runcast.client.errors import RunKey
from runcast.v1.event_pb2 import SEVERITY_FATAL, AgentError, AgentResponse, AgentStarted, Custom, Event, ToolCompleted, ToolExecuting
from runcast.wire.ids import UserKey
from runcast.wire.lifecycle import Lifecycle


def key(run_id: str, user: str = "alice", attempt: int = 1) -> RunKey:
    return RunKey(UserKey("default", user), run_id, attempt)


def started(parent_run_id: str = "") -> Event:
    return Event(agent_started=AgentStarted(title="t"), parent_run_id=parent_run_id)


def said(text: str) -> Event:
    return Event(agent_response=AgentResponse(message_id="m1", text=text))


def custom(text: str) -> Event:
    return Event(custom=Custom(name="x", data_json=text.encode()))


def fatal() -> Event:
    return Event(agent_error=AgentError(severity=SEVERITY_FATAL, message="x"))


def tool_began(call: str) -> Event:
    return Event(tool_executing=ToolExecuting(tool_call_id=call, tool="search"))


def closing(life: Lifecycle) -> list[Event]:
    ends = [Event(tool_completed=ToolCompleted(tool_call_id=call, tool=name)) for call, name in life.open_tools.items()]
    return [*ends, fatal()]
