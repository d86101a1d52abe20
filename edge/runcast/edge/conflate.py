"""Merging the stream for a device that is behind (ARCHITECTURE.md, "Conflation"). Pure.

Theory. A reader keeps the newest thinking of a run, and the text of a message as the sum of its deltas. So of two thinkings of a run the
older may go, and neighbouring deltas of one message may become one, as long as no other event of the run lies between them: then the
reader ends where the raw stream would have brought it. The event that is given bears the id and seq of the last one that it stands for, and
says in `first_seq` where its range begins.

Rules
1. Critical events (all but thinking, and text deltas that do not end their message) go out whole, and in the order of the stream.
2. Nothing is merged across a critical event of the same run, across attempts, or across seqs that do not follow one another.
3. What is merged stands where the first event was that it stands for; so runs begin in the same order.
4. Every seq that goes in comes out in exactly one range, and the ranges of a run rise.
5. A merged event is at most as large as any event may be.
6. Events that come in are shared with other devices, and never changed.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from runcast.edge.entry import Entry
from runcast.v1.event_pb2 import TEXT_MODE_DELTA, Event
from runcast.wire import limits
from runcast.wire.lifecycle import is_critical

_TEXTS_MAX: Final = 256
"""Pieces of text that are kept apart before they become one: a piece takes fifty bytes besides its text."""


class Merge:
    """One event to be given, standing for one or more.

    Attributes:
        first_seq: the first that it stands for.
        gone: another stands for it now.
        size: serialized bytes, about.
    """

    __slots__ = ("_last", "_mode", "_texts", "first_seq", "gone", "size")

    def __init__(self, event: Event) -> None:
        self.gone = False
        self.size = event.ByteSize()
        self._last = event
        self.first_seq = _first_seq(event)
        self._texts: list[str] | None = None
        self._mode = 0

    @property
    def seq(self) -> int:
        """The last that it stands for."""
        return self._last.seq

    @property
    def kind(self) -> str:
        """Of the event that is given; "" for one that is not known here."""
        return self._last.WhichOneof("kind") or ""

    def become(self, after: "Merge") -> None:
        """Give way to `after`, in this place; `after` is gone."""
        after.gone = True
        self.size, self._last, self._texts, self._mode = after.size, after._last, after._texts, after._mode

    def join(self, after: "Merge") -> bool:
        """Take in `after`, the next of the run, if both are text of one message and small enough."""
        if self.kind != "agent_response" or after.kind != "agent_response":
            return False
        mine, other = self._last.agent_response, after._last.agent_response
        if mine.message_id != other.message_id or self.size + after.size > limits.EVENT_BYTES_MAX:
            return False
        texts, mode = ([other.text], other.mode) if after._texts is None else (after._texts, after._mode)
        if mode == TEXT_MODE_DELTA:
            if self._texts is None:
                self._texts, self._mode = [mine.text], mine.mode
            self._texts += texts
            if len(self._texts) > _TEXTS_MAX:
                self._texts = ["".join(self._texts)]
            self.size += sum(map(_utf8_bytes, texts))
        else:
            self.size, self._texts, self._mode = after.size, after._texts, after._mode
        self._last = after._last
        after.gone = True
        return True

    def event(self) -> Event:
        """What is given: the event itself while it stands for itself alone."""
        if self._texts is None and self.first_seq == _first_seq(self._last):
            return self._last
        event = Event()
        event.CopyFrom(self._last)
        if self.first_seq < event.seq:
            event.first_seq = self.first_seq
        if self._texts is not None:
            event.agent_response.text = "".join(self._texts)
            event.agent_response.mode = self._mode  # type: ignore[assignment]
        return event


class RunMerger:
    """Merges the events of one attempt of a run, one by one."""

    __slots__ = ("_high", "_stretch", "_thinking")

    def __init__(self) -> None:
        self._high = 0
        self._stretch: list[Merge] = []  # what came since the last critical event
        self._thinking: Merge | None = None

    def add(self, event: Event) -> Merge:
        """Take the next event. What it returns comes after all before it; it, or one before it, may be gone at once."""
        made = Merge(event)
        critical = is_critical(event)
        if critical or _first_seq(event) != self._high + 1:
            self._stretch.clear()
            self._thinking = None
        if not critical and event.seq > self._high:
            self._stretch.append(made)
            if made.kind == "agent_thinking":
                self._supersede(made)
            self._join(len(self._stretch) - 1)
        self._high = max(self._high, event.seq)
        return made

    def _supersede(self, newest: Merge) -> None:
        """The thinking before `newest` gives way to what came right after it."""
        old, self._thinking = self._thinking, newest
        if old is None:
            return
        at = self._stretch.index(old)
        after = self._stretch.pop(at + 1)
        old.become(after)
        if after is newest:
            self._thinking = old
        self._join(at)

    def _join(self, at: int) -> None:
        if at > 0 and self._stretch[at - 1].join(self._stretch[at]):
            del self._stretch[at]


class Merged(NamedTuple):
    """A frame to be: what is given, and the entries that it covers, at least one."""

    events: list[Event]
    covered: Sequence[Entry]


def merge(entries: Sequence[Entry]) -> Iterator[Merged]:
    """Frames that stand for `entries`, in order. Lazy: a reader that takes no more of them has paid for no more."""
    start = 0
    while start < len(entries):
        end, events = _merge_some(entries, start)
        yield Merged(events, entries[start:end])
        start = end


def _merge_some(entries: Sequence[Entry], start: int) -> tuple[int, list[Event]]:
    runs: dict[tuple[str, int], RunMerger] = {}
    made: list[Merge] = []
    end = start
    while end < len(entries):
        for event in entries[end].events:
            merger = runs.setdefault((event.run_id, event.attempt), RunMerger())
            made.append(merger.add(event))
        end += 1
        made = [each for each in made if not each.gone]
        if len(made) >= limits.MERGED_EVENTS_MAX or sum(each.size for each in made) >= limits.MERGED_BYTES_MAX:
            break
    return end, [each.event() for each in made]


def _first_seq(event: Event) -> int:
    """The first seq that `event` stands for."""
    return event.first_seq or event.seq


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
