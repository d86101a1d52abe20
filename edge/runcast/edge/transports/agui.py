"""A run as AG-UI events (the Agent-User Interaction Protocol, docs.ag-ui.com, 1.0), for front ends that speak it. Pure.

Theory. AG-UI tells of one run: RUN_STARTED, what happens, then RUN_FINISHED or RUN_ERROR, and nothing after. What is begun must be ended
before the run is: a text message, a step of reasoning, a tool call. A Runcast run says the same in other words, and `_TABLE` is the
dictionary:

    agent_started     RUN_STARTED; of a further attempt: what is open is ended, CUSTOM runcast.attempt
    agent_thinking    REASONING_* with its text, if it says another than before; ACTIVITY_SNAPSHOT with progress, if it has any
    tool_executing    TOOL_CALL_START, TOOL_CALL_ARGS, TOOL_CALL_END (its arguments are whole)
    tool_completed    TOOL_CALL_RESULT
    agent_response    TEXT_MESSAGE_START when the message is new, TEXT_MESSAGE_CONTENT, TEXT_MESSAGE_END with its final piece
    agent_completed   RUN_FINISHED, outcome success
    run_cancelled     RUN_FINISHED, outcome cancelled
    run_lost          RUN_ERROR, code run_lost
    agent_error       fatal: RUN_ERROR; else CUSTOM runcast.error
    input_requested, input_resolved    CUSTOM runcast.input_requested, runcast.input_resolved
    custom            CUSTOM with its own name

Ids are unique in a thread, not in a run only: `<run>.<attempt>.<id>`. A tool call's has, before its own, the seq with which it began: a
`tool_call_id` may be used again after its call's end, and AG-UI's readers take one id for one call, and join the arguments.

Rules: events come in the order of the stream; those of other runs, of superseded attempts, and repeats are left out. Before the run's end
everything that is open is ended: a call that got no result gets one that says so.
Invariants: the first event is RUN_STARTED; every START has its END; nothing follows the run's end. `again` is the beginning of another
stream for a reader that has seen the run up to here: a message that is open is begun again under its id, and goes on where it was.

What goes out are plain dicts, ready for JSON. Imports no asyncio, clock, randomness, logs.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from runcast.v1 import event_pb2
from runcast.v1.event_pb2 import Event
from runcast.wire import eventjson
from runcast.wire.lifecycle import ends_run

PROTOCOL_VERSION: Final = "1.0"
"""Of AG-UI, said in RUN_STARTED."""

PROGRESS: Final = "RUNCAST_PROGRESS"
"""Type of the activity that says how far a run is; its content is agent_thinking's own fields."""

AguiEvent = dict[str, Any]


class AguiRun:
    """Translates one run.

    Args:
        run_id: of the run.

    Attributes:
        ended: its end was told; nothing more comes.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.ended = False
        self._thread = ""
        self._parent = ""
        self._attempt = 0
        self._seq = 0
        self._thought = ""
        self._messages: dict[str, str] = {}  # text so far, of those that are open
        self._begun: dict[str, int] = {}  # by a message's own id: how often its text was replaced
        self._calls: dict[str, str] = {}  # by a call's own id: its id here; of those without a result so far

    @property
    def started(self) -> bool:
        """Something of the run was seen."""
        return self._attempt > 0

    def translate(self, event: Event) -> list[AguiEvent]:
        """What the next event of the stream says in AG-UI's words; nothing for what is not of this run, or was told."""
        if event.run_id != self.run_id or self.ended or event.attempt < self._attempt:
            return []
        if event.attempt == self._attempt and event.seq <= self._seq:
            return []
        told = self._begin(event) if event.attempt > self._attempt else []
        self._seq = event.seq
        kind = event.WhichOneof("kind") or ""
        if ends_run(event):
            told += self._end_open()
            self.ended = True
        told += _TABLE[kind](self, event) if kind in _TABLE else []
        for each in told:
            each["timestamp"] = event.time_unix_ms
        return told

    def again(self) -> list[AguiEvent]:
        """What a new stream begins with, for a reader that has seen the run up to here; nothing when that was its end."""
        if self.ended or not self.started:
            return []
        return [self._run_started(), *(_message("START", message, role="assistant") for message in self._messages)]

    # --- the run's beginning and end ---

    def _begin(self, event: Event) -> list[AguiEvent]:
        if self.started:
            told = [*self._end_open(), _custom("runcast.attempt", {"attempt": event.attempt})]
        else:
            self._thread, self._parent = event.thread, event.parent_run_id
            told = [self._run_started()]
        self._attempt, self._seq, self._thought = event.attempt, 0, ""
        self._begun.clear()
        return told

    def _run_started(self) -> AguiEvent:
        told = {"type": "RUN_STARTED", "threadId": self._thread, "runId": self.run_id, "protocolVersion": PROTOCOL_VERSION}
        return {**told, "parentRunId": self._parent} if self._parent else told

    def _run_finished(self, outcome: str, result: object = None) -> list[AguiEvent]:
        told = {"type": "RUN_FINISHED", "threadId": self._thread, "runId": self.run_id, "outcome": {"type": outcome}}
        return [told if result is None else {**told, "result": result}]

    def _end_open(self) -> list[AguiEvent]:
        told = [_message("END", message) for message in self._messages]
        told += [_result(call, "the run ended without saying what became of this call", "unknown") for call in self._calls.values()]
        self._messages.clear()
        self._calls.clear()
        return told

    # --- kinds ---

    def _thinking(self, event: Event) -> list[AguiEvent]:
        told: list[AguiEvent] = []
        text = event.agent_thinking.text
        if text and text != self._thought:
            self._thought, span = text, self._id(f"thinking.{event.seq}")
            told = [
                {"type": "REASONING_START", "messageId": span},
                {"type": "REASONING_MESSAGE_START", "messageId": span, "role": "reasoning"},
                {"type": "REASONING_MESSAGE_CONTENT", "messageId": span, "delta": text},
                {"type": "REASONING_MESSAGE_END", "messageId": span},
                {"type": "REASONING_END", "messageId": span},
            ]
        said = _data(event)
        if "progress" in said or "step" in said or "remaining_ms" in said:
            told.append(
                {
                    "type": "ACTIVITY_SNAPSHOT",
                    "messageId": self._id("progress"),
                    "activityType": "RUNCAST_PROGRESS",
                    "content": said,
                    "replace": True,
                }
            )
        return told

    def _tool_executing(self, event: Event) -> list[AguiEvent]:
        call = event.tool_executing
        name = self._calls[call.tool_call_id] = self._id(f"{event.seq}.{call.tool_call_id}")
        begin: AguiEvent = {"type": "TOOL_CALL_START", "toolCallId": name, "toolCallName": call.tool}
        end = {"type": "TOOL_CALL_END", "toolCallId": name}
        if call.purpose:
            begin["metadata"] = {"runcast": {"purpose": call.purpose}}
        return [begin, {"type": "TOOL_CALL_ARGS", "toolCallId": name, "delta": call.args_json.decode() or "{}"}, end]

    def _tool_completed(self, event: Event) -> list[AguiEvent]:
        call = event.tool_completed
        name = self._calls.pop(call.tool_call_id, self._id(call.tool_call_id))  # its beginning may have left the log
        return [_result(name, call.error or call.result_json.decode(), str(_data(event).get("status", "ok")), call.duration_ms)]

    def _response(self, event: Event) -> list[AguiEvent]:
        said = event.agent_response
        message = self._message_id(said.message_id)
        told: list[AguiEvent] = []
        delta = said.text
        if said.mode == event_pb2.TEXT_MODE_WHOLE and said.message_id in self._begun:
            before = self._messages.get(message)
            if before is not None and said.text.startswith(before):
                delta = said.text[len(before) :]
            else:  # AG-UI can't take text back: what was said ends, and another message has the new text
                if before is not None:
                    told = [_message("END", message)]
                    del self._messages[message]
                self._begun[said.message_id] += 1
                message = self._message_id(said.message_id)
        self._begun.setdefault(said.message_id, 0)
        if message not in self._messages:
            self._messages[message] = ""
            told.append(_message("START", message, role="assistant"))
        self._messages[message] += delta
        if delta:
            told.append(_message("CONTENT", message, delta=delta))
        if said.final:
            told.append(_message("END", message))
            del self._messages[message]
        return told

    def _completed(self, event: Event) -> list[AguiEvent]:
        data = _data(event)
        return self._run_finished("success", data.get("result", data.get("summary")))

    def _error(self, event: Event) -> list[AguiEvent]:
        error = event.agent_error
        if error.severity != event_pb2.SEVERITY_FATAL:
            return [_custom("runcast.error", _data(event))]
        return [{"type": "RUN_ERROR", "message": error.message, "code": error.category or "unknown"}]

    def _lost(self, event: Event) -> list[AguiEvent]:
        return [{"type": "RUN_ERROR", "message": event.run_lost.reason or "the agent went away and did not come back", "code": "run_lost"}]

    def _cancelled(self, _: Event) -> list[AguiEvent]:
        return self._run_finished("cancelled")

    # --- ids ---

    def _id(self, own: str) -> str:
        return f"{self.run_id}.{self._attempt}.{own}"

    def _message_id(self, own: str) -> str:
        again = self._begun.get(own, 0)
        return self._id(f"{own}.{again}" if again else own)


def _message(what: str, message_id: str, **rest: str) -> AguiEvent:
    return {"type": f"TEXT_MESSAGE_{what}", "messageId": message_id, **rest}


def _custom(name: str, value: object) -> AguiEvent:
    return {"type": "CUSTOM", "name": name, "value": value}


def _result(call: str, content: str, status: str, duration_ms: int = 0) -> AguiEvent:
    told = {"type": "TOOL_CALL_RESULT", "messageId": f"{call}.result", "toolCallId": call, "content": content, "role": "tool"}
    return {**told, "metadata": {"runcast": {"status": status, "duration_ms": duration_ms}}}


def _data(event: Event) -> dict[str, Any]:
    """The kind's own fields, as everywhere in Runcast's JSON."""
    data = msgspec.json.decode(msgspec.json.encode(eventjson.event_to_json(event).data))
    assert isinstance(data, dict)  # noqa: S101 # the table of kinds says so
    return data


_TABLE: Final[dict[str, Callable[[AguiRun, Event], list[AguiEvent]]]] = {
    "agent_thinking": AguiRun._thinking,
    "tool_executing": AguiRun._tool_executing,
    "tool_completed": AguiRun._tool_completed,
    "agent_response": AguiRun._response,
    "agent_completed": AguiRun._completed,
    "agent_error": AguiRun._error,
    "run_cancelled": AguiRun._cancelled,
    "run_lost": AguiRun._lost,
    "input_requested": lambda _, event: [_custom("runcast.input_requested", _data(event))],
    "input_resolved": lambda _, event: [_custom("runcast.input_resolved", _data(event))],
    "custom": lambda _, event: [_custom(event.custom.name, _data(event).get("data"))],
}
