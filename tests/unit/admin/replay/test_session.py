"""What a page is told: one chain, at its pace, and nothing that is sent goes anywhere."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.admin.replay.export import Export
from runcast.admin.replay.session import Film, PageSession
from runcast.v1.event_pb2 import Event
from runcast.wire.errors import FrameInvalidError
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, Ack, Batch, Error, Hello, Ping, Pong, Send, Welcome
from tests.unit.admin.replay.test_export import HEAD, batch

CODEC = CODECS[JSON_SUBPROTOCOL]
EXPORT = Export(HEAD, [batch(3, "a", "b"), batch(4, why="no key"), batch(7, "c"), batch(8, "d")])


def place(seq: int) -> str:
    return f"abcdefgh-{seq:016d}"


def said(session: PageSession) -> list[Any]:
    return [CODEC.decode_server(frame) for frame in session.take()]


def hello(position: str = "earliest", *, speed: float = 1.0) -> PageSession:
    session = PageSession(Film(EXPORT, speed, 2.0))
    session.receive(CODEC.encode(Hello("page", position)), 100.0)
    return session


def test_from_the_beginning_at_its_pace() -> None:
    session = hello()
    welcome, first = said(session)
    assert isinstance(welcome, Welcome)
    assert (welcome.outcome, welcome.position, welcome.tip, welcome.user, welcome.replay) == ("resumed", place(2), place(2), "alice", True)
    assert (first.prev, first.pos, len(first.events)) == (place(2), place(3), 2)
    assert session.deadline() == 102.0  # four seconds between them, two at most
    session.tick(101.9)
    assert said(session) == []
    session.tick(103.0)
    assert [(each.prev, each.pos) for each in said(session)] == [(place(3), place(7)), (place(7), place(8))]
    assert (session.over, session.deadline()) == (True, None)


@pytest.mark.parametrize(
    ("position", "outcome", "begin", "left"),
    [
        ("", "resumed", 2, [3, 7, 8]),
        ("latest", "resumed", 2, [3, 7, 8]),
        (place(2), "resumed", 2, [3, 7, 8]),
        (place(7), "resumed", 7, [8]),
        (place(8), "resumed", 8, []),
        (place(4), "reset", 2, [3, 7, 8]),
        (place(99), "reset", 2, [3, 7, 8]),
        ("nonsense", "reset", 2, [3, 7, 8]),
    ],
)
def test_where_a_page_goes_on(position: str, outcome: str, begin: int, left: list[int]) -> None:
    session = hello(position, speed=float("inf"))
    welcome, *batches = said(session)
    assert (welcome.outcome, welcome.position) == (outcome, place(begin))
    assert [each.pos for each in batches] == [place(seq) for seq in left]


def test_what_is_sent_reaches_nobody() -> None:
    session = hello(place(8))
    said(session)
    session.receive(CODEC.encode(Send("s1", "message", "demo", text="hello")), 101.0)
    session.receive(CODEC.encode(Ack(place(8))), 101.0)
    session.receive(CODEC.encode(Ping()), 101.0)
    refused, pong = said(session)
    assert isinstance(refused, Error)
    assert (refused.code, refused.id, refused.retry) == ("permission_denied", "s1", False)
    assert isinstance(pong, Pong)


def test_hello_comes_first_and_once() -> None:
    for session, frame in ((PageSession(Film(EXPORT, 1.0, 2.0)), Ping()), (hello(), Hello("page"))):
        with pytest.raises(FrameInvalidError, match="hello first"):
            session.receive(CODEC.encode(frame), 0.0)


def test_superseded_attempts_are_left_out() -> None:
    def started(seq: int, attempt: int) -> Event:
        event = Event(id=f"s{attempt}", run_id="r", attempt=attempt)
        event.agent_started.title = "t"
        return event

    late = Event(id="late", run_id="r", attempt=1)
    late.agent_response.text = "too late"
    batches = [batch(n)._replace(events=[event]) for n, event in enumerate([started(1, 1), started(2, 2), late], 1)]
    session = PageSession(Film(Export(HEAD, batches), float("inf"), 0.0))
    session.receive(CODEC.encode(Hello("page")), 0.0)
    _, *frames = said(session)
    assert [[event.id for event in each.events] for each in frames] == [["s1"], ["s2"], []]


def test_an_empty_recording() -> None:
    session = PageSession(Film(Export(HEAD, []), 1.0, 1.0))
    session.receive(CODEC.encode(Hello("page")), 0.0)
    (welcome,) = said(session)
    assert (welcome.position, session.over) == (HEAD.tip, True)


@given(st.lists(st.floats(0, 3), max_size=12), st.sampled_from([0.5, 1.0, 20.0]))
def test_one_chain_whatever_the_times(steps: list[float], speed: float) -> None:
    session = hello(speed=speed)
    now, held = 100.0, place(2)
    for step in [*steps, 1000.0]:
        now += step
        session.tick(now)
        for frame in said(session):
            if isinstance(frame, Batch):
                assert frame.prev == held
                held = frame.pos
    assert held == place(8)
