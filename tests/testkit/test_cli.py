"""`runcast testkit record` and `assert`, as people without pytest use them."""

import asyncio
import json
import signal
import sys
import sysconfig
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runcast.cli.main import app
from runcast.client import Runcast
from runcast.testkit import Cluster
from runcast.testkit.history import Opened, Settled, to_line
from runcast.testkit.recording import from_lines, to_lines
from tests.unit.testkit.recordings import Reel, begin, good

RUNCAST = str(Path(sysconfig.get_path("scripts")) / "runcast")


async def start(*args: object) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, RUNCAST, "testkit", *map(str, args), stdout=PIPE, stderr=PIPE)


def judge(*args: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["testkit", "assert", *map(str, args)])
    return done.exit_code, done.stdout, done.stderr


async def written(path: Path, lines: int) -> None:
    """Wait until another process has written so many lines."""

    def look() -> None:
        until = time.monotonic() + 20
        while not path.exists() or path.read_bytes().count(b"\n") < lines:
            assert time.monotonic() < until
            time.sleep(0.02)  # a file has nothing to wait on

    await asyncio.to_thread(look)


async def test_what_a_user_receives_is_recorded_and_judged(
    runcast_agent: Runcast, runcast_cluster: Cluster, runcast_tenant: str, tmp_path: Path
) -> None:
    path = tmp_path / "alice.jsonl"
    where = ["--user", "alice", "--tenant", runcast_tenant, "--edge", runcast_cluster.ws_url(0), "--out", path]
    recorder = await start("record", *where, "--until-end", "--from", "earliest")
    async with runcast_agent.run(user="alice", title="Sales") as run:
        await run.thinking("Reading the table")
        await run.respond("The north.")
    _, err = await asyncio.wait_for(recorder.communicate(), 30)
    assert recorder.returncode == 0, err
    recording = from_lines(path.read_bytes().splitlines())
    assert (recording.user, recording.tenant, recording.whole, recording.runs) == ("alice", runcast_tenant, True, [run.id])
    assert recording.text() == "The north."
    status, out, _ = judge(path, "--required", "agent_thinking", "--quality", "0.9", "--silence", "5")
    assert (status, out.splitlines()[-1]) == (0, "all is as it should be")
    status, out, _ = judge(path, "--required", "tool_executing:sql", "--order", "agent_completed,agent_started")
    assert status == 1
    assert "2 things are wrong with what alice/record-" in out
    assert ">>>" in out
    assert out.splitlines()[-1] == "NOT all is as it should be"


async def test_ctrl_c_and_a_timeout_leave_a_whole_file(
    runcast_agent: Runcast, runcast_cluster: Cluster, runcast_tenant: str, tmp_path: Path
) -> None:
    path = tmp_path / "alice.jsonl"
    where = ["--user", "alice", "--tenant", runcast_tenant, "--edge", runcast_cluster.ws_url(0), "--out", path]
    recorder = await start("record", *where)
    await written(path, 1)
    async with runcast_agent.run(user="alice", title="Sales") as run:
        await run.thinking("Reading the table")
        await run.flush()
        await written(path, 3)
        recorder.send_signal(signal.SIGINT)
        await asyncio.wait_for(recorder.wait(), 20)
        assert recorder.returncode == 0
        status, out, _ = judge(path)
        assert (status, "unended: run" in out) == (1, True)
        assert judge(path, "--allow-open", "--timeline")[0] == 0
        recorder = await start("record", *where, "--from", "earliest", "--timeout", "0.5")
        _, err = await asyncio.wait_for(recorder.communicate(), 30)
        assert (recorder.returncode, b"2 events written" in err) == (0, True)


def test_several_recordings_as_json(tmp_path: Path) -> None:
    slow = Reel("bob")
    begin(slow, "s")
    slow.add("agent_thinking", "s", text="...", after=3.0)
    slow.add("agent_completed", "s")
    for name, reel in (("alice", good()), ("bob", slow)):
        (tmp_path / name).write_bytes(b"".join(to_lines(reel.recording())))
    status, out, _ = judge(tmp_path / "alice", tmp_path / "bob", "--silence", "1", "--json")
    form = json.loads(out)
    assert (status, form["clean"]) == (1, False)
    assert [recording["violations"] for recording in form["recordings"]] == [
        [],
        [{"event": 2, "kind": "silence", "text": "nothing came for 3.00 s, from #1 agent_started until #2; at most 1 s was asked for"}],
    ]
    assert [reason["kind"] for reason in form["recordings"][1]["reasons"]] == ["filler", "no_answer"]
    status, out, _ = judge(tmp_path / "alice", tmp_path / "bob")
    assert (status, out.count("quality ")) == (0, 2)
    status, out, _ = judge(tmp_path / "alice", tmp_path / "bob", "--first", "0.05")
    assert (status, "late_start" in out) == (1, True)
    bobs = Reel("bob")
    begin(bobs)
    bobs.add("agent_completed")
    (tmp_path / "bob").write_bytes(b"".join(to_lines(bobs.recording())))
    status, out, _ = judge(tmp_path / "alice", tmp_path / "bob")
    assert (status, "leaked: agent_started, seq 1 of run r was shown to bob/d1, too" in out) == (1, True)


@pytest.mark.parametrize(
    ("devices", "status", "said"), [([("u", "d")], 0, "clean"), ([("u", "d"), ("v", "d")], 1, "d of v was never let in")]
)
def test_a_history_is_judged_by_its_checker(tmp_path: Path, devices: list[tuple[str, str]], status: int, said: str) -> None:
    begun = Opened(
        t=1.0,
        user="u",
        device="d",
        edge="e",
        asked="",
        outcome="resumed",
        position="aaaaaaaa-0000000000000000",
        tip="aaaaaaaa-0000000000000000",
    )
    path = tmp_path / "seen.jsonl"
    path.write_bytes(to_line(begun) + to_line(Settled(t=2.0, devices=devices)))
    done = judge("--history", path)
    assert (done[0], said in done[1]) == (status, True), done


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "give a recording, or --history"),
        (["FILE", "--required", "nothing"], "'nothing' is not a kind of event"),
        (["NONSENSE"], "line 1 is no recording's"),
    ],
)
def test_what_can_not_be_judged_is_said(tmp_path: Path, args: list[str], said: str) -> None:
    (tmp_path / "FILE").write_bytes(b"".join(to_lines(good().recording())))
    (tmp_path / "NONSENSE").write_bytes(b"nonsense\n")
    status, _, err = judge(*[str(tmp_path / arg) if arg.isupper() else arg for arg in args])
    assert (status, said in err) == (2, True), err
