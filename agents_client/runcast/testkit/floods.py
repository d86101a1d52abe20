"""What floods cost: an edge under attack, and its users beside it, measured against another edge that nobody attacks.

    python -m runcast.testkit.floods [--seconds 5] [--attacks pings,connects] [--json]

Both edges serve the same users the same events at the same time; one is attacked, with the bounds that an edge has unless it is told
otherwise. What else the machine is busy with delays both alike. The attacker is a process of its own, of low priority (`flood_attacks`).
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from runcast.client import Runcast
from runcast.testkit.cluster import Cluster
from runcast.testkit.device import Device
from runcast.testkit.flood_attacks import ATTACKS
from runcast.testkit.node import Node
from runcast.testkit.processes import Process
from runcast.testkit.verdict import Spread, spread

USERS: Final = 5
PACE_S: Final = 0.02
"""Between two events of a user."""
_LOOK_S: Final = 0.1
_BOUNDS: Final = {"RUNCAST_CONNECTS_PER_S": "50", "RUNCAST_STRANGERS_PER_ADDRESS": "64", "RUNCAST_STRANGERS_MAX": "1024"}


class Cost(msgspec.Struct, frozen=True):
    """What one attack cost.

    Attributes:
        attack: its name; "nothing" for none.
        beside: from emit to device, of users on the attacked edge, milliseconds.
        apart: the same events on the other edge.
        cpu: of the attacked edge, in processors.
        cpu_apart: of the other.
        rss_mib: of the attacked edge: before, at most, and a second after.
        lost: events that did not reach a user beside it.
        counts: what the attacker saw.
    """

    attack: str
    beside: Spread
    apart: Spread
    cpu: float
    cpu_apart: float
    rss_mib: tuple[float, float, float]
    lost: int
    counts: dict[str, int]


class _Usage:
    """Processor time and memory of a process, from /proc."""

    def __init__(self, node: Node) -> None:
        self._proc = Path(f"/proc/{node.pid}")

    def cpu_s(self) -> float:
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def rss_mib(self) -> float:
        return int((self._proc / "statm").read_text().split()[1]) * 4 / 1024


class Floods:
    """A cluster whose first edge is attacked. `async with` starts it."""

    def __init__(self, *, policy: str = 'default = "standard"\n') -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="runcast-floods-")
        file = Path(self._directory.name) / "policy.toml"
        file.write_text(policy)
        self.cluster = Cluster(routers=1, edges=2, environ={**_BOUNDS, "RUNCAST_POLICY_FILE": str(file)})
        self._beside: list[Device] = []
        self._apart: list[Device] = []
        self._agent: Runcast | None = None

    async def __aenter__(self) -> "Floods":
        """Start the cluster, and connect the users."""
        await self.cluster.start()
        self._agent = await self.cluster.connect(agent="floods").__aenter__()
        for edge, devices in enumerate((self._beside, self._apart)):
            for number in range(USERS):
                user = f"user-{number}"
                one = Device(self.cluster.edges[edge].url, self.cluster.token(user), device=f"on-{edge}", position="latest")
                devices.append(one)
                await one.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything."""
        try:
            for device in (*self._beside, *self._apart):
                await device.close()
            if self._agent is not None:
                await self._agent.__aexit__(None, None, None)
        finally:
            await self.cluster.stop()
            self._directory.cleanup()

    async def measure(self, attack: str, seconds: float) -> Cost:
        """Attack for so long, and measure; "" attacks nobody."""
        edge, other = (_Usage(node) for node in self.cluster.edges)
        starts = [[len(device.received) for device in devices] for devices in (self._beside, self._apart)]
        before, highest = edge.rss_mib(), 0.0
        attacker = await self._begin(attack, seconds) if attack else None
        began, cpu, cpu_apart = time.monotonic(), edge.cpu_s(), other.cpu_s()
        async with asyncio.TaskGroup() as tasks:
            speaking = [tasks.create_task(self._speak(number, began + seconds)) for number in range(USERS)]
            while time.monotonic() < began + seconds:
                highest = max(highest, edge.rss_mib())
                await asyncio.sleep(_LOOK_S)
        took = time.monotonic() - began
        used, used_apart = (edge.cpu_s() - cpu) / took, (other.cpu_s() - cpu_apart) / took
        said = sum(task.result() for task in speaking)
        beside, apart = await _arrived(self._beside, starts[0]), await _arrived(self._apart, starts[1])
        counts = await _counts(attacker) if attacker is not None else {}
        await asyncio.sleep(1.0)
        memory = (round(before, 1), round(highest, 1), round(edge.rss_mib(), 1))
        lost = said - len(beside)
        return Cost(attack or "nothing", spread(beside), spread(apart), round(used, 2), round(used_apart, 2), memory, lost, counts)

    async def _begin(self, attack: str, seconds: float) -> Process:
        url = self.cluster.edges[0].url
        args = ["-m", "runcast.testkit.flood_attacks", attack, "--url", url, "--seconds", str(seconds)]
        return await self.cluster.add(f"attacker {attack}", [*args, "--token", self.cluster.token("mallory")], ready="^ready attack")

    async def _speak(self, number: int, until: float) -> int:
        assert self._agent is not None  # noqa: S101 # opened with the cluster
        count = 0
        async with self._agent.run(user=f"user-{number}", thread="t") as run:
            while time.monotonic() < until:
                await run.custom("measured", {"n": count})
                count += 1
                await asyncio.sleep(PACE_S)
        return count


async def _arrived(devices: Sequence[Device], starts: Sequence[int]) -> list[float]:
    """Milliseconds from emit to device, of all that came since."""
    for device, start in zip(devices, starts, strict=True):
        await device.wait_kind("agent_completed", 20.0, start=start)
    return [
        1000 * got.time_s - got.event.time_unix_ms
        for device, start in zip(devices, starts, strict=True)
        for got in device.received[start:]
        if got.event.custom.name == "measured"
    ]


async def _counts(attacker: Process) -> dict[str, int]:
    try:
        async with asyncio.timeout(15.0):
            await attacker.wait()
    except TimeoutError:
        await attacker.kill()
    text = next((line for line in attacker.log_path.read_text().splitlines() if line.startswith("{")), "{}")
    return msgspec.json.decode(text, type=dict[str, int])


def table(costs: Sequence[Cost]) -> str:
    """For people."""
    rows = [
        f"{'attack':<12}{'p50':>7}{'p99':>8}{'apart':>8}{'cpu':>7}{'apart':>7}{'MiB before, most, after':>26}{'lost':>6}  the attacker saw"
    ]
    for cost in costs:
        memory = ", ".join(f"{value:.0f}" for value in cost.rss_mib)
        seen = ", ".join(f"{name}: {count}" for name, count in cost.counts.items())
        rows.append(
            f"{cost.attack:<12}{cost.beside.p50:>7.1f}{cost.beside.p99:>8.1f}{cost.apart.p99:>8.1f}{cost.cpu:>7.2f}{cost.cpu_apart:>7.2f}"
            f"{memory:>26}{cost.lost:>6}  {seen}"
        )
    return "\n".join(rows)


async def run(attacks: Sequence[str], seconds: float) -> list[Cost]:
    """Measure them one after the other, nothing first; a new cluster for each, so that memory is its own."""
    costs = []
    for attack in ("", *attacks):
        async with Floods() as floods:
            await floods.measure("", 1.0)
            costs.append(await floods.measure(attack, seconds))
    return costs


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="What floods cost an edge, and its other users.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--attacks", default=",".join(ATTACKS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    costs = asyncio.run(run([name for name in options.attacks.split(",") if name], options.seconds))
    sys.stdout.write((msgspec.json.encode(costs).decode() if options.json else table(costs)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
