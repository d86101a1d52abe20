"""Reading the log of a real server without consumers."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import structlog
from nats.aio.msg import Msg
from pytest_asyncio import fixture

from runcast.bus.connection import Bus
from runcast.bus.deployment import provision
from runcast.bus.direct import DirectReader
from runcast.bus.storage import store
from runcast.testkit import Cluster
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey

STREAM = subjects.event_stream(0)
ALICE, BOB, NOBODY = (subjects.event_subject(UserKey("t", name), 0) for name in ("alice", "bob", "nobody"))


@fixture
async def reader(bus: Bus, log: structlog.stdlib.BoundLogger) -> AsyncIterator[DirectReader]:
    await provision(bus, shards=1, replicas=1, log=log)
    opened = DirectReader(bus)
    await opened.open()
    yield opened


async def fill(bus: Bus, count: int = 10, payload: bytes = b"") -> None:
    """Alice has the odd seqs, Bob the even ones."""
    for number in range(count):
        await store(bus, ALICE if number % 2 == 0 else BOB, payload or str(number + 1).encode())


async def test_history_of_one_user_in_order_and_in_pages(bus: Bus, reader: DirectReader) -> None:
    await fill(bus)
    messages = await reader.history(STREAM, ALICE, 0)
    assert [(message.subject, message.seq, message.data) for message in messages] == [
        (ALICE, seq, str(seq).encode()) for seq in (1, 3, 5, 7, 9)
    ]
    assert [message.seq for message in await reader.history(STREAM, ALICE, 5)] == [5, 7, 9], "inclusive"
    assert [message.seq for message in await reader.history(STREAM, ALICE, 4)] == [5, 7, 9]
    pages, at = [], 0
    while page := await reader.history(STREAM, ALICE, at + 1, batch=2):
        pages.append([message.seq for message in page])
        at = page[-1].seq
    assert pages == [[1, 3], [5, 7], [9]]


async def test_whether_the_leader_has_a_message(bus: Bus, reader: DirectReader) -> None:
    await fill(bus)
    await bus.js.delete_msg(STREAM, 5)
    held = [seq for seq in range(1, 12) if await reader.leader_holds(STREAM, ALICE, seq)]
    assert held == [1, 3, 7, 9], "hers, and not what was deleted"


async def test_where_there_is_nothing(bus: Bus, reader: DirectReader) -> None:
    assert await reader.history(STREAM, NOBODY, 0) == []
    assert await reader.leader_tip(STREAM, NOBODY) == 0
    assert await reader.last(STREAM, NOBODY) is None
    assert await reader.tips(STREAM, [NOBODY]) == {}
    await fill(bus)
    assert await reader.history(STREAM, ALICE, 10) == []
    assert await reader.history(STREAM, ALICE, 10**9) == []
    assert await reader.history(STREAM, NOBODY, 0) == []


async def test_a_page_is_bounded_by_bytes(bus: Bus, reader: DirectReader) -> None:
    await fill(bus, 8, b"x" * limits.BATCH_BYTES_MAX)
    page = await reader.history(STREAM, ALICE, 1)
    assert 1 <= len(page) < 4
    assert [message.seq for message in page] == [1, 3, 5, 7][: len(page)]
    assert sum(len(message.data) for message in page) <= limits.HISTORY_CHUNK_BYTES + limits.BATCH_BYTES_MAX


async def test_tips(bus: Bus, reader: DirectReader) -> None:
    await fill(bus)
    assert await reader.tips(STREAM, [ALICE, NOBODY, BOB]) == {ALICE: 9, BOB: 10}
    assert (await reader.leader_tip(STREAM, ALICE), await reader.leader_tip(STREAM, BOB)) == (9, 10)
    last = await reader.last(STREAM, ALICE)
    assert last is not None
    assert (last.seq, last.data) == (9, b"9")
    many = [subjects.event_subject(UserKey("t", str(number)), 0) for number in range(limits.VERIFY_SUBJECTS_MAX - 1)]
    assert await reader.tips(STREAM, [*many, ALICE]) == {ALICE: 9}


async def test_the_first_message_kept_is_what_history_begins_with(bus: Bus, reader: DirectReader) -> None:
    await fill(bus)
    await bus.js.purge_stream(STREAM, subject=ALICE, seq=6)
    assert [message.seq for message in await reader.history(STREAM, ALICE, 3)] == [7, 9]


async def test_a_stream_that_is_not_there_is_unavailable(reader: DirectReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_TIMEOUT_S", 0.3)
    with pytest.raises(UnavailableError) as caught:
        await reader.history("RUNCAST_EV_9", ALICE, 0)
    assert caught.value.code.name == "unavailable"
    assert await reader.leader_tip("RUNCAST_EV_9", ALICE) == 0


async def test_silence_is_unavailable_and_over_when_the_server_is_back(
    bus: Bus, reader: DirectReader, nats: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nats.nats is not None
    await fill(bus)
    monkeypatch.setattr(limits, "HISTORY_TIMEOUT_S", 0.3)
    bus.js = bus.nc.jetstream(timeout=0.3)
    await nats.nats.pause()
    for attempt in (
        reader.history(STREAM, ALICE, 0),
        reader.tips(STREAM, [ALICE]),
        reader.last(STREAM, ALICE),
        reader.leader_tip(STREAM, ALICE),
    ):
        with pytest.raises(UnavailableError) as caught:
            await attempt
        assert caught.value.code.name == "unavailable", "reading stores nothing"
    assert reader._reads == {}
    nats.nats.resume()
    monkeypatch.undo()
    assert [message.seq for message in await reader.history(STREAM, ALICE, 0)] == [1, 3, 5, 7, 9]


async def test_many_reads_are_told_apart_and_bounded(bus: Bus, reader: DirectReader) -> None:
    await fill(bus, 20)
    requests = 0
    at_once = 0

    async def count(msg: Msg) -> None:
        nonlocal requests, at_once
        requests += 1
        at_once = max(at_once, len(reader._reads))

    await bus.nc.subscribe(f"$JS.API.DIRECT.GET.{STREAM}", cb=count)
    reads = [reader.history(STREAM, (ALICE, BOB)[number % 2], number % 20) for number in range(4 * limits.HISTORY_READS_MAX)]
    answers = await asyncio.gather(*reads)
    for number, messages in enumerate(answers):
        assert [m.seq for m in messages] == [seq for seq in range(1, 21) if seq % 2 == (number + 1) % 2 and seq >= number % 20]
    assert requests == len(answers)
    assert 1 < at_once <= limits.HISTORY_READS_MAX


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
async def test_an_answer_that_lost_a_message_is_refused(bus: Bus, lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reconnect in its midst may lose a part of an answer. Here a peer answers in the server's place, and leaves one message out."""
    parts: list[tuple[dict[str, str], bytes]] = [
        ({"Nats-Subject": ALICE, "Nats-Sequence": str(seq), "Nats-Last-Sequence": str(before)}, b"x")
        for before, seq in ((0, 1), (1, 3), (3, 5))
    ]
    parts.append(({"Status": "204", "Description": "EOB", "Nats-Last-Sequence": "5"}, b""))
    del parts[lost]

    async def answer(msg: Msg) -> None:
        assert msgspec.json.decode(msg.data)["next_by_subj"] == ALICE
        for headers, data in parts:
            await bus.nc.publish(msg.reply, data, headers=headers)

    await bus.nc.subscribe("$JS.API.DIRECT.GET.ELSEWHERE", cb=answer)
    reader = DirectReader(bus)
    await reader.open()
    if lost == 3:  # the end itself: only time tells
        monkeypatch.setattr(limits, "HISTORY_TIMEOUT_S", 0.2)
        with pytest.raises(UnavailableError, match="in time"):
            await reader.history("ELSEWHERE", ALICE, 1)
        return
    with pytest.raises(UnavailableError, match="lost on the way"):
        await reader.history("ELSEWHERE", ALICE, 1)
