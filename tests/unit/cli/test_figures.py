from hypothesis import given
from hypothesis import strategies as st

from runcast.cli.bench.command import _shares
from runcast.cli.bench.figures import Sighting, judge, percentile, summarize


def seen(*numbers: int) -> list[Sighting]:
    return [Sighting(number, 1_000, 2_000, 5_000) for number in numbers]


def test_all_well():
    delivery = judge(4, {"a": 2, "b": 2}, {"a": seen(1, 2), "b": seen(1, 2)})
    assert (delivery.offered, delivery.published, delivery.delivered) == (4, 4, 4)
    assert (delivery.lost, delivery.duplicated, delivery.misordered) == (0, 0, 0)
    assert delivery.emit_to_device_ms.p50 == 3.0
    assert delivery.due_to_device_ms.max == 4.0


def test_every_anomaly_is_counted():
    delivery = judge(9, {"a": 5, "b": 1}, {"a": seen(1, 3, 2, 3, 5)})
    assert delivery.lost == 2
    assert delivery.duplicated == 1
    assert delivery.misordered == 1
    assert delivery.delivered == 4


def test_percentiles_are_nearest_rank():
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]
    assert percentile([7.0], 0.5) == 7.0
    assert summarize([]).max == 0.0


@given(st.integers(1, 5000), st.integers(1, 20))
def test_shares_cover_everything_once(total: int, parts: int):
    shares = _shares(total, parts)
    assert [n for first, count in shares for n in range(first, first + count)] == list(range(total))
