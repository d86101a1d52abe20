"""The Durable Streams read side, as far as it is decided without a socket."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.edge.transports import durable
from runcast.edge.transports.durable import Asked, GoneError, Page, Reading, StreamCodec, choose_cursor, read_query
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from runcast.wire import limits_http
from runcast.wire.errors import FrameInvalidError, PositionMalformedError
from runcast.wire.frames import Batch, Drain, Error, Limits, Welcome
from runcast.wire.position import EARLIEST, LATEST, Position

EPOCH = "abcdefgh"
CODEC = StreamCodec()


def at(seq: int, epoch: str = EPOCH) -> str:
    return str(Position(epoch, seq))


def welcome(base: int, tip: int, *, outcome: str = "resumed", reason: str = "", epoch: str = EPOCH) -> bytes:
    return CODEC.encode(
        Welcome(outcome, at(base, epoch), at(tip, epoch), "t", "u", "d", Limits(1, 1, 1, 1), "edge", "1", reason=reason)  # type: ignore[arg-type]
    )


def batch(seq: int, *payloads: bytes) -> bytes:
    events = [Event(id=str(seq), run_id="r", attempt=1, seq=seq, custom=pb.Custom(name="own", data_json=each)) for each in payloads]
    return CODEC.encode(Batch(at(seq - 1), at(seq), events))


def page(offset: str = "-1", live: str = "", *, base: int = 0, tip: int = 0, **options: int) -> Page:
    made = Page(Asked(offset, live), 0.0, **options)
    made.add(welcome(base, tip), 0.0)
    return made


@pytest.mark.parametrize(
    ("query", "asked", "position"),
    [
        ([], Asked("-1"), EARLIEST),
        ([("offset", "-1")], Asked("-1"), EARLIEST),
        ([("offset", "now"), ("live", "sse")], Asked("now", "sse"), LATEST),
        ([("offset", at(7)), ("live", "long-poll"), ("cursor", "12")], Asked(at(7), "long-poll", 12), at(7)),
        ([("offset", at(0))], Asked(at(0)), EARLIEST),
        ([("offset", at(7)), ("cursor", "1" * 99), ("timeout", "3")], Asked(at(7), wait_s=3.0), at(7)),
        ([("cursor", "\u0663"), ("timeout", "999"), ("device", "a"), ("device", "b")], Asked("-1"), EARLIEST),
    ],
)
def test_what_a_url_asks_for(query: list[tuple[str, str]], asked: Asked, position: str):
    assert read_query(query) == asked
    assert asked.position == position


@pytest.mark.parametrize(
    "query",
    [
        [("offset", "")],
        [("offset", "0")],
        [("offset", at(7)[:-1])],
        [("offset", "-1"), ("offset", "now")],
        [("live", "sse")],
        [("offset", "-1"), ("live", "")],
        [("offset", "-1"), ("live", "true")],
        [("timeout", "0")],
        [("timeout", "-1")],
        [("timeout", "\u0663")],
    ],
)
def test_what_is_none_of_it(query: list[tuple[str, str]]):
    with pytest.raises((FrameInvalidError, PositionMalformedError)):
        read_query(query)


@given(st.lists(st.tuples(st.sampled_from(["offset", "live", "cursor", "timeout", "x"]), st.text(max_size=30) | st.just(at(3)))))
def test_whatever_is_asked_is_understood_or_refused(query: list[tuple[str, str]]):
    try:
        asked = read_query(query)
    except (FrameInvalidError, PositionMalformedError):
        return
    assert asked.position in (EARLIEST, LATEST, asked.offset)
    assert 0 < asked.wait_s <= limits_http.PAGE_WAIT_S


@given(st.floats(1_750_000_000, 2_500_000_000), st.integers(-1, 10**15), st.integers(1, 180))
def test_cursors_only_rise(now_s: float, given_: int, ahead: int):
    assert choose_cursor(now_s, given_, ahead) > given_
    assert choose_cursor(now_s, -1, ahead) == int(now_s - 1_728_432_000) // 20


def test_a_page_is_an_array_of_events_and_where_it_ends():
    made = page(base=3, tip=5)
    assert made.due_s(0.0) > 0
    made.add(batch(4, b"1"), 0.0)
    assert (made.up_to_date, made.worth, made.due_s(0.0) > 0) == (False, True, True)
    made.add(batch(5, b"[2,\r\n3]", b"4"), 0.0)
    assert (made.up_to_date, made.due_s(0.0), made.start, made.end) == (True, 0.0, at(3), at(5))
    assert [event["data"]["data"] for event in json.loads(made.body)] == [1, [2, 3], 4]
    assert made.etag == f'W/"{at(3)}:{at(5)}:tip"'
    assert durable.matches(made.etag, f'"x", {made.etag}')
    assert durable.matches(made.etag, "*")
    assert not durable.matches(made.etag, f'"x{made.etag[3:]}')


def test_nothing_is_an_answer_too():
    made = page(base=3, tip=3)
    assert (made.due_s(0.0), made.body, made.worth) == (0.0, b"[]", True)


def test_a_full_page_takes_no_more():
    made = page(tip=9, bytes_max=100)
    made.add(batch(1, b'"' + b"x" * 200 + b'"'), 0.0)
    assert (made.due_s(0.0), made.up_to_date) == (0.0, False)
    assert made.etag.endswith(':part"')


def test_a_poll_waits_and_gathers():
    made = page(at(3), durable.LONG_POLL, base=3, tip=3)
    assert made.due_s(1.0) == limits_http.PAGE_WAIT_S - 1.0
    made.add(batch(4), 1.0)
    assert made.due_s(1.0) == limits_http.PAGE_WAIT_S - 1.0, "a batch of which nothing is left says nothing"
    made.add(batch(5, b"1"), 2.0)
    assert made.due_s(2.0) == pytest.approx(limits_http.PAGE_GATHER_S)
    made.add(batch(6, b"1"), 2.05)
    assert made.due_s(2.05) == pytest.approx(limits_http.PAGE_GATHER_S - 0.05)
    assert made.due_s(3.0) == 0.0
    assert (len(json.loads(made.body)), made.end) == (2, at(6))


def test_a_poll_that_is_behind_does_not_wait():
    made = page(at(3), durable.LONG_POLL, base=3, tip=4)
    made.add(batch(4, b"1"), 0.0)
    assert made.due_s(0.0) == 0.0


def test_time_is_over_for_both():
    for made in (page(at(3), durable.LONG_POLL, base=3, tip=3), page(base=3, tip=4)):
        assert made.due_s(limits_http.PAGE_WAIT_S) == 0.0
    assert not page(base=3, tip=4).worth
    assert not Page(Asked("-1"), 0.0).worth, "no session, no answer"


def test_an_edge_that_stops_answers_at_once():
    made = page(at(3), durable.LONG_POLL, base=3, tip=3)
    made.add(CODEC.encode(Drain(100)), 0.0)
    assert made.due_s(0.0) == 0.0


@pytest.mark.parametrize(
    ("offset", "frame"),
    [
        (at(7), welcome(0, 9, outcome="reset", reason="expired")),
        (at(7), welcome(8, 9, outcome="reset", reason="unreadable")),
        (at(7, "zzzzzzzz"), welcome(0, 9, outcome="reset", reason="unknown_epoch")),
        (at(0, "zzzzzzzz"), welcome(0, 9)),
    ],
)
def test_what_can_t_be_gone_on_from_is_gone(offset: str, frame: bytes):
    reading = Reading(Asked(offset))
    with pytest.raises(GoneError) as caught:
        reading.receive(frame)
    assert caught.value.offset == json.loads(frame)["position"]
    assert reading.start == ""


@pytest.mark.parametrize("offset", ["-1", at(0)])
def test_from_the_beginning_is_from_what_is_there(offset: str):
    reading = Reading(Asked(offset))
    reading.receive(welcome(8, 9, outcome="reset", reason="unreadable"))
    assert reading.start == at(8)


def test_events_and_control_as_server_sent_events():
    reading = Reading(Asked("-1", durable.SSE))
    assert reading.receive(welcome(0, 2)) is None
    said = reading.receive(batch(1, b"[1,\n2]"))
    assert said is not None
    event, _, rest = durable.sse_data(said).decode().partition("\n")
    assert (event, rest.count("\n")) == ("event: data", 2)
    assert json.loads(rest.removeprefix("data: "))[0]["data"]["data"] == [1, 2]
    assert durable.sse_control(reading, 7) == f'event: control\ndata: {{"streamNextOffset":"{at(1)}","streamCursor":"7"}}\n\n'.encode()
    said = reading.receive(batch(2))
    assert durable.sse_data(said or b"") == b""
    assert json.loads(durable.sse_control(reading, 7).split(b"data: ")[1])["upToDate"] is True
    for frame in (Error("revoked", "an operator"), Drain(1)):
        assert reading.receive(CODEC.encode(frame)) is None
    assert reading.draining
