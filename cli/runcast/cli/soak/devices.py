"""A load process: for each user a device that stays, one that comes and goes, and a page that begins with a snapshot, again and again.

What comes is checked as it comes, and forgotten: a run's seqs have no hole and it ends once. Users send a message now and then. Prints
`ready devices` when all are connected. SIGUSR1: users say nothing more. SIGTERM: wait until nothing more comes, and write what was found to
a file.
"""

import argparse
import asyncio
import contextlib
import random
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from runcast.cli.addresses import development_token
from runcast.cli.soak.agents import GROUP
from runcast.testkit.device import Device
from runcast.testkit.device_link import DeviceClosedError
from runcast.testkit.device_session import Received
from runcast.wire.errors import RuncastError
from runcast.wire.frames import JSON_SUBPROTOCOL, PROTO_SUBPROTOCOL
from runcast.wire.lifecycle import ends_run

STAY_S = 10.0
"""How long a device that comes and goes stays, on average."""
CONNECT_S = 30.0
"""For a welcome, with the snapshot of a full log, on a machine that does other things besides."""
SEND_S = 5.0
"""Between two messages of a user, on average."""
QUIET_S = 2.0
"""At the end: nothing came for so long."""


class Checked(msgspec.Struct):
    """What the devices report.

    Attributes:
        events: received by devices that stay or come and go, those that they stand for counted.
        runs: that ended, by user, on the device that stays.
        holes: places where a seq was missing, or came twice.
        open_runs: begun and not ended when all was over, on devices that stay.
        snapshots: given to pages.
        sent: messages stored.
        chain_breaks: how chains broke, should they have.
    """

    events: int
    runs: dict[str, int]
    holes: int
    open_runs: int
    snapshots: int
    sent: int
    chain_breaks: list[str]


class Watch:
    """Checks what one device is given.

    Args:
        note: called with each event's count.
    """

    def __init__(self, note: Callable[[int], None]) -> None:
        self._note = note
        self._at: dict[str, int] = {}
        self.ended = self.holes = 0

    @property
    def open_runs(self) -> int:
        """Begun and not ended."""
        return len(self._at)

    def take(self, received: Received) -> None:
        """The next event."""
        event = received.event
        if not event.run_id:
            return
        first = event.first_seq or event.seq
        self.holes += first != self._at.get(event.run_id, 0) + 1
        self._note(event.seq - first + 1)
        if ends_run(event):
            self._at.pop(event.run_id, None)
            self.ended += 1
        else:
            self._at[event.run_id] = event.seq


class Crowd:
    """All devices.

    Args:
        urls: of the edges.
        users: whose.
        http: the session that all share.
    """

    def __init__(self, urls: list[str], users: list[str], http: aiohttp.ClientSession) -> None:
        self._rng = random.Random()  # noqa: S311 # when devices come and go
        self._urls = urls
        self._http = http
        self._events = 0
        self._moved = asyncio.Event()
        self._calm = asyncio.Event()
        self._stop = asyncio.Event()
        self._sent = self._snapshots = 0
        self._chain_breaks: list[str] = []
        self._staying = {user: Watch(self._count) for user in users}
        self._going = {user: Watch(self._count) for user in users}
        self._devices = {user: self._device(user, "stays", self._staying[user]) for user in users}

    async def live(self) -> Checked:
        """Go on until `stop`, and then until nothing more comes."""
        await asyncio.gather(*(device.connect() for device in self._devices.values()))
        print("ready devices", flush=True)
        async with asyncio.TaskGroup() as group:
            for user in self._devices:
                group.create_task(self._come_and_go(user))
                group.create_task(self._open_pages(user))
                group.create_task(self._send(user))
        await self._until_quiet()
        for device in self._devices.values():
            await device.close()
            self._chain_breaks += device.chain_breaks
        watches = [*self._staying.values(), *self._going.values()]
        return Checked(
            self._events,
            {user: watch.ended for user, watch in self._staying.items()},
            sum(watch.holes for watch in watches),
            sum(watch.open_runs for watch in self._staying.values()),
            self._snapshots,
            self._sent,
            self._chain_breaks[:20],
        )

    def stop_sending(self) -> None:
        """Users say nothing more."""
        self._calm.set()

    def stop(self) -> None:
        """It is over."""
        self._calm.set()
        self._stop.set()

    def _count(self, events: int) -> None:
        self._events += events
        self._moved.set()

    async def _until_quiet(self) -> None:
        with contextlib.suppress(TimeoutError):
            while True:
                self._moved.clear()
                async with asyncio.timeout(QUIET_S):
                    await self._moved.wait()

    def _device(self, user: str, name: str, watch: Watch | None, *, snapshot: bool = False) -> Device:
        return Device(
            self._rng.sample(self._urls, len(self._urls)),
            development_token(user, "default"),
            device=name,
            snapshot=snapshot,
            subprotocol=self._rng.choice([JSON_SUBPROTOCOL, PROTO_SUBPROTOCOL]),
            reconnect=True,
            strict=False,
            record=False,
            on_event=watch.take if watch else None,
            http=self._http,
        )

    async def _come_and_go(self, user: str) -> None:
        device = self._device(user, "goes", self._going[user])
        while not self._stop.is_set():
            await device.connect(timeout=CONNECT_S)
            await self._wait(STAY_S)
            await device.disconnect(abruptly=self._rng.random() < 0.5)
        self._chain_breaks += device.chain_breaks

    async def _open_pages(self, user: str) -> None:
        while not await self._wait(2 * STAY_S):
            page = self._device(user, "page", None, snapshot=True)
            await page.connect(timeout=CONNECT_S)
            await self._wait(1.0)
            await page.close()
            self._snapshots += page.session.snapshots
            self._chain_breaks += page.chain_breaks

    async def _send(self, user: str) -> None:
        number = 0
        while not await self._wait(SEND_S) and not self._calm.is_set():
            number += 1
            try:
                await self._devices[user].send_message(GROUP, "t", "a question", id=f"{user}/{number}")
                self._sent += 1
            except (RuncastError, DeviceClosedError, TimeoutError) as exc:
                self._chain_breaks.append(f"a message of {user} was not stored: {exc}")

    async def _wait(self, mean_s: float) -> bool:
        """Wait about so long; True when it is over."""
        try:
            async with asyncio.timeout(mean_s * self._rng.uniform(0.5, 1.5)):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True


async def watch_all(urls: list[str], users: list[str]) -> Checked:
    """Watch until SIGTERM."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        crowd = Crowd(urls, users, http)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, crowd.stop_sending)
        loop.add_signal_handler(signal.SIGTERM, crowd.stop)
        return await crowd.live()


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edges", required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    users = [f"soak-{number}" for number in range(args.users)]
    report = uvloop.run(watch_all(args.edges.split(","), users))
    args.out.write_bytes(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
