"""A child process: started, awaited until ready, stopped, killed, paused, started again.

Rules:
- A child is ended by its process id alone, and never outlives its parent: a guard asks the kernel (PR_SET_PDEATHSIG) to kill it when the
  thread that started it ends, however that happens, and then becomes the program by `execv`. So start children from a thread that outlives
  them: the main thread, or one that runs the loop until all are stopped. (A guard instead of `preexec_fn`: no Python runs between
  fork and exec of a process that has threads.)
- A child has its own session: Ctrl-C in a terminal reaches the parent only, which then stops its children in order.
- Output is read by protocol callbacks, so no task can be forgotten. All of it goes to a log file whose size is bounded.
- It belongs to the loop that started it, and can be started, awaited and ended from any (`home.py`).

Never imports the rest of the testkit but `home`.
"""

import asyncio
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from runcast.testkit.home import Homed, at_home
from runcast.wire import limits_client as limits

_GUARD: Final = """\
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as exc:
    sys.exit(f"{sys.argv[2]} can't be run: {exc.strerror}")
"""

Echo = Callable[[str, str], None]
"""Called with a child's name and a line of its stderr."""


class ProcessError(Exception):
    """A child did not become ready; the message carries the end of its stderr."""


class _Output(asyncio.SubprocessProtocol):
    """Receives what one life of a child writes, and its end."""

    def __init__(self, process: "Process") -> None:
        loop = asyncio.get_running_loop()
        self._process = process
        self._transport: asyncio.BaseTransport | None = None
        self._partial = {1: b"", 2: b""}
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, rest = (self._partial[fd] + data).split(b"\n")
        if len(rest) > limits.CHILD_LINE_BYTES_MAX:
            lines, rest = [*lines, rest], b""
        self._partial[fd] = rest
        for line in lines:
            self._process.take_line(fd, line)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # the base class names it
        for fd, rest in self._partial.items():
            if rest:
                self._process.take_line(fd, rest)
        if self._transport is not None:
            self._transport.close()
        if not self.closed.done():
            self.closed.set_result(None)


class Process(Homed):
    """A program that can be started many times, one life after the other.

    Args:
        name: names it in messages and files.
        args: the program (an absolute path) and its arguments.
        directory: where `<name>.log` is written.
        ready: the line that says it takes work is one that this matches.
        ready_on: where that line comes.
        environ: variables set over those of this process.
        echo: told about every line on stderr.
    """

    def __init__(
        self,
        name: str,
        args: Sequence[str],
        *,
        directory: Path,
        ready: str,
        ready_on: Literal["stdout", "stderr"] = "stdout",
        environ: Mapping[str, str] | None = None,
        echo: Echo | None = None,
    ) -> None:
        self.name = name
        self.args = list(args)
        self.environ = dict(environ or {})
        self._ready = re.compile(ready)
        self._ready_fd = 1 if ready_on == "stdout" else 2
        self._log_path = directory / f"{name}.log"
        self._log_bytes = 0
        self._tail: deque[str] = deque(maxlen=limits.CHILD_TAIL_LINES)
        self._echo = echo
        self._transport: asyncio.SubprocessTransport | None = None
        self._output: _Output | None = None
        self._ready_line: asyncio.Future[str] | None = None

    @property
    def pid(self) -> int:
        """Process id of this life, or of the last one; 0 before the first."""
        return (self._transport.get_pid() or 0) if self._transport else 0

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._output is not None and not self._output.exited.done()

    @property
    def returncode(self) -> int | None:
        """Exit status of the last life (minus the signal's number when killed); None while it lives or before."""
        return self._transport.get_returncode() if self._transport else None

    @property
    def log_path(self) -> Path:
        """Where its output is."""
        return self._log_path

    def tail(self) -> str:
        """The newest lines of its stderr."""
        return "\n".join(self._tail)

    @at_home
    async def start(self, *, ready_s: float = limits.CHILD_READY_S) -> str:
        """Begin a life and wait until it takes work.

        Returns:
            The ready line.

        Raises:
            ProcessError: it ended early, or was not ready in time (then it is killed).
        """
        if self.running:
            raise ProcessError(f"{self.name} runs already (process {self.pid})")
        self._close()
        self._tail.clear()
        loop = asyncio.get_running_loop()
        self._ready_line = loop.create_future()
        transport, output = await loop.subprocess_exec(
            lambda: _Output(self),
            *(sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *self.args),
            stdin=asyncio.subprocess.DEVNULL,
            env={**os.environ, **self.environ},
            start_new_session=True,
        )
        self._transport, self._output = transport, output
        try:
            await asyncio.wait((self._ready_line, output.exited), timeout=ready_s, return_when=asyncio.FIRST_COMPLETED)
            if self._ready_line.done():
                return self._ready_line.result()
            late = not output.exited.done()
            await self.kill()
        except BaseException:
            self._signal(signal.SIGKILL)
            raise
        why = f"was not ready in {ready_s:g} s" if late else f"ended with exit status {self.returncode} before it was ready"
        raise ProcessError(f"{self.name} {why}; its last words:\n{self.tail() or '(none)'}")

    @at_home
    async def stop(self, *, bound_s: float = limits.CHILD_STOP_S) -> int:
        """Ask it to end (SIGTERM), kill it after `bound_s` seconds; returns its exit status."""
        if self.running and self._output is not None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            await asyncio.wait((self._output.exited,), timeout=bound_s)
        return await self.kill()

    @at_home
    async def kill(self) -> int:
        """End it at once (SIGKILL); returns its exit status, 0 when it never lived."""
        if self._output is None:
            return 0
        self._signal(signal.SIGKILL)
        await self._output.exited
        await asyncio.wait((self._output.closed,), timeout=1)  # the rest of its output; a grandchild might hold the pipe
        self._close()
        return self.returncode or 0

    @at_home
    async def wait(self) -> int:
        """Wait until it ends by itself; returns its exit status."""
        if self._output is None:
            return 0
        await asyncio.shield(self._output.exited)
        return self.returncode or 0

    @at_home
    async def pause(self) -> None:
        """Freeze it (SIGSTOP), and wait until it is frozen: its sockets stay open and silent."""
        self._signal(signal.SIGSTOP)
        if self.running:
            await asyncio.to_thread(os.waitid, os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def take_line(self, fd: int, raw: bytes) -> None:
        """A line that it wrote; called by the protocol."""
        self._write_log(raw)
        line = raw.decode(errors="replace").rstrip("\r")
        if fd == 2:
            self._tail.append(line)
            if self._echo is not None:
                self._echo(self.name, line)
        if fd == self._ready_fd and self._ready_line is not None and not self._ready_line.done() and self._ready.search(line):
            self._ready_line.set_result(line)

    def _write_log(self, raw: bytes) -> None:
        if self._log_bytes > limits.CHILD_LOG_BYTES_MAX:
            self._log_path.replace(self._log_path.with_suffix(".log.1"))
            self._log_bytes = 0
        with self._log_path.open("ab") as file:
            self._log_bytes += file.write(raw + b"\n")

    def _signal(self, number: signal.Signals) -> None:
        if self.running and self.pid:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return  # it has just ended; the event loop is about to say so

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
