"""Whether memory grew, judged by thirds."""

import pytest

from runcast.cli.soak.growth import SAMPLES_MIN, judge_growth


def one(line: list[float]) -> tuple[float, float, float, float, bool]:
    (growth,) = judge_growth({"edge-0": line})
    assert growth.name == "edge-0"
    return (growth.first_mib, growth.middle_mib, growth.last_mib, growth.percent, growth.flat)


def test_what_fills_up_in_the_first_third_is_flat_after_it() -> None:
    line = [1024.0 * mib for mib in (10, 20, 30, *[40] * 6)]
    assert one(line) == (20.0, 40.0, 40.0, 0.0, True)


@pytest.mark.parametrize(("last", "percent", "flat"), [(104.9, 4.9, True), (105.1, 5.1, False), (90.0, -10.0, True)])
def test_the_last_third_against_the_middle_one(last: float, percent: float, flat: bool) -> None:
    assert one([1024.0 * mib for mib in [50] * 100 + [100] * 100 + [last] * 100])[3:] == (percent, flat)


def test_a_leak_is_found_however_slowly_it_begins() -> None:
    assert not one([1024.0 * (50 + 0.1 * n) for n in range(300)])[4]


def test_of_too_few_samples_nothing_can_be_told() -> None:
    assert not one([1024.0] * (SAMPLES_MIN - 1))[4]
    assert one([1024.0] * SAMPLES_MIN)[4]
