"""A blocking agent in a process of its own, for the ways in which processes end: `python sync_agent.py ROUTERS USER HOW`.

It writes `ready` to stdout when it is where the test wants it, and what it learned to stderr.
"""

import contextlib
import os
import sys
import threading

from runcast.client.sync import Runcast
from runcast.wire.errors import RuncastError


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def wait_for_messages(rc: Runcast, user: str) -> None:
    """Interrupted while a call waits."""
    with rc, rc.run(user=user) as run, run.tool("search"):
        run.flush()
        tell("ready")
        for _ in rc.inbox(f"nobody-writes-to-{user}"):
            pass


def close(rc: Runcast, user: str) -> None:
    """Interrupted while it closes: there is no router."""

    def flush() -> None:
        with contextlib.suppress(RuncastError):
            run.flush()
        tell("ready")  # what waited was answered: closing has begun

    with rc:
        run = rc.run(user=user)
        run.__enter__()
        threading.Thread(target=flush).start()


def never_leave(rc: Runcast, user: str) -> None:
    """The process ends, and the block was not left."""
    rc.__enter__()
    run = rc.run(user=user)
    run.__enter__()
    run.respond("hello")
    tell("ready")


def fork(rc: Runcast, user: str) -> None:
    """A child goes on as if nothing had happened."""
    try:
        with rc, rc.run(user=user) as run:
            run.respond("parent ")
            run.flush()
            child = os.fork()
            if child == 0:
                try:
                    run.respond("child")
                except RuncastError as exc:
                    sys.stderr.write(f"child: {type(exc).__name__}: {exc}\n")
                sys.exit(3)  # through all the blocks
            _, status = os.waitpid(child, 0)
            run.respond(f"and its child ended with {os.waitstatus_to_exitcode(status)}")
    except SystemExit:
        sys.stderr.flush()
        os._exit(3)  # as multiprocessing does: gRPC's exit handlers are not made for forks
    tell("ready")


HOW = {function.__name__: function for function in (wait_for_messages, close, never_leave, fork)}
HOW[sys.argv[3]](Runcast(sys.argv[1], agent="analyst"), sys.argv[2])
