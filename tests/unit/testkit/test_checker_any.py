"""The checker on any clean history, and on any one anomaly in it."""

from hypothesis import given
from hypothesis import strategies as st

from runcast.testkit.checker import check
from runcast.testkit.history import (
    Framed,
    Opened,
    Seen,
)
from tests.unit.testkit.stories import Story, events_of, pos, seen

# --- any clean history, and any one anomaly in it ---


@st.composite
def logs(draw: st.DrawFn) -> Story:
    """A random log of one user, shown whole to two devices that come and go, with frames over one or more batches."""
    story = Story()
    runs = draw(st.integers(1, 3))
    kinds = {
        f"r{n}": ["agent_started", *draw(st.lists(st.sampled_from(["custom", "agent_response"]), max_size=4)), "agent_completed"]
        for n in range(runs)
    }
    for run, plan in kinds.items():
        story.plan("u", run, kinds=plan)
    ahead = dict.fromkeys(kinds, 0)
    log: list[tuple[int, list[Seen]]] = []
    at = 0
    while left := [run for run in kinds if ahead[run] < len(kinds[run])]:
        run = draw(st.sampled_from(left))
        count = draw(st.integers(1, len(kinds[run]) - ahead[run]))
        at += draw(st.integers(1, 3))
        first = ahead[run] + 1
        log.append((at, [seen(run, seq, kind=kinds[run][seq - 1]) for seq in range(first, first + count)]))
        ahead[run] += count
        story.ack("u", run, ahead[run], at)
    for device in ("d1", "d2"):
        held = index = 0
        stops = [(0, 0)]
        backs = draw(st.integers(0, 2))
        story.open("u", device, 0, at)
        while index < len(log):
            if backs and draw(st.booleans()):
                backs -= 1
                del stops[draw(st.integers(1, len(stops))) :]
                held, index = stops[-1]
                story.open("u", device, held, at, asked=pos(held), trick="old")
                continue
            count = draw(st.integers(1, min(3, len(log) - index)))
            upto = log[index + count - 1][0]
            story.frame("u", device, held, upto, *(event for _, events in log[index : index + count] for event in events))
            held, index = upto, index + count
            stops.append((held, index))
    story.settle(("u", "d1"), ("u", "d2"))
    return story


@given(logs())
def test_every_clean_log_is_clean(story: Story) -> None:
    verdict = check(story.records)
    assert verdict.clean, verdict.examples


@given(logs(), st.sampled_from(["drop frame", "drop event", "twice", "swap", "foreign", "phantom", "nobody"]), st.data())
def test_one_anomaly_is_found_wherever_it_is(story: Story, which: str, data: st.DataObject) -> None:
    last_open = {record.device: n for n, record in enumerate(story.records) if isinstance(record, Opened)}
    frames = [n for n, r in enumerate(story.records) if isinstance(r, Framed) and n > last_open[r.device]]
    if not frames:
        return
    n = data.draw(st.sampled_from(frames))
    frame = story.records[n]
    assert isinstance(frame, Framed)
    events = list(frame.events)
    index = data.draw(st.integers(0, len(events) - 1))
    match which:
        case "drop frame":
            del story.records[n]
        case "drop event":
            del events[index]
        case "twice":
            events.append(events[index])
        case "swap":
            if len(events) < 2:
                return
            events.reverse()
        case "foreign":
            story.plan("v", "foreign")
            story.records.insert(0, story.records.pop())
            events.insert(index, seen("foreign", 1))
        case "phantom":
            events.insert(index, seen("nobody", 1))
        case "nobody":
            gone = events[index].id
            story.records = [
                events_of(lambda all_: [event for event in all_ if event.id != gone])(r) if isinstance(r, Framed) else r
                for r in story.records
            ]
            assert check(story.records).anomalies["lost"] >= 1
            return
    if which != "drop frame":
        frame.events = events
    verdict = check(story.records)
    wanted = {"drop frame": "gaps_unannounced lost", "drop event": "gaps_unannounced", "twice": "duplicated", "swap": "reordered",
              "foreign": "leaked", "phantom": "leaked"}[which]  # fmt: skip
    assert any(verdict.anomalies[kind] for kind in wanted.split()), (which, verdict)
