from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.testkit.recording import Recording, RecordingInvalidError, fields_of, from_lines, to_lines
from runcast.wire.eventjson import KINDS
from tests.unit.testkit.recordings import BEGAN_S, Reel, begin, good, say


def test_what_is_written_is_read_again() -> None:
    reel = good()
    reel.breaks.append("a hole")
    recording = reel.recording(later=1.0)
    assert from_lines(to_lines(recording)) == recording


@given(st.lists(st.sampled_from(sorted(KINDS))))
def test_every_kind_is_read_again(kinds: list[str]) -> None:
    reel = Reel()
    for kind in kinds:
        reel.add(kind)
    assert from_lines(to_lines(reel.recording())).events == reel.recording().events


def test_json_with_line_breaks_stays_one_line() -> None:
    reel = Reel()
    reel.add("custom", name="n", data_json=b'{\n "a":\n 1}')
    lines = list(to_lines(reel.recording()))
    assert [line.count(b"\n") for line in lines] == [1, 1, 1]
    assert fields_of(from_lines(lines).events[0]) == {"name": "n", "data": {"a": 1}}


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes() -> None:
    recording = good().recording()
    lines = list(to_lines(recording))
    assert from_lines(lines[:-1]).ended_s == recording.received[-1].time_s
    assert len(from_lines([*lines[:4], lines[4][:20]]).received) == 3
    assert from_lines(lines[:1]).ended_s == BEGAN_S


def test_another_head_begins_anew() -> None:
    lines = list(to_lines(good().recording()))
    assert from_lines([*lines[:5], *lines]) == good().recording()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "it is empty"),
        ([b"nonsense\n"], "line 1 is no recording's"),
        ([b'{"is":"framed","t":1}\n'], "line 1 is no recording's"),
        (list(to_lines(good().recording()))[1:], "line 1 comes before the recording's head"),
        ([*list(to_lines(good().recording()))[:2], b"nonsense\n", *list(to_lines(good().recording()))[2:]], "line 3 can't be read"),
        ([b'{"is":"recording","version":9,"user":"a","device":"d"}\n'], "version 9 of the form"),
    ],
)
def test_what_is_no_recording_is_said(lines: list[bytes], why: str) -> None:
    with pytest.raises(RecordingInvalidError, match=why):
        from_lines(lines)


def test_views() -> None:
    reel = Reel()
    begin(reel, "a")
    begin(reel, "b")
    say(reel, "b", "Yes")
    say(reel, "a", "No")
    recording = reel.recording()
    assert recording.runs == ["a", "b"]
    assert [event.id for event in recording.of_run("b").events] == ["b.1.1", "b.1.2", "b.1.3"]
    assert (recording.text("a"), recording.text("b"), recording.text()) == ("No", "Yes", "YesNo")
    assert replace(recording, user="bob").name == "bob/d1"
    assert Recording("u", "d", []).runs == []
