"""Fuzz target: a file that an operator has played."""

import msgspec

from runcast.admin.replay.export import FORM, Export, ExportInvalidError, Head, from_lines, to_lines
from runcast.admin.replay.projector import words_of
from runcast.admin.replay.session import Film, PageSession
from runcast.v1.event_pb2 import Event
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL
from runcast.wire.recorded import RecordedBatch
from runcast.wire.redaction import Redaction

_CODEC = CODECS[JSON_SUBPROTOCOL]
_HELLO = msgspec.json.encode({"type": "hello", "device": "tab", "position": "earliest"})
_RULES = Redaction(["**.password", "agent_response.text"])


def export(data: bytes) -> None:
    """A file: refused, or redacted, played to its end in frames that a page reads, and written as it was read."""
    try:
        read = from_lines(data.splitlines(keepends=True))
    except ExportInvalidError:
        return
    assert from_lines(to_lines(read)).batches == read.batches
    batches = [each._replace(events=[_RULES.apply(event).event for event in each.events]) for each in read.batches]
    film = Film(read._replace(batches=batches), 1.0, 3.0)
    msgspec.json.encode(words_of(read, film, 1.0, file=True))
    page = PageSession(film)
    page.receive(_HELLO, 0.0)
    while (due := page.deadline()) is not None:
        page.tick(due)
    for frame in page.take():
        _CODEC.decode_server(frame)


def seeds() -> dict[str, list[bytes]]:
    """Inputs to begin with."""
    said, used = Event(id="e1", run_id="r", seq=1), Event(id="e2", run_id="r", seq=2, attempt=1)
    said.agent_response.text = "words"
    used.tool_executing.args_json = b'{"password":"x"}'
    batches = [RecordedBatch("abcdefgh", 3, 1000, [said, used]), RecordedBatch("abcdefgh", 4, 2000, [], "no key")]
    whole = b"".join(to_lines(Export(Head(form=FORM, version="0", tenant="default", user="alice"), batches)))
    return {"export": [whole, whole[:-9], whole.replace(b'"seq":2', b'"seq":-2'), whole.replace(b"1000", b"9" * 30)]}
