"""What the dashboard is told: sums over processes, the worst first, the last fifteen minutes, and no more than fits."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from runcast.admin.board import Board
from runcast.admin.board.board import COLUMNS, StreamFigures
from runcast.wire import limits, limits_dashboard

OK = {"state": "ok", "dependencies": {"nats": {"state": "ok", "recoveries": 1}}}


def tell(board: Board, role: str, name: str, now: float, **told: Any) -> None:
    board.hear(role, name, msgspec.json.encode({"uptime_s": now, "health": OK, **told}), now)


def histogram(**counts: int) -> dict[str, Any]:
    row = [0] * 15
    for bucket, count in counts.items():
        row[int(bucket.removeprefix("b"))] = count
    return {"counts": row, "max_ms": 40_000.0}


def test_rates_and_gauges_are_added_and_the_worst_age_counts() -> None:
    board = Board()
    for now in (100.0, 102.0):
        total = int(now - 100) * 50
        tell(board, "router", "r0", now, events_stored=total, producers=3)
        tell(board, "edge", "e0", now, events_sent=total, devices=5, devices_behind=1, oldest_unacked_s=0.5, to_send=histogram(b2=total))
        tell(board, "edge", "e1", now, events_sent=2 * total, devices=7, oldest_unacked_s=3.0, to_send=histogram(b8=total))
    board.tick(102.0)
    told = board.newest(102.0, 1)
    assert told["point"] == {
        "n": 51, "in": 50.0, "out": 150.0, "acked": 0.0, "devices": 12, "behind": 1, "oldest_s": 3.0, "send_p50": 5.0, "send_p95": 500.0,
        "send_p99": 500.0, "ack_p50": None, "ack_p95": None, "ack_p99": None, "refused": 0.0,
    }  # fmt: skip
    assert (told["producers"], told["recoveries"]) == (3, 3)
    assert {each["id"]: each["rate"] for each in told["processes"]} == {"r0": 50.0, "e0": 50.0, "e1": 100.0}
    assert told["dependencies"] == [{"name": "nats", "state": "ok", "ok": 3, "of": 3, "recoveries": 3, "reason": "", "where": ""}]


def test_who_falls_silent_is_gone_comes_first_and_counts_no_more() -> None:
    board = Board()
    tell(board, "edge", "a", 100.0, devices=5)
    tell(board, "edge", "b", 100.0, devices=7)
    later = 100.0 + limits.STATISTICS_AGE_S + 1
    tell(board, "edge", "a", later, devices=5)
    board.tick(later)
    told = board.newest(later, 1)
    assert [(each["id"], each["state"]) for each in told["processes"]] == [("b", "gone"), ("a", "ok")]
    assert told["point"]["devices"] == 5
    assert told["roles"] == {"edge": {"alive": 1, "gone": 1}}
    tell(board, "edge", "b", later + 1, uptime_s=1.0, devices=1)  # it is back, and new
    told = board.newest(later + 1, 1)
    assert [(each["id"], each["state"], each["restarts"]) for each in told["processes"]] == [("a", "ok", 0), ("b", "ok", 1)]
    much_later = later + limits_dashboard.BOARD_SPAN_S + 2
    board.tick(much_later)
    assert board.newest(much_later, 1)["processes"] == []


def test_the_worst_state_of_a_dependency_is_told_with_its_place() -> None:
    board = Board()
    tell(board, "edge", "a", 1.0)
    bad = {"state": "degraded", "dependencies": {"nats": {"state": "degraded", "reason": "no leader"}}}
    tell(board, "edge", "b", 1.0, health=bad)
    told = board.newest(1.0, 1)
    assert told["dependencies"] == [
        {"name": "nats", "state": "degraded", "ok": 1, "of": 2, "recoveries": 1, "reason": "no leader", "where": "b"}
    ]
    assert told["processes"][0]["reason"] == "nats: no leader"


def test_points_are_of_the_last_minutes_and_missing_ones_are_seen() -> None:
    board = Board()
    for now in (0.0, 1.0, 2.0, 10.0):
        board.tick(now)
    assert board.history(10.0)["points"]["n"] == [0, 1, 5]
    for now in range(12, 5000, 2):
        board.tick(float(now))
    numbers = board.history(5000.0)["points"]["n"]
    assert len(numbers) == limits_dashboard.BOARD_SPAN_S / limits_dashboard.BOARD_POINT_S
    assert numbers[-1] == 2499


def test_shards_have_rates_and_their_silence_a_reason() -> None:
    board = Board()
    board.hear_streams([StreamFigures("RUNCAST_EV_0", 10, 999, 100, 1)], 10.0)
    assert board.newest(10.0, 1)["streams"][0]["rate"] is None
    board.hear_streams([StreamFigures("RUNCAST_EV_0", 20, 999, 150, 1)], 15.0)
    assert board.newest(15.0, 1)["streams"][0]["rate"] == 10.0
    board.streams_unknown("no answer")
    assert board.newest(16.0, 1)["streams_problem"] == "no answer"


def test_alerts_are_the_newest_and_all_are_counted() -> None:
    board = Board()
    for number in range(limits_dashboard.BOARD_ALERTS_MAX + 5):
        board.hear_alert(msgspec.json.encode({"type": "delivery_alert", "run_id": str(number), "devices": ["d"] * 99}), number)
    board.hear_alert(b"\xff", 1)
    told = board.newest(1.0, 1)
    assert told["alerts_heard"] == limits_dashboard.BOARD_ALERTS_MAX + 5
    assert len(told["alerts"]) == limits_dashboard.BOARD_ALERTS_MAX
    assert told["alerts"][0]["run_id"] == str(limits_dashboard.BOARD_ALERTS_MAX + 4)
    assert told["unreadable"] == 1


def test_a_message_is_small_with_one_process_and_with_many() -> None:
    board = Board()
    sizes = {}
    for count in (1, 50, limits_dashboard.BOARD_PROCESSES_MAX + 40):
        for number in range(count):
            tell(board, "edge", f"edge-{number}", 100.0, devices=number)
        board.tick(100.0)
        told = board.newest(100.0, 1)
        sizes[count] = len(msgspec.json.encode(told))
        assert len(told["processes"]) == min(count, limits_dashboard.BOARD_ROWS_MAX)
    assert told["more"] == limits_dashboard.BOARD_PROCESSES_MAX - limits_dashboard.BOARD_ROWS_MAX + 40
    assert sizes[1] < 2_000
    assert sizes[50] < 16_000
    assert max(sizes.values()) < 20_000


_TEXT = st.dictionaries(
    st.sampled_from(["uptime_s", "events_sent", "devices", "health", "to_ack", "refusals"]), st.integers() | st.floats() | st.text()
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.binary(max_size=20) | _TEXT.map(msgspec.json.encode), st.floats(0, 30)), max_size=30))
def test_whatever_is_said_the_board_stands_and_stays_bounded(said: list[tuple[str, bytes, float]]) -> None:
    board, now = Board(), 0.0
    for name, text, passed_s in said:
        now += passed_s
        board.hear("edge", name, text, now)
        board.hear_alert(text, 1)
        board.tick(now)
    told = msgspec.json.decode(msgspec.json.encode(board.newest(now, 1)))
    assert len(told["processes"]) <= 2
    assert set(board.history(now)["points"]) == set(COLUMNS)
