"""A load process: agents of many users in one process, publishing on schedule by the client library.

Open loop: event k of this process is due at k / rate seconds after the start, whatever became of those before it. Prints
`ready agents` when every run is open and stored, then begins; writes its counts to a file and ends.
"""

import argparse
import asyncio
import contextlib
import time
from pathlib import Path

import msgspec
import uvloop

from runcast.client import Run, Runcast
from runcast.v1.event_pb2 import Custom, Event


class Published(msgspec.Struct):
    """What an agents process reports."""

    offered: int
    by_user: dict[str, int]
    cpu_s: float


async def publish(routers: str, users: list[str], rate: float, seconds: float, payload: int) -> Published:
    """Open a run for every user, publish on schedule, end the runs; every event is acknowledged when this returns."""
    counts = dict.fromkeys(users, 0)
    padding = "x" * payload
    total = int(rate * seconds)
    async with Runcast(routers, agent="bench") as runcast, contextlib.AsyncExitStack() as runs:
        open_runs: list[Run] = [await runs.enter_async_context(runcast.run(user=user, title="bench")) for user in users]
        for run in open_runs:
            await run.flush()
        print("ready agents", flush=True)
        cpu_s = time.process_time()
        began_us = _now_us() + 200_000
        for index in range(total):
            due_us = began_us + int(index * 1_000_000 / rate)
            wait_s = (due_us - _now_us()) / 1_000_000
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            user = users[index % len(users)]
            counts[user] += 1
            data = b'{"n":%d,"due":%d,"at":%d,"pad":"%s"}' % (counts[user], due_us, _now_us(), padding.encode())
            await open_runs[index % len(users)].emit(Event(custom=Custom(name="bench", data_json=data)))
        for run in open_runs:
            await run.flush()
    return Published(total, counts, time.process_time() - cpu_s)


def _now_us() -> int:
    return time.time_ns() // 1000


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--routers", required=True)
    parser.add_argument("--users", required=True, help="FIRST:COUNT")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--payload", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    first, _, count = args.users.partition(":")
    users = [f"bench-{number}" for number in range(int(first), int(first) + int(count))]
    published = uvloop.run(publish(args.routers, users, args.rate, args.seconds, args.payload))
    args.out.write_bytes(msgspec.json.encode(published))


if __name__ == "__main__":
    main()
