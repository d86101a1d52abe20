"""Frames as server-sent events: what a reader makes of the bytes is what was said."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.edge.transports.sse import NOTHING_LEFT, AguiCodec, SseCodec, read_last_id
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from runcast.wire.errors import FrameInvalidError
from runcast.wire.frames import Batch, Drain, Error, Limits, Pong, Welcome
from runcast.wire.position import Position

CODEC = SseCodec()


def fields(payload: bytes) -> list[dict[str, str]]:
    """What the standard's parser makes of bytes: an entry for each event."""
    found: list[dict[str, str]] = [{}]
    for line in payload.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(": ")
        if not line:
            found.append({})
        elif name == "data" and "data" in found[-1]:
            found[-1]["data"] += "\n" + value
        else:
            found[-1][name] = value
    return [each for each in found if each]


def batch(seq: int, *events: Event, epoch: str = "abcdefgh") -> Batch:
    return Batch(str(Position(epoch, seq - 1)), str(Position(epoch, seq)), list(events))


def custom(seq: int, data: bytes) -> Event:
    return Event(run_id="r", attempt=1, seq=seq, custom=pb.Custom(name="own", data_json=data))


def test_a_batch_has_its_position_as_id():
    (event,) = fields(CODEC.encode(batch(7, custom(1, b"1"))))
    assert (event["id"], event["event"]) == ("abcdefgh-0000000000000007", "batch")
    assert json.loads(event["data"])["pos"] == event["id"]


@given(
    st.recursive(st.text() | st.integers() | st.booleans() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_whatever_an_agent_says_stays_in_its_line(value: object):
    for spaced in (json.dumps(value, indent=2), json.dumps(value, ensure_ascii=False).replace(", ", ",\r\n")):
        if json.loads(spaced) != value:
            continue
        (event,) = fields(CODEC.encode(batch(7, custom(1, spaced.encode("utf-8", "surrogatepass")))))
        assert json.loads(event["data"])["events"][0]["data"].get("data") == value


def test_within_a_snapshot_there_is_no_place_to_go_on_from():
    assert "id" not in fields(CODEC.encode(batch(7, epoch="snapshot")))[0]


def test_the_end_is_not_called_error_and_a_drain_says_when():
    assert fields(CODEC.encode(Error("revoked", "an operator")))[0]["event"] == "end"
    assert fields(CODEC.encode(Drain(250)))[0]["retry"] == "250"
    assert CODEC.encode(Pong()) == b""


def test_a_position_has_its_length():
    assert read_last_id("a", "b") == "a"
    assert read_last_id("", "b") == "b"
    with pytest.raises(FrameInvalidError):
        read_last_id("a" * 1000, "")


def test_who_has_seen_a_part_is_told_of_no_two_batches_at_once():
    assert AguiCodec("r").merges
    assert not AguiCodec("r", Position("abcdefgh", 3)).merges


def test_a_run_ends_with_the_bytes_that_say_so():
    end = Event(run_id="r", attempt=1, seq=3, agent_completed=pb.AgentCompleted())
    codec = AguiCodec("r")
    assert not codec.encode(batch(1))
    assert [each.get("id") for each in fields(codec.encode(batch(2, custom(1, b"1"), custom(2, b"2"))))] == [
        None,
        None,
        "abcdefgh-0000000000000002",
    ]
    assert codec.final is None
    assert codec.encode(batch(3, end)) is codec.final
    seen = AguiCodec("r", Position("abcdefgh", 3))
    assert not seen.encode(batch(2, custom(1, b"1"), custom(2, b"2")))
    assert seen.encode(batch(3, end)) is NOTHING_LEFT


def types(payload: bytes) -> list[str]:
    return [json.loads(each["data"])["type"] for each in fields(payload)]


@pytest.mark.parametrize("place", [Position("stranger", 2), Position("abcdefgh", 99)], ids=["of other storage", "past the end"])
def test_who_comes_from_nowhere_is_told_the_run_from_its_beginning(place: Position):
    codec = AguiCodec("r", place)
    assert not codec.encode(welcome(3))
    assert types(codec.encode(batch(1, custom(1, b"1")))) == ["RUN_STARTED", "CUSTOM"]
    end = codec.encode(batch(2, Event(run_id="r", attempt=1, seq=2, agent_completed=pb.AgentCompleted())))
    assert (types(end), codec.final) == (["RUN_FINISHED"], end)


def test_who_has_read_all_of_an_open_run_is_told_at_once_that_it_goes_on():
    codec = AguiCodec("r", Position("abcdefgh", 2))
    assert not codec.encode(welcome(2))
    assert not codec.encode(batch(1, custom(1, b"1")))
    assert types(codec.encode(batch(2, custom(2, b"2")))) == ["RUN_STARTED"]
    assert types(codec.encode(batch(3, custom(3, b"3")))) == ["CUSTOM"]


def welcome(tip: int) -> Welcome:
    begin, end = Position("abcdefgh", 0), Position("abcdefgh", tip)
    return Welcome("resumed", str(begin), str(end), "default", "u", "d", Limits(1, 1, 1, 1), "edge-0", "1")
