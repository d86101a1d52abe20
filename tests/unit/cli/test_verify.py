"""What `runcast verify` says of an outcome: to people, and to programs."""

import msgspec

from runcast.cli.verify import MEANINGS, report, table
from runcast.testkit.checker import check
from runcast.testkit.trial import Outcome, TrialSettings
from runcast.testkit.verdict import ANOMALIES
from tests.unit.testkit.stories import Story, change, clean_story, events_of, is_frame


def outcome(story: Story) -> Outcome:
    return Outcome(check(story.records), story.records, (), 1.25)


def spoiled() -> Story:
    story = clean_story()
    change(story, is_frame("d1", 8), events_of(lambda events: [*events, events[-1]]))
    return story


def test_every_anomaly_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ANOMALIES)


def test_people_see_what_was_found_where_it_is_counted() -> None:
    lines = table(outcome(spoiled()))
    at = next(n for n, line in enumerate(lines) if " duplicated " in line)
    assert lines[at].startswith("  !      1  duplicated")
    assert "r.1.7" in lines[at + 1]
    assert lines[-1] == "NOT every promise was kept."
    assert all(len(line) <= 120 for line in lines if "e.g." not in line)


def test_people_see_that_all_is_well_and_what_was_not_measured() -> None:
    lines = table(outcome(clean_story()))
    assert not any("!" in line for line in lines)
    assert any(line.split()[:4] == ["cancel", "0", "-", "-"] for line in lines)
    assert lines[-1] == "Every promise was kept."


def test_a_trial_without_its_end_proves_nothing() -> None:
    story = clean_story()
    story.records.pop()
    assert table(outcome(story))[-1] == "The trial did not end."


def test_programs_get_every_count() -> None:
    told = msgspec.json.decode(msgspec.json.encode(report(TrialSettings(seed=3), outcome(spoiled()))))
    assert set(ANOMALIES) < set(told)
    assert (told["seed"], told["clean"], told["duplicated"], told["settle_s"]) == (3, False, 1, 1.2)
    assert told["receipt_ms"] == {"count": 1, "p50": 3.0, "p99": 3.0, "max": 3.0}
    assert "r.1.7" in told["examples"]["duplicated"][0]
