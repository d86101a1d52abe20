"""Measures how long traffic stands still when the leader of a stream is killed, in a cluster of three nats-servers.

`python -m runcast.testkit.failover --kills 5` starts a cluster of its own, with a run and a device for each user. Again and again it kills
the server that leads one of the event streams, tells how long each user's traffic stood still, and starts the server again.

What is measured, each from the kill on, the worst of all users:
    elected    until the last of the streams that traffic needs (events, runs) has a new leader, if the killed server led any: NATS's own
               share, for a follower waits 4 to 9 s
    stored     until the first event that was emitted after the kill is acknowledged to the agent
    delivered  until it is at the user's device
    opened     until a device of a user who was not connected, and comes just after the kill, has its welcome; one that is refused
               comes again at once, for a device's own backoff is not what is measured

Never imports routers or edges.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import nats
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg

from runcast.client import Runcast
from runcast.client.run import Run
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.testkit.device_link import DeviceClosedError
from runcast.testkit.device_session import Received
from runcast.testkit.node import Node
from runcast.wire import subjects
from runcast.wire.ids import UserKey

BOUND_S: Final = 40.0
"""So long after a kill all must have recovered."""
SHARDS: Final = 4
_NEEDED: Final = ("RUNCAST_EV_", f"KV_{subjects.RUNS_BUCKET}")
_PACE_S: Final = 0.05
_COME_S: Final = 0.2
"""After the kill, when new devices come; and after a refusal, when they come again."""


@dataclass(slots=True)
class Kill:
    """What one kill did; all in seconds from it on, the worst of all users.

    Attributes:
        led: streams that the killed server led, of those that traffic needs.
        elected: when each of them had a new leader.
        stored: by user.
        delivered: by user.
        opened: by user who came after the kill.
        refused: by user who came after the kill: why their device was refused, and when.
    """

    led: list[str]
    elected: dict[str, float] = field(default_factory=dict)
    stored: dict[str, float] = field(default_factory=dict)
    delivered: dict[str, float] = field(default_factory=dict)
    opened: dict[str, float] = field(default_factory=dict)
    refused: dict[str, list[str]] = field(default_factory=dict)

    def worst(self) -> dict[str, float]:
        """The figures, milliseconds precise."""
        return {
            name: round(max(values.values(), default=0.0), 3)
            for name, values in (
                ("elected", self.elected),
                ("stored", self.stored),
                ("delivered", self.delivered),
                ("opened", self.opened),
            )
        }


class _Traffic:
    """One user's run and device: an event at a time, each awaited."""

    def __init__(self, cluster: Cluster, user: str) -> None:
        self.user = user
        self.emitted: dict[int, float] = {}
        self.acked: dict[int, float] = {}
        self.seen: dict[int, float] = {}
        self.device = Device(cluster.ws_urls(), cluster.token(user), reconnect=True, record=False, on_event=self._on_event)

    def _on_event(self, received: Received) -> None:
        self.seen.setdefault(received.event.seq, time.monotonic())

    async def work(self, runcast: Runcast, stop: asyncio.Event) -> None:
        """Emit until told to stop."""
        async with runcast.run(user=self.user, thread="t") as run:
            while not stop.is_set():
                await self._emit(run)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PACE_S):
                        await stop.wait()

    async def _emit(self, run: Run) -> None:
        seq = len(self.emitted) + 2  # the first is agent_started
        self.emitted[seq] = time.monotonic()
        await run.custom("tick", {})
        await run.flush()
        self.acked[seq] = time.monotonic()

    def recovered(self, since: float) -> tuple[float | None, float | None]:
        """When the first event emitted after `since` was stored, and delivered; None for what is still to come."""
        seq = next((seq for seq, at in self.emitted.items() if at > since), 0)
        return self.acked.get(seq), self.seen.get(seq)


async def measure(cluster: Cluster, kills: int, users: int, tell: Callable[[Kill], None] = lambda _: None) -> list[Kill]:
    """Kill `kills` times, and `tell` of each; the cluster has three nats-servers and is running.

    Raises:
        TimeoutError: not everything recovered within `BOUND_S`.
    """
    traffics = [_Traffic(cluster, f"watched-{n}") for n in range(users)]
    stop = asyncio.Event()
    found: list[Kill] = []
    async with Runcast(",".join(cluster.router_addresses()), agent="failover") as runcast:
        await asyncio.gather(*(traffic.device.connect() for traffic in traffics))
        try:
            async with asyncio.TaskGroup() as tasks:
                for traffic in traffics:
                    tasks.create_task(traffic.work(runcast, stop))
                try:
                    for number in range(kills):
                        await asyncio.sleep(1.0)
                        found.append(await _kill(cluster, number, traffics))
                        tell(found[-1])
                finally:
                    stop.set()
        finally:
            for traffic in traffics:
                await traffic.device.close()
    return found


async def _kill(cluster: Cluster, number: int, traffics: list[_Traffic]) -> Kill:
    victim, led = await _find_leader(cluster, subjects.event_stream(number % SHARDS))
    kill = Kill(led)
    urls = [node.url for node in cluster.nats_servers if node is not victim]
    watcher = await nats.connect(servers=urls)
    heard: dict[str, float] = {}

    async def on_elected(msg: Msg) -> None:
        heard[msg.subject.rpartition(".")[2]] = time.monotonic()  # the last one counts: who was elected first may not have lasted

    await watcher.subscribe(subjects.LEADER_ADVISORY, cb=on_elected)
    await watcher.flush()
    await victim.kill()
    began = time.monotonic()
    try:
        async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
            for shard in range(SHARDS):
                tasks.create_task(_come(cluster, f"{_user_of(shard, number)}", began, kill))
            for traffic in traffics:
                tasks.create_task(_wait_recovered(traffic, began, kill))
    except TimeoutError as exc:
        left = [traffic.user for traffic in traffics if traffic.user not in kill.stored]
        raise TimeoutError(f"not recovered within {BOUND_S:g} s of the kill of {victim.name}: {left}, so far {kill}") from exc
    finally:
        await watcher.close()
    kill.elected = {stream: heard[stream] - began for stream in led if stream in heard}
    await victim.start()
    await _wait_whole(cluster)
    return kill


async def _come(cluster: Cluster, user: str, began: float, kill: Kill) -> None:
    while True:
        await asyncio.sleep(_COME_S)
        device = Device(cluster.ws_urls(), cluster.token(user))
        try:
            await device.connect(timeout=BOUND_S)
        except DeviceClosedError as exc:
            kill.refused.setdefault(user, []).append(f"{time.monotonic() - began:.3f} s: {exc}")
        else:
            kill.opened[user] = time.monotonic() - began
            return
        finally:
            await device.close()


async def _wait_recovered(traffic: _Traffic, began: float, kill: Kill) -> None:
    while True:
        stored, seen = traffic.recovered(began)
        if stored is not None and seen is not None:
            kill.stored[traffic.user], kill.delivered[traffic.user] = stored - began, seen - began
            return
        await asyncio.sleep(_PACE_S)


def _user_of(shard: int, number: int) -> str:
    """A user of that shard whom nobody has seen yet."""
    names = (f"new-{number}-{n}" for n in range(1000))
    return next(name for name in names if subjects.shard_of(UserKey("default", name), SHARDS) == shard)


async def _find_leader(cluster: Cluster, stream: str) -> tuple[Node, list[str]]:
    """The server that leads a stream, and all streams that it leads and traffic needs."""
    client = await nats.connect(servers=[node.url for node in cluster.nats_servers])
    try:
        infos = await client.jetstream().streams_info()
        leaders = {str(info.config.name): info.cluster.leader for info in infos if info.cluster}
    finally:
        await client.close()
    victim = next(node for node in cluster.nats_servers if node.name == leaders[stream])
    return victim, sorted(name for name, leader in leaders.items() if leader == victim.name and name.startswith(_NEEDED))


async def _wait_whole(cluster: Cluster) -> None:
    """Wait until every stream has a leader and all replicas are current again."""
    async with asyncio.timeout(BOUND_S):
        client = await nats.connect(servers=[node.url for node in cluster.nats_servers])
        try:
            while True:
                with contextlib.suppress(TimeoutError, nats.errors.Error, nats.js.errors.Error):
                    infos = await client.jetstream().streams_info()
                    clusters = [info.cluster for info in infos]
                    if all(c and c.leader and len(c.replicas or []) == 2 and all(r.current for r in c.replicas or []) for c in clusters):
                        return
                await asyncio.sleep(0.25)
        finally:
            await client.close()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="How long traffic stands still when a stream's leader is killed.")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--users", type=int, default=12)
    parser.add_argument("--verbose", action="store_true", help="the figures of every user")
    options = parser.parse_args()

    def tell(kill: Kill) -> None:
        more = (
            {"by_user": {"stored": kill.stored, "opened": kill.opened, "elected": kill.elected, "refused": kill.refused}}
            if options.verbose
            else {}
        )
        sys.stdout.write(json.dumps({**kill.worst(), "led": kill.led, **more}) + "\n")
        sys.stdout.flush()

    async def run() -> None:
        async with Cluster(routers=2, edges=2, nats_servers=3, shards=SHARDS) as cluster:
            found = await measure(cluster, options.kills, options.users, tell)
        for name in ("elected", "stored", "delivered", "opened"):
            worst = sorted(kill.worst()[name] for kill in found)
            sys.stdout.write(f"{name:>10}: median {worst[len(worst) // 2]:.1f} s, max {worst[-1]:.1f} s\n")

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
