"""Whose turn it is on one Receive stream: a user's messages to a group reach one worker at a time, in order.

Theory. The inbox removes a message when it is settled, so of one user's messages to a group (a *line*: one subject of the inbox) the
first that is still stored is the oldest unsettled one. A delivery that is the first may be handed out. One that comes right behind
what this stream has already handed out may follow it, to the same worker. For any other, a message before it is somewhere else: it
waits, and is offered to whoever holds that one.

Rules.
1. Each line has a *reach*: everything of the line up to it is settled, or was handed out here and is still held here.
2. The first stored message past the reach is asked for. If it was handed out here, the reach moves to it. If it waits here, it is
   handed out and the reach moves to it. If it is neither, what waits here is *blocked*.
3. What is given back, or whose hold was lost, is elsewhere from then on: the reach falls back to 0.
4. What waits here but is before the first stored message past the reach is no longer in the inbox.
5. At most `in_flight_max` are handed out and unsettled.
6. A message in its last try is handed out while no other user's is, and no other that is in its last try: should it take its worker
   down again, it takes nobody with it. While it waits for that, only users who have one handed out get another.

Invariant: when a message is handed out, every earlier one of its line is settled, or was handed out here before it and is still held here.

Synchronous and pure: never imports asyncio, a clock, randomness, logging, grpc or nats.
"""

from enum import Enum
from typing import NamedTuple

from runcast.wire import limits


class Turn(Enum):
    """What to do about a line.

    Members:
        NOTHING: nothing waits.
        AGAIN: ask again at once; something changed meanwhile.
        HAND_OUT: `seqs` are due now.
        GONE: `seqs` are no longer in the inbox; drop them.
        BLOCKED: `behind` is elsewhere; offer `seqs` to whoever holds it, or ask again later.
        FULL: `seqs` are due, but the worker has no room; offer them to anybody, or ask again later.
    """

    NOTHING = "nothing"
    AGAIN = "again"
    HAND_OUT = "hand_out"
    GONE = "gone"
    BLOCKED = "blocked"
    FULL = "full"


class Verdict(NamedTuple):
    """A turn, the messages that it concerns, and which message they are behind."""

    turn: Turn
    seqs: tuple[int, ...] = ()
    behind: int = 0


class _Line:
    """One user's messages, as far as this stream has to do with them."""

    __slots__ = ("handed", "reach", "stuck", "waiting")

    def __init__(self) -> None:
        self.reach = 0
        self.handed: set[int] = set()
        self.waiting: dict[int, int] = {}  # tries by seq
        self.stuck = False


class Turns:
    """The lines of one Receive stream.

    Args:
        in_flight_max: how many messages the worker takes at once.
    """

    def __init__(self, in_flight_max: int) -> None:
        self._in_flight_max = in_flight_max
        self._lines: dict[str, _Line] = {}
        self._line_of: dict[int, str] = {}
        self._handed = 0
        self._last_try: tuple[str, int] | None = None

    @property
    def room(self) -> int:
        """How many more to ask the inbox for: what waits for something elsewhere takes no room, up to `limits.INBOX_BLOCKED_MAX`."""
        stuck = sum(len(line.waiting) for line in self._lines.values() if line.stuck)
        if stuck >= limits.INBOX_BLOCKED_MAX or self._last_try is not None:
            return 0
        return max(0, self._in_flight_max - (len(self._line_of) - stuck))

    @property
    def full(self) -> bool:
        """Whether nothing more may be handed out."""
        return self._handed >= self._in_flight_max

    def knows(self, seq: int) -> bool:
        """Whether a message waits or was handed out here."""
        return seq in self._line_of

    def waits(self, subject: str) -> bool:
        """Whether something of a line waits."""
        line = self._lines.get(subject)
        return line is not None and bool(line.waiting)

    def add(self, subject: str, seq: int, tries: int) -> None:
        """A message came that is not known here; handed out, it would be for the `tries`-th time."""
        self._line_of[seq] = subject
        self._lines.setdefault(subject, _Line()).waiting[seq] = tries

    def settled(self, seq: int) -> None:
        """A message is no longer in the inbox."""
        self._remove(seq)

    def lost(self, seq: int) -> None:
        """A message was given back or handed over, or may have been delivered to somebody else."""
        subject = self._line_of.get(seq)
        if subject is not None:
            line = self._lines[subject]
            if seq in line.handed:
                line.reach = 0
            self._remove(seq)

    def question(self, subject: str) -> int:
        """From which seq on the first stored message of a line must be looked for."""
        line = self._lines.get(subject)
        return line.reach + 1 if line is not None else 1

    def answer(self, subject: str, asked: int, found: int) -> Verdict:
        """Decide about a line.

        Args:
            subject: the line.
            asked: what `question` said.
            found: the first stored message of the line at or past `asked`; 0 when there is none.
        """
        line = self._lines.get(subject)
        if line is None or not line.waiting:
            return Verdict(Turn.NOTHING)
        if asked != line.reach + 1:
            return Verdict(Turn.AGAIN)
        gone = tuple(seq for seq in line.waiting if asked <= seq and (seq < found or not found))
        if gone:
            return Verdict(Turn.GONE, gone)
        behind = tuple(seq for seq in line.waiting if seq < asked)
        if behind:  # everything up to the reach is settled or handed out; these were delivered again
            line.reach = 0
            return Verdict(Turn.AGAIN)
        if found in line.handed:
            line.reach = found
            return Verdict(Turn.AGAIN)
        if found not in line.waiting:
            line.stuck = True
            return Verdict(Turn.BLOCKED, tuple(sorted(line.waiting)), found)
        return self._due(subject, line, found)

    def _due(self, subject: str, line: _Line, seq: int) -> Verdict:
        """The turn of `seq` has come; is there room?"""
        last = line.waiting[seq] >= limits.INBOX_TRIES_MAX
        if last and self._last_try is None:
            self._last_try = (subject, seq)  # from now on nothing begins for others, until it is over
        alone = self._last_try == (subject, seq) and self._handed == len(line.handed)
        held_up = self._last_try is not None and self._last_try[0] != subject and not line.handed
        if self.full or held_up or (last and not alone):
            line.stuck = not last
            return Verdict(Turn.FULL, (seq,), seq)
        del line.waiting[seq]
        line.handed.add(seq)
        line.reach = seq
        line.stuck = False
        self._handed += 1
        return Verdict(Turn.HAND_OUT, (seq,))

    def _remove(self, seq: int) -> None:
        subject = self._line_of.pop(seq, None)
        if subject is None:
            return
        line = self._lines[subject]
        if line.waiting.pop(seq, None) is None:
            line.handed.discard(seq)
            self._handed -= 1
        if self._last_try is not None and self._last_try[1] == seq:
            self._last_try = None
        if not line.waiting and not line.handed:
            del self._lines[subject]
