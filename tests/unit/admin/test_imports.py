"""A file that a page sends is read by the command line's rules, redacted, and bounded."""

import asyncio
import io
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from runcast.admin.imports import Import
from runcast.admin.replay.export import FORM, Export, Head, from_lines, to_lines
from runcast.v1.event_pb2 import Event
from runcast.wire.errors import RuncastError
from runcast.wire.limits_dashboard import IMPORT_BYTES_MAX
from runcast.wire.limits_replay import EXPORT_LINE_BYTES_MAX
from runcast.wire.recorded import RecordedBatch
from runcast.wire.redaction import Redaction

HEAD = Head(form=FORM, version="0.1.0", tenant="default", user="alice", redacted=["data.x"])
Body = bytes | AsyncIterator[bytes]


def said(seq: int, text: str) -> RecordedBatch:
    event = Event(id=f"e{seq}", run_id="r", seq=seq)
    event.agent_response.text = text
    return RecordedBatch("abcdefgh", seq, 1000 * seq, [event])


LINES = list(to_lines(Export(HEAD, [said(3, "a"), said(4, "b\u2028")])))


async def read(body: Body, *rules: str, within_s: float = 20.0) -> Export:
    """What is read of a body that really is sent."""
    found: list[Export | RuncastError] = []

    async def take(request: web.Request) -> web.Response:
        try:
            file = Import(request, within_s=within_s)
            assert (await file.head()).user == "alice"
            found.append(await file.rest(Redaction(rules)))
        except RuncastError as exc:
            found.append(exc)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        try:
            async with http.post(server.make_url("/"), data=io.BytesIO(body) if isinstance(body, bytes) else body) as answer:
                assert answer.status == 200
        except aiohttp.ClientError:
            pass  # it was refused before all of it was sent
    if isinstance(found[0], RuncastError):
        raise found[0]
    return found[0]


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_it_is_read_as_the_command_line_reads_it() -> None:
    whole = b"".join(LINES)
    assert await read(whole) == from_lines(LINES)
    assert await read(in_pieces(*(whole[at : at + 7] for at in range(0, len(whole), 7)))) == from_lines(LINES)
    cut = await read(whole[:-9])
    assert (cut.whole, cut.events) == (False, 2)


async def test_the_rules_hold_for_what_was_exported_without_them() -> None:
    export = await read(b"".join(LINES), "agent_response.text", "data.x")
    assert [batch.events[0].agent_response.text for batch in export.batches] == ["[redacted]", "[redacted]"]
    assert export.head.redacted == ["data.x", "agent_response.text"]


LARGE = [LINES[0], *to_lines(Export(HEAD, [said(seq, (EXPORT_LINE_BYTES_MAX - 1000) * "x") for seq in range(1, 10)]))][1:-1]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "it is empty"),
        (b"hello", "line 1 is no export's: JSON is malformed"),
        (b"".join(LINES[1:]), "line 1: the first line is the head"),
        (LINES[0].replace(b'"form":1', b'"form":2'), "line 1: it has form 2, this version reads 1"),
        (LINES[0] + b"{\n" + LINES[1], "line 2 is no export's"),
        (LINES[0] + LINES[2] + LINES[1], "line 3: abcdefgh-0000000000000003 does not come after"),
        (b"".join(LINES) + LINES[1], "line 5 comes after the end"),
        (LINES[0] + bytes(EXPORT_LINE_BYTES_MAX + 1), "line 2 is longer than any event's"),
        (bytes(IMPORT_BYTES_MAX + 1), "it is larger than 32 MiB"),
        (b"".join(LARGE), "what it holds is larger than 16 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "of",
)
async def test_what_can_not_be_played(body: bytes, told: str) -> None:
    with pytest.raises(RuncastError) as caught:
        await read(body)
    assert (caught.value.code.name, told in caught.value.message) == ("request_invalid", True), caught.value.message


async def test_what_does_not_say_how_large_it_is_is_bounded_too() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield LINES[0]
        for seq in range(1, 40):
            yield b'{"is":"unreadable","pos":"abcdefgh-%016d","stored_ms":1,"why":"%b"}\n' % (seq, bytes(1 << 20).replace(b"\0", b"x"))

    with pytest.raises(RuncastError, match="it is larger than 32 MiB"):
        await read(endless())


async def test_what_does_not_come_is_not_waited_for() -> None:
    never = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield LINES[0]
        await never.wait()

    with pytest.raises(RuncastError, match="did not come within 0 s") as caught:
        await read(stalls(), within_s=0.2)
    assert caught.value.code.name == "unavailable"
