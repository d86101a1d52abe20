"""A run that was recorded, exported, read again, and played into a page: the same end state; and nothing of the real system was touched."""

import asyncio
import contextlib
import json
import os
import signal
import stat
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import nats
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from typer.testing import CliRunner

from runcast.cli.main import app
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import ClusterFactory
from runcast.v1.event_pb2 import Event
from runcast.wire.errors import RefusedError
from runcast.wire.lifecycle import ends_run
from tests.delivery.test_cli import RUNCAST, Done, runcast
from tests.security.office import AGENT, VIEWER, people

pytestmark = pytest.mark.timeout(90)


async def replay(cluster: Cluster, *args: str, **environ: str) -> Done:
    """An export, or what is refused, without a process of its own."""
    command = ["replay", *args, "--url", cluster.admins[0].address]
    done = await asyncio.to_thread(CliRunner().invoke, app, command, env={"NO_COLOR": "1", **environ})
    return Done(done.exit_code, done.stdout, done.stderr)


async def play(*args: str) -> Done:
    """Played in a terminal, to its end."""
    return await runcast("replay", *args, "--speed", "max")


@asynccontextmanager
async def on_a_page(*args: str) -> AsyncIterator[str]:
    """The link that `runcast replay --into` prints, while it serves."""
    program = await asyncio.create_subprocess_exec(
        RUNCAST, "replay", *args, "--into", "http://127.0.0.1:0", stdout=PIPE, env={**os.environ, "NO_COLOR": "1"}
    )
    try:
        assert program.stdout is not None
        async with asyncio.timeout(30):
            link = (await program.stdout.readline()).decode().removeprefix("open ").strip()
        yield link
    finally:
        if program.returncode is None:
            program.send_signal(signal.SIGINT)
        async with asyncio.timeout(15):
            assert await program.wait() == 0


async def tell(cluster: Cluster, user: str) -> tuple[str, list[Event], str]:
    """Two runs, acknowledged by a device: the id of the first, what the device was shown, and its last position."""
    async with Device(cluster.ws_url(0), cluster.token(user), device="tab", position="earliest") as device, cluster.connect() as agent:
        async with agent.run(user=user, title="Look it up") as run:
            async with run.tool("search", args={"query": "weather", "password": "canary-1"}) as call:
                call.result = {"hits": 3}
            await run.respond("It will rain.")
        async with agent.run(user=user, title="another") as other:
            await other.respond("Something else.")
        await device.wait_for(lambda event: event.run_id == other.id and ends_run(event))
        return run.id, device.events, device.received[-1].pos


@asynccontextmanager
async def stored(cluster: Cluster) -> AsyncIterator[JetStreamContext]:
    connection = await nats.connect(cluster.nats_url)
    try:
        yield connection.jetstream()
    finally:
        await connection.close()


async def settle(js: JetStreamContext, position: str) -> None:
    """Wait until the device's cursor is where it acknowledged: an edge writes it when the device has gone."""
    while True:
        with contextlib.suppress(NotFoundError):
            kept = await js.get_last_msg("KV_RUNCAST_CURSORS", "$KV.RUNCAST_CURSORS.>")
            if position.encode() in (kept.data or b""):
                return
        await asyncio.sleep(0.05)  # of another process


async def taken(js: JetStreamContext) -> tuple[dict[str, int], set[str]]:
    """The newest number of each stream and bucket: whoever wrote anything raised one. And the keys of leases and runs, which go by time."""
    found = {info.config.name or "": info.state.last_seq for info in await js.streams_info()}
    del found["RUNCAST_AUDIT"], found["KV_RUNCAST_RUNS"]
    return found, set((await js.stream_info("KV_RUNCAST_RUNS", subjects_filter=">")).state.subjects or {})


def shown(events: list[Event]) -> list[bytes]:
    return [event.SerializeToString(deterministic=True) for event in events]


async def test_a_run_is_exported_read_and_played_into_a_page(tmp_path: Path, runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1, admins=1)
    run_id, events, tip = await tell(cluster, user)
    async with stored(cluster) as js, asyncio.timeout(60):
        await settle(js, tip)
        before = await taken(js)

    file = tmp_path / "alice.jsonl"
    done = await replay(cluster, "--user", user, "--into", str(file), "--reason", "a test")
    assert (done.status, done.out) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    head, *lines, end = [json.loads(line) for line in file.read_text().splitlines()]
    assert (head["is"], head["user"], head["tenant"], head["form"]) == ("replay", user, "default", 1)
    assert [line["id"] for line in lines] == [event.id for event in events]
    assert (end["is"], end["events"]) == ("end", len(events))

    async with on_a_page(str(file), "--speed", "max") as link:
        base, _, secret = link.partition("/open/")
        async with Device(f"{base}/v1/ws", secret, device="tab", position="earliest") as page:
            played = await page.wait_count(len(events))
            assert page.welcome is not None
            assert (page.welcome.replay, page.welcome.user) == (True, user)
            assert shown(played) == shown(events)
            with pytest.raises(RefusedError, match="permission_denied"):
                await page.send_message("demo", "t", "hello")

    # A part of it, by run and by place; in the terminal, and as JSON.
    one = await replay(cluster, "--user", user, "--run", run_id, "--from", "-10m", "--into", "-")
    assert {json.loads(line)["run_id"] for line in one.out.splitlines()[1:-1]} == {run_id}
    middle = lines[len(lines) // 2]["pos"]
    rest = await play(str(file), "--from", middle, "--json")
    assert [json.loads(line)["id"] for line in rest.out.splitlines()] == [line["id"] for line in lines if line["pos"] > middle]
    past = await replay(cluster, "--user", user, "--to", "-1h", "--into", "-")
    assert [json.loads(line)["is"] for line in past.out.splitlines()] == ["replay", "end"]
    assert "It will rain." in (await play("--user", user, "--url", cluster.admins[0].address)).out

    async with stored(cluster) as js:
        after = await taken(js)
    assert (after[0] == before[0], after[1] <= before[1]) == (True, True)  # no cursor, no receipt, no lease, no event
    audit = await asyncio.to_thread(CliRunner().invoke, app, ["admin", "audit", "--json", "--url", cluster.admins[0].address])
    entries = [json.loads(line) for line in audit.stdout.splitlines()]
    assert [(each["action"], each["outcome"]) for each in entries] == [("ReadStream", "ok")] * 4
    assert (entries[0]["target"], entries[0]["reason"]) == (f"user default/{user}", "a test")
    assert entries[1]["target"] == f"user default/{user}, run {run_id}"
    for source in (("--user", user, "--run", "nowhere"), (str(file), "--run", "nowhere"), ("--user", f"{user}-nobody")):
        none = await replay(cluster, *source, "--into", str(tmp_path / "none.jsonl"))
        assert (none.status, "run_unknown: nothing is recorded" in none.err, (tmp_path / "none.jsonl").exists()) == (1, True, False), none


async def test_what_the_rules_name_leaves_nobody(tmp_path: Path, runcast_cluster_factory: ClusterFactory, user: str) -> None:
    rules = tmp_path / "redaction.toml"
    rules.write_text('rules = ["**.password"]')
    environ = {"RUNCAST_REDACTION_FILE": str(rules)}
    cluster = await runcast_cluster_factory(routers=1, edges=1, admins=1, environ=environ)
    _, events, _ = await tell(cluster, user)
    done = await replay(cluster, "--user", user, "--redact", "agent_response.text", "--into", "-")
    assert ("canary-1" in done.out, "It will rain." in done.out, '"weather"' in done.out) == (False, False, True)
    head, *_, end = [json.loads(line) for line in done.out.splitlines()]
    assert (head["redacted"], end["events"]) == (["**.password", "agent_response.text"], len(events))
    rules.write_text('rules = ["**.passw')  # another file counts at once; one that is broken lets nothing out
    refused = await replay(cluster, "--user", user, "--into", "-")
    assert (refused.status, refused.out, "redaction file can't be used" in refused.err) == (1, "", True)
    rules.write_text('rules = ["tool_executing.args"]')
    again = await replay(cluster, "--user", user, "--into", "-")
    assert ("canary-1" in again.out, '"weather"' in again.out, "It will rain." in again.out) == (False, False, True)


async def test_who_may_and_what_is_refused(tmp_path: Path, runcast_cluster_factory: ClusterFactory) -> None:
    environ = {"RUNCAST_AUTH": "token", "RUNCAST_AUTH_FILE": str(people(tmp_path))}
    cluster = await runcast_cluster_factory(routers=1, edges=0, admins=1, environ=environ)
    key = {"RUNCAST_ADMIN_KEY": VIEWER.text}
    assert (await replay(cluster, "--user", "alice", "--to", "-1h", "--into", "-", **key)).status == 0  # of a time nothing is an answer
    for wrong in ("", AGENT.text):
        refused = await replay(cluster, "--user", "alice", "--into", "-", RUNCAST_ADMIN_KEY=wrong)
        assert (refused.status, refused.out, "unauthenticated" in refused.err) == (1, "", True)
    for args, status, told in (
        (("--user", "alice", "--from", "zzzzzzzz-0000000000000001"), 1, "request_invalid: zzzzzzzz-0000000000000001 is"),
        (("--user", "alice", "--run", "x" * 200), 1, "id_invalid"),
        (("--user", "alice", "--reason", "x" * 200), 1, "request_invalid"),
        (("--user", "x" * 200), 2, "id_invalid"),
        (("--user", "alice", "--from", "yesterday"), 2, "usage: --from"),
        (("--user", "alice", "--speed", "0x"), 2, "usage: --speed"),
        (("--user", "alice", "--redact", "id"), 2, "can't be taken out"),
        (("--user", "alice", "--into", "http://10.0.0.1:80"), 2, "on this machine alone"),
        (("--user", "alice", "--into", "https://127.0.0.1:80"), 2, "write http://127.0.0.1:PORT"),
        ((), 2, "say what to play"),
        (("file", "--user", "alice"), 2, "say what to play"),
        ((str(tmp_path / "none"),), 2, "can't be read"),
        ((str(tmp_path / "auth.toml"),), 2, "line 1 is no export's"),
    ):  # fmt: skip
        done = await replay(cluster, *args, **key)
        assert (done.status, told in done.err) == (status, True), (args, done.err)


async def test_a_page_is_for_who_has_the_link(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"is":"replay","form":1,"version":"0","tenant":"default","user":"al"}\n{"is":"end","batches":0,"events":0}\n')
    async with on_a_page(str(file)) as link, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as guest:
        base = link.partition("/open/")[0]
        for path in ("/", "/v1/ws", "/replay/words.json", "/client/runcast.js", "/open/x"):
            async with guest.get(base + path) as answer:
                assert answer.status == 403
        async with guest.get(link, headers={"Host": "evil.test"}) as answer:
            assert answer.status == 403
        async with guest.get(link) as answer:
            assert (answer.status, str(answer.url)) == (200, f"{base}/?user=al")
            assert "/replay/banner.js" in await answer.text()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        async with guest.get(f"{base}/v1/ws", headers={"Origin": "http://evil.test"}) as answer:
            assert answer.status == 403
