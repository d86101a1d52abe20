"""The fence: what one reader calls superseded every reader of the whole log does, wherever it began, in whatever order it learned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.v1.event_pb2 import AgentCompleted, AgentStarted, AgentThinking, Event, RunLost
from runcast.wire import limits
from runcast.wire.fence import Fence

MAKE = {
    "started": lambda: Event(agent_started=AgentStarted()),
    "work": lambda: Event(agent_thinking=AgentThinking()),
    "lost": lambda: Event(run_lost=RunLost()),
    "completed": lambda: Event(agent_completed=AgentCompleted()),
}


def event(kind: str, attempt: int = 1, run_id: str = "r") -> Event:
    made = MAKE[kind]()
    made.run_id, made.attempt = run_id, attempt
    return made


entries = st.builds(event, st.sampled_from(list(MAKE)), st.integers(1, 4), st.sampled_from("rs"))
logs = st.lists(st.lists(entries, min_size=1, max_size=3), max_size=25)


def full_reader(log: list[list[Event]]) -> dict[int, list[bool]]:
    """By definition: void is what follows a higher attempt's start, or the loss of its own or a higher attempt, in an earlier batch."""
    void = {}
    for seq, batch in enumerate(log):
        before = [old for earlier in log[:seq] for old in earlier]
        void[seq] = [
            any(
                old.run_id == new.run_id
                and (
                    (old.WhichOneof("kind") == "agent_started" and old.attempt > new.attempt)
                    or (old.WhichOneof("kind") == "run_lost" and old.attempt >= new.attempt)
                )
                for old in before
            )
            for new in batch
        ]
    return void


@given(logs)
def test_a_reader_of_the_whole_log_leaves_out_what_is_void_and_nothing_else(log: list[list[Event]]) -> None:
    fence, void = Fence(), full_reader(log)
    for seq, batch in enumerate(log):
        assert fence.pass_on(batch, seq) == [one for one, gone in zip(batch, void[seq], strict=True) if not gone]


@given(logs, st.data())
def test_readers_agree_from_wherever_they_began(log: list[list[Event]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(log)))
    fence, void, since = Fence(), full_reader(log), full_reader(log[start:])
    for seq in range(start, len(log)):
        passed = fence.pass_on(log[seq], seq)
        kept = iter(passed)
        for one, gone, known in zip(log[seq], void[seq], since[seq - start], strict=True):
            left_out = fence.superseded(one.run_id, one.attempt, seq)
            assert left_out == known  # it knows all that lies since its beginning
            assert gone or not left_out  # and never leaves out what counts
            if not left_out:
                assert next(kept) is one


@given(logs, st.data())
def test_it_does_not_matter_in_which_order_or_how_often_the_log_is_learned(log: list[list[Event]], data: st.DataObject) -> None:
    order = data.draw(st.permutations([*range(len(log)), *range(len(log))]))
    fence, void = Fence(), full_reader(log)
    for seq in order:
        fence.pass_on(log[seq], seq)
    for seq, batch in enumerate(log):
        assert [fence.superseded(one.run_id, one.attempt, seq) for one in batch] == void[seq]


@given(logs, st.integers(1, 2), st.integers(1, 3))
def test_what_is_forgotten_is_shown_never_the_other_way_round(log: list[list[Event]], runs_max: int, attempts_max: int) -> None:
    fence, void = Fence(runs_max=runs_max, attempts_max=attempts_max), full_reader(log)
    for seq, batch in enumerate(log):
        fence.pass_on(batch, seq)
        for one, gone in zip(batch, void[seq], strict=True):
            assert gone or not fence.superseded(one.run_id, one.attempt, seq)


@pytest.mark.parametrize(
    ("run_id", "attempt", "seq", "void"), [("r", 1, 11, True), ("r", 1, 10, False), ("r", 1, 9, False), ("r", 2, 11, False)]
)
def test_the_fence_stands_at_a_place_in_the_log(run_id: str, attempt: int, seq: int, void: bool) -> None:
    fence = Fence()
    fence.note(event("started", 2), 10)
    assert fence.superseded(run_id, attempt, seq) is void
    assert not fence.superseded("other", attempt, seq)


def test_a_lost_attempt_s_late_events_are_void_and_the_next_attempt_s_are_not() -> None:
    fence = Fence()
    assert len(fence.pass_on([event("work"), event("lost")], 5)) == 2
    assert fence.pass_on([event("work")], 6) == []
    assert len(fence.pass_on([event("started", 2), event("work", 2)], 7)) == 2


def test_first_attempts_cost_nothing_and_memory_is_bounded() -> None:
    fence = Fence()
    for number in range(3 * limits.FENCE_RUNS_MAX):
        fence.note(event("started", 1, f"r{number}"), number)
    assert not fence._runs
    for number in range(3 * limits.FENCE_RUNS_MAX):
        for attempt in range(2, 3 * limits.FENCE_ATTEMPTS_MAX if number == 0 else 3):
            fence.note(event("started", attempt, f"r{number}"), number)
    assert len(fence._runs) == limits.FENCE_RUNS_MAX
    assert all(len(fences) <= limits.FENCE_ATTEMPTS_MAX for fences in fence._runs.values())
