"""The newest entries are kept within a bound of memory, and it is memory that the bound is about."""

import subprocess
import sys

import pytest

from runcast.edge.entry import Entry
from runcast.edge.ring import Ring
from runcast.v1.event_pb2 import AgentThinking, Batch, Event
from runcast.wire import limits
from runcast.wire.frames import CODECS

JSON = CODECS["runcast.v1.json"]


def entry(seq: int, events: int = 1, text: str = "x") -> Entry:
    kinds = [
        Event(id=f"r.1.{number}", run_id="r", attempt=1, seq=number + 1, agent="a", agent_thinking=AgentThinking(text=text))
        for number in range(events)
    ]
    made = Entry("aaaaaaaa", seq - 1, seq, Batch(run_id="r", attempt=1, number=seq, events=kinds).SerializeToString())
    made.frame(JSON, seq - 1)
    return made


def test_what_follows_a_place_that_it_reaches_back_to() -> None:
    ring = Ring()
    assert ring.after(0) is None, "nothing is known of what was before"
    for seq in range(5, 9):
        ring.add(entry(seq))
    assert ring.after(3) is None
    for seq in range(4, 9):
        found = ring.after(seq)
        assert found is not None
        assert [each.seq for each in found] == list(range(seq + 1, 9))


@pytest.mark.parametrize(("events", "text"), [(1, "x"), (1, "x" * 300), (20, "x"), (256, ""), (1, "x" * 200_000)])
def test_the_oldest_make_room(events: int, text: str) -> None:
    ring = Ring()
    for seq in range(1, 600):
        ring.add(entry(seq, events, text))
        assert ring.cost <= limits.RING_BYTES_MAX
        assert len(ring) <= limits.RING_ENTRIES_MAX
    kept = ring.after(599 - len(ring))
    assert [each.seq for each in kept or []] == list(range(600 - len(ring), 600))
    assert ring.cost == sum(each.cost for each in kept or [])


def test_one_that_is_larger_than_the_ring_leaves_it_empty() -> None:
    ring = Ring(bytes_max=10_000)
    ring.add(entry(1))
    ring.add(entry(2, text="x" * 20_000))
    assert (len(ring), ring.cost, ring.after(1)) == (0, 0, None)
    ring.add(entry(3))
    assert ring.after(1) is None
    assert len(ring.after(2) or []) == 1


MEASURE = """
import gc, sys
from runcast.edge.ring import Ring
from tests.unit.edge.test_ring import entry

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

events, size, rings = int(sys.argv[1]), int(sys.argv[2]), 40
def fill():
    ring = Ring()
    for seq in range(1, 300):
        ring.add(entry(seq, events, "x" * size))
    return ring
first = fill()  # what the program itself needs
gc.collect()
before = resident()
kept = [fill() for _ in range(rings)]
gc.collect()
print((resident() - before) / rings)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory")
@pytest.mark.parametrize(("events", "size"), [(1, 10), (1, 300), (20, 20), (64, 2)])
def test_a_full_ring_holds_about_what_it_may(events: int, size: int) -> None:
    measured = subprocess.run([sys.executable, "-c", MEASURE, str(events), str(size)], capture_output=True, text=True, check=True)
    assert float(measured.stdout) < 1.3 * limits.RING_BYTES_MAX


def test_a_place_between_two_entries_is_from_before_the_feed_and_proves_nothing() -> None:
    ring = Ring()
    first = entry(9)
    first.prev = 0  # nothing of the user was left when the feed opened
    ring.add(first)
    assert ring.after(0) == [first]
    assert ring.after(5) is None
    assert ring.after(9) == []
    assert ring.after(10) is None
