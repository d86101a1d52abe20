"""A real TCP proxy between two parties, and what can go wrong on a line: cut, delayed, throttled, half-open, messages left out.

Rules:
- A healthy line passes bytes as they come. Its buffers are bounded (`CHUNK_BYTES` a direction, and the sockets' own), so a slow reader
  slows its writer as it would without a proxy.
- `cut` resets all connections, as a machine that dies does; with `stay`, new ones are reset too until `heal`.
- `half_open`: connections stay, new ones are accepted, and nothing comes through in either direction, as in a network partition. What
  was sent meanwhile is read and lost, so `heal` resets such connections: bytes must not be missing from a stream that goes on.
- `delay_s` holds each chunk back; `bytes_per_s` spaces chunks out; both in each direction.
- `drop`, on a NATS line, leaves out messages to the client whose subject matches.

Every connection is a task of the proxy's; `close` ends them all, and raises what one of them failed with.

It belongs to the loop that started it, and can be told from any thread (`home.py`).

Never imports the rest of the testkit but `home`, `ports` and `nats_filter`.
"""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Final, Self

from runcast.testkit.home import Homed, at_home, at_home_now
from runcast.testkit.nats_filter import NatsFilter, matches
from runcast.testkit.ports import HOST

CHUNK_BYTES: Final = 64 * 1024
"""Read at once from a side; never more is held in one direction."""
CONNECTIONS_MAX: Final = 1024
"""Open at once through one proxy. The next is reset."""
CONNECT_S: Final = 5.0
"""For reaching the target. Then the client's connection is reset."""
_LINGER_NOT: Final = struct.pack("ii", 1, 0)


class _Line:
    """One connection through the proxy: the client's side, and the target's."""

    def __init__(self, writers: list[asyncio.StreamWriter]) -> None:
        self.writers = writers
        self.lossy = False

    def reset(self) -> None:
        """Tear both sides down without a word."""
        for writer in self.writers:
            plug = writer.get_extra_info("socket")
            if plug is not None and not writer.is_closing():
                with contextlib.suppress(OSError):
                    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            writer.transport.abort()


class Proxy(Homed):
    """Listens on a port of loopback, and passes what comes to a target, from `start` to `close`, or with `async with`.

    Args:
        target_port: where to, on loopback.
        port: where to listen; 0 for any free one (then kept while the proxy is open).
        nats: the target is a NATS server: `drop` works.

    Attributes:
        port: where it listens.
        nats: whether the target is a NATS server.
        delay_s: holds back each chunk, seconds.
        bytes_per_s: lets through so many a second in each direction of a connection; 0 for all.
        dropped: messages left out by `drop`.
        accepted: connections so far.
    """

    def __init__(self, target_port: int, *, port: int = 0, nats: bool = False) -> None:
        self._target_port = target_port
        self.nats = nats
        self._patterns: list[str] = []
        self._half_open = False
        self._refusing = False
        self._lines: set[_Line] = set()
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self.port = port
        self.delay_s = 0.0
        self.bytes_per_s = 0
        self.dropped = 0
        self.accepted = 0

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._lines)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with the line."""
        return not (self._half_open or self._refusing or self.delay_s or self.bytes_per_s or self._patterns)

    async def __aenter__(self) -> Self:
        """See `start`."""
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        """See `close`."""
        await self.close()

    @at_home
    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        self._listener = await asyncio.start_server(self._accept, HOST, self.port, limit=CHUNK_BYTES)
        self.port = self._listener.sockets[0].getsockname()[1]

    @at_home
    async def close(self) -> None:
        """Stop listening and reset all connections. Safe to call twice.

        Raises:
            Exception: what a connection's task failed with.
        """
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        for task in self._tasks:
            task.cancel()
        self.reset()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._failure is not None:
            raise self._failure

    # --- what can go wrong ---

    @at_home_now
    def cut(self, *, stay: bool = False) -> None:
        """Reset all connections; with `stay`, also those that are tried until `heal`."""
        self._refusing = self._refusing or stay
        self.reset()

    @at_home_now
    def half_open(self) -> None:
        """From now on nothing comes through, and nobody is told."""
        self._half_open = True

    @at_home_now
    def drop(self, pattern: str) -> None:
        """Leave out messages to the client whose subject matches a NATS pattern, such as `live.>`, from now on.

        Raises:
            ValueError: this is no line to a NATS server.
        """
        if not self.nats:
            raise ValueError("only a line to a NATS server has messages to leave out; open the proxy with nats=True")
        self._patterns.append(pattern)

    @at_home_now
    def heal(self) -> None:
        """Nothing is wrong any more. Connections from which bytes are missing are reset."""
        self._half_open = self._refusing = False
        self.delay_s, self.bytes_per_s = 0.0, 0
        self._patterns.clear()
        for line in tuple(self._lines):
            if line.lossy:
                line.reset()

    @at_home_now
    def reset(self) -> None:
        """Reset all connections."""
        for line in tuple(self._lines):
            line.reset()

    # --- inside ---

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing or len(self._lines) >= CONNECTIONS_MAX or self._listener is None:
            _Line([writer]).reset()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name=f"line to port {self._target_port}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and self._failure is None:
            self._failure = task.exception()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line([writer])
        self._lines.add(line)
        try:
            if self._half_open:
                await self._swallow(line, reader)
                return
            async with asyncio.timeout(CONNECT_S):
                far_reader, far_writer = await asyncio.open_connection(HOST, self._target_port, limit=CHUNK_BYTES)
            line.writers.append(far_writer)
            screen = NatsFilter(self._is_dropped) if self.nats else None
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(line, reader, far_writer, None))
                both.create_task(self._pump(line, far_reader, writer, screen))
        except* (OSError, TimeoutError):
            pass  # one side is gone: so is the other, below
        finally:
            line.reset()
            self._lines.discard(line)

    async def _pump(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, screen: NatsFilter | None) -> None:
        """Pass one direction on, until its end."""
        while data := await reader.read(CHUNK_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self._half_open:
                await self._swallow(line, reader)
                return
            heard = screen.feed(data) if screen is not None else data
            if heard:
                writer.write(heard)
                await writer.drain()
            if self.bytes_per_s:
                await asyncio.sleep(len(data) / self.bytes_per_s)
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    async def _swallow(self, line: _Line, reader: asyncio.StreamReader) -> None:
        """Read and forget, until the side goes or the line is reset."""
        line.lossy = True
        while await reader.read(CHUNK_BYTES):
            pass

    def _is_dropped(self, subject: str) -> bool:
        gone = any(matches(pattern, subject) for pattern in self._patterns)
        self.dropped += gone
        return gone
