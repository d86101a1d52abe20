"""How a service starts, or says why it does not."""

import asyncio
import os
import socket
import sys

import aiohttp
import pytest

from runcast.testkit.cluster import Cluster


async def start(role: str, **environ: str) -> tuple[int, str]:
    """Run a service that is expected to end by itself; returns its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"runcast.{role}",
        env={**{k: v for k, v in os.environ.items() if not k.startswith("RUNCAST_")}, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 40)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


@pytest.mark.parametrize("role", ["router", "edge"])
@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "RUNCAST_AUTH=dev"),
        ({"RUNCAST_AUTH": "dev", "RUNCAST_BIND": "0.0.0.0:0"}, "loopback"),  # refused: that is the test
        ({"RUNCAST_AUTH": "dev", "RUNCAST_BIND": "127.evil.example:0"}, "loopback"),
        ({"RUNCAST_AUTH": "dev", "RUNCAST_BIND": "7480"}, "HOST:PORT"),
        ({"RUNCAST_AUTH": "none"}, "RUNCAST_AUTH"),
    ],
)
async def test_settings_that_will_not_do_are_refused_with_what_to_set(role, environ, says):
    code, output = await start(role, **environ)
    assert code == 2
    assert says in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, ["set RUNCAST_AUTH=jwt or http and RUNCAST_AUTH_FILE"]),
        ({"RUNCAST_AUTH": "jwt"}, ["needs RUNCAST_AUTH_FILE"]),
        ({"RUNCAST_AUTH": "jwt", "RUNCAST_AUTH_FILE": "/nonexistent"}, ["/nonexistent", "can't be read"]),
        (
            {"RUNCAST_AUTH": "jwt", "RUNCAST_ORIGINS": "app.test, *", "RUNCAST_COOKIE": "a", "RUNCAST_LOG": "xml"},
            ["'app.test' is no origin", "any page could act as its visitor", "RUNCAST_AUTH_FILE", "RUNCAST_LOG="],
        ),
    ],
)
async def test_an_edge_that_is_to_check_tokens_says_what_it_needs(environ, says):
    code, output = await start("edge", **environ)
    assert code == 2
    for part in says:
        assert part in output
    assert "Traceback" not in output


@pytest.mark.parametrize(("mode", "says"), [("jwt", "[[issuers]] whose tokens are users'"), ("http", "[http] with the url to ask")])
async def test_an_auth_file_that_lets_nobody_in_is_refused(mode, says, tmp_path):
    (tmp_path / "auth.toml").write_text("")
    code, output = await start("edge", RUNCAST_AUTH=mode, RUNCAST_AUTH_FILE=str(tmp_path / "auth.toml"))
    assert code == 2
    assert says in output
    assert "Traceback" not in output


@pytest.mark.parametrize("role", ["router", "edge"])
async def test_a_port_in_use_is_named(role):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, output = await start(role, RUNCAST_AUTH="dev", RUNCAST_BIND=address, RUNCAST_NATS_URL="nats://127.0.0.1:1")
    assert code == 2
    assert address in output
    assert "Traceback" not in output


async def test_an_edge_waits_for_nats_and_is_not_ready(runcast_cluster_factory, user):
    cluster: Cluster = await runcast_cluster_factory(routers=1, edges=1)
    edge = cluster.edges[0]
    await edge.stop()
    await cluster.nats.kill()
    starting = asyncio.create_task(edge.start(ready_s=30))
    try:
        async with aiohttp.ClientSession() as http:
            await _until(http, edge.http_url + "/healthz", 200)
            await _until(http, edge.http_url + "/readyz", 503)
            assert not starting.done()
            await cluster.nats.start()
            await starting
            await _until(http, edge.http_url + "/readyz", 200)
    finally:
        starting.cancel()


async def _until(http: aiohttp.ClientSession, url: str, status: int) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                async with http.get(url) as answer:
                    if answer.status == status:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)  # an HTTP probe has nothing to wait on
