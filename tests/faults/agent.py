"""An agent in a process of its own, for tests that kill, freeze or cut it off: `python agent.py ROUTERS USER RUN_ID ATTEMPT`.

It begins a run, says something, opens a tool and writes `ready agent` to stdout. Then SIGUSR1 makes it say one thing more, and SIGUSR2
end the run; it answers on stderr: `said N`, `ended`, or `refused CODE ERROR: MESSAGE`. It goes when it is killed.
"""

import asyncio
import signal
import sys

from runcast.client import Runcast
from runcast.wire.errors import RuncastError


def tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


async def work(rc: Runcast, user: str, run_id: str, attempt: int, wishes: asyncio.Queue[str]) -> None:
    async with rc.run(user=user, thread="t", run_id=run_id, attempt=attempt) as run:
        await run.respond("hello ")
        await run.flush()
        async with run.tool("slow", args={"seconds": 60}):
            await run.flush()
            sys.stdout.write("ready agent\n")
            sys.stdout.flush()
            number = 0
            while await wishes.get() == "say":
                number += 1
                await run.respond(f"{number} ")
                await run.flush()
                tell(f"said {number}")


async def main(routers: str, user: str, run_id: str, attempt: str) -> None:
    wishes: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, wishes.put_nowait, "say")
    loop.add_signal_handler(signal.SIGUSR2, wishes.put_nowait, "end")
    async with Runcast(routers, agent="tester") as rc:
        try:
            await work(rc, user, run_id, int(attempt), wishes)
            tell("ended")
        except RuncastError as exc:
            tell(f"refused {exc.code.name} {type(exc).__name__}: {exc.message}")
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
