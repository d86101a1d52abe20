"""The life of one attempt of a run: what may follow what.

Theory: a run is NEW until `agent_started`, OPEN while it works, ENDED by exactly one of `agent_completed`, a fatal `agent_error`,
`run_cancelled`, `run_lost`. Tools come in pairs: `tool_completed` closes the `tool_executing` of the same `tool_call_id`, and a run can't
end with a tool open (`run_lost` may: it is written when the agent is gone, and readers close what is open). Nothing follows the end.

A checker that joins in the middle (a router that takes over a stream) begins MIDWAY: like OPEN, but it believes completions of
tools that it did not see begin, since it can't know.

Events of a kind unknown to this version may come anywhere in an OPEN run.

The table below is the whole truth; the tests are generated from it.
"""

import enum
from typing import Final

from runcast.v1.event_pb2 import SEVERITY_FATAL, TEXT_MODE_DELTA, Event
from runcast.wire import limits
from runcast.wire.errors import LifecycleError


class State(enum.Enum):
    """Where an attempt is in its life."""

    __hash__ = object.__hash__  # Enum's own is Python code, and every event asks for it

    NEW = "new"
    OPEN = "open"
    MIDWAY = "midway"
    ENDED = "ended"


class Step(enum.Enum):
    """What an event does to a run."""

    __hash__ = object.__hash__

    START = "start"
    WORK = "work"
    TOOL_BEGIN = "tool_begin"
    TOOL_END = "tool_end"
    END = "end"
    LOST = "lost"


TABLE: Final[dict[State, dict[Step, State]]] = {
    State.NEW: {Step.START: State.OPEN, Step.LOST: State.ENDED},
    State.OPEN: {
        Step.WORK: State.OPEN,
        Step.TOOL_BEGIN: State.OPEN,
        Step.TOOL_END: State.OPEN,
        Step.END: State.ENDED,
        Step.LOST: State.ENDED,
    },
    State.MIDWAY: {
        Step.WORK: State.MIDWAY,
        Step.TOOL_BEGIN: State.MIDWAY,
        Step.TOOL_END: State.MIDWAY,
        Step.END: State.ENDED,
        Step.LOST: State.ENDED,
    },
    State.ENDED: {},
}

_STEPS: Final[dict[str, Step]] = {
    "agent_started": Step.START,
    "tool_executing": Step.TOOL_BEGIN,
    "tool_completed": Step.TOOL_END,
    "agent_completed": Step.END,
    "run_cancelled": Step.END,
    "run_lost": Step.LOST,
}

CRITICAL_EXEMPT: Final = frozenset({"agent_thinking", "agent_response"})
"""The kinds that a device which is behind may get merged; all others arrive one by one."""

RUN_ENDS: Final = frozenset({"agent_completed", "run_cancelled", "run_lost"})
"""The kinds that always end a run; a fatal `agent_error` does too (`ends_run`)."""

_WHY: Final[dict[State, str]] = {
    State.NEW: "the run has not started; emit agent_started first",
    State.OPEN: "the run has started already; emit agent_started once",
    State.MIDWAY: "the run has started already; emit agent_started once",
    State.ENDED: "the run has ended; start another run",
}


def step_of(event: Event) -> Step:
    """What `event` does to its run."""
    kind = event.WhichOneof("kind")
    if kind == "agent_error":
        return Step.END if event.agent_error.severity == SEVERITY_FATAL else Step.WORK
    return _STEPS.get(kind or "", Step.WORK)


def ends_run(event: Event) -> bool:
    """Whether nothing of the attempt follows `event`."""
    return step_of(event) in (Step.END, Step.LOST)


def is_critical(event: Event) -> bool:
    """Whether an event may never be left out or merged: every kind but thinking and text deltas (a message's end is critical)."""
    kind: str | None = event.WhichOneof("kind")
    if kind == "agent_response" and event.agent_response.mode == TEXT_MODE_DELTA and not event.agent_response.final:
        return False
    return kind != "agent_thinking"


class Lifecycle:
    """Checks the events of one attempt, one by one.

    Args:
        midway: True when earlier events of the attempt may exist that this checker has not seen.
    """

    __slots__ = ("_state", "_tools")

    def __init__(self, *, midway: bool = False) -> None:
        self._state = State.MIDWAY if midway else State.NEW
        self._tools: dict[str, str] = {}

    @property
    def state(self) -> State:
        """Where the attempt is now."""
        return self._state

    @property
    def open_tools(self) -> dict[str, str]:
        """Tool name by `tool_call_id`, of the calls that are open, oldest first. A copy."""
        return dict(self._tools)

    def check(self, event: Event) -> Step:
        """Say whether `event` may come next, changing nothing.

        Raises:
            LifecycleError: it may not; the message says why and what to do.
        """
        step = step_of(event)
        if step not in TABLE[self._state]:
            raise LifecycleError(f"{event.WhichOneof('kind') or 'an event of an unknown kind'} can't come here: {_WHY[self._state]}")
        if step is Step.TOOL_BEGIN:
            call = event.tool_executing.tool_call_id
            if not call:
                raise LifecycleError("tool_executing has no tool_call_id; give each call its own")
            if call in self._tools:
                raise LifecycleError(f"tool call {call!r} is open already; give each call its own tool_call_id")
            if len(self._tools) >= limits.OPEN_TOOLS_MAX:
                raise LifecycleError(f"{limits.OPEN_TOOLS_MAX} tool calls are open; complete some first")
        elif step is Step.TOOL_END:
            call = event.tool_completed.tool_call_id
            if not call or (call not in self._tools and self._state is not State.MIDWAY):
                raise LifecycleError(f"tool call {call!r} is not open; emit tool_executing with this tool_call_id first")
        elif step is Step.END and self._tools:
            names = ", ".join(sorted(set(self._tools.values())))
            raise LifecycleError(f"tool calls are still open ({names}); complete them (leave their blocks) before the run's end")
        return step

    def advance(self, event: Event) -> None:
        """Take `event` as the next one.

        Raises:
            LifecycleError: it may not come here; the state is unchanged.
        """
        self.apply(event, self.check(event))

    def apply(self, event: Event, step: Step) -> None:
        """Take `event` as the next one; `step` is what `check` has just said of it."""
        if step is Step.TOOL_BEGIN:
            self._tools[event.tool_executing.tool_call_id] = event.tool_executing.tool
        elif step is Step.TOOL_END:
            self._tools.pop(event.tool_completed.tool_call_id, None)
        elif step is Step.LOST:
            self._tools.clear()
        self._state = TABLE[self._state][step]

    def copy(self) -> "Lifecycle":
        """An independent checker in the same state, for trying a whole batch before taking any of it."""
        twin = Lifecycle()
        twin._state = self._state
        twin._tools = dict(self._tools)
        return twin
