"""What the documents say is what the code does."""

import re
from pathlib import Path

import msgspec

from runcast.bus.policy.tiers import BUILT_IN, Tier
from runcast.wire import eventjson, limits
from runcast.wire.codes import CODES

PROTOCOL = (Path(__file__).parents[2] / "PROTOCOL.md").read_text()


def rows(heading: str, level: str = "##") -> list[list[str]]:
    section = re.split(r"\n##+ ", PROTOCOL.split(f"\n{level} {heading}\n")[1])[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    return cells[2:]


def test_the_table_of_codes_is_the_one_in_code():
    shown = [[c.strip("`") for c in row] for row in rows("Codes")]
    yes = {True: "yes", False: "no"}
    assert shown == [[c.name, c.grpc, str(c.close or ""), yes[c.retry], yes[c.definite], c.advice] for c in CODES.values()]


def test_every_kind_and_every_field_of_it_is_described():
    described = {row[0].strip("`"): set(re.findall(r"`([a-z_]+)`(?! of)", row[1])) for row in rows("Events")}
    assert described.keys() == eventjson.KINDS.keys()
    for kind, fields in eventjson.KINDS.items():
        assert {field.name for field in fields} <= described[kind], kind


def test_the_limits_are_the_ones_in_code():
    shown = {row[0]: row[1] for row in rows("Limits")}
    assert shown["an id"] == f"{limits.ID_BYTES_MAX} bytes"
    assert shown["one event"] == f"{limits.EVENT_BYTES_MAX // 1024} KiB"
    assert shown["one batch"] == f"{limits.BATCH_EVENTS_MAX} events, {limits.BATCH_BYTES_MAX // 1024} KiB"
    assert shown["unanswered on a Publish stream"] == (
        f"{limits.STREAM_WINDOW_BATCHES:,} batches, {limits.STREAM_WINDOW_BYTES // limits.MIB} MiB"
    )
    assert shown["receipts awaited on a Publish stream"] == (
        f"{limits.RECEIPTS_PER_STREAM_MAX:,}, {limits.RECEIPT_DEADLINE_MAX_S:.0f} s each"
    )
    assert shown["tool calls open in a run"] == str(limits.OPEN_TOOLS_MAX)
    assert shown["a WebSocket message from a client"] == f"{limits.FRAME_BYTES_MAX // 1024} KiB"
    assert shown["text and data of a send"] == f"{limits.TEXT_BYTES_MAX // 1024} KiB"
    assert shown["unanswered sends of a connection"] == str(limits.SENDS_IN_FLIGHT_MAX)
    assert shown["devices of a user on one edge"] == str(limits.DEVICES_PER_USER_MAX)
    assert shown["messages waiting for a group, per user"] == str(limits.INBOX_PER_USER_MAX)
    assert shown["batches kept per user"] == f"{limits.MESSAGES_PER_USER_MAX:,}"
    assert shown["age of what is kept"] == f"{limits.RETENTION_S / 3600:.0f} h"


def test_the_tiers_are_the_ones_in_code():
    shown = {row[0].strip("`"): row[1:4] for row in rows("Limits by tenant", "###")}
    tiers = [BUILT_IN[name] for name in ("free", "standard", "enterprise")]
    names = [field.name for field in msgspec.structs.fields(Tier) if field.name != "name"]
    expected = {name: [f"{getattr(tier, name):,.0f}" for tier in tiers] for name in names}
    assert shown == expected
