"""What a raw socket can send to an edge: cases as Autobahn's, and worse. Each ends in the right close code, and costs nobody else anything.

One user beside it all: after every case it still gets what it sends.
"""

import asyncio
import contextlib
import time
import zlib

import pytest

from runcast.testkit.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket, frame, request
from runcast.wire import limits, limits_floods

PING_JSON = b'{"type":"ping"}'
PONG_JSON = b'{"type":"pong"}'
BOMB = zlib.compress(b"[" * 10_000_000, 9)[2:-4]

ANSWERED = {
    "a text": [frame(TEXT, PING_JSON)],
    "in pieces": [
        frame(TEXT, PING_JSON[:3], fin=False),
        frame(CONTINUATION, PING_JSON[3:8], fin=False),
        frame(CONTINUATION, PING_JSON[8:]),
    ],
    "empty pieces": [frame(TEXT, fin=False), frame(CONTINUATION, fin=False), frame(CONTINUATION, PING_JSON)],
    "a ping between pieces": [frame(TEXT, PING_JSON[:3], fin=False), frame(PING, b"between"), frame(CONTINUATION, PING_JSON[3:])],
    "unasked pongs": [frame(PONG, b"unasked"), frame(TEXT, PING_JSON)],
    "UTF-8 in pieces": [
        frame(TEXT, '{"type":"ping","x":"ü'.encode()[:-1], fin=False),
        frame(CONTINUATION, "ü".encode()[-1:] + b'"}'),
    ],
    "as large as allowed": [frame(TEXT, b'{"type":"ping"' + b" " * (limits.FRAME_BYTES_MAX - 15) + b"}")],
}
CLOSED = {
    "no mask": ([frame(TEXT, PING_JSON, mask=None)], 1002),
    "reserved bits": ([frame(TEXT, PING_JSON, reserved=2)], 1002),
    "compressed, though nobody agreed": ([frame(TEXT, BOMB[:60_000], reserved=4)], 1002),
    "a reserved opcode": ([frame(3, PING_JSON)], 1002),
    "a reserved control opcode": ([frame(0xB)], 1002),
    "a ping in pieces": ([frame(PING, b"x", fin=False)], 1002),
    "a long ping": ([frame(PING, b"x" * 126)], 1002),
    "goes on, never began": ([frame(CONTINUATION, PING_JSON)], 1002),
    "two messages at once": ([frame(TEXT, b"{", fin=False), frame(TEXT, PING_JSON)], 1002),
    "two at once, the first empty": ([frame(TEXT, fin=False), frame(TEXT, PING_JSON)], 1002),
    "a length in the wrong form": ([frame(TEXT, PING_JSON, form=64)], 1002),
    "a close of one byte": ([frame(CLOSE, b"x")], 1002),
    "a close with a code that is none": ([frame(CLOSE, (999).to_bytes(2, "big"))], 1002),
    "a close with a reason that is no text": ([frame(CLOSE, b"\x03\xe8\xff")], 1007),
    "a giant": ([frame(TEXT, b"x", length=1 << 40)], 1009),
    "a giant by its sign": ([frame(TEXT, b"x", length=1 << 63)], 1009),
    "one byte too large": ([frame(TEXT, b" " * (limits.FRAME_BYTES_MAX + 1))], 1009),
    "too large in pieces": ([frame(TEXT, b" " * 40_000, fin=False), frame(CONTINUATION, b" " * 40_000)], 1009),
    "in too many pieces": ([frame(TEXT, fin=False), frame(CONTINUATION, b" ", fin=False) * 1000], 4503),
    "never-ending empty pieces": ([frame(TEXT, fin=False), frame(CONTINUATION, fin=False) * 20_000], 4503),
    "no UTF-8": ([frame(TEXT, b'{"type":"ping","x":"\xff"}')], 1007),
    "half a character": ([frame(TEXT, b"\xc3")], 1007),
    "a surrogate": ([frame(TEXT, b'"\xed\xa0\x80"')], 1007),
    "no JSON": ([frame(TEXT, b"{" * 1000)], 4503),
    "binary on a text protocol": ([frame(BINARY, PING_JSON)], 4503),
    "a normal close": ([frame(CLOSE, (1000).to_bytes(2, "big"))], 1000),
}


@pytest.fixture
def url(runcast_cluster):
    return runcast_cluster.ws_url(0)


@contextlib.asynccontextmanager
async def beside(device, user):
    """Another device, which goes on whatever happens."""
    other = await device(device="beside", user=f"beside-{user}")
    yield
    await other.send_message("nobody", "t", "still here")


@pytest.mark.parametrize("parts", ANSWERED.values(), ids=ANSWERED)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_frames_by_the_rules_are_answered(runcast_cluster, url, user, parts, *, bytewise):
    async with RawSocket(url) as raw, asyncio.timeout(10):
        await raw.open(runcast_cluster.token(user))
        data = b"".join(parts)
        for piece in [data[at : at + 1] for at in range(min(len(data), 300))] if bytewise else []:
            await raw.send(piece)
        await raw.send(data[300:] if bytewise else data)
        wanted = {PONG_JSON, b"between"} if parts == ANSWERED["a ping between pieces"] else {PONG_JSON}
        while wanted:
            answer = await raw.receive()
            assert answer is not None
            wanted.remove(answer.payload)


@pytest.mark.parametrize(("parts", "code"), CLOSED.values(), ids=CLOSED)
async def test_frames_against_the_rules_end_that_connection_alone(runcast_cluster, url, user, device, parts, code):
    async with beside(device, user), RawSocket(url) as raw, asyncio.timeout(10):
        await raw.open(runcast_cluster.token(user))
        await raw.send(*parts)
        assert await raw.ended() == code


async def test_the_reason_is_told_before_the_close(runcast_cluster, url, user):
    async with RawSocket(url) as raw, asyncio.timeout(10):
        await raw.open(runcast_cluster.token(user))
        await raw.send(frame(TEXT, PING_JSON, mask=None))
        told = await raw.receive()
        assert told is not None
        assert b'"protocol_broken"' in told.payload
        assert b"not masked" in told.payload


async def test_what_comes_with_the_handshake_is_looked_at_too(runcast_cluster, url, user):
    """aiohttp hands it on as it is: past every check, if it saw it."""
    head = request(protocols=["runcast.v1.json", f"runcast.token.{runcast_cluster.token(user)}"])
    async with RawSocket(url) as raw, asyncio.timeout(10):
        await raw.send(head + frame(TEXT, b'{"type":"hello","device":"d"}') + frame(TEXT, PING_JSON, mask=None))
        assert (await raw.response())[0] == 101
        assert await raw.ended() == 1002
    async with RawSocket(url) as raw, asyncio.timeout(10):
        await raw.send(head + frame(TEXT, b'{"type":"hello","device":"d"}') + frame(TEXT, PING_JSON))
        assert (await raw.response())[0] == 101
        got = [await raw.receive(), await raw.receive()]
        assert all(got)
        assert PONG_JSON in [answer.payload for answer in got if answer]


async def test_who_is_refused_and_said_more_than_one_message_is_seen_to_leave(runcast_cluster, url):
    """What a stranger sent too soon waits in the edge; once it closes, the peer's own end is behind that."""
    async with RawSocket(url) as raw, asyncio.timeout(limits.CLOSE_WAIT_S * 0.75):
        await raw.send(request() + frame(TEXT, b'{"type":"hello"}') + frame(TEXT, PING_JSON) * 3)
        assert (await raw.response())[0] == 101
        assert await raw.ended() == 4503, "the goodbye is answered, and the connection closed"


async def test_compression_is_not_agreed_on(runcast_cluster, url, user):
    offers = ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"]
    async with RawSocket(url) as raw, asyncio.timeout(10):
        await raw.send(request(headers=offers))
        status, head = await raw.response()
        assert status == 101
        assert "extensions" not in head.lower()


async def test_only_the_newest_of_many_pings_is_owed_an_answer(runcast_cluster, url, user):
    async with RawSocket(url) as raw, asyncio.timeout(10):
        await raw.open(runcast_cluster.token(user))
        await raw.send(*[frame(PING, b"%d" % number) for number in range(20)])
        answers = []
        while b"19" not in answers:
            got = await raw.receive()
            assert got is not None
            assert got.opcode == PONG
            answers.append(got.payload)
        assert answers == sorted(answers, key=int)


async def test_refreshes_have_a_rate_and_too_many_change_nothing(runcast_cluster, url, user):
    """Each is a question to whoever knows tokens."""
    token = runcast_cluster.token(user)
    many = 20
    async with RawSocket(url) as raw, asyncio.timeout(10):
        await raw.open(token)
        refused = 0
        for _ in range(many):
            await raw.send(frame(TEXT, f'{{"type":"refresh","token":"{token}"}}'.encode()), frame(TEXT, PING_JSON))
            while (got := await raw.receive()) is not None and got.payload != PONG_JSON:
                if b'"refreshed"' not in got.payload:  # that one comes when the token was looked at, behind the pong or before it
                    assert b'"rate_limited"' in got.payload
                    assert b"retry_after_ms" in got.payload
                    refused += 1
        assert refused == many - limits_floods.REFRESHES_BURST


async def test_floods_of_json_wait_so_long_and_then_are_told_when_to_come_back(runcast_cluster, url, user, device):
    """What is over the rate waits in the flood's own socket: who sits beside it has an answer at once, all the time."""
    beside = await device(device="beside", user=f"beside-{user}")
    same = await device(device="same", user=f"acks-{user}")
    ack = f'{{"type":"ack","pos":"{same.welcome.position}"}}'.encode()
    endings: dict[str, tuple[int, list[bytes]]] = {}
    slowest = 0.0
    async with asyncio.timeout(limits_floods.FLOOD_S * 2), asyncio.TaskGroup() as group:
        for name, payload in (("pings", PING_JSON), ("acks", ack)):
            group.create_task(flood(url, runcast_cluster.token(f"{name}-{user}"), payload, endings, name))
        began = now = time.monotonic()
        while len(endings) < 2:
            await beside.send_message("nobody", "t", "still here")
            slowest, now = max(slowest, time.monotonic() - now), time.monotonic()
            await asyncio.sleep(0.2)
            now = time.monotonic()
    assert now - began >= limits_floods.FLOOD_S
    assert slowest < 2.0, "on a machine that does other things, too"
    for name, (code, told) in endings.items():
        assert code == 4029, name
        assert b'"rate_limited"' in told[-1]
        assert b'"retry_after_ms":%d' % (limits_floods.FLOOD_RETRY_S * 1000) in told[-1]


async def flood(url, token, payload, endings, name):
    """Send the same as fast as it is taken, until the end."""
    async with RawSocket(url) as raw, asyncio.TaskGroup() as group:
        await raw.open(token)
        sending = group.create_task(send_on(raw, frame(TEXT, payload) * 200))
        told = []
        while (got := await raw.receive()) is not None and got.opcode != CLOSE:
            told += [got.payload] if b'"error"' in got.payload else []
        sending.cancel()
        endings[name] = (int.from_bytes(got.payload[:2], "big") if got else 0, told)


async def send_on(raw, data):
    while not raw.writer.transport.is_closing():
        await raw.send(data)
        await asyncio.sleep(0)
