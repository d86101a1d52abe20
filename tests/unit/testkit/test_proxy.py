"""The proxy with real sockets, and its NATS filter with every way of cutting the stream into pieces."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg

from runcast.testkit import Cluster
from runcast.testkit.nats_filter import LINE_BYTES_MAX, NatsFilter, matches
from runcast.testkit.ports import HOST
from runcast.testkit.proxy import Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Says back what it hears; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
            writer.write_eof()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def lines(**settings: int) -> AsyncIterator[tuple[Proxy, Streams]]:
    """A proxy before an echo server, and one connection through it."""
    async with echo_server() as port, Proxy(port, **settings) as proxy:
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        try:
            yield proxy, (reader, writer)
        finally:
            writer.transport.abort()


async def ask(streams: Streams, what: bytes, timeout: float = 5.0) -> bytes:
    reader, writer = streams
    writer.write(what)
    return await asyncio.wait_for(reader.readexactly(len(what)), timeout)


async def test_what_is_said_comes_through_both_ways_and_so_does_the_end() -> None:
    async with lines() as (proxy, (reader, writer)):
        big = bytes(range(256)) * 4000
        writer.write(big)
        _, heard = await asyncio.gather(writer.drain(), reader.readexactly(len(big)))
        assert heard == big
        assert (proxy.connections, proxy.accepted, proxy.healthy) == (1, 1, True)
        writer.write_eof()
        assert await reader.read() == b"bye"


async def test_cut_resets_and_a_new_connection_works() -> None:
    async with lines() as (proxy, (reader, writer)):
        await ask((reader, writer), b"one")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        assert await ask(await asyncio.open_connection(HOST, proxy.port), b"two") == b"two"


async def test_cut_that_stays_resets_until_healed() -> None:
    async with lines() as (proxy, _):
        proxy.cut(stay=True)
        assert not proxy.healthy
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await ask(await asyncio.open_connection(HOST, proxy.port), b"no")
        proxy.heal()
        assert await ask(await asyncio.open_connection(HOST, proxy.port), b"yes") == b"yes"


async def test_half_open_accepts_and_swallows_until_healed() -> None:
    async with lines() as (proxy, streams):
        await ask(streams, b"one")
        proxy.half_open()
        with pytest.raises(TimeoutError):
            await ask(streams, b"two", 0.2)
        late = await asyncio.open_connection(HOST, proxy.port)
        with pytest.raises(TimeoutError):
            await ask(late, b"three", 0.2)
        proxy.heal()
        for reader, _ in (streams, late):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 5)
        assert await ask(await asyncio.open_connection(HOST, proxy.port), b"four") == b"four"


async def test_half_open_without_traffic_loses_nothing_and_goes_on() -> None:
    async with lines() as (proxy, streams):
        await ask(streams, b"one")
        proxy.half_open()
        proxy.heal()
        assert await ask(streams, b"two") == b"two"


async def test_delay() -> None:
    async with lines() as (proxy, streams):
        proxy.delay_s = 0.1
        began = time.monotonic()
        await ask(streams, b"one")
        assert time.monotonic() - began >= 0.2, "once there and once back"


async def test_throttle() -> None:
    async with lines() as (proxy, streams):
        proxy.bytes_per_s = 100_000
        began = time.monotonic()
        await ask(streams, bytes(30_000))
        await ask(streams, bytes(10_000))
        assert 0.3 <= time.monotonic() - began < 3


async def test_a_target_that_is_not_there_is_a_reset() -> None:
    async with echo_server() as port:
        gone = port
    async with Proxy(gone) as proxy:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await ask(await asyncio.open_connection(HOST, proxy.port), b"no")


async def test_only_a_nats_line_has_messages_to_drop() -> None:
    with pytest.raises(ValueError, match="nats=True"):
        Proxy(1).drop("live.>")


async def test_messages_of_a_real_nats_server_are_left_out_by_subject() -> None:
    async with Cluster(routers=0, edges=0) as cluster:
        assert cluster.nats is not None
        async with Proxy(cluster.nats.port, nats=True) as proxy:
            client = await nats.connect(f"nats://{HOST}:{proxy.port}")
            sender = await nats.connect(cluster.nats_url)
            got: list[tuple[str, bytes]] = []
            last = asyncio.Event()

            async def note(msg: Msg) -> None:
                got.append((msg.subject, msg.data))
                if msg.data == b"last":
                    last.set()

            await client.subscribe("a.>", cb=note)
            await client.flush()
            proxy.drop("a.*.secret")
            for number in range(50):
                await sender.publish("a.1.plain", str(number).encode() * 1000)
                await sender.publish("a.1.secret", str(number).encode() * 1000, headers={"k": "v"} if number % 2 else None)
            await sender.publish("a.1.plain", b"last", headers={"k": "v"})
            await asyncio.wait_for(last.wait(), 10)
            assert [subject for subject, _ in got] == ["a.1.plain"] * 51
            assert proxy.dropped == 50
            proxy.heal()
            last.clear()
            await sender.publish("a.1.secret", b"last")
            await asyncio.wait_for(last.wait(), 10)
            await client.close()
            await sender.close()


# --- the filter ---

TALK = [
    (b'INFO {"server_id":"x"}\r\n', True),
    (b"MSG live.1.a 1 5\r\nhello\r\n", False),
    (b"+OK\r\n", True),
    (b"MSG other 2 reply.to 0\r\n\r\n", True),
    (b"HMSG live.2.b.c 3 12 17\r\nNATS/1.0\r\n\r\nMSG x\r\n", False),
    (b"HMSG keep 3 r 12 12\r\nNATS/1.0\r\n\r\n\r\n", True),
    (b"PING\r\n", True),
    (b"MSG keep 4 12\r\nMSG live.1 1\r\n", True),
]


@given(st.lists(st.sampled_from(TALK), max_size=12), st.lists(st.integers(1, 40), max_size=60))
def test_the_filter_does_not_care_how_the_stream_is_cut(talk: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    stream = b"".join(text for text, _ in talk)
    screen = NatsFilter(lambda subject: matches("live.>", subject))
    heard = b""
    for cut in cuts:
        heard += screen.feed(stream[:cut])
        stream = stream[cut:]
    heard += screen.feed(stream)
    assert heard == b"".join(text for text, kept in talk if kept)
    assert screen.dropped == sum(not kept for _, kept in talk)
    assert screen.whole


@pytest.mark.parametrize("odd", [b"MSG live.1\r\n", b"MSG live.1 1 x\r\n", b"x" * (LINE_BYTES_MAX + 1), b"HMSG live.1 1 2\r\n"])
def test_what_is_not_understood_passes_and_is_not_filtered_after(odd: bytes) -> None:
    screen = NatsFilter(lambda _: True)
    after = b"MSG live.1 1 2\r\nab\r\n"
    assert screen.feed(odd) + screen.feed(after) == odd + after


@pytest.mark.parametrize(
    ("pattern", "subject", "yes"),
    [
        ("live.>", "live.1", True),
        ("live.>", "live", False),
        ("live.*.b", "live.a.b", True),
        ("live.*.b", "live.a.b.c", False),
        ("live", "live", True),
        (">", "a.b", True),
        ("a.b", "a", False),
    ],
)
def test_patterns(pattern: str, subject: str, yes: bool) -> None:
    assert matches(pattern, subject) is yes
