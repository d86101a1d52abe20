"""A load process: agents that do one short run after the other for each user, and answer what users send.

Every run has thinking, text in deltas, tools and an end; some await a receipt. Prints `ready agents`, then goes on until SIGTERM; ends
what is open, and writes its counts to a file.
"""

import argparse
import asyncio
import contextlib
import signal
import time
from pathlib import Path

import msgspec
import uvloop

from runcast.client import Inbox, Run, Runcast

GROUP = "soak"
RUN_EVENTS = 50
"""Events of a run, its start and end included."""
RECEIPT_EVERY = 5
"""Each so manieth run of a user awaits a receipt."""


class Published(msgspec.Struct):
    """What the agents report."""

    by_user: dict[str, int]
    runs: int
    answers: int
    receipts: dict[str, int]


class Agents:
    """The agents of all users.

    Args:
        runcast: their connection.
        users: whom they work for.
        rate: events a second, of all together.
        payload: bytes of each text.
    """

    def __init__(self, runcast: Runcast, users: list[str], rate: float, payload: int) -> None:
        self._runcast = runcast
        self._pause_s = len(users) / rate
        self._text = "x" * payload
        self._stop = asyncio.Event()
        self.report = Published(dict.fromkeys(users, 0), 0, 0, {})

    async def work(self, inbox: Inbox) -> None:
        """Go on until `stop`."""
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._answer(inbox))
            for number, user in enumerate(self.report.by_user):
                group.create_task(self._lane(user, number))
            await self._stop.wait()
            await inbox.aclose()
            answering.cancel()

    def stop(self) -> None:
        """No more runs."""
        self._stop.set()

    async def _lane(self, user: str, number: int) -> None:
        due = time.monotonic() + self._pause_s * number / len(self.report.by_user)
        while not self._stop.is_set():
            async with self._runcast.run(user=user, thread="t", title="soak") as run:
                emitted = 3  # the start, the end, and the end of the text
                due += emitted * self._pause_s
                while emitted < RUN_EVENTS and not self._stop.is_set():
                    events = await self._step(run, emitted)
                    emitted += events
                    due = max(due + events * self._pause_s, time.monotonic() - 1.0)  # what is late by more is left out, not made up for
                    await asyncio.sleep(due - time.monotonic())
                if self.report.by_user[user] % RECEIPT_EVERY == 0:
                    receipt = await run.complete("done", receipt=5.0)
                    self.report.receipts[receipt.outcome] = self.report.receipts.get(receipt.outcome, 0) + 1
                else:
                    await run.complete("done")
            self.report.runs += 1
            self.report.by_user[user] += 1

    async def _step(self, run: Run, number: int) -> int:
        """Emit something; returns how many events that are."""
        match number % 8:
            case 0:
                await run.thinking(self._text[:80], progress=number / RUN_EVENTS)
            case 6:
                async with run.tool("look", args={"n": number}) as tool:
                    tool.result = self._text
                return 2
            case _:
                await run.respond(self._text)
        return 1

    async def _answer(self, inbox: Inbox) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async for message in inbox:
                self.report.answers += 1
                await message.ack()


async def publish(routers: str, users: list[str], rate: float, payload: int) -> Published:
    """Work until SIGTERM."""
    async with Runcast(routers, agent="soak", coalesce_s=0) as runcast:  # so that what is emitted is what is stored
        await runcast.ready()
        agents = Agents(runcast, users, rate, payload)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agents.stop)
        print("ready agents", flush=True)
        await agents.work(runcast.inbox(GROUP))
    return agents.report


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--routers", required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--payload", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    users = [f"soak-{number}" for number in range(args.users)]
    report = uvloop.run(publish(args.routers, users, args.rate, args.payload))
    args.out.write_bytes(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
