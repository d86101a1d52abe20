"""`python -m runcast.cli.demo_agent`: the demo agent as a process.

Its only line on stdout is `ready agent NAME`, once it takes messages; logs are on stderr. SIGTERM and SIGINT end it, cancelling open runs.
Exit codes: 0 ended as asked; 1 a part died; 2 it can't start as told.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from runcast.cli.demo_agent.answer import DEPTH_DEFAULT, DEPTH_MAX, PACE_DEFAULT, PATIENCE_DEFAULT
from runcast.cli.demo_agent.corpus import CorpusError
from runcast.cli.demo_agent.worker import WorkerSettings, serve
from runcast.client import RuncastError


def _parse(arguments: list[str] | None) -> WorkerSettings:
    defaults = WorkerSettings()
    parser = argparse.ArgumentParser(
        prog="python -m runcast.cli.demo_agent",
        description="Answers questions about a corpus by searching it, reading what it found, and quoting it. No language model.",
    )
    add = parser.add_argument
    add("--router", default=defaults.router, metavar="HOST:PORT", help="routers, several with commas between them (%(default)s)")
    add("--group", default=defaults.group, help="the agent group whose messages it takes (%(default)s)")
    add("--agent", default=defaults.agent, metavar="NAME", help="the name that its events carry (%(default)s)")
    add("--corpus", type=Path, metavar="DIR", help="a folder of text files (the documentation in Python's own standard library)")
    add("--depth", type=int, default=DEPTH_DEFAULT, help=f"passages read for each question, 1 to {DEPTH_MAX} (%(default)s)")
    add(
        "--pace",
        type=float,
        default=PACE_DEFAULT,
        metavar="CHARS",
        help="characters a second at which an answer is streamed, so that a person can read along; 0: as fast as it goes (%(default)g)",
    )
    add(
        "--patience",
        type=float,
        default=PATIENCE_DEFAULT,
        metavar="SECONDS",
        help="how long a user may take to say what was meant, when nothing answers the question; 0: nobody is asked (%(default)g)",
    )
    given = parser.parse_args(arguments)
    return WorkerSettings(given.router, given.group, given.agent, given.corpus, given.depth, given.pace, given.patience)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo agent until it is told to end.

    Args:
        arguments: of the command line; this process's by default.

    Returns:
        The exit code.
    """
    settings = _parse(arguments)
    level = os.environ.get("RUNCAST_LOG_LEVEL", "info").upper()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("runcast").setLevel(level if level in logging.getLevelNamesMapping() else "INFO")
    return asyncio.run(_run(settings))


async def _run(settings: WorkerSettings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    code = 0
    try:
        await serve(settings, stop, lambda: print(f"ready agent {settings.agent}", flush=True))
    except* (CorpusError, ValueError) as failures:
        code = _tell(failures, 2)
    except* RuncastError as failures:
        code = _tell(failures, 1)
    return code


def _tell(failures: BaseExceptionGroup[Exception], code: int) -> int:
    """Print each failure as a line."""
    for failure in failures.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            _tell(failure, code)
        else:
            print(f"demo agent: {failure}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
