"""History and live become one sequence: each rule by itself."""

import pytest

from runcast.edge.entry import Entry
from runcast.edge.replay import SUSPICION_S, Plan, Splice, place_asked, plan_resume, prove_resume
from runcast.wire import limits
from runcast.wire.position import EARLIEST, LATEST, Position

EPOCH, OTHER = "abcdefgh", "zzzzzzzz"
RETENTION_S = 100.0


def link(prev: int, seq: int) -> Entry:
    return Entry(EPOCH, prev, seq, b"")


def chain(*seqs: int) -> list[Entry]:
    """What the feed makes of a history answer: entries joined one to the other."""
    return [link(prev, seq) for prev, seq in zip((0, *seqs), seqs, strict=False)]


def taken(splice: Splice) -> list[tuple[int, int]]:
    return [(entry.prev, entry.seq) for entry in splice.take()]


def opened_at(tip: int, now: float = 0.0) -> Splice:
    splice = Splice(RETENTION_S)
    splice.opened(tip, now)
    return splice


class TestLive:
    def test_what_follows_is_taken_once(self) -> None:
        splice = opened_at(5)
        for entry in (link(5, 7), link(7, 8), link(7, 8), link(5, 7)):
            splice.live(entry, 1.0)
        assert taken(splice) == [(5, 7), (7, 8)]
        assert taken(splice) == []
        assert (splice.pos, splice.gap, splice.broken) == (8, False, False)

    def test_repeats_are_dropped(self) -> None:
        splice = opened_at(5)
        splice.live(link(3, 5), 1.0)
        splice.live(link(0, 3), 1.0)
        assert (taken(splice), splice.gap) == ([], False)

    def test_before_opening_it_is_kept(self) -> None:
        splice = Splice(RETENTION_S)
        for entry in (link(4, 5), link(5, 7), link(7, 9)):
            splice.live(entry, 0.0)
        splice.tip(9, 0.0)
        splice.tick(9.0)
        splice.history(chain(5, 7), 0.0)
        assert (splice.pos, splice.gap, splice.suspicious, taken(splice)) == (None, False, False, [])
        splice.opened(5, 1.0)
        assert taken(splice) == [(5, 7), (7, 9)]
        assert (splice.gap, splice.suspicious) == (False, False)

    def test_what_was_lost_before_opening_is_a_gap(self) -> None:
        splice = Splice(RETENTION_S)
        splice.live(link(7, 9), 0.0)
        splice.opened(5, 1.0)
        assert (splice.pos, splice.gap) == (5, True)
        splice.history(chain(5, 7), 1.0)
        assert taken(splice) == [(5, 7), (7, 9)]
        assert not splice.gap

    def test_a_gap_is_filled_from_history_and_live_goes_on(self) -> None:
        splice = opened_at(5)
        splice.live(link(8, 9), 1.0)
        assert (splice.gap, taken(splice)) == (True, [])
        splice.live(link(9, 12), 1.0)
        splice.history(chain(5, 7, 8), 1.0)
        assert taken(splice) == [(5, 7), (7, 8), (8, 9), (9, 12)]
        assert not splice.gap

    def test_live_goes_on_although_history_never_reaches_the_newest(self) -> None:
        """Under load something new always arrives while history is read; what is kept must join on."""
        splice = opened_at(5)
        splice.live(link(8, 9), 1.0)
        for seq in range(10, 20):
            splice.live(link(seq - 1, seq), 1.0)
        splice.history(chain(5, 8), 1.0)
        assert [seq for _, seq in taken(splice)] == [8, 9, *range(10, 20)]
        assert not splice.gap

    def test_a_second_gap_among_what_was_kept_is_seen(self) -> None:
        splice = opened_at(5)
        splice.live(link(8, 9), 1.0)
        splice.live(link(10, 12), 1.0)  # 10 was lost
        splice.history(chain(5, 8, 9), 1.0)
        assert [seq for _, seq in taken(splice)] == [8, 9]
        assert splice.gap
        splice.history(chain(9, 10), 1.0)
        assert [seq for _, seq in taken(splice)] == [10, 12]
        assert not splice.gap

    def test_kept_messages_are_bounded_and_read_from_the_log_instead(self) -> None:
        splice = opened_at(5)
        last = 10 + 2 * limits.PENDING_ENTRIES_MAX
        for seq in range(10, last + 1):
            splice.live(link(seq - 1, seq), 1.0)
        assert len(splice._pending) <= limits.PENDING_ENTRIES_MAX
        splice.history(chain(5, 9, 10), 1.0)
        assert [seq for _, seq in taken(splice)] == [9, 10]
        assert splice.gap, "what was dropped has not been read yet"
        splice.history(chain(*range(10, last + 1)), 1.0)
        assert splice.pos == last
        assert not splice.gap


class TestHistory:
    def test_without_a_gap_it_is_ignored(self) -> None:
        splice = opened_at(5)
        splice.history(chain(7, 8), 1.0)
        assert (splice.pos, splice.broken, taken(splice)) == (5, False, [])

    @pytest.mark.parametrize("answer", [[], [7], [7, 8, 9], [4, 5]])
    def test_history_that_does_not_begin_at_pos_breaks(self, answer: list[int]) -> None:
        splice = opened_at(5)
        splice.live(link(8, 9), 1.0)
        splice.history(chain(*answer), 1.0)
        assert splice.broken
        assert taken(splice) == []

    def test_broken_is_for_good(self) -> None:
        splice = opened_at(5)
        splice.live(link(8, 9), 1.0)
        splice.history(chain(7), 1.0)
        splice.history(chain(5, 7, 8), 1.0)  # an old replica still has it
        splice.live(link(5, 7), 1.0)
        assert splice.broken
        assert (splice.pos, taken(splice)) == (5, [])

    def test_a_lagging_answer_moves_as_far_as_it_goes(self) -> None:
        splice = opened_at(5)
        splice.live(link(8, 9), 1.0)
        splice.history(chain(5), 1.0)
        assert (splice.pos, splice.gap) == (5, True)
        splice.history(chain(5, 7), 1.0)
        assert (splice.pos, splice.gap) == (7, True)
        splice.history(chain(7, 8), 1.0)
        assert [seq for _, seq in taken(splice)] == [7, 8, 9]

    def test_from_zero_everything_is_taken(self) -> None:
        splice = opened_at(0)
        splice.live(link(3, 4), 1.0)
        splice.history(chain(2, 3), 1.0)
        assert taken(splice) == [(0, 2), (2, 3), (3, 4)]

    def test_from_zero_history_proves_nothing_after_the_retention(self) -> None:
        splice = opened_at(0)
        splice.live(link(3, 4), RETENTION_S)
        assert splice.gap
        splice.history(chain(3, 4), RETENTION_S)
        assert splice.broken


class TestRetention:
    """`prev == 0`: nothing of the subject is left before it."""

    @pytest.mark.parametrize("tip", [0, 5])
    def test_within_the_retention_it_follows(self, tip: int) -> None:
        splice = opened_at(tip)
        splice.live(link(0, 9), RETENTION_S - 1)
        assert taken(splice) == [(tip, 9)]

    @pytest.mark.parametrize("tip", [0, 5])
    def test_after_the_retention_it_is_a_gap(self, tip: int) -> None:
        splice = opened_at(tip)
        splice.live(link(0, 9), RETENTION_S)
        assert (splice.gap, taken(splice)) == (True, [])
        splice.history(chain(9), RETENTION_S)
        assert splice.broken

    @pytest.mark.parametrize(
        ("tips", "follows"),
        [
            ([(50, 5)], True),  # pos is the tip: nothing was lost until then
            ([(RETENTION_S + 10, 5)], True),  # even when that was not known for long
            ([(50, 0)], True),  # nothing left, and nothing can have aged out unseen
            ([(50, 0), (149, 0)], True),
            ([(RETENTION_S, 0)], False),  # something may have come and gone
            ([(RETENTION_S, 0), (RETENTION_S + 10, 0)], False),
            ([(50, 3)], False),  # a replica from before pos: says nothing about after it
        ],
    )
    def test_what_a_tip_proves(self, tips: list[tuple[float, int]], *, follows: bool) -> None:
        splice = opened_at(5)
        for now, seq in tips:
            splice.tip(seq, now)
        splice.live(link(0, 9), max(tips[-1][0], RETENTION_S) + 10)
        assert splice.gap is not follows

    @pytest.mark.parametrize(("age_s", "follows"), [(0.0, False), (79.0, False), (80.0, True)])
    def test_what_is_too_young_to_have_aged_out_was_erased(self, age_s: float, *, follows: bool) -> None:
        splice = Splice(RETENTION_S)
        splice.opened(5, 0.0, age_s=age_s)
        splice.live(link(0, 9), 10.0)
        assert splice.gap is not follows
        if not follows:
            splice.history(chain(9), 10.0)
            assert splice.broken

    def test_no_tip_where_one_must_be_is_looked_into(self) -> None:
        splice = opened_at(5)
        splice.live(link(5, 7), 10.0)
        splice.tip(0, 90.0)
        assert splice.gap
        splice.history(chain(7), 91.0)  # a replica had lagged
        assert (splice.gap, splice.broken) == (False, False)
        splice.tip(0, 180.0)
        assert not splice.gap  # it has aged out

    def test_delivery_renews_it(self) -> None:
        splice = opened_at(5)
        splice.live(link(5, 7), 90.0)
        splice.live(link(0, 9), 189.0)
        assert not splice.gap


class TestTips:
    def test_a_tip_ahead_becomes_a_gap_unless_it_arrives(self) -> None:
        splice = opened_at(5)
        splice.tip(7, 1.0)
        assert (splice.suspicious, splice.gap) == (True, False)
        splice.tick(1.0 + SUSPICION_S / 2)
        assert not splice.gap
        splice.tick(1.0 + SUSPICION_S)
        assert splice.gap
        splice.history(chain(5, 7), 2.0)
        assert (taken(splice), splice.gap, splice.suspicious) == ([(5, 7)], False, False)

    def test_one_that_was_under_way_is_no_gap(self) -> None:
        splice = opened_at(5)
        splice.tip(7, 1.0)
        splice.live(link(5, 7), 1.1)
        splice.tick(9.0)
        assert (splice.suspicious, splice.gap) == (False, False)

    @pytest.mark.parametrize("later", [0, 3, 5, 6])
    def test_a_lagging_replica_does_not_clear_a_suspicion(self, later: int) -> None:
        splice = opened_at(5)
        splice.tip(7, 1.0)
        splice.tip(later, 1.2)
        assert splice.suspicious
        splice.tick(1.0 + SUSPICION_S)
        assert splice.gap
        splice.history(chain(5, 6), 2.0)
        assert splice.gap, "7 is known to be there"

    def test_a_rising_tip_does_not_put_the_suspicion_off(self) -> None:
        splice = opened_at(5)
        splice.tip(7, 1.0)
        splice.tip(9, 1.4)
        splice.tick(1.0 + SUSPICION_S)
        assert splice.gap

    def test_an_old_suspicion_does_not_hasten_a_new_one(self) -> None:
        splice = opened_at(5)
        splice.tip(7, 1.0)
        splice.live(link(5, 7), 1.1)
        splice.tip(8, 50.0)
        splice.tick(50.1)
        assert not splice.gap


@pytest.mark.parametrize(
    ("wanted", "cursor", "tip", "plan"),
    [
        (LATEST, None, 9, Plan("resumed", "", 9, proof=False)),
        (LATEST, Position(EPOCH, 3), 9, Plan("resumed", "", 9, proof=False)),
        (LATEST, None, 0, Plan("resumed", "", 0, proof=False)),
        (EARLIEST, None, 9, Plan("resumed", "", 0, proof=False)),
        (EARLIEST, Position(EPOCH, 3), 9, Plan("resumed", "", 0, proof=False)),
        ("", None, 9, Plan("resumed", "", 0, proof=False)),
        ("", Position(EPOCH, 3), 9, Plan("resumed", "", 3, proof=True)),
        ("", Position(EPOCH, 9), 9, Plan("resumed", "", 9, proof=False)),
        ("", Position(EPOCH, 10), 9, Plan("reset", "future", 0, proof=False)),
        ("", Position(OTHER, 3), 9, Plan("reset", "unknown_epoch", 0, proof=False)),
        (str(Position(EPOCH, 3)), Position(EPOCH, 7), 9, Plan("resumed", "", 3, proof=True)),
        (str(Position(EPOCH, 9)), None, 9, Plan("resumed", "", 9, proof=False)),
        (str(Position(EPOCH, 0)), None, 9, Plan("resumed", "", 0, proof=True)),
        (str(Position(EPOCH, 0)), None, 0, Plan("resumed", "", 0, proof=False)),
        (str(Position(EPOCH, 10)), None, 9, Plan("reset", "future", 0, proof=False)),
        (str(Position(EPOCH, 10)), None, 0, Plan("reset", "expired", 0, proof=False)),
        (str(Position(OTHER, 3)), None, 9, Plan("reset", "unknown_epoch", 0, proof=False)),
        (str(Position(OTHER, 10)), None, 9, Plan("reset", "unknown_epoch", 0, proof=False)),
        ("yesterday", None, 9, Plan("reset", "malformed", 0, proof=False)),
        ("yesterday", Position(EPOCH, 3), 9, Plan("reset", "malformed", 0, proof=False)),
        ("EARLIEST", None, 9, Plan("reset", "malformed", 0, proof=False)),
        (" ", None, 9, Plan("reset", "malformed", 0, proof=False)),
    ],
)
def test_where_a_device_goes_on(wanted: str, cursor: Position | None, tip: int, plan: Plan) -> None:
    assert plan_resume(wanted, cursor, EPOCH, tip) == plan


@pytest.mark.parametrize(
    ("base", "first_seq", "whole", "covered"),
    [
        (5, 5, True, True),
        (5, 5, False, True),
        (5, 7, True, False),  # 5 has gone
        (5, 0, True, False),  # everything has
        (0, 0, True, True),
        (0, 0, False, False),  # something left the shard: it may have been this user's
        (0, 3, False, False),
    ],
)
def test_what_proves_a_resume(base: int, first_seq: int, *, whole: bool, covered: bool) -> None:
    plan = Plan("resumed", "", base, proof=True)
    expected = plan._replace(proof=False) if covered else Plan("reset", "expired", 0, proof=False)
    assert prove_resume(plan, first_seq, whole=whole) == expected


@pytest.mark.parametrize(
    ("wanted", "cursor", "asked"),
    [
        ("", None, None),
        ("", Position(EPOCH, 4), Position(EPOCH, 4)),
        (EARLIEST, Position(EPOCH, 4), None),
        (LATEST, Position(EPOCH, 4), None),
        ("nonsense", Position(EPOCH, 4), None),
        (str(Position(OTHER, 9)), Position(EPOCH, 4), Position(OTHER, 9)),
    ],
)
def test_which_place_is_asked_for(wanted: str, cursor: Position | None, asked: Position | None) -> None:
    assert place_asked(wanted, cursor) == asked


def test_what_the_leader_has_is_a_gap_at_once() -> None:
    splice = opened_at(5)
    splice.outrun(5, 1.0)
    assert not splice.gap
    splice.outrun(9, 1.0)
    assert splice.gap
    splice.history([link(0, 5), link(5, 7)], 1.0)
    assert splice.gap, "9 is still to come"
    splice.history([link(0, 7), link(7, 9)], 1.0)
    assert (taken(splice), splice.gap) == ([(5, 7), (7, 9)], False)
