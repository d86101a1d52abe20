"""Two hundred devices that never acknowledge cost the others no time (P5): measured side by side, on two edges, in one run.

Both edges serve the same users the same events at the same time; to one of them 200 stalled devices are connected as well. What else the
machine is busy with delays both alike, so the ratio of what their devices measure is the price of the stalled ones.
"""

import asyncio
from collections.abc import Sequence

import psutil

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.testkit.verdict import Spread, spread
from runcast.wire import limits

USERS, STALLED_EACH = 8, 25
ROUNDS, ROUND_EVENTS, PACE_S = 5, 60, 0.02
RATIO_MAX = 2.0
"""p99 beside the stalled ones, against p99 without them, in the median round."""
NOISE_MS = 5.0
"""A scheduler's turn or two: at a few milliseconds a ratio says nothing."""


def device(cluster: Cluster, edge: int, user: int, name: str, *, ack: bool) -> Device:
    return Device(
        cluster.edges[edge].url, cluster.token(f"u{user}"), device=name, position="latest", ack=ack, record=ack, reconnect=not ack
    )


async def fill(rc: Runcast, user: int) -> None:
    """More than a window: who does not acknowledge is behind after it."""
    async with rc.run(user=f"u{user}", thread="t") as run:
        for number in range(2 * limits.WINDOW_EVENTS):
            await run.custom("fill", {"n": number})
            if number % 64 == 0:
                await run.flush()


async def speak(rc: Runcast, user: int) -> None:
    async with rc.run(user=f"u{user}", thread="t") as run:
        for number in range(ROUND_EVENTS):
            await run.custom("measured", {"n": number})
            await asyncio.sleep(PACE_S)


def latencies(devices: Sequence[Device], starts: Sequence[int]) -> Spread:
    """From emit to device, of what came since each device's start."""
    return spread(
        [
            1000 * each.time_s - each.event.time_unix_ms
            for one, start in zip(devices, starts, strict=True)
            for each in one.received[start:]
            if each.event.custom.name == "measured"
        ]
    )


async def test_others_do_not_notice_two_hundred_stalled_devices(runcast_cluster_factory, record_property):
    cluster = await runcast_cluster_factory(routers=1, edges=2)
    beside = [device(cluster, 0, user, "quick", ack=True) for user in range(USERS)]
    apart = [device(cluster, 1, user, "apart", ack=True) for user in range(USERS)]
    stalled = [device(cluster, 0, user, f"stalled {n}", ack=False) for user in range(USERS) for n in range(STALLED_EACH)]
    processes = [psutil.Process(edge.pid) for edge in cluster.edges]
    try:
        async with Runcast(",".join(cluster.router_addresses()), agent="test") as rc:
            for one in (*beside, *apart, *stalled):
                await one.connect()
            await asyncio.gather(*(fill(rc, user) for user in range(USERS)))
            await asyncio.gather(*(one.wait_kind("agent_completed", 20) for one in (*beside, *apart)))
            before = [process.cpu_times().user for process in processes]
            rounds: list[tuple[Spread, Spread]] = []
            for _ in range(ROUNDS):
                starts = [[len(one.received) for one in devices] for devices in (beside, apart)]
                await asyncio.gather(*(speak(rc, user) for user in range(USERS)))
                for devices, at in zip((beside, apart), starts, strict=True):
                    await asyncio.gather(*(one.wait_kind("agent_completed", 10, start=n) for one, n in zip(devices, at, strict=True)))
                rounds.append((latencies(beside, starts[0]), latencies(apart, starts[1])))
            used = [process.cpu_times().user - was for process, was in zip(processes, before, strict=True)]
        tips = {one.welcome.user: one.position for one in beside}
        assert all(one.connected and one.position < tips[one.welcome.user] for one in stalled), "they were stalled all the time"
        assert all(spread_.count == USERS * ROUND_EVENTS for pair in rounds for spread_ in pair)
        ratio = sorted((with_them.p99 + NOISE_MS) / (without.p99 + NOISE_MS) for with_them, without in rounds)[ROUNDS // 2]
        record_property("p99_ratio", round(ratio, 2))
        record_property("p99_ms", [(with_them.p99, without.p99) for with_them, without in rounds])
        record_property("cpu_s", used)
        assert ratio < RATIO_MAX, [(with_them.p99, without.p99) for with_them, without in rounds]
    finally:
        for one in (*beside, *apart, *stalled):
            await one.close()
