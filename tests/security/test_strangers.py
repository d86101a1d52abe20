"""Who has not proved yet who they are: a rate, a number and a time for each address, whatever the others do; and an edge without memory."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import aiohttp
import psutil
import pytest

from runcast.testkit import Device
from runcast.testkit.raw_socket import TEXT, RawSocket, frame, request
from runcast.wire import limits, limits_floods
from tests.certificates import Authority

BOUNDS = {
    "RUNCAST_CONNECTS_PER_S": "5",  # 20 at once
    "RUNCAST_STRANGERS_PER_ADDRESS": "8",
    "RUNCAST_STRANGERS_MAX": "20",
    "RUNCAST_STRANGER_S": "1",
    "RUNCAST_TRUSTED_PROXIES": "127.0.0.9",
}
PROXY = "127.0.0.9"
_NUMBERS = itertools.count(1)
pytestmark = pytest.mark.xdist_group("strangers")


@pytest.fixture(scope="module")
def edge(start_shared, runcast_cluster):
    return start_shared(routers=0, edges=1, nats_url=runcast_cluster.nats_url, environ=BOUNDS)


@pytest.fixture(scope="module")
def used_mib(edge) -> int:
    """What an edge without anybody uses. Asked for before others come."""
    used = psutil.Process(edge.edges[0].pid).memory_info()
    return (used.rss - used.shared) // limits.MIB


@pytest.fixture
def address(used_mib) -> Callable[[], str]:
    """Gives addresses of this machine from which nobody has come to the edge."""

    def give() -> str:
        number = next(_NUMBERS)
        return f"127.0.{1 + number // 250}.{1 + number % 250}"

    return give


@contextlib.asynccontextmanager
async def held(edge, source: str, count: int, data: bytes = b"GET / HTTP/1.1\r\nX: "):
    """So many connections from an address, which begin something and say no more."""
    async with contextlib.AsyncExitStack() as stack:
        raws = [await stack.enter_async_context(RawSocket(edge.ws_url(0), source=source)) for _ in range(count)]
        for raw in raws:
            await raw.send(data)
        yield raws


async def ask(edge, source: str, *headers: str, path: str = "/healthz") -> int:
    """The status of one request on a connection of its own."""
    async with RawSocket(edge.ws_url(0), source=source) as raw, asyncio.timeout(10):
        await raw.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: e", *headers, "Connection: close", "", ""]).encode())
        return (await raw.response())[0]


async def test_an_address_connects_at_its_rate(edge, address):
    often, other = address(), address()
    answers = [await ask(edge, often) for _ in range(80)]
    assert set(answers) == {200, 429}
    assert 20 <= answers.count(200) < 80
    assert await ask(edge, other) == 200
    async with Device(edge.ws_url(0), edge.token("u"), device="d") as device:  # from 127.0.0.1
        await device.send_message("nobody", "t", "still here")


async def test_requests_on_one_connection_count_too(edge, address):
    async with RawSocket(edge.ws_url(0), source=address()) as raw, asyncio.timeout(10):
        await raw.send(b"GET /healthz HTTP/1.1\r\nHost: e\r\n\r\n" * 100)
        statuses = []
        while (status := (answer := await raw.response())[0]) == 200:
            statuses.append(status)
            size = next(int(line.partition(":")[2]) for line in answer[1].splitlines() if line.lower().startswith("content-length"))
            await raw.reader.readexactly(size)
        assert status == 429
        assert "Retry-After: 1" in answer[1]
        assert 20 <= len(statuses) <= 60


async def test_slow_heads_and_silent_sockets_of_one_address_keep_nobody_else_out(edge, address):
    slow, other, silent = address(), address(), address()
    async with held(edge, slow, 8):
        assert await ask(edge, slow) == 429
        assert await ask(edge, other) == 200
    async with held(edge, silent, 8, request()) as raws:
        assert [(await raw.response())[0] for raw in raws] == [101] * 8
        assert await ask(edge, silent) == 429
        async with Device(edge.ws_url(0), edge.token("u"), device="d"):
            pass


async def test_who_does_not_prove_who_they_are_is_cut(edge, address):
    async with held(edge, address(), 3) as slow, held(edge, address(), 3, request()) as silent, asyncio.timeout(5):
        assert [await raw.reader.read() for raw in slow] == [b""] * 3
        for raw in silent:
            assert (await raw.response())[0] == 101
            assert await raw.ended() == 0
    async with Device(edge.ws_url(0), edge.token("u"), device="d") as device:
        await asyncio.sleep(2.0)  # twice the bound: who is known stays
        await device.send_message("nobody", "t", "still here")


async def test_many_addresses_cut_off_each_other_and_not_those_who_prove_it(edge, address):
    before = said(edge).count("cut_crowd")
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(held(edge, address(), 4))
        for number in range(5):
            async with Device(edge.ws_url(0), edge.token(f"u{number}"), device="d"):
                pass
    async with asyncio.timeout(25):  # the edge tells every ten seconds who was turned away
        while said(edge).count("cut_crowd") == before:  # noqa: ASYNC110 # a file of another process
            await asyncio.sleep(0.1)


def said(edge) -> str:
    return edge.edges[0].log_path.read_text()


async def test_behind_a_trusted_proxy_the_address_that_it_names_counts(edge, address):
    of_a = [await ask(edge, PROXY, "X-Forwarded-For: 6.6.6.6, 198.51.100.1") for _ in range(60)]
    assert set(of_a) == {200, 429}
    assert await ask(edge, PROXY, "X-Forwarded-For: 198.51.100.2") == 200
    assert await ask(edge, PROXY, "X-Forwarded-For: 198.51.100.1") == 429
    # Who is not trusted can't name another one.
    forger = address()
    forged = [await ask(edge, forger, f"X-Forwarded-For: 198.51.100.{number}") for number in range(3, 63)]
    assert 429 in forged


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(protocols=["x"] * 3000 + ["runcast.v1.json"]), 400),
        (request(protocols=["runcast.v1.json", *["x"] * limits_floods.SUBPROTOCOLS_MAX]), 400),
        (request(protocols=["runcast.v1.json"], headers=["Sec-WebSocket-Protocol: runcast.token.secret"]), 400),
        (request(headers=[f"X-{number}: y" for number in range(limits_floods.HEADERS_MAX)]), 400),
        (request(headers=["X: " + "y" * (limits_floods.HEADER_BYTES_MAX + 100)]), 400),
        (request(headers=[f"X-{number}: {'y' * 8000}" for number in range(5)]), 431),
        (request(path="/" + "x" * (limits_floods.HEADER_BYTES_MAX + 100)), 400),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * (limits_floods.HEAD_BYTES_MAX * 2), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no TLS here\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: e\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n\x1f\x8b nonsense", 200),
    ],
    ids=[
        "3000 subprotocols",
        "17 subprotocols",
        "two headers",
        "100 headers",
        "a long one",
        "too much",
        "a long path",
        "no end",
        "TLS",
        "gzip",
    ],
)
async def test_heads_that_are_too_much_are_refused(edge, address, data, status):
    before = len(said(edge))
    async with RawSocket(edge.ws_url(0), source=address()) as raw, asyncio.timeout(10):
        await raw.send(data)
        assert (await raw.response())[0] in (status, 400 if status == 431 else status)
    text = said(edge)[before:]
    assert "Traceback" not in text, "nonsense fills no log"
    assert "secret" not in text


async def test_over_tls_too_who_comes_too_often_costs_no_handshake(tmp_path: Path, edge, runcast_cluster_factory):
    authority = Authority(tmp_path)
    cluster = await runcast_cluster_factory(routers=0, edges=1, nats_url=edge.nats_url, tls=authority.cluster(nats=False), environ=BOUNDS)
    context = cluster.tls.context()
    async with aiohttp.ClientSession() as http, http.get(cluster.edges[0].http_url + "/healthz", ssl=context) as answer:
        assert answer.status == 200
    endings = []
    for _ in range(80):  # nobody begins TLS: the socket is closed, or waits for it
        async with RawSocket(cluster.ws_url(0), source="127.0.0.2") as raw:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    endings.append(await raw.reader.read())
    assert len(endings) >= 20
    assert set(endings) == {b""}


async def test_without_memory_new_sessions_come_later_and_those_there_are_go_on(edge, used_mib, runcast_cluster_factory):
    cluster = await runcast_cluster_factory(
        routers=0, edges=1, nats_url=edge.nats_url, environ={"RUNCAST_MEMORY_MAX_MIB": str(used_mib + 12)}
    )
    url, part = cluster.ws_url(0), frame(TEXT, b"x" * 60_000, length=limits.FRAME_BYTES_MAX)
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(30):
        there = await stack.enter_async_context(Device(url, cluster.token("there"), device="d"))
        waiting = await stack.enter_async_context(RawSocket(url))
        await waiting.send(request(protocols=["runcast.v1.json", f"runcast.token.{cluster.token('late')}"]))
        assert (await waiting.response())[0] == 101
        status, number = 101, 0
        while status == 101:  # messages whose end does not come, until there is no memory
            raw = await stack.enter_async_context(RawSocket(url))
            await raw.send(request(protocols=["runcast.v1.json", f"runcast.token.{cluster.token(f'u{number}')}"]))
            status, head = await raw.response()
            await raw.send(frame(TEXT, b'{"type":"hello","device":"d"}'), part)
            number += 1
            await asyncio.sleep(0.005)
        assert status == 503
        assert f"Retry-After: {limits_floods.MEMORY_RETRY_S:.0f}" in head
        await waiting.send(frame(TEXT, b'{"type":"hello","device":"d"}'))
        told = await waiting.receive()
        assert told is not None
        assert b'"retry_after_ms":5000' in told.payload
        assert await waiting.ended() == 4003
        assert await ask(cluster, "", path="/readyz") == 503
        await there.send_message("nobody", "t", "still here")
    async with asyncio.timeout(15):
        while await ask(cluster, "", path="/readyz") != 200:  # noqa: ASYNC110 # another process
            await asyncio.sleep(0.2)
    async with Device(url, cluster.token("again"), device="d"):
        pass
