"""The checker and snapshots: what one comes to must be what the stream comes to. And the content of what is shown."""

import pytest

from runcast.testkit.checker import check
from runcast.testkit.history import Framed, Planned, Seen, delta_digest
from runcast.wire.position import SNAPSHOT_EPOCH
from tests.unit.testkit.stories import Story, change, clean_story, events_of, is_frame, only, pos, seen

OPEN_PLAN = ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"]
RUNS = [("o", 1, 3)]
"""What the story's snapshots say is under way."""
ENDED = [seen("r", 1), seen("r", 4, first=2), seen("r", 7, first=5)]
"""What a snapshot gives of run r, which has ended."""


def inside(piece: int) -> str:
    return pos(piece, SNAPSHOT_EPOCH)


def story_with_an_open_run() -> Story:
    """The clean story, and a run o that is under way at 9, and ends at 10."""
    story = clean_story()
    story.records.pop()
    story.plan("u", "o", kinds=OPEN_PLAN)
    for device in ("d1", "d2"):
        story.frame("u", device, 8, 9, *(seen("o", seq, kind=OPEN_PLAN[seq - 1]) for seq in (1, 2, 3)))
    story.ack("u", "o", 3, 9)
    return story


def opened(story: Story, *, runs: list[tuple[str, int, int]] | None = None, **more: object) -> None:
    story.open("u", "d3", 0, 9, "snapshot", wants=True, runs=RUNS if runs is None else runs, **more)
    story.records[-1].position = inside(0)


def piece(story: Story, number: int, *events: Seen, last: int = 0) -> None:
    story.add(Framed, "u", "d3", inside(number), pos(last) if last else inside(number + 1), list(events), 1005)


def under_way(first: int = 0) -> list[Seen]:
    """What a snapshot gives of run o."""
    return [seen("o", seq, kind=OPEN_PLAN[seq - 1], first=first if seq == 3 else 0) for seq in (1, 2, 3)]


def finished(story: Story) -> Story:
    for device in ("d1", "d2", "d3"):
        story.frame("u", device, 9, 10, *(seen("o", seq, kind=OPEN_PLAN[seq - 1]) for seq in (4, 5)))
    story.ack("u", "o", 5, 10)
    story.settle(("u", "d1"), ("u", "d2"), ("u", "d3"))
    return story


def given(ended: list[Seen], said: list[Seen], open_run: list[Seen], runs: list[tuple[str, int, int]] | None = None) -> Story:
    """The story with a snapshot in two pieces."""
    story = story_with_an_open_run()
    opened(story, runs=runs)
    piece(story, 0, *ended)
    piece(story, 1, *said, *open_run, last=9)
    return finished(story)


MESSAGE = [Seen("m", "user_message")]


def test_a_snapshot_in_pieces_that_comes_to_what_the_stream_comes_to() -> None:
    verdict = check(given(ENDED, MESSAGE, under_way()).records)
    assert verdict.clean, verdict.examples
    assert verdict.snapshots == {"whole": 1, "broken_off": 0}


def test_a_snapshot_may_leave_out_all_but_the_newest_thinking_of_an_open_run() -> None:
    started, _, tool = under_way(first=2)
    verdict = check(given(ENDED, MESSAGE, [started, tool]).records)
    assert verdict.clean, verdict.examples


def test_a_snapshot_that_was_broken_off_is_given_anew() -> None:
    story = story_with_an_open_run()
    opened(story)
    piece(story, 0, *ENDED)
    opened(story, asked=inside(1), reason="unfinished")
    piece(story, 0, *ENDED, *MESSAGE, *under_way(), last=9)
    story.open("u", "d3", 9, 9, asked=pos(9), wants=True)
    verdict = check(finished(story).records)
    assert verdict.clean, verdict.examples
    assert (verdict.snapshots, verdict.resets) == ({"whole": 1, "broken_off": 1}, 0)


def test_a_device_may_also_have_the_stream_from_its_beginning_after_half_a_snapshot() -> None:
    story = story_with_an_open_run()
    opened(story)
    piece(story, 0, *ENDED)
    story.open("u", "d3", 0, 9, "reset", asked=inside(1), reason="unfinished")
    story.frame("u", "d3", 0, 8, *(seen("r", seq) for seq in range(1, 6)), *MESSAGE, seen("r", 6), seen("r", 7))
    story.frame("u", "d3", 8, 9, *under_way())
    verdict = check(finished(story).records)
    assert verdict.clean, verdict.examples
    assert verdict.resets == 1


def test_a_device_that_goes_back_behind_a_snapshot_may_be_shown_things_again() -> None:
    story = story_with_an_open_run()
    opened(story)
    piece(story, 0, *ENDED, *MESSAGE, *under_way(), last=9)
    story.open("u", "d3", 4, 9, asked=pos(4), trick="old")
    story.frame("u", "d3", 4, 8, *MESSAGE, seen("r", 6), seen("r", 7))
    story.frame("u", "d3", 8, 9, *under_way())
    verdict = check(finished(story).records)
    assert verdict.clean, verdict.examples


def test_nothing_of_a_superseded_attempt_is_missed_in_a_snapshot() -> None:
    story = story_with_an_open_run()
    story.plan("u", "o", 2, kinds=OPEN_PLAN)
    for device in ("d1", "d2"):
        story.frame("u", device, 9, 10, seen("o", 1, attempt=2, kind="agent_started"))
    opened(story, runs=[("o", 2, 1)])
    piece(story, 0, *ENDED, *MESSAGE, seen("o", 1, attempt=2, kind="agent_started"), last=10)
    for device in ("d1", "d2", "d3"):
        story.frame("u", device, 10, 11, *(seen("o", seq, attempt=2, kind=OPEN_PLAN[seq - 1]) for seq in (2, 3, 4, 5)))
    story.settle(("u", "d1"), ("u", "d2"), ("u", "d3"))
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


# --- one anomaly at a time ---


def test_resumed_from_within_a_snapshot() -> None:
    story = story_with_an_open_run()
    opened(story)
    piece(story, 0, *ENDED)
    story.open("u", "d3", 9, 9, asked=inside(1))
    assert "from within a snapshot" in only(check(finished(story).records), "gaps_unannounced")


def test_a_piece_is_missing() -> None:
    story = story_with_an_open_run()
    opened(story)
    piece(story, 0, *ENDED)
    piece(story, 2, *MESSAGE, *under_way(), last=9)
    assert "held 1 and got" in check(finished(story).records).examples["gaps_unannounced"][0]


def test_a_user_message_is_missing() -> None:
    assert "never shown m," in only(check(given(ENDED, [], under_way()).records), "gaps_unannounced")


def test_a_run_that_ended_is_missing() -> None:
    verdict = check(given([], MESSAGE, under_way()).records)
    assert verdict.anomalies["gaps_unannounced"] == 7, verdict.examples


def test_a_tool_of_an_open_run_is_left_out() -> None:
    story = story_with_an_open_run()
    for device in ("d1", "d2"):
        story.frame("u", device, 9, 10, seen("o", 4, kind="tool_completed"))
    opened(story, runs=[("o", 1, 4)])
    piece(story, 0, *ENDED, *MESSAGE, under_way()[0], seen("o", 4, kind="tool_completed", first=2), last=10)
    for device in ("d1", "d2", "d3"):
        story.frame("u", device, 10, 11, seen("o", 5, kind="agent_completed"))
    story.settle(("u", "d1"), ("u", "d2"), ("u", "d3"))
    verdict = check(story.records)
    assert verdict.anomalies["gaps_unannounced"] >= 1
    assert "without [3]" in verdict.examples["gaps_unannounced"][0]


def test_text_of_a_run_that_ended_is_left_out() -> None:
    verdict = check(given([seen("r", 1), seen("r", 7, first=2)], MESSAGE, under_way()).records)
    assert "without [3, 4]" in verdict.examples["gaps_unannounced"][0]


def test_more_is_given_of_a_run_that_ended_than_belongs_there() -> None:
    ended = [seen("r", 1), seen("r", 4, first=2), seen("r", 5), seen("r", 7, first=6)]
    assert "of a run that has ended" in only(check(given(ended, MESSAGE, under_way()).records), "false_snapshots")


def test_a_superseded_attempt_is_given() -> None:
    story = story_with_an_open_run()
    story.plan("u", "o", 2, kinds=OPEN_PLAN)
    for device in ("d1", "d2"):
        story.frame("u", device, 9, 10, seen("o", 1, attempt=2, kind="agent_started"))
    opened(story, runs=[("o", 2, 1)])
    piece(story, 0, *ENDED, *MESSAGE, under_way()[0], seen("o", 1, attempt=2, kind="agent_started"), last=10)
    for device in ("d1", "d2", "d3"):
        story.frame("u", device, 10, 11, *(seen("o", seq, attempt=2, kind=OPEN_PLAN[seq - 1]) for seq in (2, 3, 4, 5)))
    story.settle(("u", "d1"), ("u", "d2"), ("u", "d3"))
    verdict = check(story.records)
    assert "superseded" in verdict.examples["false_snapshots"][0]


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ([], "o, attempt 1, is not said to be under way, and was"),
        ([*RUNS, ("r", 1, 7)], "r is said to be under way, and had ended at 8"),
        ([("o", 1, 2)], "o is said to be at 1.2, and was at 1.3"),
        ([("o", 2, 3)], "o is said to be at 2.3, and was at 1.3"),
    ],
)
def test_the_summary_is_wrong(runs: list[tuple[str, int, int]], text: str) -> None:
    verdict = check(given(ENDED, MESSAGE, under_way(), runs).records)
    assert any(text in example for example in verdict.examples["false_snapshots"]), verdict.examples


def test_a_run_had_not_begun() -> None:
    story = story_with_an_open_run()
    opened(story, runs=[("o", 1, 3)])
    piece(story, 0, *ENDED, *MESSAGE, last=8)
    story.frame("u", "d3", 8, 9, *under_way())
    verdict = check(finished(story).records)
    assert "had not begun" in "".join(verdict.examples["false_snapshots"])


def test_runs_in_another_order_than_they_began_in() -> None:
    verdict = check(given(MESSAGE, ENDED, under_way()).records)
    assert "other way round" in only(verdict, "reordered")


def test_a_snapshot_that_was_forbidden() -> None:
    story = story_with_an_open_run()
    opened(story)
    story.records[-1].wants = False  # type: ignore[union-attr]
    piece(story, 0, *ENDED, *MESSAGE, *under_way(), last=9)
    assert "forbade" in only(check(finished(story).records), "false_snapshots")


def test_a_reason_to_begin_anew_that_there_was_not() -> None:
    story = story_with_an_open_run()
    opened(story, asked=pos(5), reason="future")
    piece(story, 0, *ENDED, *MESSAGE, *under_way(), last=9)
    assert "snapshot(future)" in only(check(finished(story).records), "false_resets")


def test_what_lies_behind_the_end_of_a_snapshot() -> None:
    story = story_with_an_open_run()
    opened(story, runs=[])
    piece(story, 0, *ENDED, *MESSAGE, seen("o", 1, kind="agent_started"), last=8)
    story.frame("u", "d3", 8, 9, *under_way()[1:])
    verdict = check(finished(story).records)
    assert "o.1.1 lies at 8" in verdict.examples["reordered"][0]


# --- content ---


def with_texts() -> Story:
    """The clean story, where run r says what was planned."""
    story = clean_story()
    for index, record in enumerate(story.records):
        if isinstance(record, Planned) and record.run == "r":
            kinds = [*record.kinds[:-1], "agent_response", "agent_completed"]  # the library's final one never came
            story.records[index] = Planned(t=record.t, user="u", run="r", attempt=1, agent="agent", kinds=kinds, words=2)
        elif isinstance(record, Framed) and record.user == "u":
            for event in record.events:
                event.digest = delta_digest([event.seq], 2) if event.kind == "agent_response" else 77
    return story


def test_texts_are_what_was_emitted_one_by_one_and_merged() -> None:
    story = with_texts()
    verdict = check(story.records)
    assert verdict.clean, verdict.examples
    change(story, is_frame("d2", 3), events_of(lambda events: [seen("r", 4, first=2)]))
    merged = next(record for record in story.records if is_frame("d2", 3)(record))
    assert isinstance(merged, Framed)
    merged.events[0].digest = delta_digest([3, 4], 2)
    verdict = check(story.records)
    assert verdict.clean, verdict.examples
    merged.events[0].digest = delta_digest([4], 2)
    assert "r.1.4, which stands for seqs from 2 on, does not say" in only(check(story.records), "altered")


def test_a_text_that_was_not_emitted() -> None:
    story = with_texts()
    frame = next(record for record in story.records if is_frame("d1", 3)(record))
    frame.events[1].digest += 1  # type: ignore[union-attr]
    assert "r.1.3 does not say to d1 of u what was emitted" in only(check(story.records), "altered")


def test_a_tool_that_is_not_the_same_on_all_devices() -> None:
    story = with_texts()
    frame = next(record for record in story.records if is_frame("d2", 4)(record))
    frame.events[0].digest += 1  # type: ignore[union-attr]
    assert "r.1.5, tool_executing, is not the same for d2 of u" in only(check(story.records), "altered")
