"""What a hostile peer does to an edge, one attack each, as fast as this process can.

Started by `floods`, as a process of its own:

    python -m runcast.testkit.flood_attacks NAME --url ws://127.0.0.1:7480/v1/ws --seconds 3 --token dev.default.mallory

It prints one JSON object: what was sent, and how the edge answered, by count. An attack comes from 127.0.0.66, so that its address is not
that of those who are measured beside it.
"""

import argparse
import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

import msgspec

from runcast.testkit.raw_socket import CLOSE, CONTINUATION, PING, TEXT, RawSocket, frame, request
from runcast.wire import limits

SOURCE: Final = "127.0.0.66"
_AT_ONCE: Final = 32
"""Connections of one attack."""
_CROWD: Final = 1500
"""Connections of those attacks that only hold them."""


class Attack:
    """One attack under way.

    Args:
        url: of the edge.
        token: of a user that the attacker may be.
        until: when it ends, monotonic seconds.
    """

    def __init__(self, url: str, token: str, until: float) -> None:
        self.url = url
        self.token = token
        self.until = until
        self.counts: Counter[str] = Counter()

    @property
    def going(self) -> bool:
        """It goes on."""
        return time.monotonic() < self.until

    def raw(self) -> RawSocket:
        """A new connection."""
        return RawSocket(self.url, source=SOURCE)

    # --- before authentication ---

    async def connects(self, _: int) -> None:
        """Handshakes with a wrong token, one after the other."""
        while self.going:
            async with self._try(), self.raw() as raw:
                await raw.send(request(protocols=["runcast.v1.json", "runcast.token.wrong"]))
                status = (await raw.response())[0]
                self.counts[f"status {status}"] += 1
                if status == 101:
                    await raw.send(frame(TEXT, b'{"type":"hello","device":"d"}'))
                    self.counts[f"close {await raw.ended()}"] += 1

    async def slow_heads(self, _: int) -> None:
        """Requests that are never finished, a byte at a time."""
        while self.going:
            async with self._try(), self.raw() as raw:
                await raw.send(b"GET /v1/ws HTTP/1.1\r\nHost: e\r\nX-Slow: ")
                self.counts["begun"] += 1
                while self.going and not raw.reader.at_eof():
                    await raw.send(b"x")
                    await asyncio.sleep(0.5)
                self.counts["ended by the edge"] += raw.reader.at_eof()

    async def no_hello(self, _: int) -> None:
        """WebSockets that never say who they are."""
        while self.going:
            async with self._try(), self.raw() as raw:
                await raw.send(request())
                status = (await raw.response())[0]
                self.counts[f"status {status}"] += 1
                if status == 101:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(max(0.0, self.until - time.monotonic())):
                            self.counts[f"close {await raw.ended()}"] += 1

    async def heads(self, number: int) -> None:
        """Heads of requests that never end, and thousands of subprotocols."""
        while self.going:
            async with self._try(), self.raw() as raw:
                if number % 2:
                    await raw.send(request(protocols=["x" for _ in range(3000)]))
                else:
                    await raw.send(b"GET / HTTP/1.1\r\n", b"".join(b"X-%d: %s\r\n" % (n, b"y" * 8000) for n in range(200)))
                self.counts[f"status {(await raw.response())[0]}"] += 1

    # --- after it ---

    async def pings(self, number: int) -> None:
        """WebSocket pings, whose pongs nobody reads."""
        await self._flood(number, frame(PING, b"x") * 1000)

    async def json_pings(self, number: int) -> None:
        """Pings of the protocol's own."""
        await self._flood(number, frame(TEXT, b'{"type":"ping"}') * 1000, read=True)

    async def acks(self, number: int) -> None:
        """Acknowledgements of what was acknowledged."""
        await self._flood(number, frame(TEXT, b'{"type":"ack","pos":"%s"}' % self._zero) * 1000)

    async def refreshes(self, number: int) -> None:
        """New tokens, each of which is to be checked."""
        await self._flood(number, frame(TEXT, b'{"type":"refresh","token":"%s"}' % self.token.encode()) * 1000, read=True)

    async def sends(self, number: int) -> None:
        """Messages, as large as may be."""
        text = b"x" * 30_000
        one = b'{"type":"send","id":"%d-%d","kind":"message","group":"g","text":"%s"}'
        await self._flood(number, b"".join(frame(TEXT, one % (number, n, text)) for n in range(50)), read=True)

    async def pieces(self, number: int) -> None:
        """Messages in pieces of nothing, without an end."""
        await self._flood(number, frame(CONTINUATION, fin=False) * 1000, first=frame(TEXT, fin=False))

    async def giants(self, number: int) -> None:
        """Messages that say they are huge."""
        await self._flood(number, frame(TEXT, b"x" * 60_000, length=1 << 40))

    async def unfinished(self, number: int) -> None:
        """Messages of which the last byte never comes."""
        await self._flood(number, b"", first=frame(TEXT, b"x" * (limits.FRAME_BYTES_MAX - 10), length=limits.FRAME_BYTES_MAX))

    async def bombs(self, number: int) -> None:
        """Compressed messages, though nobody agreed to compress."""
        await self._flood(number, frame(TEXT, b"\xec\xc1\x01" * 1000, reserved=4))

    async def nonsense(self, number: int) -> None:
        """What is no frame, no UTF-8, no JSON."""
        bad = [frame(TEXT, b"x", mask=None), frame(TEXT, b"\xff"), frame(TEXT, b"{" * 1000), frame(5, b"x"), frame(CLOSE, b"x")]
        await self._flood(number, bad[number % len(bad)])

    async def _flood(self, number: int, data: bytes, *, first: bytes = b"", read: bool = False) -> None:
        while self.going:
            async with self._try(), self.raw() as raw, asyncio.TaskGroup() as tasks:
                # 16 users, two connections each: a user may have so many
                await raw.open(f"{self.token}{number % 16}", device=f"d{number}")
                self.counts["sessions"] += 1
                reading = tasks.create_task(self._read(raw)) if read else None
                await raw.send(first)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, self.until - time.monotonic())):
                        while data and self.going and not raw.writer.is_closing():
                            await raw.send(data)
                            self.counts["KiB"] += len(data) // 1024
                            await asyncio.sleep(0)
                        if not data:
                            await asyncio.sleep(max(0.0, self.until - time.monotonic()))
                if reading is not None:
                    reading.cancel()
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        self.counts[f"close {await raw.ended()}"] += 1

    async def _read(self, raw: RawSocket) -> None:
        while (got := await raw.receive()) is not None:
            if got.opcode == CLOSE:
                self.counts[f"close {int.from_bytes(got.payload[:2], 'big')}"] += 1
            elif b'"rate_limited"' in got.payload:
                self.counts["rate_limited"] += 1
            else:
                self.counts["answers"] += 1

    @contextlib.asynccontextmanager
    async def _try(self) -> AsyncIterator[None]:
        """Whatever the edge does to a connection is an answer."""
        try:
            yield
        except* (ConnectionError, OSError, asyncio.IncompleteReadError):
            self.counts["refused"] += 1
            await asyncio.sleep(0.01)

    @property
    def _zero(self) -> bytes:
        return b"snapshot-0000000000000000"


ATTACKS: Final[dict[str, tuple[Callable[[Attack, int], Coroutine[Any, Any, None]], int]]] = {
    "connects": (Attack.connects, _AT_ONCE),
    "slow_heads": (Attack.slow_heads, _CROWD),
    "no_hello": (Attack.no_hello, _CROWD),
    "heads": (Attack.heads, _AT_ONCE),
    "pings": (Attack.pings, _AT_ONCE),
    "json_pings": (Attack.json_pings, _AT_ONCE),
    "acks": (Attack.acks, _AT_ONCE),
    "refreshes": (Attack.refreshes, _AT_ONCE),
    "sends": (Attack.sends, _AT_ONCE),
    "pieces": (Attack.pieces, _AT_ONCE),
    "giants": (Attack.giants, _AT_ONCE),
    "unfinished": (Attack.unfinished, _AT_ONCE),
    "bombs": (Attack.bombs, _AT_ONCE),
    "nonsense": (Attack.nonsense, _AT_ONCE),
}
"""By name: what one connection does, and how many do it at once."""


async def run(name: str, url: str, token: str, seconds: float) -> Counter[str]:
    """Carry out one attack; returns what happened, by count."""
    work, at_once = ATTACKS[name]
    attack = Attack(url, token, time.monotonic() + seconds)
    print("ready attack", flush=True)  # noqa: T201 # this process's stdout protocol
    async with asyncio.TaskGroup() as tasks:
        for number in range(at_once):
            tasks.create_task(work(attack, number))
    return attack.counts


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    os.nice(10)  # those who are measured go first
    counts = asyncio.run(run(given.name, given.url, given.token, given.seconds))
    print(msgspec.json.encode(dict(counts.most_common())).decode(), flush=True)  # noqa: T201 # the same


if __name__ == "__main__":
    main()
