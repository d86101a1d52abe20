"""The life of a run: tests generated from the table itself, and a plain model beside it."""

import itertools

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runcast.v1 import event_pb2
from runcast.v1.event_pb2 import Event
from runcast.wire import limits
from runcast.wire.errors import LifecycleError
from runcast.wire.eventjson import KINDS
from runcast.wire.lifecycle import CRITICAL_EXEMPT, RUN_ENDS, TABLE, Lifecycle, State, Step, ends_run, step_of

STEPS: dict[str, Step] = {
    "agent_started": Step.START,
    "agent_thinking": Step.WORK,
    "tool_executing": Step.TOOL_BEGIN,
    "tool_completed": Step.TOOL_END,
    "agent_response": Step.WORK,
    "agent_completed": Step.END,
    "agent_error": Step.WORK,
    "agent_error/degraded": Step.WORK,
    "agent_error/fatal": Step.END,
    "user_message": Step.WORK,
    "run_cancelled": Step.END,
    "run_lost": Step.LOST,
    "input_requested": Step.WORK,
    "input_resolved": Step.WORK,
    "custom": Step.WORK,
    "": Step.WORK,  # a kind of a later version
}
"""What each kind does, written out once more, independently of the room."""


def make(kind: str, call: str = "c") -> Event:
    event = Event(id="e")
    if not kind:
        return Event.FromString(event.SerializeToString() + b"\x8a\x02\x00")
    name, _, severity = kind.partition("/")
    getattr(event, name).SetInParent()
    if severity:
        event.agent_error.severity = event_pb2.Severity.Value(f"SEVERITY_{severity.upper()}")
    if name == "tool_executing":
        event.tool_executing.tool_call_id = call
        event.tool_executing.tool = f"tool-{call}"
    elif name == "tool_completed":
        event.tool_completed.tool_call_id = call
    return event


def life_in(state: State) -> Lifecycle:
    life = Lifecycle(midway=state is State.MIDWAY)
    if state in (State.OPEN, State.ENDED):
        life.advance(make("agent_started"))
    if state is State.ENDED:
        life.advance(make("agent_completed"))
    assert life.state is state
    return life


def test_every_kind_has_its_step() -> None:
    assert {kind.partition("/")[0] for kind in STEPS if kind} == set(KINDS)
    for kind, step in STEPS.items():
        assert step_of(make(kind)) is step, kind
        assert ends_run(make(kind)) == (step in (Step.END, Step.LOST)), kind


def test_the_sets_of_kinds_agree_with_the_steps() -> None:
    assert {kind for kind in KINDS if ends_run(make(kind))} == RUN_ENDS
    assert set(KINDS) >= CRITICAL_EXEMPT
    assert not any(ends_run(make(kind)) for kind in CRITICAL_EXEMPT)


def test_the_table_is_total_and_ended_is_the_end() -> None:
    assert set(TABLE) == set(State)
    assert TABLE[State.ENDED] == {}
    assert all(state is not State.NEW for row in TABLE.values() for state in row.values())
    assert TABLE[State.MIDWAY].keys() == TABLE[State.OPEN].keys()


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(State, STEPS)))
def test_every_kind_in_every_state(state: State, kind: str) -> None:
    """Generated from TABLE: a step that it has leads where it says, any other is refused and changes nothing."""
    life, event, step = life_in(state), make(kind), STEPS[kind]
    if step is Step.TOOL_END and state is State.OPEN:
        life.advance(make("tool_executing"))
    after = TABLE[state].get(step)
    if after is None:
        tools = life.open_tools
        with pytest.raises(LifecycleError) as caught:
            life.advance(event)
        assert ";" in caught.value.message  # what is wrong; what to do
        assert "None" not in caught.value.message
        assert life.state is state
        assert life.open_tools == tools
        with pytest.raises(LifecycleError):
            life.check(event)
    else:
        assert life.check(event) is step
        assert life.state is state
        life.advance(event)
        assert life.state is after


@pytest.mark.parametrize("end", ["agent_completed", "agent_error/fatal", "run_cancelled"])
@pytest.mark.parametrize("midway", [False, True])
def test_a_run_cannot_end_with_a_tool_open(end: str, *, midway: bool) -> None:
    life = life_in(State.MIDWAY if midway else State.OPEN)
    life.advance(make("tool_executing", "b"))
    life.advance(make("tool_executing", "a"))
    with pytest.raises(LifecycleError, match=r"tool-a, tool-b"):
        life.advance(make(end))
    assert list(life.open_tools.items()) == [("b", "tool-b"), ("a", "tool-a")]
    life.advance(make("tool_completed", "b"))
    life.advance(make("tool_completed", "a"))
    life.advance(make(end))
    assert life.state is State.ENDED


def test_a_lost_run_may_leave_tools_open() -> None:
    life = life_in(State.OPEN)
    life.advance(make("tool_executing"))
    life.advance(make("run_lost"))
    assert life.state is State.ENDED
    assert life.open_tools == {}


@pytest.mark.parametrize(
    ("before", "kind", "call", "says"),
    [
        ([], "tool_completed", "x", "'x' is not open"),
        ([], "tool_completed", "", "'' is not open"),
        ([], "tool_executing", "", "no tool_call_id"),
        (["x"], "tool_executing", "x", "'x' is open already"),
        (["x"], "tool_completed", "X", "'X' is not open"),
    ],
)
def test_tools_come_in_pairs(before: list[str], kind: str, call: str, says: str) -> None:
    life = life_in(State.OPEN)
    for begun in before:
        life.advance(make("tool_executing", begun))
    with pytest.raises(LifecycleError) as caught:
        life.advance(make(kind, call))
    assert says in caught.value.message
    assert list(life.open_tools) == before


def test_a_completed_call_id_may_be_used_again() -> None:
    life = life_in(State.OPEN)
    for kind in ("tool_executing", "tool_completed", "tool_executing", "tool_completed", "agent_completed"):
        life.advance(make(kind))


def test_midway_believes_completions_but_not_nameless_ones() -> None:
    life = life_in(State.MIDWAY)
    life.advance(make("tool_completed", "begun before"))
    with pytest.raises(LifecycleError):
        life.advance(make("tool_completed", ""))
    with pytest.raises(LifecycleError, match="started already"):
        life.advance(make("agent_started"))
    life.advance(make("agent_completed"))
    assert life.state is State.ENDED


def test_open_tools_are_bounded() -> None:
    life = life_in(State.OPEN)
    for number in range(limits.OPEN_TOOLS_MAX):
        life.advance(make("tool_executing", str(number)))
    with pytest.raises(LifecycleError, match="complete some first"):
        life.advance(make("tool_executing", "one more"))
    life.advance(make("tool_completed", "0"))
    life.advance(make("tool_executing", "one more"))


def test_copies_and_views_are_independent() -> None:
    life = life_in(State.OPEN)
    life.advance(make("tool_executing", "a"))
    twin = life.copy()
    assert (twin.state, twin.open_tools) == (life.state, life.open_tools)
    twin.advance(make("tool_executing", "b"))
    twin.advance(make("run_lost"))
    assert (life.state, list(life.open_tools)) == (State.OPEN, ["a"])
    life.advance(make("tool_completed", "a"))
    life.open_tools["x"] = "y"
    assert life.open_tools == {}
    assert life_in(State.MIDWAY).copy().state is State.MIDWAY


class AnyLife(RuleBasedStateMachine):
    """Random events against the rules of the header, told once more in plain words."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Lifecycle()
        self.started = self.ended = False
        self.calls: list[str] = []

    @rule(kind=st.sampled_from(sorted(STEPS)), call=st.sampled_from(["", "a", "b"]))
    def event(self, kind: str, call: str) -> None:
        if self.ended:
            allowed = False
        elif kind == "run_lost":
            allowed = True
        elif kind == "agent_started":
            allowed = not self.started
        elif not self.started:
            allowed = False
        elif kind == "tool_executing":
            allowed = call != "" and call not in self.calls
        elif kind == "tool_completed":
            allowed = call in self.calls
        elif kind in ("agent_completed", "run_cancelled", "agent_error/fatal"):
            allowed = not self.calls
        else:
            allowed = True
        try:
            self.life.advance(make(kind, call))
        except LifecycleError:
            assert not allowed, f"{kind} {call} was refused"
            return
        assert allowed, f"{kind} {call} was taken"
        self.started = True
        if kind == "tool_executing":
            self.calls.append(call)
        elif kind == "tool_completed":
            self.calls.remove(call)
        elif kind in ("agent_completed", "run_cancelled", "agent_error/fatal", "run_lost"):
            self.ended, self.calls = True, []

    @rule()
    def go_on_with_a_copy(self) -> None:
        self.life = self.life.copy()

    @invariant()
    def same(self) -> None:
        assert list(self.life.open_tools) == self.calls
        assert self.life.state is (State.ENDED if self.ended else State.OPEN if self.started else State.NEW)


TestAnyLife = AnyLife.TestCase
