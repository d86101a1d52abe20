"""The spill: what an outbox held is what another process finds; its bounds, its lock, and files that are none."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.client.errors import RunKey, SpillError
from runcast.client.outbox import Outbox
from runcast.client.recovery import Remains
from runcast.client.spill import Spill
from runcast.client.spill_journal import SpillJournal
from runcast.v1.ingest_pb2 import BatchAck, BatchRefusal, RouterHello, Window
from runcast.wire import limits
from runcast.wire.lifecycle import State
from tests.unit.client.events import closing, fatal, key, said, started, tool_began

HELLO = RouterHello(window=Window(batches=100, bytes=limits.MIB), resend_horizon_ms=100_000)


@pytest.fixture
async def spill(tmp_path: Path) -> AsyncIterator[Spill]:
    opened = Spill(tmp_path / "spill.sqlite")
    opened.open()
    yield opened
    opened.close()


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def make_outbox(spill: Spill) -> Outbox:
    outbox = Outbox("p", journal=SpillJournal(spill, "p"))
    outbox.connected(0.0, HELLO)
    return outbox


def ack(outbox: Outbox, run: RunKey, number: int) -> None:
    outbox.acked(0.0, BatchAck(run_id=run.run_id, attempt=run.attempt, number=number, position="x"))


def after_a_crash(spill: Spill) -> Spill:
    """The file as another process finds it when this one is killed now."""
    spill.commit()
    copy = spill.path.with_name("copy.sqlite")
    for suffix in ("", "-wal"):
        if Path(f"{spill.path}{suffix}").exists():
            shutil.copyfile(f"{spill.path}{suffix}", f"{copy}{suffix}")
    found = Spill(copy)
    found.open()
    return found


def remains_of(spill: Spill) -> dict[RunKey, Remains]:
    return {row.key: Remains(spill, row) for row in spill.rows("p")}


async def test_what_waits_what_flew_and_what_is_stored_is_found_again(spill: Spill) -> None:
    outbox = make_outbox(spill)
    run = key("r")
    outbox.open_run(run)
    outbox.append(0.0, run, started())
    outbox.append(0.0, run, tool_began("c"))
    outbox.take_batches(0.0)
    ack(outbox, run, 1)
    outbox.append(0.0, run, said("a"))
    outbox.append(0.0, run, said("b"), receipt_ms=5000)
    [batch] = outbox.take_batches(0.0)
    outbox.append(0.0, run, said("c"))
    found = after_a_crash(spill)
    assert found.producers() == ["p"]
    [remains] = remains_of(found).values()
    left = remains.left
    assert (left.number, left.seq, left.receipt_ms) == (1, 2, 5000)
    assert list(left.flown) == list(batch.events)
    assert [event.agent_response.text for event in left.waiting] == ["c"]
    assert list(left.stored_life.open_tools) == ["c"]
    assert 0.0 <= left.age_s < 10.0
    assert not remains.ended
    again = Outbox("p")
    again.restore_run(0.0, left)
    again.connected(0.0, HELLO)
    assert again.take_batches(0.0) == [batch], "the same batch, as it was"
    assert (again.events, outbox.events) == (3, 3)
    assert again.bytes == outbox.bytes
    found.close()


async def test_a_run_that_is_over_leaves_nothing(spill: Spill) -> None:
    outbox = make_outbox(spill)
    run = key("r")
    outbox.open_run(run)
    outbox.append(0.0, run, started())
    outbox.append(0.0, run, fatal())
    outbox.take_batches(0.0)
    outbox.release_run(run)
    assert [remains.ended for remains in remains_of(after_a_crash(spill)).values()] == [True]
    ack(outbox, run, 1)
    assert remains_of(spill) == {}
    assert spill.producers() == []


async def test_a_refused_part_is_gone_and_its_closing_events_are_there(spill: Spill) -> None:
    outbox = make_outbox(spill)
    run = key("r")
    outbox.open_run(run)
    outbox.append(0.0, run, started())
    outbox.take_batches(0.0)
    ack(outbox, run, 1)
    outbox.append(0.0, run, said("a"))
    outbox.append(0.0, run, said("b"))
    outbox.take_batches(0.0)
    outbox.refused(0.0, BatchRefusal(run_id="r", attempt=1, number=2, code="batch_invalid", definite=True))
    [remains] = remains_of(spill).values()
    assert (remains.left.flown, remains.left.waiting) == ((), ())
    assert outbox.close_failed(0.0, run, closing)
    [remains] = remains_of(spill).values()
    assert [event.seq for event in remains.left.waiting] == [2]
    assert remains.ended


async def test_told_again_as_another_attempt_nothing_of_it_was_sent(spill: Spill) -> None:
    outbox = make_outbox(spill)
    run = key("r")
    outbox.open_run(run)
    outbox.append(0.0, run, started())
    outbox.take_batches(0.0)
    ack(outbox, run, 1)
    outbox.append(0.0, run, fatal())
    outbox.take_batches(0.0)
    [row] = spill.rows("p")
    spill.begin_again(row.id, key("r", attempt=2))
    [(found, remains)] = remains_of(spill).items()
    assert found.attempt == 2
    assert (remains.left.number, remains.left.seq, remains.left.flown) == (0, 0, ())
    assert [(event.id, event.attempt) for event in remains.left.waiting] == [("r.2.1", 2), ("r.2.2", 2)]


async def test_full_the_stored_part_of_long_runs_goes_first_and_their_life_is_still_known(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "spill.sqlite", bytes_max=200_000)
    spill.open()
    outbox = make_outbox(spill)
    run = key("r")
    outbox.open_run(run)
    outbox.append(0.0, run, started())
    outbox.append(0.0, run, tool_began("open"))
    for number in range(1, 60):  # far more than fits, all but the last stored
        outbox.append(0.0, run, said("x" * 10_000))
        outbox.take_batches(0.0)
        ack(outbox, run, number)
    outbox.append(0.0, run, said("waits"))
    [remains] = remains_of(after_a_crash(spill)).values()
    assert not remains.row.whole
    assert list(remains.life.open_tools) == ["open"]
    assert remains.first.HasField("agent_started")
    assert [event.agent_response.text for event in remains.left.waiting] == ["waits"]
    spill.close()


async def test_full_of_what_is_not_stored_it_has_no_room_until_a_run_is_forgotten(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "spill.sqlite", bytes_max=100_000)
    spill.open()
    told: list[str] = []
    spill.on_room = lambda: told.append("room")
    run = spill.add_run("p", key("r"))
    event = said("x" * 90_000)
    event.seq = 1
    spill.put(run, event)
    assert not spill.has_room(20_000)
    assert spill.has_room(20_000, reserve=20_000)
    spill.drop(run)
    assert told
    assert spill.has_room(90_000)
    spill.close()


async def test_it_is_committed_once_per_turn_of_the_loop(spill: Spill) -> None:
    outbox = make_outbox(spill)
    outbox.open_run(key("r"))
    outbox.append(0.0, key("r"), started())
    with sqlite3.connect(spill.path) as other:
        assert other.execute("SELECT count(*) FROM events").fetchone() == (0,)
        await asyncio.sleep(0)
        assert other.execute("SELECT count(*) FROM events").fetchone() == (1,)
    other.close()


# --- the file ---


async def test_one_runcast_has_the_file(spill: Spill, tmp_path: Path) -> None:
    with pytest.raises(SpillError, match="in use by this process"):
        Spill(spill.path).open()
    code = f"""
import asyncio, sys
from runcast.client.spill import Spill
async def main():
    try:
        Spill({str(spill.path)!r}).open()
    except Exception as exc:
        print(type(exc).__name__, exc)
asyncio.run(main())
"""
    told = run_python(code).stdout
    assert told.startswith("SpillError")
    assert f"in use by process {os.getpid()}" in told
    spill.close()
    assert run_python(code).stdout == ""


async def test_a_killed_owner_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "spill.sqlite"
    code = f"""
import asyncio, os, signal
from runcast.client.spill import Spill
async def main():
    Spill({str(path)!r}).open()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    assert run_python(code).returncode == -signal.SIGKILL
    spill = Spill(path)
    spill.open()
    spill.close()


async def test_a_forked_child_that_ends_takes_nothing_along(spill: Spill) -> None:
    code = f"""
import asyncio, os, sys
from runcast.client.spill import Spill
from tests.unit.client.events import key, said
async def main():
    spill = Spill({str(spill.path)!r} + ".forked")
    spill.open()
    run = spill.add_run("p", key("r"))
    event = said("x")
    event.seq = 1
    spill.put(run, event)
    spill.commit()
    child = os.fork()
    if child == 0:
        del spill  # its file is closed with it
        os._exit(0)
    os.waitpid(child, 0)
    assert os.path.getsize(str(spill.path) + "-wal") > 0, "the child took the log"
    try:
        Spill(spill.path).open()
    except Exception as exc:
        print(exc)
    os.abort()
asyncio.run(main())
"""
    told = run_python(code)
    assert told.returncode == -signal.SIGABRT, told.stderr
    found = Spill(f"{spill.path}.forked")
    found.open()
    assert len(found.rows("p")) == 1
    assert [event.seq for event in found.events(1)] == [1]
    found.close()


@pytest.mark.parametrize("content", [b"not a database at all " * 100, "other"])
async def test_what_is_no_spill_is_left_alone(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "spill.sqlite"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE people (name TEXT)")
        other.close()
    before = path.read_bytes()
    with pytest.raises(SpillError, match="choose another path"):
        Spill(path).open()
    assert path.read_bytes() == before
    with pytest.raises(SpillError, match="can't be used"):
        Spill(tmp_path / "missing" / "spill.sqlite").open()


async def test_a_damaged_file_is_put_aside_and_the_agent_begins_anew(spill: Spill, caplog: pytest.LogCaptureFixture) -> None:
    run = spill.add_run("p", key("r"))
    for seq in range(1, 200):
        event = said("x" * 1000)
        event.seq = seq
        spill.put(run, event)
    spill.close()
    content = bytearray(spill.path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    spill.path.write_bytes(content)
    again = Spill(spill.path)
    again.open()
    assert again.producers() == []
    again.close()
    assert "put aside" in caplog.text
    assert len(list(spill.path.parent.glob("*.damaged-*"))) == 1


async def test_a_file_that_can_not_be_written_is_given_up_and_the_outbox_goes_on(spill: Spill, caplog: pytest.LogCaptureFixture) -> None:
    outbox = make_outbox(spill)
    outbox.open_run(key("r"))
    outbox.append(0.0, key("r"), started())
    spill.commit()
    limit: Callable[[str], object] = spill._file.execute  # type: ignore[union-attr] # the disk is full from here on
    limit(f"PRAGMA max_page_count = {limit('PRAGMA page_count').fetchone()[0]}")  # type: ignore[attr-defined]
    for _ in range(30):
        outbox.append(0.0, key("r"), said("x" * 10_000))
    assert spill.broken
    assert "goes on without" in caplog.text
    assert not spill.path.exists(), "what it holds is not true any more"
    [batch] = outbox.take_batches(0.0)
    assert len(batch.events) == 31
    ack(outbox, key("r"), 1)
    outbox.release_run(key("r"))


# --- anything may happen before the crash ---

STEPS = st.lists(st.sampled_from(["open", "say", "say", "tool", "end", "take", "take", "ack", "ack", "refuse", "close", "release", "lose"]))


@given(steps=STEPS, choices=st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_whatever_happened_the_file_holds_what_the_outbox_held(
    steps: list[str], choices: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(compare(steps, choices, tmp_path_factory.mktemp("spill")))


async def compare(steps: list[str], choices: list[int], directory: Path) -> None:
    spill = Spill(directory / "spill.sqlite")
    spill.open()
    outbox = make_outbox(spill)
    runs: list[RunKey] = []
    for index, step in enumerate(steps):
        choice = choices[index % len(choices)]
        if step == "open":
            runs.append(key(f"r{len(runs)}"))
            outbox.open_run(runs[-1])
            outbox.append(0.0, runs[-1], started())
        elif step == "take":
            outbox.take_batches(0.0)
        elif step == "lose":
            outbox.disconnected()
            outbox.connected(0.0, HELLO)
        elif runs:
            act(outbox, runs[choice % len(runs)], step, index)
        outbox.take_results()
    spill.commit()
    found = remains_of(spill)
    held = {queue.key: queue for queue in outbox._runs.values()}
    assert found.keys() == held.keys()
    for run, queue in held.items():
        left = found[run].left
        assert (left.number, left.seq) == (queue.number, queue.seq)
        assert list(left.flown) == (list(queue.flight.batch.events) if queue.flight else [])
        assert list(left.waiting) == [entry.event for entry in queue.waiting]
        assert left.stored_life.state is queue.stored_life.state
        assert left.stored_life.open_tools == queue.stored_life.open_tools
    assert spill._bytes == sum(spill._sizes.values()) == sum(event.ByteSize() for row in spill.rows("p") for event in spill.events(row.id))
    spill.close()


def act(outbox: Outbox, run: RunKey, step: str, index: int) -> None:
    queue = outbox._runs.get((run.run_id, run.attempt))
    if queue is None:
        return
    if step in ("ack", "refuse"):
        if queue.flight is None or not queue.flight.sent:
            return
        if step == "ack":
            ack(outbox, run, queue.number + 1)
        else:
            refusal = BatchRefusal(run_id=run.run_id, attempt=1, number=queue.number + 1, code="batch_invalid", definite=index % 2 == 0)
            outbox.refused(0.0, refusal)
    elif step == "close" and queue.failure and not queue.released:
        outbox.close_failed(0.0, run, closing)
    elif step == "release":
        outbox.release_run(run)
    elif queue.failure is None and not queue.released and queue.life.state is State.OPEN:
        if step == "end" and not queue.life.open_tools:
            outbox.append(0.0, run, fatal())
        else:
            outbox.append(0.0, run, tool_began(f"c{index}") if step == "tool" else said(f"{index}"))
