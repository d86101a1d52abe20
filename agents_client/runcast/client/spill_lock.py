"""The lock beside a spill file: one process has it, and one Runcast in that process.

Rules: a POSIX record lock on `<path>.lock`, since a fork does not inherit it and it ends with the process however that ends. It can't be on
the spill itself: SQLite has locks there, and a process loses all its locks on a file when it closes any handle of it.

Never imports asyncio or grpc.
"""

import fcntl
import os
from pathlib import Path

from runcast.client.errors import SpillError

_taken: set[str] = set()  # by this process, whose own record locks do not keep it out


class SpillLock:
    """The lock of one file.

    Args:
        path: of the spill.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = str(path.absolute())
        self._handle = -1

    def take(self) -> None:
        """Lock it.

        Raises:
            SpillError: another process has it, or this one, or no lock file can be made there.
        """
        if self._name in _taken:
            raise SpillError(f"the spill {self._path} is in use by this process; give each Runcast a file of its own")
        try:
            handle = os.open(f"{self._name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as exc:
            raise SpillError(f"the spill {self._path} can't be used: {exc}; choose another path") from exc
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            owner = os.read(handle, 32).decode(errors="replace") or "unknown"
            os.close(handle)
            raise SpillError(f"the spill {self._path} is in use by process {owner}; give each process a file of its own") from exc
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        self._handle = handle
        _taken.add(self._name)

    def release(self) -> None:
        """Let go of it; does nothing the second time."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            _taken.discard(self._name)
