"""The one table: its columns agree with each other and with the limits."""

import grpc
import pytest

from runcast.wire import limits
from runcast.wire.codes import _ROWS, CODES, Code, comes_back

rows = pytest.mark.parametrize("row", _ROWS, ids=lambda row: row.name)


def test_names_are_unique() -> None:
    assert len(CODES) == len(_ROWS)
    assert [*CODES.values()] == [*_ROWS]


def test_close_codes_are_unique() -> None:
    closes = [row.close for row in _ROWS if row.close]
    assert len(set(closes)) == len(closes)


@rows
def test_a_row_is_complete(row: Code) -> None:
    assert row.name == row.name.lower()
    assert row.name.replace("_", "").isalpha()
    assert row.advice
    assert row.advice[0].islower()
    assert not row.advice.endswith(".")


@rows
def test_grpc_names_are_statuses_and_not_success(row: Code) -> None:
    assert grpc.StatusCode[row.grpc] is not grpc.StatusCode.OK


@rows
def test_close_code_and_retry_say_the_same(row: Code) -> None:
    if not row.close:
        return
    assert row.close in (1002, 1007, 1009) or 4000 <= row.close <= 4999
    assert comes_back(row.close) == row.retry
    if 4000 <= row.close <= 4499:
        assert row.retry
    if 4500 <= row.close <= 4999:
        assert not row.retry


@rows
def test_retry_agrees_with_the_grpc_status(row: Code) -> None:
    """gRPC's own advice: these statuses are never cured by sending the same again; but who has a new token says it anew."""
    if row.name != "token_expired" and row.grpc in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNAUTHENTICATED"):
        assert not row.retry
    if row.grpc == "UNAVAILABLE":
        assert row.retry


@rows
def test_what_is_not_definite_can_be_sent_again(row: Code) -> None:
    assert row.definite or row.retry


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        (1000, True),
        (1001, True),
        (1006, True),
        (1008, True),
        (1009, False),
        (1011, True),
        (1012, True),
        (3999, True),
        (4000, True),
        (4499, True),
        (4500, False),
        (4999, False),
        (5000, True),
    ],
)
def test_clients_branch_on_the_range(close: int, *, expected: bool) -> None:
    assert comes_back(close) is expected


def test_advice_that_names_a_bound_names_the_real_one() -> None:
    assert f"1 to {limits.ID_BYTES_MAX} bytes" in CODES["id_invalid"].advice
    assert f"{limits.BATCH_EVENTS_MAX} events" in CODES["batch_too_large"].advice
    assert f"{limits.BATCH_BYTES_MAX // limits.KIB} KiB" in CODES["batch_too_large"].advice
    assert f"{limits.EVENT_BYTES_MAX // limits.KIB} KiB" in CODES["event_too_large"].advice
    assert f"{limits.FRAME_BYTES_MAX // limits.KIB} KiB" in CODES["frame_too_large"].advice
    assert f"{limits.TEXT_BYTES_MAX // limits.KIB} KiB" in CODES["send_too_large"].advice
    assert f"{limits.HELLO_TIMEOUT_S:.0f} s" in CODES["hello_timeout"].advice
    assert f"{limits.DEAD_AFTER_S:.0f} s" in CODES["silent"].advice
