"""An agent with a spill, in a process of its own, to be killed: `python spill_agent.py ROUTERS USER SPILL HOW RUN_ID`.

It writes `ready agent` to stdout when it has done what HOW says, and then waits; `said N` to stderr after each event that was accepted.
"""

import asyncio
import signal
import sys

from runcast.client import Run, Runcast
from runcast.wire import limits_client as limits


def tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


async def whole(run: Run) -> None:
    """A whole run, while no router can be reached."""
    async with run.tool("search", args={"q": 1}) as tool:
        tool.result = [1, 2]
    await run.respond("all of it")
    await run.complete("done")


async def opened(run: Run) -> None:
    """An open run with an open tool, all of it stored."""
    await run.respond("hello ")
    await run.tool("slow").__aenter__()
    await run.flush()


async def ended(run: Run) -> None:
    """Stored so far; then the line is cut (by the test, which says so by SIGUSR1), and the end waits."""
    await run.respond("hello ")
    await run.flush()
    cut = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, cut.set)
    sys.stdout.write("ready agent\n")
    sys.stdout.flush()
    await cut.wait()
    await run.respond("and goodbye")
    await run.complete("done")
    await asyncio.sleep(0)
    tell("ended")


async def streaming(run: Run) -> None:
    """Speaks until it is killed."""
    sys.stdout.write("ready agent\n")
    sys.stdout.flush()
    number = 0
    while True:
        number += 1
        await run.custom("n", number)
        await asyncio.sleep(0)
        tell(f"said {number}")
        await asyncio.sleep(0.001)


async def restarted(rc: Runcast) -> None:
    """Nothing of its own: what is left in the spill goes out meanwhile."""
    await rc.ready(limits.CLOSE_TIMEOUT_S)


async def main(routers: str, user: str, spill: str, how: str, run_id: str) -> None:
    async with Runcast(routers, agent="tester", spill=spill) as rc:
        if how == "restarted":
            await restarted(rc)
        else:
            run = rc.run(user=user, thread="t", run_id=run_id)
            await run.__aenter__()
            await {"whole": whole, "opened": opened, "ended": ended, "streaming": streaming}[how](run)
        await asyncio.sleep(0)  # the turn of the loop in which events were accepted is over
        sys.stdout.write("ready agent\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
