"""A device for each user of `runcast bench client`, in one process.

Prints `ready devices` when all are connected. On SIGTERM it writes to a file how long everything that was said took until the application
had it: by kind, in milliseconds; each piece of a merged text counts by itself.
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
from runcast.testkit.device import Device
from runcast.testkit.device_session import Received
from runcast.v1.event_pb2 import Event
from runcast.wire import limits_client as limits
from runcast.wire.frames import PROTO_SUBPROTOCOL


class Heard(msgspec.Struct):
    """What the devices were given: by kind, the latencies of what was said, in milliseconds; how many things by user."""

    by_kind: dict[str, list[float]]
    by_user: dict[str, int]
    cpu_s: float


def moments(event: Event) -> list[int]:
    """When what an event says was said, Unix microseconds."""
    match event.WhichOneof("kind"):
        case "agent_started":
            return [int(event.agent_started.title)]
        case "agent_thinking":
            return [int(event.agent_thinking.text)]
        case "tool_executing":
            return [int(msgspec.json.decode(event.tool_executing.args_json)["at"])]
        case "tool_completed":
            return [int(msgspec.json.decode(event.tool_completed.result_json)["at"])]
        case "agent_response":
            return [int(text) for text in event.agent_response.text.split()]
        case "agent_completed":
            return [int(event.agent_completed.summary)]
    return []


async def hear(urls: list[str], users: list[str]) -> Heard:
    """Connect a device for each user, and note what comes until SIGTERM."""
    heard = Heard({}, dict.fromkeys(users, 0), 0.0)
    finished = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, finished.set)

    def note(user: str, received: Received) -> None:
        now_us = time.time_ns() // 1000
        said = moments(received.event)
        heard.by_user[user] += len(said)
        heard.by_kind.setdefault(received.event.WhichOneof("kind") or "", []).extend((now_us - at_us) / 1000 for at_us in said)

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
        for device in devices:
            await device.connect(timeout=limits.CHILD_READY_S)
        print("ready devices", flush=True)
        cpu_s = time.process_time()
        await finished.wait()
        heard.cpu_s = time.process_time() - cpu_s
        for device in devices:
            await device.close()
    return heard


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edges", required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    heard = uvloop.run(hear(args.edges.split(","), [f"bench-{number}" for number in range(args.users)]))
    args.out.write_bytes(msgspec.json.encode(heard))


if __name__ == "__main__":
    main()
