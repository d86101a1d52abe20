"""The command line as a person meets it: real processes, real signals, exit statuses, and nothing left behind."""

import asyncio
import json
import os
import pty
import re
import signal
import socket
import sys
import sysconfig
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from runcast.testkit import Cluster
from runcast.testkit.ports import is_free

RUNCAST = str(Path(sysconfig.get_path("scripts")) / "runcast")
UP_ANY_PORT = ("up", "--router-port", "0", "--edge-port", "0", "--nats-port", "0", "--admin-port", "0", "--admin-http-port", "0")


class Done(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


async def runcast(*args: str, stdin: bytes = b"", timeout: float = 60, environ: dict[str, str] | None = None) -> Done:
    process = await asyncio.create_subprocess_exec(
        RUNCAST, *args, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={**os.environ, "NO_COLOR": "1", **(environ or {})}
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"runcast {' '.join(args)} did not end in {timeout} s:\n{out.decode()}\n{err.decode()}")
    assert "Traceback" not in err.decode()
    return Done(process.returncode or 0, out.decode(), err.decode())


class Running:
    """A command that runs until it is told to stop."""

    def __init__(self, process: Process, directory: Path) -> None:
        self.process = process
        self.directory = directory
        self.said = ""

    async def until(self, text: str, timeout: float = 30) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout):
            while text not in self.said:
                line = await self.process.stdout.readline()
                assert line, f"it ended and said:\n{self.said}"
                self.said += line.decode()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, text: str) -> psutil.Process:
        return next(child for child in self.children() if text in " ".join(child.cmdline()))

    def ports(self) -> list[int]:
        return [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", self.said)]

    async def end_by(self, number: signal.Signals) -> float:
        """Signal it; returns how many seconds it took, after checking that nothing is left."""
        children, ports, began = self.children(), self.ports(), time.monotonic()
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            await self.process.wait()
        took = time.monotonic() - began
        await assert_nothing_left(children, ports)
        return took


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def assert_nothing_left(children: list[psutil.Process], ports: list[int]) -> None:
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, 5)
    assert not alive
    assert all(is_free(port) for port in ports)


@asynccontextmanager
async def running(tmp_path: Path, *args: str) -> AsyncIterator[Running]:
    """Start a command whose temporary files go to `tmp_path`."""
    process = await asyncio.create_subprocess_exec(
        RUNCAST, *args, stdin=DEVNULL, stdout=PIPE, stderr=sys.stderr, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    try:
        yield Running(process, tmp_path)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def event(kind: str, **more: object) -> bytes:
    return json.dumps({"kind": kind, **more}).encode() + b"\n"


RUN = (
    event("agent_started", data={"title": "Backup", "input": {"files": 3}})
    + event("tool_executing", data={"tool_call_id": "t1", "tool": "copy", "args": {"to": "/mnt"}})
    + event("tool_completed", data={"tool_call_id": "t1", "tool": "copy", "status": "ok", "duration_ms": 12})
    + event("agent_completed", data={"summary": "3 files copied"})
)


# --- up ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_up_ends_within_five_seconds_and_leaves_nothing(tmp_path: Path, number: signal.Signals):
    async with running(tmp_path, *UP_ANY_PORT) as up:
        await up.until("Ctrl-C ends it.")
        assert "Development mode" in up.said
        assert len(up.ports()) >= 5
        assert len(up.children()) == 6
        assert await up.end_by(number) < 5
        assert up.process.returncode == 0
    assert left_in(tmp_path) == []


async def test_up_interrupted_while_it_starts_leaves_nothing(tmp_path: Path):
    async with running(tmp_path, *UP_ANY_PORT) as up:
        await up.until("Starting")
        assert await up.end_by(signal.SIGINT) < 10, "five processes that are still importing, on a busy machine"
    assert left_in(tmp_path) == []


async def test_up_killed_takes_its_processes_with_it(tmp_path: Path):
    async with running(tmp_path, *UP_ANY_PORT) as up:
        await up.until("Ctrl-C ends it.")
        await up.end_by(signal.SIGKILL)


async def test_up_starts_again_what_dies_and_says_so(tmp_path: Path, user: str):
    async with running(tmp_path, *UP_ANY_PORT, "--routers", "1", "--edges", "1") as up:
        await up.until("Ctrl-C ends it.")
        up.child("runcast.edge").kill()
        await up.until("edge-0 ended by signal 9; starting it again")
        await up.until("edge-0 is back")
        edge = re.search(r"ws://\S+", up.said)
        router = re.search(r"agents\s+(\S+)", up.said)
        assert edge
        assert router
        assert (await runcast("publish", "-r", router[1], "-u", user, stdin=RUN)).status == 0
        assert (await runcast("tail", "-e", edge[0], "-u", user, "--from", "earliest", "--until-end")).status == 0
        await up.end_by(signal.SIGTERM)


async def test_a_taken_port_is_said_and_is_not_taken_over(tmp_path: Path):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = str(other.getsockname()[1])
        for args in (("up", "--edge-port", port), ("demo", "--port", port)):
            done = await runcast(*args, environ={"TMPDIR": str(tmp_path)})
            assert done.status == 2
            assert done.err.startswith(f"error: port_taken: port {port} of 127.0.0.1 is taken")
            assert len(done.err.splitlines()) == 1
    assert left_in(tmp_path) == []


async def test_a_nats_that_is_not_there_is_said(tmp_path: Path):
    done = await runcast("up", "--nats-url", "nats://127.0.0.1:9", environ={"TMPDIR": str(tmp_path)})
    assert done.status == 2
    assert done.err.startswith("error: nats_unreachable: no NATS server answers at nats://127.0.0.1:9")


# --- demo ---


async def test_demo_answers_a_question_in_the_terminal(tmp_path: Path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "tea.txt").write_text("How to brew tea.\n\nGreen tea is brewed at eighty degrees for two minutes.\n")
    temp = tmp_path / "tmp"
    temp.mkdir()
    done = await runcast(
        *("demo", "--ask", "how is green tea brewed?", "--corpus", str(corpus), "--json"), timeout=60, environ={"TMPDIR": str(temp)}
    )
    assert done.status == 0, done.err
    kinds = [line["kind"] for line in done.lines if "kind" in line]
    assert kinds[0] == "user_message"
    assert kinds[1] == "agent_started"
    assert kinds[-1] == "agent_completed"
    said = "".join(line["data"].get("text", "") for line in done.lines if line["kind"] == "agent_response")
    assert "eighty degrees" in said
    assert left_in(temp) == []


@pytest.mark.parametrize(("typed", "answer"), [("9\n1\n", "Leaves"), (None, "None of these")], ids=["typed", "nobody there"])
async def test_demo_is_asked_back_in_the_terminal(tmp_path: Path, typed: str | None, answer: str):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "tea.md").write_text("# Leaves\n\nGreen tea is brewed at eighty degrees for two minutes.\n")
    ours, theirs = pty.openpty()
    if typed:
        os.write(ours, typed.encode())  # the terminal keeps what is typed ahead
    process = await asyncio.create_subprocess_exec(
        *(RUNCAST, "demo", "--json", "--corpus", str(corpus), "--ask", "leavs zebra lion"),
        stdin=theirs if typed else DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, err.decode()
    lines = [json.loads(line) for line in out.decode().splitlines()]
    assert [line["data"]["value"] for line in lines if line["kind"] == "input_resolved"] == [answer]
    assert "the agent asks" in err.decode()


async def test_demo_serves_a_page_until_interrupted(tmp_path: Path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.txt").write_text("The answer is here.\n")
    temp = tmp_path / "tmp"
    temp.mkdir()
    async with running(temp, "demo", "--port", "0", "--corpus", str(corpus)) as demo:
        await demo.until("Ctrl-C ends it.", timeout=50)
        assert re.search(r"Open {2}http://127\.0\.0\.1:\d+/", demo.said)
        assert demo.child("demo_agent")
        assert await demo.end_by(signal.SIGINT) < 5
    assert left_in(temp) == []


# --- publish and tail ---


async def test_what_is_published_is_tailed(runcast_cluster: Cluster, user: str):
    router, edge = runcast_cluster.routers[0].address, runcast_cluster.edges[1].url
    published = await runcast("publish", "-r", router, "-u", user, "--thread", "th", "--agent", "backup", "--json", stdin=RUN)
    assert published.status == 0, published.err
    assert [line["line"] for line in published.lines] == [1, 2, 3, 4]
    tailed = await runcast("tail", "-e", edge, "-u", user, "--from", "earliest", "--until-end", "--json")
    assert tailed.status == 0
    assert [line["kind"] for line in tailed.lines] == ["agent_started", "tool_executing", "tool_completed", "agent_completed"]
    assert [line["seq"] for line in tailed.lines] == [1, 2, 3, 4]
    assert {(line["agent"], line["thread"]) for line in tailed.lines} == {("backup", "th")}
    assert tailed.lines[0]["data"]["input"] == {"files": 3}
    assert tailed.lines[-1]["pos"] == published.lines[-1]["position"]
    human = await runcast("tail", "-e", edge, "-u", user, "--from", "earliest", "--count", "2")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3}  \w{8}  agent_started     Backup\n\d\d:\d\d:\d\d\.\d{3}  \w{8}  tool_executing    copy .*\n", human.out
    )


async def test_tail_goes_on_from_a_position_and_from_its_cursor(runcast_cluster: Cluster, user: str):
    router, edge = runcast_cluster.routers[0].address, runcast_cluster.edges[0].url
    first = await runcast("publish", "-r", router, "-u", user, "--json", stdin=RUN)
    here = first.lines[-1]["position"]
    cursor = await runcast("tail", "-e", edge, "-u", user, "--from", "earliest", "--until-end", "--device", "shell")
    assert cursor.status == 0
    await runcast("publish", "-r", router, "-u", user, stdin=event("agent_started", run_id="next") + event("agent_completed"))
    for args in (("--from", here), ("--from", "cursor", "--device", "shell")):
        tailed = await runcast("tail", "-e", edge, "-u", user, *args, "--until-end", "--json")
        assert {line["run_id"] for line in tailed.lines} == {"next"}


async def test_bad_lines_cost_themselves_alone(runcast_cluster: Cluster, user: str):
    lines = (
        event("agent_started", run_id="a")
        + b"nonsense\n"
        + event("agent_started", run_id="b")
        + event("agent_singing", run_id="a")
        + event("agent_thinking", run_id="a", data={"tekst": "x"})
        + event("agent_thinking", run_id="nowhere")
        + b'{"kind":"agent_thinking","run_id":"a","data":{"text":"' + b"x" * 300_000 + b'"}}\n'
        + b"\n"
        + event("run_lost", run_id="a")
        + event("agent_completed", run_id="a")
        + event("agent_thinking", run_id="a")
        + event("agent_completed", run_id="b")
    )  # fmt: skip
    done = await runcast("publish", "-r", runcast_cluster.routers[0].address, "-u", user, "--json", stdin=lines)
    assert done.status == 1
    codes = dict(re.findall(r"error: line (\d+): (\w+):", done.err))
    assert codes == {
        "2": "frame_invalid",
        "4": "frame_invalid",
        "5": "frame_invalid",
        "6": "lifecycle_violation",
        "7": "event_too_large",
        "9": "frame_invalid",
        "11": "lifecycle_violation",
    }
    assert sorted(line["line"] for line in done.lines) == [1, 3, 10, 12]
    assert "4 events of 2 runs stored; 7 lines were not" in done.err


async def test_a_run_open_at_the_end_of_the_input_is_cancelled(runcast_cluster: Cluster, user: str):
    router, edge = runcast_cluster.routers[0].address, runcast_cluster.edges[0].url
    lines = event("agent_started", run_id="a") + event("tool_executing", data={"tool_call_id": "t", "tool": "x"}).rstrip()
    done = await runcast("publish", "-r", router, "-u", user, stdin=lines)
    assert "run a was open at the end of the input, and is cancelled" in done.err
    tailed = await runcast("tail", "-e", edge, "-u", user, "--from", "earliest", "--until-end", "--json")
    assert [line["kind"] for line in tailed.lines] == ["agent_started", "tool_executing", "tool_completed", "run_cancelled"]


async def test_a_file_is_published_as_a_pipe_is(runcast_cluster: Cluster, user: str, tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(RUN)
    with path.open("rb") as file:
        process = await asyncio.create_subprocess_exec(
            *(RUNCAST, "publish", "-r", runcast_cluster.routers[0].address, "-u", user), stdin=file, stderr=PIPE
        )
    _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"4 events of 1 runs stored\n")


async def test_tail_comes_back_when_its_edge_dies(runcast_cluster_factory, tmp_path: Path, user: str):
    cluster = await runcast_cluster_factory(routers=1, edges=2)
    edges = [part for edge in cluster.edges for part in ("-e", edge.url)]
    async with running(tmp_path, "tail", *edges, "-u", user, "--from", "earliest", "--count", "8", "--json") as tail:
        await runcast("publish", "-r", cluster.routers[0].address, "-u", user, stdin=RUN)
        await tail.until("agent_completed")
        await cluster.edges[0].kill()
        await runcast("publish", "-r", cluster.routers[0].address, "-u", user, stdin=RUN)
        async with asyncio.timeout(15):
            assert await tail.process.wait() == 0
            assert tail.process.stdout is not None
            tail.said += (await tail.process.stdout.read()).decode()
    positions = [json.loads(line)["pos"] for line in tail.said.splitlines()]
    assert len(positions) == 8
    assert positions == sorted(positions)


async def test_hints_can_be_typed_as_they_stand():
    line = ("tail", "-u", "a", "-e", "127.0.0.1:9")
    elsewhere = await runcast(*line, environ={"PATH": "/usr/bin:/bin"})
    assert f"`{RUNCAST} up` starts one" in elsewhere.err
    found = await runcast(*line, environ={"PATH": f"{Path(RUNCAST).parent}:/usr/bin:/bin"})
    assert "`runcast up` starts one" in found.err


async def test_errors_are_one_line_that_says_what_to_do():
    said = {
        ("tail", "-u", "a", "-e", "127.0.0.1:9"): (1, "error: unreachable: .*connection refused.*runcast up"),
        ("tail", "-u", "a", "-e", "ftp://x"): (2, "error: address_invalid: 'ftp://x' is not an address"),
        ("tail", "-u", "a", "--from", "yesterday"): (2, "error: usage: --from: 'yesterday' is not a position"),
        ("tail", "-u", "a", "--from", "cursor"): (2, "error: usage: .*--device"),
        ("publish", "-u", "a", "-r", "127.0.0.1:9"): (1, "error: unavailable: no router"),
        ("publish", "-u", "a", "-r", "nonsense"): (2, "error: usage: 'nonsense' is not a router's address"),
    }
    async with asyncio.TaskGroup() as group:  # at once: one of them waits for a router before it gives up
        ended = {args: group.create_task(runcast(*args)) for args in said}
    for args, (status, words) in said.items():
        done = ended[args].result()
        assert done.status == status, args
        assert re.match(words, done.err.splitlines()[-1]), args


async def test_a_refused_token_ends_the_tail(runcast_cluster: Cluster):
    done = await runcast("tail", "-u", "a", "-e", runcast_cluster.edges[0].url, "--token", "stolen")
    assert done.status == 1
    assert "unauthenticated" in done.err


async def test_tail_gives_up_after_its_timeout(runcast_cluster: Cluster, user: str):
    done = await runcast("tail", "-u", user, "-e", runcast_cluster.edges[0].url, "--timeout", "0.3")
    assert (done.status, done.out) == (3, "")


# --- doctor, bench ---


async def test_doctor_finds_everything_well(runcast_cluster: Cluster):
    where = ("--nats-url", runcast_cluster.nats_url, "-r", runcast_cluster.routers[0].address, "-e", runcast_cluster.edges[0].url)
    done = await runcast("doctor", *where, "--json")
    report = json.loads(done.out)
    assert (done.status, report["healthy"]) == (0, True), report
    assert {check["what"] for check in report["checks"]} == {"Python", "packages", "nats-server", "NATS", "router", "edge"}
    assert len([stream for stream in report["streams"] if stream["epoch"]]) == 4
    shown = await runcast("doctor", *where)
    assert "RUNCAST_EV_0" in shown.out


async def test_doctor_says_what_does_not_answer():
    done = await runcast("doctor", "--nats-url", "nats://127.0.0.1:9", "-r", "127.0.0.1:9", "-e", "127.0.0.1:9", "--json")
    assert done.status == 1
    failed = {check["what"]: check for check in json.loads(done.out)["checks"] if check["state"] == "failed"}
    assert set(failed) == {"NATS", "router", "edge"}
    assert all(check["advice"] for check in failed.values())


async def test_bench_counts_everything():
    done = await runcast("bench", "--users", "3", "--rate", "60", "--seconds", "1", "--idle", "20", "--json", timeout=50)
    assert done.status == 0, done.err
    figures = json.loads(done.out)
    delivery = figures["delivery"]
    assert (delivery["offered"], delivery["published"], delivery["delivered"]) == (60, 60, 60)
    assert (delivery["lost"], delivery["duplicated"], delivery["misordered"]) == (0, 0, 0)
    assert 0 < delivery["emit_to_device_ms"]["p50"] <= delivery["due_to_device_ms"]["max"]
    assert set(figures["cpu_us_per_event"]) == {"nats", "router", "edge", "agents", "devices"}
    assert figures["kib_per_idle_connection"] is not None


async def test_bench_client_hears_what_was_said():
    done = await runcast("bench", "client", "--runs", "4", "--users", "3", "--seconds", "0.5", "--json", timeout=50)
    assert done.status == 0, done.err
    figures = json.loads(done.out)
    assert 0 < figures["thinking_call"]["p50_us"] <= figures["thinking_call"]["p99_us"]
    assert figures["flood"]["client"]["stored_per_s"] > 0
    sequences = figures["sequences"]
    assert sequences["said"] == sequences["heard"] > 3 * 30 - 1
    assert 0 < sequences["merged"] < sequences["said"]
    assert 0 < sequences["agent_to_device_ms"]["p50"] <= sequences["agent_to_device_ms"]["max"]
