"""What a person sees of a stream: runs with their tools, messages, errors and progress, and what users said. Pure.

The reference that tests, checkers and the browser client (`runs.js`) agree on: transcripts under `tests/vectors` are replayed by both.

Rules: the same events in the same order give the same state. Applying is idempotent: an event that was applied already, or whose whole
range (`first_seq` to `seq`) was, changes nothing. A higher attempt replaces what a lower one showed, in its place, and drops what
comes of it later. Nothing follows a run's end. A reader may begin in the middle of a run, and shows what it can.
Invariants: `timeline` holds every run once, at the place of its first event; `items` are in the order in which they began.
As JSON (`state`) names are written in camelCase and values that are absent are left out, as the browser client has them.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from runcast.v1.event_pb2 import Event
from runcast.wire.eventjson import EventJson, event_to_json
from runcast.wire.frames import Batch, ServerFrame, Welcome

Value = Any | msgspec.UnsetType
"""A JSON value that an agent gave, or nothing."""


class _Shown(msgspec.Struct, rename="camel", tag_field="type"):
    pass


class Tool(_Shown, tag="tool"):
    """A tool call."""

    call_id: str
    tool: str
    purpose: str = ""
    args: Value = msgspec.UNSET
    status: str = "running"
    result: Value = msgspec.UNSET
    error: str = ""
    estimate_ms: int | None = None
    duration_ms: int | None = None
    started_at: int | None = None


class Message(_Shown, tag="message"):
    """Text for the user."""

    id: str
    text: str = ""
    final: bool = False


class RunError(_Shown, tag="error"):
    """Something failed."""

    severity: str
    category: str
    message: str
    suggestions: list[str]
    retrying: bool
    retry_after_ms: int | None


class InputRequest(_Shown, tag="input"):
    """The run asked the user. `status`: open, answered, defaulted or withdrawn; a run that ended asks no more."""

    request_id: str
    input_type: str
    prompt: str
    options: list[str]
    default: Value
    expires_at: int | None
    status: str = "open"
    value: Value = msgspec.UNSET
    device: str = ""


class CustomItem(_Shown, tag="custom"):
    """An application's own."""

    name: str
    data: Value


Item = Tool | Message | RunError | InputRequest | CustomItem


class Thinking(msgspec.Struct, rename="camel"):
    """What a run is occupied with."""

    text: str
    progress: float | None
    step: int
    steps: int
    urgency: str
    remaining_ms: int | None


class Run(_Shown, tag="run"):
    """One run, its newest attempt."""

    id: str
    attempt: int
    agent: str
    thread: str
    parent_run_id: str
    seq: int = 0
    title: str = ""
    reply_to: str = ""
    input: Value = msgspec.UNSET
    status: str = "running"
    started_at: int | None = None
    ended_at: int | None = None
    thinking: Thinking | None = None
    items: list[Item] = []
    tools: list[Tool] = []
    messages: list[Message] = []
    errors: list[RunError] = []
    requests: list[InputRequest] = []
    summary: str = ""
    result: Value = msgspec.UNSET
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come of it."""
        return self.status not in ("running", "waiting")

    @property
    def open_requests(self) -> list[InputRequest]:
        """What it asks the user just now, oldest first."""
        return [request for request in self.requests if request.status == "open"]


class UserMessage(_Shown, tag="user"):
    """What a user said."""

    id: str
    text: str
    data: Value
    device: str
    group: str
    thread: str
    at: int


class Runs:
    """State of one stream.

    Attributes:
        timeline: runs and user messages, in the order of the stream.
    """

    def __init__(self) -> None:
        self.timeline: list[Run | UserMessage] = []
        self._runs: dict[str, Run] = {}
        self._places: dict[str, int] = {}
        self._said: set[str] = set()

    def get(self, run_id: str) -> Run | None:
        """A run by its id."""
        return self._runs.get(run_id)

    @property
    def open(self) -> list[Run]:
        """Runs that have not ended, oldest first."""
        return [run for run in self._runs.values() if not run.ended]

    def reset(self) -> None:
        """Drop everything: the stream begins anew."""
        self.timeline.clear()
        self._runs.clear()
        self._places.clear()
        self._said.clear()

    def apply(self, event: Event) -> bool:
        """Take the next event of the stream.

        Returns:
            False when it is a repeat, of a superseded attempt, or after its run's end, and so changes nothing.
        """
        form = event_to_json(event)
        if form.kind == "user_message":
            return self._say(form)
        if not form.run_id:
            return True
        run = self._runs.get(form.run_id)
        if run is None or form.attempt > run.attempt:
            run = self._begin(form)
        elif form.attempt < run.attempt or run.ended or (form.seq and form.seq <= run.seq):
            return False
        run.seq = max(run.seq, form.seq)
        if run.status == "waiting":
            run.status = "running"
        step = _STEPS.get(form.kind)
        if step is not None:
            step(run, form)
        return True

    def receive(self, frame: ServerFrame) -> None:
        """Take a frame of a device's session, as far as it says anything of the stream."""
        if isinstance(frame, Welcome) and frame.outcome != "resumed":
            self.reset()
        elif isinstance(frame, Batch):
            for event in frame.events:
                self.apply(event)

    def state(self) -> list[dict[str, Any]]:
        """The timeline as JSON values."""
        value: list[dict[str, Any]] = msgspec.to_builtins(self.timeline)
        return value

    def _begin(self, form: EventJson) -> Run:
        run = Run(form.run_id, form.attempt, form.agent, form.thread, form.parent_run_id)
        place = self._places.setdefault(run.id, len(self.timeline))
        self.timeline[place : place + 1] = [run]
        self._runs[run.id] = run
        return run

    def _say(self, form: EventJson) -> bool:
        if form.id in self._said:
            return False
        self._said.add(form.id)
        data = form.data
        said = UserMessage(
            form.id,
            data.get("text", ""),
            _value(data, "data"),
            data.get("device", ""),
            data.get("group", ""),
            form.thread,
            form.time_unix_ms,
        )
        self.timeline.append(said)
        return True


def reduce_events(events: Iterable[Event]) -> Runs:
    """The state after `events`."""
    runs = Runs()
    for event in events:
        runs.apply(event)
    return runs


def reduce_frames(frames: Iterable[ServerFrame]) -> Runs:
    """The state of a device that got `frames`."""
    runs = Runs()
    for frame in frames:
        runs.receive(frame)
    return runs


def _value(data: dict[str, Any], name: str) -> Value:
    raw = data.get(name)
    return msgspec.UNSET if raw is None else msgspec.json.decode(raw)


# --- what each kind does ---


def _started(run: Run, form: EventJson) -> None:
    run.title = form.data.get("title", "")
    run.reply_to = form.data.get("reply_to", "")
    run.input = _value(form.data, "input")
    run.started_at = form.time_unix_ms


def _thought(run: Run, form: EventJson) -> None:
    data = form.data
    run.thinking = Thinking(
        data.get("text", ""),
        data.get("progress"),
        data.get("step", 0),
        data.get("steps", 0),
        data.get("urgency", "normal"),
        data.get("remaining_ms"),
    )


def _tool(run: Run, form: EventJson) -> Tool:
    call_id = form.data.get("tool_call_id", "")
    for known in reversed(run.tools):
        if known.call_id == call_id and known.status == "running":  # after its call's end an id may be used again
            return known
    tool = Tool(call_id, form.data.get("tool", ""))
    run.tools.append(tool)
    run.items.append(tool)
    return tool


def _tool_began(run: Run, form: EventJson) -> None:
    tool = _tool(run, form)
    tool.args = _value(form.data, "args")
    tool.purpose = form.data.get("purpose", "")
    tool.estimate_ms = form.data.get("estimate_ms")
    tool.started_at = form.time_unix_ms


def _tool_ended(run: Run, form: EventJson) -> None:
    tool = _tool(run, form)
    tool.status = form.data.get("status", "ok")
    tool.result = _value(form.data, "result")
    tool.error = form.data.get("error", "")
    tool.duration_ms = form.data.get("duration_ms", 0)


def _responded(run: Run, form: EventJson) -> None:
    message_id, text = form.data.get("message_id", ""), form.data.get("text", "")
    message = next((known for known in reversed(run.messages) if known.id == message_id), None)
    if message is None:
        message = Message(message_id)
        run.messages.append(message)
        run.items.append(message)
    message.text = message.text + text if form.data.get("mode") == "delta" else text
    message.final = form.data.get("final", False)


def _failed(run: Run, form: EventJson) -> None:
    data = form.data
    error = RunError(
        data.get("severity", ""),
        data.get("category", ""),
        data.get("message", ""),
        data.get("suggestions", []),
        data.get("retrying", False),
        data.get("retry_after_ms"),
    )
    run.errors.append(error)
    run.items.append(error)
    if error.severity == "fatal":
        _end(run, "failed", form)


def _completed(run: Run, form: EventJson) -> None:
    run.summary = form.data.get("summary", "")
    run.result = _value(form.data, "result")
    _end(run, "completed", form)


def _cancelled(run: Run, form: EventJson) -> None:
    run.reason = form.data.get("reason", "")
    _end(run, "cancelled", form)


def _lost(run: Run, form: EventJson) -> None:
    run.reason = form.data.get("reason", "")
    _end(run, "lost", form)


def _asked(run: Run, form: EventJson) -> None:
    data = form.data
    request = InputRequest(
        data.get("request_id", ""),
        data.get("type", ""),
        data.get("prompt", ""),
        data.get("options", []),
        _value(data, "default"),
        data.get("expires_unix_ms"),
    )
    run.requests.append(request)
    run.items.append(request)
    run.status = "waiting"


def _resolved(run: Run, form: EventJson) -> None:
    request_id = form.data.get("request_id", "")
    request = next((known for known in run.open_requests if known.request_id == request_id), None)
    if request is not None:
        request.status = form.data.get("outcome", "")
        request.value = _value(form.data, "value")
        request.device = form.data.get("device", "")
    if run.open_requests:
        run.status = "waiting"


def _custom(run: Run, form: EventJson) -> None:
    run.items.append(CustomItem(form.data.get("name", ""), _value(form.data, "data")))


def _end(run: Run, status: str, form: EventJson) -> None:
    run.status = status
    run.ended_at = form.time_unix_ms
    run.thinking = None
    for tool in run.tools:
        if tool.status == "running":
            tool.status = "lost"  # nobody knows what became of it
    for request in run.open_requests:
        request.status = "withdrawn"


_STEPS: Final[dict[str, Callable[[Run, EventJson], None]]] = {
    "agent_started": _started,
    "agent_thinking": _thought,
    "tool_executing": _tool_began,
    "tool_completed": _tool_ended,
    "agent_response": _responded,
    "agent_completed": _completed,
    "agent_error": _failed,
    "run_cancelled": _cancelled,
    "run_lost": _lost,
    "input_requested": _asked,
    "input_resolved": _resolved,
    "custom": _custom,
}
