"""What an edge counts of a device: events out, events acknowledged, how long both took."""

from runcast.edge.statistics import EdgeStatistics, Unacknowledged


def test_what_nobody_acknowledges_is_counted_and_not_waited_for() -> None:
    statistics = EdgeStatistics()
    reader, page = Unacknowledged(statistics, answers=False), Unacknowledged(statistics, answers=False, kept=False)
    for each in (reader, page):
        each.add(1, 1, 0, 5.0, 0)
        each.add(2, 1, 0, 6.0, 0)
        assert (each.sent, each.oldest_s(9.0)) == (2, 0.0)
    reader.free_le(1, 0)  # it does acknowledge
    assert (reader.acked, reader.oldest_s(9.0), statistics.events_sent) == (1, 3.0, 4)


def test_events_are_counted_and_timed_from_their_own_time() -> None:
    statistics = EdgeStatistics()
    device, other = Unacknowledged(statistics), Unacknowledged(statistics)
    device.add(1, 2, 1_000, 5.0, 1_004)
    device.add(2, 1, 0, 6.0, 2_000)  # from history: counted, not timed
    other.add(2, 1, 1_990, 6.5, 2_000)
    assert (statistics.events_sent, statistics.to_send.count, statistics.to_send.max_ms) == (4, 3, 10)
    assert (device.oldest_s(7.0), other.oldest_s(7.0)) == (2.0, 0.5)
    device.free_le(1, 1_050)
    assert (statistics.events_acked, statistics.to_ack.count, statistics.to_ack.max_ms) == (2, 2, 50)
    assert device.oldest_s(7.0) == 1.0
    device.free_le(9, 3_000)
    assert (device.sent, device.acked, device.oldest_s(9.0), statistics.to_ack.count) == (3, 3, 0.0, 2)
