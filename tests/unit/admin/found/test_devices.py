"""How far a device is behind, by its cursor; connected ones come first."""

import msgspec

from runcast.admin.found.devices import Kept, Place, Places, devices_of, read_kept
from runcast.bus.cursors import Acknowledged, Cursor, write_cursor
from runcast.wire import limits_dashboard as bounds
from runcast.wire.position import Position

EPOCH = "abcdefgh"


def kept(device: str, seq: int, at: int, epoch: str = EPOCH) -> Kept:
    cursor = read_kept(write_cursor(Acknowledged(epoch, 0, seq), at))
    assert cursor is not None
    return Kept(device, cursor)


def test_how_far_each_is_behind() -> None:
    places = Places()
    for seq, stored_ms, events in ((4, 100, 1), (9, 200, 3), (11, 300, 5)):
        places.take(Place(seq, stored_ms, events))
    cursors = [kept("old", 4, 50), kept("tab", 11, 70), kept("phone", 9, 60), kept("else", 9, 10, "hgfedcba"), Kept("odd", Cursor("x", 5))]
    rows, more = devices_of({"tab": "edge-0", "new": "edge-1"}, cursors, places, EPOCH)
    assert [(row["device"], row["edge"], row["state"], row["batches"], row["events"], row["since_ms"]) for row in rows] == [
        ("tab", "edge-0", "up to date", 0, 0, 0),
        ("new", "edge-1", "nothing", 0, 0, 0),
        ("phone", "", "behind", 1, 5, 300),
        ("old", "", "behind", 2, 8, 200),
        ("else", "", "foreign", 0, 0, 0),
        ("odd", "", "foreign", 0, 0, 0),
    ]
    assert (rows[0]["acked_ms"], rows[0]["position"], more) == (70, str(Position(EPOCH, 11)), 0)


def test_there_is_an_end_to_devices() -> None:
    many = [kept(f"d{number}", 1, number) for number in range(bounds.FOUND_DEVICES_MAX + 3)]
    rows, more = devices_of({}, many, Places(), EPOCH)
    assert (len(rows), more) == (bounds.FOUND_DEVICES_MAX, 3)
    assert read_kept(b"") is read_kept(b"\xff") is None
    assert msgspec.json.encode(rows)
