"""`runcast bench`: a cluster of its own, real agents, real devices, and figures."""

import asyncio
import itertools
import os
import platform
import resource
import time
from pathlib import Path
from typing import Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from runcast.cli.bench.agents import Published
from runcast.cli.bench.devices import Seen
from runcast.cli.bench.figures import Delivery, Sighting, judge
from runcast.cli.bench.usage import read_usage
from runcast.cli.failures import FAILED, TIMED_OUT, CommandError, guarded, run_until_signal
from runcast.testkit import Cluster, Process

SETTLE_S: Final = 15.0
"""After the last event is published, how long the devices may take to receive what is left."""
AGENTS_LATE_S: Final = 60.0
"""How long agents may be behind their schedule at the end."""
IDLE_SETTLE_S: Final = 2.0
"""After the idle connections are open, until memory is read."""
USERS_PER_PROCESS: Final = 1000
"""A load process has at most so many users."""
EVENTS_PER_PROCESS: Final = 2500
"""And at most so many events a second."""

EXAMPLES: Final = """
Examples:

  runcast bench
      25 users, 500 events a second, 10 seconds

  runcast bench --users 1000 --rate 2000 --seconds 30 --idle 2000 --json
  runcast bench client --json

Load and servers share this machine's processors, so the figures are those of the whole of it. Latency counts from the moment the agent
emits to the moment the device's application has the event; from "due" it also counts what the load generator was late.
Exit status: 0 nothing was lost, duplicated or misordered; 1 something was.
"""


class Figures(msgspec.Struct):
    """What one bench found."""

    machine: dict[str, str | int]
    users: int
    rate: float
    seconds: float
    payload_bytes: int
    delivery: Delivery
    chain_breaks: int
    cpu_us_per_event: dict[str, float]
    processors_busy: float
    rss_mib: dict[str, float]
    kib_per_idle_connection: float | None


def bench(
    ctx: typer.Context,
    users: int = typer.Option(25, min=1, max=20_000, help="Users, each with a run and a device."),
    rate: float = typer.Option(500.0, min=0.1, help="Events a second, of all users together."),
    seconds: float = typer.Option(10.0, min=0.5, help="For how long."),
    payload: int = typer.Option(300, min=0, max=100_000, help="Bytes of padding in each event."),
    idle: int = typer.Option(0, min=0, max=50_000, help="Before it, open so many idle connections and weigh them."),
    routers: int = typer.Option(2, min=1, max=16, help="Router processes."),
    edges: int = typer.Option(2, min=1, max=16, help="Edge processes."),
    as_json: bool = typer.Option(False, "--json", help="For programs."),
) -> None:
    """Measure this machine: a cluster of its own, real agents and devices in processes of their own."""
    if ctx.invoked_subcommand is None:
        _bench(users, rate, seconds, payload, idle, routers, edges, as_json=as_json)


@guarded
def _bench(users: int, rate: float, seconds: float, payload: int, idle: int, routers: int, edges: int, *, as_json: bool) -> int:
    async def main() -> int:
        _allow_files(2 * (users + idle) + 1024)
        async with Cluster(routers=routers, edges=edges, environ={"RUNCAST_LOG_LEVEL": "warning"}) as cluster:
            # First the idle ones: memory that load has used and given back would hide theirs.
            weight = await _weigh_idle(cluster, idle) if idle else None
            figures = await Load(cluster, users, rate, seconds, payload).measure()
            figures.kib_per_idle_connection = weight
        if as_json:
            print(msgspec.json.format(msgspec.json.encode(figures)).decode())
        else:
            _show(figures)
        d = figures.delivery
        return FAILED if d.lost or d.duplicated or d.misordered or figures.chain_breaks else 0

    return run_until_signal(main(), status=FAILED)


class Load:
    """The agents and devices of one measurement."""

    def __init__(self, cluster: Cluster, users: int, rate: float, seconds: float, payload: int) -> None:
        self._cluster = cluster
        self._users = users
        self._rate = rate
        self._seconds = seconds
        self._payload = payload
        self._roles = {
            "nats": [process.pid for process in [cluster.nats] if process is not None],
            "router": [node.pid for node in cluster.routers],
            "edge": [node.pid for node in cluster.edges],
        }

    async def measure(self) -> Figures:
        """Run the load; see `Figures`."""
        parts = min(self._users, max(-(-self._users // USERS_PER_PROCESS), int(-(-self._rate // EVENTS_PER_PROCESS))))
        shares = _shares(self._users, parts)
        async with asyncio.TaskGroup() as group:
            started = [group.create_task(self._devices(n, first, count)) for n, (first, count) in enumerate(shares)]
        devices = [task.result() for task in started]
        async with asyncio.TaskGroup() as group:
            started = [group.create_task(self._agents(n, first, count)) for n, (first, count) in enumerate(shares)]
        agents = [task.result() for task in started]
        before, began = self._cpu(), time.monotonic()
        for process, _ in agents:
            await finish(process, self._seconds + AGENTS_LATE_S)
        after, took_s = self._cpu(), time.monotonic() - began
        for process, _ in devices:
            await finish(process, SETTLE_S, asked=True)
        used = {role: after[role] - before[role] for role in self._roles}
        published = [msgspec.json.decode(out.read_bytes(), type=Published) for _, out in agents]
        seen = [msgspec.json.decode(out.read_bytes(), type=Seen) for _, out in devices]
        by_user: dict[str, int] = {}
        sightings: dict[str, list[Sighting]] = {}
        for report in published:
            by_user |= report.by_user
        for view in seen:
            sightings |= view.by_user
        used["agents"] = sum(report.cpu_s for report in published)
        used["devices"] = sum(view.cpu_s for view in seen)
        delivery = judge(sum(report.offered for report in published), by_user, sightings)
        return Figures(
            machine=machine(),
            users=self._users,
            rate=self._rate,
            seconds=self._seconds,
            payload_bytes=self._payload,
            delivery=delivery,
            chain_breaks=sum(len(view.chain_breaks) for view in seen),
            cpu_us_per_event={role: round(1e6 * cpu_s / max(delivery.delivered, 1), 1) for role, cpu_s in used.items()},
            processors_busy=round(sum(used.values()) / took_s, 2),
            rss_mib={role: round(read_usage(pids).rss_kib / 1024, 1) for role, pids in self._roles.items()},
            kib_per_idle_connection=None,
        )

    async def _devices(self, number: int, first: int, count: int) -> tuple[Process, Path]:
        out = self._cluster.directory / f"devices-{number}.json"
        args = ["-m", "runcast.cli.bench.devices", "--edges", ",".join(self._cluster.ws_urls()), "--users", f"{first}:{count}"]
        return await self._cluster.add(f"devices-{number}", [*args, "--out", str(out)], ready="^ready devices"), out

    async def _agents(self, number: int, first: int, count: int) -> tuple[Process, Path]:
        out = self._cluster.directory / f"agents-{number}.json"
        share = count / self._users
        args = ["-m", "runcast.cli.bench.agents", "--routers", ",".join(self._cluster.router_addresses())]
        args += ["--users", f"{first}:{count}", "--rate", str(self._rate * share), "--seconds", str(self._seconds)]
        args += ["--payload", str(self._payload), "--out", str(out)]
        return await self._cluster.add(f"agents-{number}", args, ready="^ready agents"), out

    def _cpu(self) -> dict[str, float]:
        return {role: read_usage(pids).cpu_s for role, pids in self._roles.items()}


def machine() -> dict[str, str | int]:
    """What the figures are of."""
    return {
        "processors": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


async def finish(process: Process, bound_s: float, *, asked: bool = False) -> None:
    """Wait until a load process has reported and ended.

    Args:
        process: it.
        bound_s: how long it may take.
        asked: if it takes longer, ask it to end: it reports what it has.
    """
    try:
        async with asyncio.timeout(bound_s):
            status = await process.wait()
    except TimeoutError:
        if not asked:
            raise CommandError("timeout", f"{process.name} was not done {bound_s:g} s after its start", status=TIMED_OUT) from None
        status = await process.stop()
    if status:
        raise CommandError("process_failed", f"{process.name} ended with exit status {status}; its last words:\n{process.tail()}")


async def _weigh_idle(cluster: Cluster, count: int) -> float:
    """Resident memory of all edges per connection, KiB, by opening `count` idle ones."""
    pids = [node.pid for node in cluster.edges]
    before = read_usage(pids).rss_kib
    holders = []
    for number, (first, share) in enumerate(_shares(count, -(-count // (5 * USERS_PER_PROCESS)))):
        out = cluster.directory / f"idle-{number}.json"
        args = ["-m", "runcast.cli.bench.devices", "--idle", "--edges", ",".join(cluster.ws_urls())]
        args += ["--users", f"{first}:{share}", "--out", str(out)]
        holders.append(await cluster.add(f"idle-{number}", args, ready="^ready devices"))
    await asyncio.sleep(IDLE_SETTLE_S)
    after = read_usage(pids).rss_kib
    for holder in holders:
        await holder.stop()
    return round((after - before) / count, 1)


def _shares(total: int, parts: int) -> list[tuple[int, int]]:
    """`total` things in `parts` nearly equal ranges: first and count of each."""
    bounds = [total * part // parts for part in range(parts + 1)]
    return [(low, high - low) for low, high in itertools.pairwise(bounds)]


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files, for this process and its children, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _show(f: Figures) -> None:
    d = f.delivery
    console = Console()
    console.print(
        f"{f.users} users, {f.rate:g} events/s for {f.seconds:g} s, {f.payload_bytes} B payload;"
        f" {f.machine['processors']} processors, Python {f.machine['python']}\n",
        highlight=False,
    )
    counts = Table("offered", "published", "delivered", "lost", "duplicated", "misordered", box=None, pad_edge=False, header_style="bold")
    counts.add_row(*(f"{n:,}" for n in (d.offered, d.published, d.delivered, d.lost, d.duplicated, d.misordered)))
    console.print(counts, "")
    latency = Table("latency, ms", "p50", "p90", "p99", "max", box=None, pad_edge=False, header_style="bold")
    for name, row in (("emit to device", d.emit_to_device_ms), ("due to device", d.due_to_device_ms)):
        latency.add_row(name, *(f"{value:.1f}" for value in (row.p50, row.p90, row.p99, row.max)))
    console.print(latency, "")
    usage = Table("", *f.cpu_us_per_event, box=None, pad_edge=False, header_style="bold")
    usage.add_row("CPU \u00b5s per event", *(f"{value:.0f}" for value in f.cpu_us_per_event.values()))
    usage.add_row("memory MiB, all of a role", *(f"{f.rss_mib[role]:.0f}" if role in f.rss_mib else "" for role in f.cpu_us_per_event))
    console.print(usage, "")
    console.print(f"{f.processors_busy:.2f} processors busy, load included", highlight=False)
    if f.kib_per_idle_connection is not None:
        console.print(f"{f.kib_per_idle_connection:.1f} KiB of edge memory per idle connection", highlight=False)


bench.__doc__ = f"{bench.__doc__}\n\n\b{EXAMPLES}"
