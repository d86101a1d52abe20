"""What the documents say is what the code does."""

import re
from pathlib import Path

import msgspec
import pytest

from runcast.bus.policy.tiers import BUILT_IN, Tier
from runcast.edge.transports.status import refusal
from runcast.wire import eventjson, limits, limits_http, limits_identity, limits_revocation
from runcast.wire import limits_floods as floods
from runcast.wire.codes import CODES
from runcast.wire.errors import RuncastError

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "PROTOCOL.md").read_text()
ROOMS = ("proto", "bus", "router", "edge", "admin", "agents_client", "cli", "deploy", "docs")


def rows(heading: str, level: str = "##") -> list[list[str]]:
    section = re.split(r"\n##+ ", PROTOCOL.split(f"\n{level} {heading}\n")[1])[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    return cells[2:]


def test_the_table_of_codes_is_the_one_in_code():
    shown = [[c.strip("`") for c in row] for row in rows("Codes")]
    yes = {True: "yes", False: "no"}
    assert shown == [[c.name, c.grpc, str(c.close or ""), yes[c.retry], yes[c.definite], c.advice] for c in CODES.values()]


def test_the_http_statuses_are_the_ones_in_code():
    said = PROTOCOL.split("\n## Codes\n")[1].split("\n|")[0]
    shown = {grpc: int(status) for status, grpc in re.findall(r"(\d{3}) ([A-Z_]+)", said)}
    told = {code.grpc: refusal(RuncastError("", code=code.name), {}).status for code in CODES.values()}
    assert shown == {grpc: status for grpc, status in told.items() if grpc != "UNIMPLEMENTED"}  # of a WebSocket's versions alone


def test_every_kind_and_every_field_of_it_is_described():
    described = {row[0].strip("`"): set(re.findall(r"`([a-z_]+)`(?! of)", row[1])) for row in rows("Events")}
    assert described.keys() == eventjson.KINDS.keys()
    for kind, fields in eventjson.KINDS.items():
        assert {field.name for field in fields} <= described[kind], kind


def test_every_kind_of_a_run_has_its_words_in_agui():
    section = PROTOCOL.split("| Runcast | AG-UI |\n")[1].split("\n\n")[0]
    told = {kind for line in section.splitlines() for kind in re.findall(r"`([a-z_]+)`", line.split("|")[1])}
    assert told == eventjson.KINDS.keys() - {"user_message"}


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
    assert shown["lists and objects within one another, in JSON"] == str(limits.JSON_DEPTH_MAX)
    assert shown["Publish streams of a router, and as many Receive streams"] == f"{limits.STREAMS_MAX:,}"
    assert shown["unsettled messages of a worker"] == f"{limits.INBOX_IN_FLIGHT_MAX:,}"
    assert shown["a token"] == f"{limits_identity.TOKEN_BYTES_MAX // 1024} KiB"
    body = f"{limits_http.POST_BYTES_MAX // 1024} KiB, within {limits_http.POST_READ_S:.0f} s"
    assert shown["a body of `POST /v1/ack` and `POST /v1/send`"] == body
    assert shown["a WebSocket message from a client"] == f"{limits.FRAME_BYTES_MAX // 1024} KiB"
    assert shown["the same, before it is known who it is"] == f"{floods.HELLO_BYTES_MAX // 1024} KiB"
    assert shown["frames that make one message"] == str(floods.FRAGMENTS_MAX)
    assert shown["from a message's first byte to its last"] == f"{floods.MESSAGE_S:.0f} s"
    frames = shown[f"frames from a device, ping, pong and close counting {floods.CONTROL_FRAME_COST}"]
    assert frames == f"{floods.FRAMES_PER_S:.0f} a second, {floods.FRAMES_BURST:,.0f} at once"
    rate, burst = floods.INGRESS_BYTES_PER_S // 1024, floods.INGRESS_BURST_BYTES // limits.MIB
    assert shown["bytes from a device"] == f"{rate} KiB a second, {burst} MiB at once"
    assert shown["frames from a device before it is known who it is"] == f"{floods.STRANGER_FRAMES}, in one message: `hello`"
    assert shown["`refresh` of a device"] == f"1 in {1 / floods.REFRESHES_PER_S:.0f} s, {floods.REFRESHES_BURST:.0f} at once"
    assert shown["a handshake"] == (
        f"{floods.HEADERS_MAX} headers, {floods.HEADER_BYTES_MAX // 1024} KiB each, {floods.HEAD_BYTES_MAX // 1024} KiB in all,"
        f" {floods.SUBPROTOCOLS_MAX} subprotocols in one header"
    )
    connects = shown["connections and requests of an address (IPv6: /64), on one edge"]
    assert connects == f"{floods.CONNECTS_PER_S:.0f} a second, {floods.CONNECTS_PER_S * floods.CONNECTS_BURST_S:.0f} at once"
    assert shown["connections of an address that have not proved who they are"] == str(floods.STRANGERS_PER_ADDRESS_MAX)
    strangers = shown["connections of an edge that have not proved who they are"]
    assert strangers == f"{floods.STRANGERS_MAX:,}, {floods.STRANGER_S:.0f} s each"
    assert shown["text and data of a send"] == f"{limits.TEXT_BYTES_MAX // 1024} KiB"
    assert shown["unanswered sends of a connection"] == str(limits.SENDS_IN_FLIGHT_MAX)
    assert shown["devices of a user on one edge"] == str(limits.DEVICES_PER_USER_MAX)
    assert shown["messages waiting for a group, per user"] == str(limits.INBOX_PER_USER_MAX)
    assert shown["batches kept per user"] == f"{limits.MESSAGES_PER_USER_MAX:,}"
    days = limits_revocation.REVOCATION_MAX_S / 86_400
    assert shown["revocations in force"] == f"{limits_revocation.REVOCATIONS_MAX:,}, {days:.0f} days each"
    assert shown["age of what is kept"] == f"{limits.RETENTION_S / 3600:.0f} h"


def test_the_tiers_are_the_ones_in_code():
    shown = {row[0].strip("`"): row[1:4] for row in rows("Limits by tenant", "###")}
    tiers = [BUILT_IN[name] for name in ("free", "standard", "enterprise")]
    names = [field.name for field in msgspec.structs.fields(Tier) if field.name != "name"]
    expected = {name: [f"{getattr(tier, name):,.0f}" for tier in tiers] for name in names}
    assert shown == expected


@pytest.mark.parametrize("document", ["PROTOCOL.md", "ARCHITECTURE.md", "SECURITY.md"])
def test_the_sections_that_are_referred_to_are_there(document):
    text = (ROOT / document).read_text()
    headings = set(re.findall(r"^(?:#+ |\*\*)(.+?)(?:\*\*.*)?$", text, re.MULTILINE))  # or a paragraph that begins in bold
    kinds = {".py", ".js", ".ts", ".proto", ".md", ".toml"}
    files = [*ROOT.glob("*.md"), *(path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in kinds)]
    for path in files:
        named = re.findall(rf'{re.escape(document)}\)?,? \(?"([^"]+)"', path.read_text())
        assert set(named) <= headings, f"{path.relative_to(ROOT)} refers to {set(named) - headings}"
