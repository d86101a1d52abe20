"""A stored batch on its way out: decoded and encoded once, and never a reason for anybody to lose their stream."""

import pytest

from runcast.edge.entry import Entry
from runcast.v1.event_pb2 import AgentStarted, Event
from runcast.v1.event_pb2 import Batch as StoredBatch
from runcast.wire.fence import Fence
from runcast.wire.frames import CODECS, Batch, Codec
from runcast.wire.position import Position

EPOCH = "abcdefgh"
codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.subprotocol)


def stored(*ids: str) -> bytes:
    return StoredBatch(producer="p", run_id="r", events=[Event(id=id_) for id_ in ids]).SerializeToString()


def decoded(codec: Codec, frame: bytes) -> Batch:
    batch = codec.decode_server(frame)
    assert isinstance(batch, Batch)
    return batch


def test_events_are_the_stored_ones_and_decoded_once() -> None:
    entry = Entry(EPOCH, 3, 7, stored("a", "b"))
    assert [event.id for event in entry.events] == ["a", "b"]
    assert entry.events is entry.events
    assert entry.size == len(stored("a", "b"))


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x0a\x7f", b"not a batch", b"\x32\x03abc"])
def test_what_is_not_a_batch_has_no_events_and_is_still_a_link(payload: bytes) -> None:
    entry = Entry(EPOCH, 3, 7, payload)
    assert entry.events == []
    for codec in CODECS.values():
        batch = decoded(codec, entry.frame(codec, 3))
        assert batch == Batch(str(Position(EPOCH, 3)), str(Position(EPOCH, 7)), [])


@codecs
def test_the_frame_covers_what_lies_between_prev_and_its_own_place(codec: Codec) -> None:
    entry = Entry(EPOCH, 3, 7, stored("a"))
    for prev in (3, 0, 5):
        batch = decoded(codec, entry.frame(codec, prev))
        assert (batch.prev, batch.pos) == (str(Position(EPOCH, prev)), str(Position(EPOCH, 7)))
        assert [event.id for event in batch.events] == ["a"]


def test_a_frame_for_the_own_predecessor_is_encoded_once_per_codec() -> None:
    entry = Entry(EPOCH, 3, 7, stored("a"))
    frames = [entry.frame(codec, 3) for codec in CODECS.values()]
    assert frames[0] != frames[1]
    for codec, frame in zip(CODECS.values(), frames, strict=True):
        assert entry.frame(codec, 3) is frame
        assert entry.frame(codec, 2) != frame
        assert entry.frame(codec, 3) is frame


@codecs
def test_a_link_that_was_joined_anew_is_not_served_from_before(codec: Codec) -> None:
    """The splice rewrites `prev` when what lay before has aged out."""
    entry = Entry(EPOCH, 0, 7, stored("a"))
    assert decoded(codec, entry.frame(codec, 0)).prev == str(Position(EPOCH, 0))
    entry.prev = 5
    assert decoded(codec, entry.frame(codec, 5)).prev == str(Position(EPOCH, 5))
    assert decoded(codec, entry.frame(codec, 0)).prev == str(Position(EPOCH, 0))


@codecs
def test_what_is_superseded_is_left_out_and_the_frame_keeps_its_range(codec: Codec) -> None:
    fence = Fence()
    begun = StoredBatch(events=[Event(id="r.2.1", run_id="r", attempt=2, seq=1, agent_started=AgentStarted())])
    late = StoredBatch(events=[Event(id="r.1.9", run_id="r", attempt=1, seq=9)])
    before, start, behind = (Entry(EPOCH, seq - 1, seq, batch.SerializeToString()) for seq, batch in ((4, late), (5, begun), (6, late)))
    for entry in (start, before, behind):  # in whatever order they are read
        entry.leave_out(fence)
    assert [event.id for entry in (before, start, behind) for event in entry.events] == ["r.1.9", "r.2.1"]
    assert decoded(codec, behind.frame(codec, 5)) == Batch(str(Position(EPOCH, 5)), str(Position(EPOCH, 6)), [])
