"""A file that a service follows while it runs, and those that it names.

Rules: a file is looked at before it is read, so that a change in between is seen. Problems are collected, each saying where it is; of what
can't be read there is nothing, and whoever has problems uses nothing. No message repeats what is in a file.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple


class Watched(NamedTuple):
    """What a file looked like when it was read: `os.stat`'s time, size and inode; zeros when it was not there."""

    path: Path
    mtime_ns: int
    size: int
    inode: int


def look(path: Path) -> Watched:
    """What a file looks like now."""
    try:
        stat = path.stat()
    except OSError:
        return Watched(path, 0, 0, 0)
    return Watched(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def changed(files: Iterable[Watched]) -> bool:
    """Any of the files is not as it was."""
    return any(look(file.path) != file for file in files)


class Followed:
    """Reads a file, once.

    Args:
        path: where it is.
        bytes_max: of it, and of each that it names.

    Attributes:
        problems: all that is wrong, for people.
        watched: it and those that it names, as they were.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        self.problems: list[str] = []
        self.watched: list[Watched] = []
        self._path = path
        self._bytes_max = bytes_max

    def document(self, what: str) -> dict[str, Any]:
        """The TOML in it; `what` it is, for people."""
        try:
            return tomllib.loads(self._read(self._path, what).decode())
        except UnicodeDecodeError:
            self.problems.append("it is no UTF-8 text")
        except (ValueError, RecursionError) as exc:  # a number of thousands of digits is a plain ValueError
            # The parser's own words may quote the line that it stopped at; a place is enough.
            found = re.search(r"\(at .*\)$", str(exc))
            self.problems.append(f"it is no TOML {found[0] if found else ''}".rstrip())
        return {}

    def named(self, name: str, what: str) -> bytes:
        """What is in a file that it names, relative to it; b"" when it can't be read, and that is a problem."""
        return self._read(self._path.parent / name, what)

    def _read(self, path: Path, what: str) -> bytes:
        if "\0" in str(path):
            self.problems.append(f"{what} can't be read: no file has a name with a zero byte")
            return b""
        self.watched.append(look(path))
        try:
            with path.open("rb") as file:
                text = file.read(self._bytes_max + 1)
        except OSError as exc:
            self.problems.append(f"{what} can't be read: {exc.strerror}")
            return b""
        if len(text) > self._bytes_max:
            self.problems.append(f"{what} is larger than {self._bytes_max // 1024} KiB")
            return b""
        return text
