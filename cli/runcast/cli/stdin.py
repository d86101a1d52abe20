"""Lines from standard input, without blocking the event loop and without a thread that can't be stopped."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Final

_CHUNK: Final = 64 * 1024


async def read_lines(fd: int, line_bytes_max: int) -> AsyncIterator[bytes | None]:
    """The lines of a file descriptor, without their line breaks; the last one even if it has none.

    Args:
        fd: of a pipe, a terminal, a socket or a file.
        line_bytes_max: a longer line is skipped.

    Yields:
        A line; None in place of one that was too long.
    """
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        loop.add_reader(fd, readable.set)
        polled = True
    except (PermissionError, OSError):  # a regular file: always readable, so it can't be polled
        polled = False
    rest, skipping = b"", False
    try:
        while True:
            if polled:
                await readable.wait()
            else:
                await asyncio.sleep(0)
            data = os.read(fd, _CHUNK)
            readable.clear()
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield None if skipping or len(line) > line_bytes_max else line
                skipping = False
            if len(rest) > line_bytes_max:
                rest, skipping = b"", True
        if rest or skipping:
            yield None if skipping else rest
    finally:
        if polled:
            loop.remove_reader(fd)
