"""Turns: of one user's messages none overtakes another, whatever several streams do; and everything gets its turn."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from runcast.router.turns import Turn, Turns
from runcast.wire import limits

LINE = "in.g.0.default.u"


def ask(turns: Turns, *stored: int, subject: str = LINE) -> tuple[Turn, tuple[int, ...], int]:
    """One look at a line whose messages `stored` are in the inbox."""
    asked = turns.question(subject)
    verdict = turns.answer(subject, asked, min((seq for seq in stored if seq >= asked), default=0))
    return verdict.turn, verdict.seqs, verdict.behind


def test_the_first_that_is_stored_is_handed_out_and_the_next_follows_it():
    turns = Turns(5)
    turns.add(LINE, 8, 1)
    turns.add(LINE, 7, 1)
    assert ask(turns, 7, 8) == (Turn.HAND_OUT, (7,), 0)
    assert ask(turns, 7, 8) == (Turn.HAND_OUT, (8,), 0)
    assert ask(turns, 7, 8) == (Turn.NOTHING, (), 0)


def test_what_is_behind_a_message_elsewhere_waits_and_takes_no_room():
    turns = Turns(1)
    turns.add(LINE, 8, 1)
    assert turns.room == 0
    assert ask(turns, 7, 8) == (Turn.BLOCKED, (8,), 7)
    assert turns.room == 1
    turns.add(LINE, 7, 1)  # it was offered to this stream
    assert ask(turns, 7, 8)[0] is Turn.HAND_OUT


def test_after_giving_one_back_the_later_ones_wait_for_it():
    turns = Turns(5)
    for seq in (1, 2):
        turns.add(LINE, seq, 1)
        ask(turns, 1, 2)
    turns.lost(1)
    turns.add(LINE, 3, 1)
    assert ask(turns, 1, 2, 3) == (Turn.BLOCKED, (3,), 1)
    turns.add(LINE, 1, 2)
    assert ask(turns, 1, 2, 3) == (Turn.HAND_OUT, (1,), 0)
    assert ask(turns, 1, 2, 3)[0] is Turn.AGAIN  # 2 is handed out here
    assert ask(turns, 1, 2, 3) == (Turn.HAND_OUT, (3,), 0)


def test_an_answer_to_an_older_question_decides_nothing():
    turns = Turns(5)
    turns.add(LINE, 1, 1)
    asked = turns.question(LINE)
    ask(turns, 1, 2)
    turns.add(LINE, 2, 1)
    assert turns.answer(LINE, asked, 1).turn is Turn.AGAIN


def test_what_left_the_inbox_is_dropped():
    turns = Turns(5)
    turns.add(LINE, 3, 1)
    assert ask(turns, 4) == (Turn.GONE, (3,), 0)
    assert ask(turns) == (Turn.GONE, (3,), 0)


def test_a_full_worker_gets_nothing_and_the_message_may_go_to_anybody():
    turns = Turns(1)
    turns.add("a", 1, 1)
    turns.add("b", 2, 1)
    assert ask(turns, 1, subject="a")[0] is Turn.HAND_OUT
    assert ask(turns, 2, subject="b") == (Turn.FULL, (2,), 2)
    turns.settled(1)
    assert ask(turns, 2, subject="b")[0] is Turn.HAND_OUT


def test_a_last_try_is_alone_but_for_users_that_are_being_served():
    turns = Turns(9)
    turns.add("a", 1, 1)
    ask(turns, 1, subject="a")
    turns.add("poison", 2, limits.INBOX_TRIES_MAX)
    turns.add("b", 3, 1)
    assert ask(turns, 2, subject="poison")[0] is Turn.FULL
    assert turns.room == 0
    assert ask(turns, 3, subject="b")[0] is Turn.FULL
    turns.add("a", 4, 1)  # maybe the answer that the run of 1 waits for
    assert ask(turns, 1, 4, subject="a")[0] is Turn.HAND_OUT
    turns.settled(1)
    turns.settled(4)
    assert ask(turns, 2, subject="poison")[0] is Turn.HAND_OUT
    assert ask(turns, 3, subject="b")[0] is Turn.FULL
    turns.settled(2)
    assert ask(turns, 3, subject="b")[0] is Turn.HAND_OUT


class Streams(RuleBasedStateMachine):
    """An inbox, and streams that pull, hand out, settle, give back, pass on and break in any order."""

    LINES = ("a", "b")

    def __init__(self) -> None:
        super().__init__()
        self.turns = [Turns(2), Turns(1), Turns(3)]
        self.inbox: dict[int, str] = {}  # line by seq
        self.where: dict[int, int] = {}  # stream by seq; absent: in the queue
        self.handed: dict[int, int] = {}  # stream by seq
        self.tries: dict[int, int] = {}
        self.next_seq = 1

    streams = st.integers(0, 2)

    @rule(line=st.sampled_from(LINES))
    def send(self, line: str) -> None:
        self.inbox[self.next_seq] = line
        self.tries[self.next_seq] = 0
        self.next_seq += 1

    @rule(stream=streams, data=st.data())
    def pull(self, stream: int, data: st.DataObject) -> None:
        queued = [seq for seq in self.inbox if seq not in self.where]
        if queued and self.turns[stream].room:
            self.take(stream, data.draw(st.sampled_from(queued)))

    def take(self, stream: int, seq: int) -> None:
        self.tries[seq] += 1
        self.where[seq] = stream
        self.turns[stream].add(self.inbox[seq], seq, min(self.tries[seq], limits.INBOX_TRIES_MAX))

    @rule(stream=streams, line=st.sampled_from(LINES), late=st.integers(0, 1))
    def look(self, stream: int, line: str, late: int) -> None:
        turns = self.turns[stream]
        asked = turns.question(line)
        stored = [seq for seq, of in self.inbox.items() if of == line]
        found = min((seq for seq in stored if seq >= asked), default=0)
        if late and stored:
            self.settle_at(min(stored))  # between the answer and its arrival
        verdict = turns.answer(line, asked, found)
        if verdict.turn is Turn.HAND_OUT:
            (seq,) = verdict.seqs
            assert seq not in self.handed
            for before in (other for other, of in self.inbox.items() if of == line and other < seq):
                assert self.handed.get(before) == stream, "overtaken"
            self.handed[seq] = stream
            assert list(self.handed.values()).count(stream) <= (2, 1, 3)[stream]
        elif verdict.turn is Turn.GONE:
            for seq in verdict.seqs:
                assert seq not in self.inbox
                turns.settled(seq)
        elif verdict.turn in (Turn.BLOCKED, Turn.FULL):
            for seq in verdict.seqs:
                self.offer(stream, seq, verdict.behind)

    def offer(self, stream: int, seq: int, behind: int) -> None:
        for other, turns in enumerate(self.turns):
            wanted = turns.room > 0 if behind == seq else turns.knows(behind)
            if other != stream and wanted and self.inbox.get(seq):
                self.turns[stream].lost(seq)
                self.where[seq] = other
                turns.add(self.inbox[seq], seq, min(self.tries[seq], limits.INBOX_TRIES_MAX))
                return

    def settle_at(self, seq: int) -> None:
        stream = self.handed.pop(seq, None)
        if stream is not None:
            del self.inbox[seq], self.where[seq]
            self.turns[stream].settled(seq)

    @precondition(lambda self: self.handed)
    @rule(data=st.data(), back=st.booleans())
    def settle(self, data: st.DataObject, back: bool) -> None:
        seq = data.draw(st.sampled_from(sorted(self.handed)))
        if back:
            stream = self.handed.pop(seq)
            del self.where[seq]
            self.turns[stream].lost(seq)
        else:
            self.settle_at(seq)

    @rule(stream=streams)
    def break_(self, stream: int) -> None:
        self.turns[stream] = Turns((2, 1, 3)[stream])
        for seq in [seq for seq, at in self.where.items() if at == stream]:
            del self.where[seq]
            self.handed.pop(seq, None)

    def teardown(self) -> None:
        """However it stands, when workers settle what they get, everything gets its turn."""
        for _ in range(6 * len(self.inbox) + 6):
            for seq in [seq for seq in self.inbox if seq not in self.where]:
                stream = next((number for number, turns in enumerate(self.turns) if turns.room), None)
                if stream is not None:
                    self.take(stream, seq)
            for stream in range(3):
                for line in self.LINES:
                    for _ in range(len(self.inbox) + 2):
                        self.look(stream, line, 0)
            for seq in list(self.handed):
                self.settle_at(seq)
        assert not self.inbox


TestStreams = Streams.TestCase
