"""Everything is restarted, one process after the other, under load: nobody misses anything, nobody waits long (P1, P2, P3)."""

import asyncio
import itertools
import time
from collections import defaultdict

from runcast.client import Runcast
from runcast.testkit.device import Device
from runcast.testkit.processes import Process
from runcast.wire import limits

USERS = 20
PACE_S = 0.1
WAIT_MAX_S = 3.0
GROUP = "rolling"


class Watcher:
    """A user's device: notes when each event came."""

    def __init__(self, cluster, user: str, number: int) -> None:
        urls = cluster.ws_urls()
        turned = [*urls[number % len(urls) :], *urls[: number % len(urls)]]
        self.user = user
        self.times: list[float] = []
        self.device = Device(
            turned, cluster.token(user), device="d", reconnect=True, on_event=lambda _: self.times.append(time.monotonic())
        )
        self.said: list[str] = []

    @property
    def longest_wait_s(self) -> float:
        return max(after - before for before, after in itertools.pairwise(self.times))

    async def speak(self, stop: asyncio.Event) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            self.said.append(f"{self.user}/{number}")
            await self.device.send_message(GROUP, "t", self.said[-1], timeout=20)
            await asyncio.sleep(PACE_S * 5)


async def emit(rc: Runcast, user: str, stop: asyncio.Event) -> int:
    async with rc.run(user=user, thread="t") as run:
        for number in itertools.count():
            if stop.is_set():
                break
            await run.custom("number", {"n": number})
            await asyncio.sleep(PACE_S)
    return number + 2


async def handle(rc: Runcast, handled: dict[str, list[str]], heard: asyncio.Event) -> None:
    async for message in rc.inbox(GROUP, in_flight=8):
        handled[message.user].append(message.text)
        await message.ack()
        heard.set()


async def restart(node: Process) -> None:
    begun = time.monotonic()
    assert await node.stop(bound_s=10) == 0, f"{node.name} did not end well:\n{node.tail()}"
    assert time.monotonic() - begun < limits.DRAIN_S + 1.5, f"{node.name} took too long"
    await node.start()


async def test_a_rolling_restart_of_everything_under_load_shows_nothing(runcast_cluster_factory, user: str):
    cluster = await runcast_cluster_factory(routers=2, edges=3)
    watchers = [Watcher(cluster, f"{user}-{number}", number) for number in range(USERS)]
    stop_runs, stop_speech = asyncio.Event(), asyncio.Event()
    handled: dict[str, list[str]] = defaultdict(list)
    heard = asyncio.Event()
    try:
        await asyncio.gather(*(watcher.device.connect() for watcher in watchers))
        async with Runcast(",".join(cluster.router_addresses()), agent="test") as rc, asyncio.TaskGroup() as group:
            emitting = [group.create_task(emit(rc, watcher.user, stop_runs)) for watcher in watchers]
            speaking = [group.create_task(watcher.speak(stop_speech)) for watcher in watchers]
            handling = group.create_task(handle(rc, handled, heard))
            for watcher in watchers:
                await watcher.device.wait_count(3)
            for node in (*cluster.edges, *cluster.routers):
                await restart(node)
                for watcher in watchers:  # all are well before the next goes
                    await watcher.device.wait_for(lambda event: event.WhichOneof("kind") == "custom", start=len(watcher.times))
            stop_speech.set()
            await asyncio.gather(*speaking)
            async with asyncio.timeout(15):
                while any(len(handled[watcher.user]) < len(watcher.said) for watcher in watchers):
                    heard.clear()
                    await heard.wait()
            handling.cancel()
            stop_runs.set()
            counts = await asyncio.gather(*emitting)
        for watcher, count in zip(watchers, counts, strict=True):
            await watcher.device.wait_kind("agent_completed", timeout=15)
            watcher.device.check_chain()
            events = watcher.device.events
            assert [event.seq for event in events if event.run_id] == list(range(1, count + 1))
            assert [event.user_message.text for event in events if not event.run_id] == watcher.said
            assert handled[watcher.user] == watcher.said
        longest = sorted(watcher.longest_wait_s for watcher in watchers)
        assert longest[-1] < WAIT_MAX_S, longest
    finally:
        for watcher in watchers:
            await watcher.device.close()
