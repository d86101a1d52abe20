"""A load process: a device for each of many users.

Prints `ready devices` when all are connected; ends when every user's run has ended, or on SIGTERM; then writes what was received to a
file. With `--idle` it only holds its connections until SIGTERM.
"""

import argparse
import asyncio
import signal
import time
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from runcast.cli.addresses import development_token
from runcast.cli.bench.figures import Sighting
from runcast.testkit.device import Device
from runcast.testkit.device_session import Received
from runcast.wire import limits_client as limits
from runcast.wire.frames import PROTO_SUBPROTOCOL
from runcast.wire.lifecycle import ends_run

CONNECTS_AT_ONCE = 32
"""Connections being opened at the same time."""


class _Stamp(msgspec.Struct):
    n: int
    due: int
    at: int


class Seen(msgspec.Struct):
    """What a devices process reports."""

    by_user: dict[str, list[Sighting]]
    chain_breaks: list[str]
    cpu_s: float


async def receive(urls: list[str], users: list[str], *, idle: bool) -> Seen:
    """Connect a device for each user, in turn to each edge, and note what comes."""
    seen: dict[str, list[Sighting]] = {user: [] for user in users}
    open_users = set(users)
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, finished.set)
    decode = msgspec.json.Decoder(_Stamp).decode
    gate = asyncio.Semaphore(CONNECTS_AT_ONCE)

    def note(user: str, received: Received) -> None:
        event = received.event
        if event.WhichOneof("kind") == "custom":
            stamp = decode(event.custom.data_json)
            seen[user].append(Sighting(stamp.n, stamp.due, stamp.at, time.time_ns() // 1000))
        elif ends_run(event) and not idle:
            open_users.discard(user)
            if not open_users:
                finished.set()

    async def connect(device: Device) -> None:
        async with gate:
            await device.connect(timeout=limits.CHILD_READY_S)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        devices = [
            Device(
                urls[index % len(urls)],
                development_token(user, "default"),
                position="latest",
                subprotocol=PROTO_SUBPROTOCOL,
                strict=False,
                record=False,
                on_event=lambda received, user=user: note(user, received),  # type: ignore[misc]
                http=http,
            )
            for index, user in enumerate(users)
        ]
        async with asyncio.TaskGroup() as group:
            for device in devices:
                group.create_task(connect(device))
        print("ready devices", flush=True)
        cpu_s = time.process_time()
        await finished.wait()
        cpu_s = time.process_time() - cpu_s
        async with asyncio.TaskGroup() as group:
            for device in devices:
                group.create_task(device.close())
    return Seen(seen, [text for device in devices for text in device.chain_breaks], cpu_s)


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edges", required=True)
    parser.add_argument("--users", required=True, help="FIRST:COUNT")
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    first, _, count = args.users.partition(":")
    word = "idle" if args.idle else "bench"
    users = [f"{word}-{number}" for number in range(int(first), int(first) + int(count))]
    seen = uvloop.run(receive(args.edges.split(","), users, idle=args.idle))
    args.out.write_bytes(msgspec.json.encode(seen))


if __name__ == "__main__":
    main()
