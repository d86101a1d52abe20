"""`runcast bench client`: what the client library costs an agent, what one client gets through, and how soon people see it."""

import asyncio
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from runcast.cli.bench.client_agents import Calls, Flood, Sequences
from runcast.cli.bench.client_devices import Heard
from runcast.cli.bench.command import AGENTS_LATE_S, finish, machine
from runcast.cli.bench.figures import Latency, summarize
from runcast.cli.bench.usage import read_usage
from runcast.cli.failures import FAILED, guarded, run_until_signal
from runcast.testkit import Cluster

SETTLE_S: Final = 1.0
"""After the last run of the sequences is stored, until the devices are asked what they have."""

EXAMPLES: Final = """
Examples:

  runcast bench client
      64 runs on one client as fast as they can, then 25 users with all that agents do

Load and servers share this machine's processors, so wall-clock figures are those of the whole of it, and of whatever else runs here;
processor time per event is the steadier figure. Latency counts for every piece of text by itself, from when the agent said it until the
device's application had it, merged or not.
Exit status: 0 everything that was said was heard; 1 it was not.
"""

Found = TypeVar("Found")


class FloodFigures(msgspec.Struct):
    """Many runs of one client, as fast as they can.

    Attributes:
        runs: at once.
        client: see `Flood`.
        cpu_us_per_event: of the servers, per event in the log, microseconds; what opens and closes the runs included.
    """

    runs: int
    client: Flood
    cpu_us_per_event: dict[str, float]


class SequenceFigures(msgspec.Struct):
    """Users whose agents do all that agents do.

    Attributes:
        users: at once.
        said: things that agents said.
        merged: of these, the ones that went along in another event.
        heard: by the users' devices.
        agent_to_device_ms: from saying to hearing.
        by_kind_ms: the same by the kind of the event.
        cpu_us_per_event: per thing that was said, microseconds.
    """

    users: int
    said: int
    merged: int
    heard: int
    agent_to_device_ms: Latency
    by_kind_ms: dict[str, Latency]
    cpu_us_per_event: dict[str, float]


class ClientFigures(msgspec.Struct):
    """What one `runcast bench client` found."""

    machine: dict[str, str | int]
    thinking_call: Calls
    flood: FloodFigures
    sequences: SequenceFigures


@guarded
def client(
    runs: int = typer.Option(64, min=1, max=1024, help="Runs at once on one client."),
    users: int = typer.Option(25, min=1, max=1000, help="Users with the full sequence of events, each with a device."),
    seconds: float = typer.Option(5.0, min=0.5, help="For how long each part runs."),
    routers: int = typer.Option(1, min=1, max=16, help="Router processes."),
    edges: int = typer.Option(1, min=1, max=16, help="Edge processes."),
    as_json: bool = typer.Option(False, "--json", help="For programs."),
) -> int:
    """Measure the client library on this machine: one client, real routers, edges and devices."""

    async def main() -> int:
        async with Cluster(routers=routers, edges=edges, environ={"RUNCAST_LOG_LEVEL": "warning"}) as cluster:
            load = _Load(cluster)
            figures = ClientFigures(machine(), await load.calls(), await load.flood(runs, seconds), await load.sequences(users, seconds))
        if as_json:
            print(msgspec.json.format(msgspec.json.encode(figures)).decode())
        else:
            _show(figures)
        return 0 if figures.sequences.heard == figures.sequences.said else FAILED

    return run_until_signal(main(), status=FAILED)


class _Load:
    """The parts of one measurement, one after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._roles = {
            "nats": [process.pid for process in [cluster.nats] if process is not None],
            "router": [node.pid for node in cluster.routers],
            "edge": [node.pid for node in cluster.edges],
        }

    async def calls(self) -> Calls:
        """What `run.thinking` costs its caller."""
        return await self._agents("calls", Calls)

    async def flood(self, runs: int, seconds: float) -> FloodFigures:
        """Many runs of one client."""
        before = self._cpu()
        found = await self._agents("flood", Flood, count=runs, seconds=seconds)
        return FloodFigures(runs, found, self._cpu_per(before, found.events))

    async def sequences(self, users: int, seconds: float) -> SequenceFigures:
        """Users whose agents do all that agents do."""
        out = self._cluster.directory / "client-devices.json"
        args = ["-m", "runcast.cli.bench.client_devices", "--edges", ",".join(self._cluster.ws_urls()), "--users", str(users)]
        devices = await self._cluster.add("client-devices", [*args, "--out", str(out)], ready="^ready devices")
        before = self._cpu()
        said = await self._agents("sequences", Sequences, count=users, seconds=seconds)
        await asyncio.sleep(SETTLE_S)
        total = sum(said.said.values())
        cpu = self._cpu_per(before, total)
        await devices.stop()
        heard = _read(out, Heard)
        cpu |= {"client": round(said.cpu_s * 1e6 / total, 1), "devices": round(heard.cpu_s * 1e6 / total, 1)}
        everything = [latency for latencies in heard.by_kind.values() for latency in latencies]
        by_kind = {kind: summarize(latencies) for kind, latencies in heard.by_kind.items()}
        return SequenceFigures(users, total, said.merged, sum(heard.by_user.values()), summarize(everything), by_kind, cpu)

    async def _agents(self, part: str, kind: type[Found], *, count: int = 1, seconds: float = 1.0) -> Found:
        out = self._cluster.directory / f"client-{part}.json"
        args = ["-m", "runcast.cli.bench.client_agents", part, "--routers", ",".join(self._cluster.router_addresses())]
        args += ["--count", str(count), "--seconds", str(seconds), "--out", str(out)]
        process = await self._cluster.add(f"client-{part}", args, ready="^ready agents")
        await finish(process, seconds + AGENTS_LATE_S)
        return _read(out, kind)

    def _cpu(self) -> dict[str, float]:
        return {role: read_usage(pids).cpu_s for role, pids in self._roles.items()}

    def _cpu_per(self, before: dict[str, float], events: int) -> dict[str, float]:
        after = self._cpu()
        return {role: round(1e6 * (after[role] - before[role]) / max(events, 1), 1) for role in self._roles}


def _read(out: Path, kind: type[Found]) -> Found:
    return msgspec.json.decode(out.read_bytes(), type=kind)


def _show(f: ClientFigures) -> None:
    console = Console(highlight=False)
    call, flood, sequences = f.thinking_call, f.flood, f.sequences
    console.print(f"{f.machine['processors']} processors, Python {f.machine['python']}\n")
    console.print(f"run.thinking takes its caller {call.p50_us} \u00b5s (p50), {call.p99_us} (p99), {call.cpu_us} of processor time\n")
    headings = ("one client", "events/s", "CPU \u00b5s of the client", *flood.cpu_us_per_event)
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    table.add_row(f"{flood.runs} runs: accepted", f"{flood.client.accepted_per_s:,.0f}", f"{flood.client.accepted_cpu_us}")
    servers = [str(cpu_us) for cpu_us in flood.cpu_us_per_event.values()]
    table.add_row(f"{flood.runs} runs: stored", f"{flood.client.stored_per_s:,.0f}", f"{flood.client.client_cpu_us}", *servers)
    console.print(table, "")
    console.print(f"{sequences.users} users: {sequences.said:,} said, {sequences.merged:,} of it merged, {sequences.heard:,} heard")
    latency = Table("agent to device, ms", "p50", "p90", "p99", "max", box=None, pad_edge=False, header_style="bold")
    for name, row in (("everything", sequences.agent_to_device_ms), *sequences.by_kind_ms.items()):
        latency.add_row(name, *(f"{value:.1f}" for value in (row.p50, row.p90, row.p99, row.max)))
    console.print(latency, "")
    usage = Table("", *sequences.cpu_us_per_event, box=None, pad_edge=False, header_style="bold")
    usage.add_row("CPU \u00b5s per thing said", *(f"{value:.0f}" for value in sequences.cpu_us_per_event.values()))
    console.print(usage)


client.__doc__ = f"{client.__doc__}\n\n\b{EXAMPLES}"
