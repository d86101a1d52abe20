import asyncio
import os

import pytest

from runcast.cli.publish import parse_line
from runcast.cli.stdin import read_lines
from runcast.wire.errors import FrameInvalidError


def test_only_the_kind_is_needed():
    line = parse_line(7, b'{"kind":"agent_thinking"}')
    assert (line.number, line.form.run_id, line.event.WhichOneof("kind")) == (7, "", "agent_thinking")


def test_what_tail_prints_is_taken():
    line = parse_line(1, b'{"pos":"aaaaaaaa-0000000000000001","id":"r.1.2","run_id":"r","kind":"agent_completed","seq":2,"data":{}}')
    assert line.form.run_id == "r"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"[]", "not a JSON object"),
        (b"{", "not a JSON object"),
        (b"\xff", "not a JSON object"),
        (b"{}", "kind"),
        (b'{"kind":"agent_thinking","text":"x"}', "unknown field 'text'; the kind's own fields go into data"),
        (b'{"kind":"agent_thinking","data":[]}', "data"),
        (b'{"kind":"agent_thinking","data":{"progress":"much"}}', r"agent_thinking\.progress"),
        (b'{"kind":"sing"}', "'sing' is not a kind"),
        (b'{"kind":"user_message"}', "not for agents"),
    ],
)
def test_bad_lines_are_told_why(raw: bytes, words: str):
    with pytest.raises(FrameInvalidError, match=words):
        parse_line(1, raw)


@pytest.mark.parametrize("pieces", [[b"a\nbb\n\nlast"], [b"a", b"\nb", b"b\n", b"\nlast"]])
async def test_lines_of_a_pipe(pieces: list[bytes]):
    reading, writing = os.pipe()
    got: list[bytes | None] = []

    async def read() -> None:
        got.extend([line async for line in read_lines(reading, 10)])

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        for piece in pieces:
            os.write(writing, piece)
            await asyncio.sleep(0)
        os.close(writing)
    os.close(reading)
    assert got == [b"a", b"bb", b"", b"last"]


async def test_too_long_lines_are_skipped_once_each(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"ok\n" + b"x" * 200_000 + b"\nok\n" + b"y" * 11 + b"\nok")
    with path.open("rb") as file:
        assert [line async for line in read_lines(file.fileno(), 10)] == [b"ok", None, b"ok", None, b"ok"]
