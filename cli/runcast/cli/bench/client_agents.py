"""A load process for `runcast bench client`: one client, many runs.

Parts: *calls*: how long `run.thinking` takes its caller, the outbox having room; *flood*: many runs at once, each emitting small events
that can't be merged, as fast as they are taken; *sequences*: users whose agents do all that agents do, at a person's pace. Every text and
summary of the latter is the moment when it was said (Unix microseconds), so that a device can tell how long it took, merged or not.

Prints `ready agents` when it begins, writes what it found to a file and ends.
"""

import argparse
import asyncio
import time
from pathlib import Path

import msgspec
import uvloop

from runcast.cli.bench.figures import percentile
from runcast.client import Run, Runcast
from runcast.v1.event_pb2 import Custom, Event

CALLS = 8_000
"""Calls of `run.thinking` that are timed."""
CALLS_AT_ONCE = 400
"""Of these, until all is stored again: the outbox has room for more."""
BURST_EVENTS = 8_960
"""What is emitted at once to see how quickly it is accepted: below what an outbox holds."""
TOOL_S = 0.005
"""How long the sequence's tool takes."""
PIECE_S = 0.02
"""From one piece of text to the next."""
PIECES = 25
"""Pieces of text in a sequence."""


class Calls(msgspec.Struct):
    """What calling costs the caller, microseconds."""

    p50_us: float
    p99_us: float
    cpu_us: float


class Flood(msgspec.Struct):
    """What many runs at once got through.

    Attributes:
        accepted_per_s: events that were accepted a second, while there was room.
        accepted_cpu_us: processor time of one, microseconds.
        stored_per_s: events that were stored a second, from the first emit to the last acknowledgement.
        events: that were stored.
        seconds: that it took.
        client_cpu_us: processor time of the client process per stored event, microseconds.
        p99_ms: from accepting to knowing that it is stored, milliseconds.
    """

    accepted_per_s: float
    accepted_cpu_us: float
    stored_per_s: float
    events: int
    seconds: float
    client_cpu_us: float
    p99_ms: float


class Sequences(msgspec.Struct):
    """What the sequences said: how many things by user, and how many were merged into another event."""

    said: dict[str, int]
    merged: int
    stored: int
    cpu_s: float


async def time_calls(routers: str) -> Calls:
    """Time `run.thinking`."""
    took: list[int] = []
    cpu_s = 0.0
    async with Runcast(routers, agent="bench") as rc, rc.run(user="bench-calls") as run:
        await run.flush()
        while len(took) < CALLS:
            before = time.process_time()
            for number in range(CALLS_AT_ONCE):
                began = time.perf_counter_ns()
                await run.thinking("Reading the sales table", progress=number / CALLS_AT_ONCE)
                took.append(time.perf_counter_ns() - began)
            cpu_s += time.process_time() - before
            await run.flush()
    took.sort()
    return Calls(round(percentile(took, 0.5) / 1000, 2), round(percentile(took, 0.99) / 1000, 2), round(cpu_s * 1e6 / len(took), 2))


async def flood(routers: str, runs: int, seconds: float) -> Flood:
    """Emit as fast as it is taken, by many runs of one client."""

    async def emit(run: Run, count: int) -> None:
        for number in range(count):
            await run.emit(Event(custom=Custom(name="bench", data_json=b'{"n":%d}' % number)))

    async def emit_until(run: Run, end: float) -> int:
        count = 0
        while time.monotonic() < end:
            await emit(run, 32)
            count += 32
        return count

    async with Runcast(routers, agent="bench") as rc:
        opened = [rc.run(user=f"bench-flood-{number}") for number in range(runs)]
        for run in opened:
            await run.__aenter__()
        for run in opened:
            await run.flush()
        print("ready agents", flush=True)
        each = BURST_EVENTS // runs
        began, cpu_began = time.monotonic(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for run in opened:
                group.create_task(emit(run, each))
        accepted_s, accepted_cpu_s = time.monotonic() - began, time.process_time() - cpu_began
        for run in opened:
            await run.flush()
        began, cpu_began = time.monotonic(), time.process_time()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(emit_until(run, began + seconds)) for run in opened]
        for run in opened:
            await run.flush()
        took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
        events = sum(task.result() for task in tasks)
        latency_s = rc.stats().latency_p99_s or 0.0
        for run in opened:
            await run.__aexit__(None, None, None)
    return Flood(
        accepted_per_s=round(each * runs / accepted_s),
        accepted_cpu_us=round(accepted_cpu_s * 1e6 / (each * runs), 1),
        stored_per_s=round(events / took_s),
        events=events,
        seconds=round(took_s, 2),
        client_cpu_us=round(cpu_s * 1e6 / events, 1),
        p99_ms=round(latency_s * 1000, 1),
    )


async def say_sequences(routers: str, users: list[str], seconds: float) -> Sequences:
    """All that an agent does, for each user again and again."""
    said = dict.fromkeys(users, 0)

    async def sequence(rc: Runcast, user: str) -> None:
        async with rc.run(user=user, title=_now()) as run:
            await run.thinking(_now(), progress=0.1)
            async with run.tool("sql", args={"at": _now()}) as tool:
                await asyncio.sleep(TOOL_S)
                tool.result = {"at": _now()}
            for _ in range(PIECES):
                await run.respond(f"{_now()} ")
                await asyncio.sleep(PIECE_S)
            await run.complete(_now())
        said[user] += 5 + PIECES

    async def user_until(rc: Runcast, user: str, start: float, end: float) -> None:
        await asyncio.sleep(start - time.monotonic())
        while time.monotonic() < end:
            await sequence(rc, user)

    async with Runcast(routers, agent="bench") as rc:
        await rc.ready()
        print("ready agents", flush=True)
        cpu_s = time.process_time()
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, user in enumerate(users):
                group.create_task(user_until(rc, user, began + number * 0.6 / len(users), began + seconds))
        cpu_s = time.process_time() - cpu_s
        stats = rc.stats()
    return Sequences(said, stats.merged, stats.stored, cpu_s)


def _now() -> str:
    return str(time.time_ns() // 1000)


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["calls", "flood", "sequences"])
    parser.add_argument("--routers", required=True)
    parser.add_argument("--count", type=int, default=1, help="runs, or users")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found: Calls | Flood | Sequences
    if args.part == "calls":
        print("ready agents", flush=True)
        found = uvloop.run(time_calls(args.routers))
    elif args.part == "flood":
        found = uvloop.run(flood(args.routers, args.count, args.seconds))
    else:
        users = [f"bench-{number}" for number in range(args.count)]
        found = uvloop.run(say_sequences(args.routers, users, args.seconds))
    args.out.write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
