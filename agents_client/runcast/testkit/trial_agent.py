"""The agents of a trial: a process that does runs for many users, answers what they send, and writes down what it did.

Every run is planned before it begins and the plan is written down, so that whatever of it is stored can be recognised, even if this process
is killed in the middle. Acknowledgements and receipts are written down when they come.

Some runs are duels: while the first attempt goes on, another connection begins the second, so that what the first says is late. A message
that is poison takes its worker down: the stream by which it came is left, and another one opened. One that names a run is answered by that
run, which waits to be cancelled.

Signals: SIGUSR1: begin no more runs of its own accord, go on answering. SIGTERM: finish what is open, and end.

Run as `python -m runcast.testkit.trial_agent`, see `main` for the arguments.
"""

import argparse
import asyncio
import contextlib
import functools
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from runcast.client import (
    Inbox,
    InboxMessage,
    LifecycleError,
    Run,
    Runcast,
    RuncastError,
    RunIndeterminateError,
    RunRefusedError,
)
from runcast.testkit.history import Acked, AnyRecord, Failed, Handled, Planned, Receipted, Returned, Taken, delta_text, to_line

GROUP: Final = "trial"
ATTEMPTS_MAX: Final = 3
"""Attempts of one run, when the library gave the one before up."""
RECEIPT_SHARE: Final = 0.3
"""Share of the runs that await a receipt for their end."""
RECEIPT_S: Final = 3.0
"""How long a device may take to acknowledge."""
HOT_EVERY: Final = 12
"""Each so manieth run is a long one, with much text at once, for the first user: so that slow devices fall behind."""
DUEL_EVERY: Final = 7
"""Each so manieth run is a duel."""
RIVAL_S: Final = 5.0
"""How long one attempt of a duel waits for the other; then it goes on as it is."""
IN_FLIGHT: Final = 8
"""Messages that an agent answers at once."""
POISON: Final = "poison"
"""Text of a message that takes its worker down."""
HOLD_S: Final = 20.0
"""How long a run that is to be cancelled waits for it; then it completes. Well above what a cancel may take under faults."""
WORDS, HOT_WORDS = 4, 200
"""Words of each delta: of most runs, and of long ones."""

Step = str | Callable[[], Awaitable[object]]
"""thinking, tool, delta or flush; or what is awaited."""


class Pen:
    """Writes records to a file that outlives this process however it ends."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(self._file, b"\n")  # a life before this one may have been cut off in the middle of a line

    def write(self, record: AnyRecord) -> None:
        """Write a record down; it is in the kernel's hands when this returns."""
        os.write(self._file, to_line(record))


def plan_steps(rng: random.Random, *, hot: bool = False) -> list[str]:
    """What a run is going to do: thinking, tool, delta, flush."""
    if hot:
        return ["thinking", *["delta"] * rng.randrange(100, 300), "flush"]
    steps = []
    for _ in range(rng.randrange(2, 9)):
        steps += rng.choice([["thinking"], ["tool"], ["delta"] * rng.randrange(1, 6), ["thinking", "thinking"], ["flush"]])
    return steps


def kinds_of(steps: Sequence[Step]) -> list[str]:
    """The kinds that the library emits for these steps, the start and the end included."""
    emitted = {"thinking": ["agent_thinking"], "tool": ["tool_executing", "tool_completed"], "delta": ["agent_response"]}
    kinds = ["agent_started"]
    for step in steps:
        kinds += emitted.get(step, []) if isinstance(step, str) else []
    if "delta" in steps:
        kinds.append("agent_response")  # the message becomes final
    return [*kinds, "agent_completed"]


class Worker:
    """Does runs until told to stop.

    Args:
        runcast: an open connection.
        rival: another one, of another producer.
        pen: where to write.
        name: the agent's.
        users: whom runs are for.
        rng: decides what they do.
    """

    def __init__(self, runcast: Runcast, rival: Runcast, pen: Pen, name: str, users: list[str], rng: random.Random) -> None:
        self._runcast = runcast
        self._rival = rival
        self._pen = pen
        self._name = name
        self._workers = 0
        self._users = users
        self._rng = rng
        self._count = 0
        self._inbox: Inbox | None = None
        self.stopped = False
        self.calm = asyncio.Event()

    async def lane(self) -> None:
        """One run after the other, until it is calm."""
        while not self.calm.is_set():
            self._count += 1
            hot = self._count % HOT_EVERY == 0
            user = self._users[0] if hot else self._rng.choice(self._users)
            run_id = f"{user}/{self._name}-{os.getpid()}/{self._count}"
            if self._count % DUEL_EVERY == 0:
                await self._duel(user, run_id)
            else:
                await self._perform(user, run_id, 1, plan_steps(self._rng, hot=hot), "")
            await asyncio.sleep(self._rng.uniform(0.0, 0.3))

    async def _duel(self, user: str, run_id: str) -> None:
        """Two attempts at once: the first goes on after the second has begun."""
        begun, superseded = asyncio.Event(), asyncio.Event()

        async def signal_begun() -> None:
            begun.set()

        async def signal_superseded() -> None:
            superseded.set()

        first: list[Step] = ["thinking", "delta", "flush", signal_begun, functools.partial(_wait_for, superseded)]
        first += ["thinking", "delta", "tool", "flush", "delta"]
        second: list[Step] = ["thinking", "flush", signal_superseded, *plan_steps(self._rng)]
        async with asyncio.TaskGroup() as both:
            both.create_task(self._perform(user, run_id, 1, first, "", attempts=1))
            await _wait_for(begun)
            both.create_task(self._perform(user, run_id, 2, second, "", runcast=self._rival))

    async def take(self, slots: asyncio.Semaphore) -> None:
        """Answer what users send, one worker after the other, until it is told to stop."""
        async with asyncio.TaskGroup() as answers:
            while not self.stopped:
                self._workers += 1
                worker = f"{self._name}/{os.getpid()}/{self._workers}"
                self._inbox = self._runcast.inbox(GROUP, in_flight=IN_FLIGHT)
                async for message in self._inbox:
                    self._note_taken(message, worker)
                    if message.text == POISON:
                        self._note_settled(Returned, message, worker)
                        await self._inbox.aclose()
                    else:
                        await slots.acquire()
                        answers.create_task(self._answer(message, worker)).add_done_callback(lambda _: slots.release())

    async def stop(self) -> None:
        """Take nothing more, and begin nothing."""
        self.stopped = True
        self.calm.set()
        if self._inbox is not None:
            await self._inbox.aclose()

    def _note_taken(self, message: InboxMessage, worker: str) -> None:
        self._pen.write(
            Taken(
                t=time.monotonic(),
                id=message.id,
                user=message.user,
                agent=self._name,
                tries=message.tries,
                stamp=message.time_unix_ms,
                worker=worker,
            )
        )

    def _note_settled(self, record: type[Handled] | type[Returned], message: InboxMessage, worker: str) -> None:
        self._pen.write(record(t=time.monotonic(), id=message.id, user=message.user, agent=self._name, worker=worker))

    async def _answer(self, message: InboxMessage, worker: str) -> None:
        """Answer a message by a run of its own."""
        wanted = message.data
        if wanted is not None:
            hold: list[Step] = ["thinking", "flush", functools.partial(asyncio.sleep, HOLD_S)]
            # Two workers that have the message one after the other make two attempts of the run that it names: the later one the higher.
            attempt = 1 + max(time.time_ns() // 1_000_000 - message.time_unix_ms, 0)
            done = await self._perform(message.user, wanted["run"], attempt, hold, message.id)
        else:
            steps: list[Step] = ["thinking", "delta", "delta"]
            done = await self._perform(message.user, f"answer/{message.id}", max(message.tries, 1), steps, message.id)
        self._note_settled(Handled if done else Returned, message, worker)
        await (message.ack() if done else message.retry())

    async def _perform(
        self,
        user: str,
        run_id: str,
        attempt: int,
        steps: Sequence[Step],
        reply_to: str,
        *,
        attempts: int = ATTEMPTS_MAX,
        runcast: Runcast | None = None,
    ) -> bool:
        """Do a run, in further attempts if need be; True when all of it is stored, or the user cancelled it."""
        kinds, words = kinds_of(steps), HOT_WORDS if len(steps) > 50 else WORDS
        for number in range(attempt, attempt + attempts):
            self._pen.write(Planned(t=time.monotonic(), user=user, run=run_id, attempt=number, agent=self._name, kinds=kinds, words=words))
            try:
                async with (runcast or self._runcast).run(user=user, thread="t", run_id=run_id, attempt=number, reply_to=reply_to) as run:
                    await self._work(run, user, steps)
                return True
            except RunIndeterminateError as exc:
                unsure, dropped = [event.seq for event in exc.unsure], [event.seq for event in exc.unsent]
                self._failed(user, run_id, number, unsure, dropped, str(exc.code.name))
            except RunRefusedError as exc:
                self._failed(user, run_id, number, [], [event.seq for event in exc.dropped], str(exc.code.name))
            except LifecycleError:
                continue  # this attempt was made here before: a redelivery that this process had answered
        return False

    async def _work(self, run: Run, user: str, steps: Sequence[Step]) -> None:
        emitted = 1

        async def flush() -> None:
            upto = emitted
            position = await run.flush()
            at = time.monotonic()
            self._pen.write(Acked(t=at, user=user, run=run.id, attempt=run.attempt, upto=upto, pos=str(position)))

        pause_s = 0.0 if len(steps) > 50 else 0.15
        for step in steps:
            if step == "thinking":
                await run.thinking("Reading", progress=self._rng.random())
            elif step == "tool":
                async with run.tool("search", args={"q": "x"}) as tool:
                    await asyncio.sleep(self._rng.uniform(0.0, pause_s))
                    tool.result = {"found": 3}
                emitted += 1
            elif step == "delta":
                await run.respond(delta_text(emitted + 1, HOT_WORDS if len(steps) > 50 else WORDS))
            else:
                await (flush() if isinstance(step, str) else step())
                continue
            emitted += 1
            if pause_s and self._rng.random() < 0.6:
                await asyncio.sleep(self._rng.uniform(0.0, pause_s))
        await run.complete("done")
        emitted += 1 + ("delta" in steps)
        if self._rng.random() >= RECEIPT_SHARE:
            await flush()
            return
        receipt = await run.flush(receipt=RECEIPT_S)
        at = time.monotonic()
        self._pen.write(Acked(t=at, user=user, run=run.id, attempt=run.attempt, upto=emitted, pos=str(receipt.position)))
        self._pen.write(
            Receipted(
                t=at,
                user=user,
                run=run.id,
                attempt=run.attempt,
                upto=emitted,
                outcome=receipt.outcome,
                device=receipt.device,
                latency_ms=1000 * receipt.latency_s,
            )
        )

    def _failed(self, user: str, run: str, attempt: int, unsure: list[int], dropped: list[int], why: str) -> None:
        self._pen.write(Failed(t=time.monotonic(), user=user, run=run, attempt=attempt, unsure=unsure, dropped=dropped, why=why))


async def _wait_for(event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(RIVAL_S):
            await event.wait()


async def serve(options: argparse.Namespace, announce: Callable[[], None]) -> None:
    """Work until SIGTERM."""
    rng = random.Random(options.seed)  # noqa: S311 # what runs do, not a secret
    pen = Pen(options.log)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def connect() -> Runcast:
        """Nothing is merged, so that what a plan says, event by event, is what is stored."""
        return Runcast(options.routers, agent=options.name, coalesce_s=0)

    async with connect() as runcast, connect() as rival:
        worker = Worker(runcast, rival, pen, options.name, options.users.split("\n"), rng)
        loop.add_signal_handler(signal.SIGUSR1, worker.calm.set)
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.take(asyncio.Semaphore(IN_FLIGHT)))
            for _ in range(options.lanes):
                tasks.create_task(worker.lane())
            announce()
            await stop.wait()
            await worker.stop()


def main() -> int:
    """The process."""
    parser = argparse.ArgumentParser(description="An agent of a trial.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--routers", required=True, help="host:port, several with commas between them")
    parser.add_argument("--users", required=True, help="a user id a line")
    parser.add_argument("--log", required=True, type=Path, help="where records are appended")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=4, help="runs at once")
    options = parser.parse_args()

    def announce() -> None:
        sys.stdout.write(f"ready agent {options.name}\n")
        sys.stdout.flush()

    try:
        asyncio.run(serve(options, announce))
    except* RuncastError as failures:
        raise SystemExit(str(failures.exceptions[0])) from None
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
