"""An export is read as it was written, and what is none is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.admin.replay.export import FORM, Export, ExportInvalidError, Head, Importer, from_lines, to_lines
from runcast.v1.event_pb2 import Event
from runcast.wire.recorded import RecordedBatch

HEAD = Head(form=FORM, version="0.1.0", tenant="default", user="alice", tip="abcdefgh-0000000000000009", redacted=["data.x"])


def said(seq: int, text: str) -> Event:
    event = Event(id=f"e{seq}", run_id="r", seq=seq)
    event.agent_response.text = text
    return event


def batch(seq: int, *texts: str, why: str = "") -> RecordedBatch:
    return RecordedBatch("abcdefgh", seq, 1000 * seq, [said(seq, text) for text in texts], why)


EXPORT = Export(HEAD, [batch(3, "a", "b"), batch(4, why="no key"), batch(7, "c\n\u2028")])


def test_it_is_read_as_it_was_written() -> None:
    lines = list(to_lines(EXPORT))
    assert [msgspec.json.decode(line)["is"] for line in lines] == ["replay", "event", "event", "unreadable", "event", "end"]
    first = msgspec.json.decode(lines[1])
    assert (first["pos"], first["kind"], first["data"]) == ("abcdefgh-0000000000000003", "agent_response", {"text": "a"})
    assert from_lines(lines) == EXPORT


@given(st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=3), max_size=5))
def test_any_texts_go_through(texts: list[list[str]]) -> None:
    export = Export(HEAD, [batch(seq, *each) for seq, each in enumerate(texts, 1)])
    assert from_lines(to_lines(export)) == export


@pytest.mark.parametrize("kept", range(1, 6))
def test_what_was_cut_off_is_read_as_far_as_it_goes(kept: int) -> None:
    lines = list(to_lines(EXPORT))
    found = from_lines([*lines[:kept], lines[kept][:9]])
    assert (found.whole, found.events) == (False, sum(b'"is":"event"' in line for line in lines[:kept]))


LINES = list(to_lines(EXPORT))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "it is empty"),
        ([b"hello\n"], "line 1 is no export's"),
        ([b'{"kind":"agent_response"}\n'], "line 1 is no export's"),
        (LINES[1:], "line 1: the first line is the head"),
        ([LINES[0], LINES[0]], "line 2: the first line is the head"),
        ([LINES[0], LINES[4], LINES[1]], "does not come after"),
        ([LINES[0], b"{\n", LINES[1]], "line 2 is no export's"),
        ([*LINES, LINES[1]], "line 7 comes after the end"),
        ([LINES[0].replace(b'"form":1', b'"form":2')], "line 1: it has form 2, this version reads 1"),
        ([LINES[0], b" " * 3_000_000], "longer than any event's"),
    ],
)
def test_what_is_no_export(lines: list[bytes], told: str) -> None:
    with pytest.raises(ExportInvalidError) as caught:
        from_lines(lines)
    assert told in str(caught.value)


def test_a_file_has_its_own_bound_and_says_whose_it_is_before_its_end() -> None:
    importer = Importer(bytes_max=len(LINES[0]) + len(LINES[1]))
    importer.take(LINES[0])
    assert importer.head == HEAD
    importer.take(LINES[1])
    with pytest.raises(ExportInvalidError, match="it is larger than 0 MiB"):
        importer.take(LINES[2])


@given(st.lists(st.sampled_from([*LINES, b"{}", b"\xff", b'{"is":"event","pos":"x","id":"e","kind":"custom"}', b"[" * 9000]), max_size=6))
def test_any_lines_are_an_export_or_refused(lines: list[bytes]) -> None:
    try:
        from_lines(lines)
    except ExportInvalidError:
        return
    assert lines[0] == LINES[0]
