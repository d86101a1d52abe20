"""What the documents say is what the code does."""

import re
from pathlib import Path

from runcast.wire import eventjson, limits, limits_revocation
from runcast.wire.codes import CODES

PROTOCOL = (Path(__file__).parents[2] / "PROTOCOL.md").read_text()


def rows(heading: str) -> list[list[str]]:
    section = PROTOCOL.split(f"\n## {heading}\n")[1].split("\n## ")[0]
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
    days = limits_revocation.REVOCATION_MAX_S / 86_400
    assert shown["revocations in force"] == f"{limits_revocation.REVOCATIONS_MAX:,}, {days:.0f} days each"
    assert shown["age of what is kept"] == f"{limits.RETENTION_S / 3600:.0f} h"
