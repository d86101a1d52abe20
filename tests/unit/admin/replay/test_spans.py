"""Places and speeds as people write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.admin.replay.spans import FASTEST, Place, SpanError, parse_place, parse_speed

NOW = 1_800_000_000.0
POSITION = "abcdefgh-0000000000000007"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", Place()),
        ("earliest", Place()),
        (POSITION, Place(position=POSITION)),
        ("-10m", Place(ms=1_799_999_400_000)),
        ("-90s", Place(ms=1_799_999_910_000)),
        ("-2h", Place(ms=1_799_992_800_000)),
        ("-1d", Place(ms=1_799_913_600_000)),
        ("2026-11-21T14:30:00.250Z", Place(ms=int(datetime(2026, 11, 21, 14, 30, tzinfo=UTC).timestamp()) * 1000 + 250)),
        ("2026-11-21T14:30+02:00", Place(ms=int(datetime(2026, 11, 21, 12, 30, tzinfo=UTC).timestamp()) * 1000)),
        ("2026-11-21 14:30", Place(ms=int(datetime(2026, 11, 21, 14, 30).astimezone().timestamp()) * 1000)),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert parse_place(text, NOW) == place


def test_a_time_without_an_offset_is_of_the_zone_that_is_said() -> None:
    def zone() -> timezone:
        return timezone(timedelta(hours=2))

    meant = int(datetime(2026, 11, 21, 12, 30, tzinfo=UTC).timestamp()) * 1000
    assert [parse_place(text, NOW, zone).ms for text in ("2026-11-21T14:30", "2026-11-21T12:30Z")] == [meant, meant]

    def unknown() -> timezone:
        raise LookupError

    assert parse_place("-10m", NOW, unknown) == parse_place("-10m", NOW)  # it is asked only where it counts
    with pytest.raises(LookupError):
        parse_place("2026-11-21", NOW, unknown)


@pytest.mark.parametrize(
    "text", ["10m", "-10", "-10w", "--10m", "yesterday", "abcdefgh-7", "0001-01-01T00:00Z", "1969-01-01T00:00Z", "-9999999d", "²"]
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(SpanError):
        parse_place(text, NOW)


@pytest.mark.parametrize("text", ["1969-01-01T00:00Z", "-9999999d"])
def test_what_is_before_all_streams(text: str) -> None:
    with pytest.raises(SpanError, match="that is before 1970"):
        parse_place(text, NOW)


@given(st.text(max_size=30))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    try:
        place = parse_place(text, NOW)
    except SpanError:
        return
    assert place.ms >= 0


@pytest.mark.parametrize(("text", "speed"), [("1", 1.0), ("10x", 10.0), ("0.5x", 0.5), ("max", FASTEST), ("10000x", 10_000.0)])
def test_speeds(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "0", "0x", "-1x", "10001x", "0.001x", "x", "nan", "inf", "1e3", "1,5x", "\u0661x"])
def test_what_is_no_speed(text: str) -> None:
    with pytest.raises(SpanError, match=r"write a speed from 0.01x"):
        parse_speed(text)
