"""How values, exceptions and ends become events."""

from runcast.client import events
from runcast.client.events import make_run_id


def test_run_ids_sort_by_time_and_differ_by_randomness() -> None:
    ids = [make_run_id(time_ms, 2**80 - 1 if time_ms % 2 else 0) for time_ms in (0, 1, 2, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1)]
    assert ids == sorted(ids)
    assert len({*ids, make_run_id(0, 1)}) == len(ids) + 1
    assert all(len(run_id) == 26 for run_id in ids)


def test_ends_close_open_tools_first() -> None:
    kinds = [event.WhichOneof("kind") for event in events.cancelled({"t1": "search", "t2": "read"}, "because")]
    assert kinds == ["tool_completed", "tool_completed", "run_cancelled"]
