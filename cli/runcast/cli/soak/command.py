"""`runcast soak`: a steady load on a cluster of its own, and whether the memory of any process grows."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from runcast.cli.bench.usage import read_usage
from runcast.cli.failures import FAILED, CommandError, guarded, run_until_signal
from runcast.cli.soak.agents import Published
from runcast.cli.soak.devices import Checked
from runcast.cli.soak.growth import GROWTH_MAX, Growth, judge_growth
from runcast.testkit import Cluster, Process

SAMPLES: Final = 300
"""Of each process's memory, over the whole time, but at most two a second."""
END_S: Final = 30.0
"""For the load's processes to end what is open, and report."""
ANSWERS_S: Final = 2.0
"""After users have said the last thing, for agents to take it."""
_Report = TypeVar("_Report", Published, Checked)

EXAMPLES: Final = """
Examples:

  runcast soak
      ten minutes at 1,000 events a second

  runcast soak --minutes 1 --rate 500 --json
      too short to tell much: what fills up to its bound does so in the first minutes

A user's log is full after 10,000 batches, so there are few users: with eight it is full in the first third of ten minutes.
Exit status: 0 no process grew by more than 5 % from the middle third to the last one, and everything arrived; 1 one did, or something
did not.
"""


class Soaked(msgspec.Struct):
    """What one soak found.

    Attributes:
        seconds: of load.
        rate: events a second that arrived at devices that stay; and `asked`, what was wanted.
        runs: published.
        lost_runs: published, and not ended on a device that stays.
        holes: seqs that were missing, or came twice.
        chain_breaks: how chains broke.
        receipts: by outcome.
        messages: from users, stored; and `answers`, taken by agents.
        snapshots: given.
        growth: of every process.
    """

    seconds: float
    asked: float
    rate: float
    runs: int
    lost_runs: int
    holes: int
    chain_breaks: list[str]
    receipts: dict[str, int]
    messages: int
    answers: int
    snapshots: int
    growth: list[Growth]

    @property
    def whole(self) -> bool:
        """Whether everything arrived."""
        return not (self.lost_runs or self.holes or self.chain_breaks or self.answers < self.messages)

    @property
    def flat(self) -> bool:
        """Whether no process grew."""
        return all(growth.flat for growth in self.growth)


@guarded
def soak(
    minutes: float = typer.Option(10.0, min=0.1, max=24 * 60, help="Of load."),
    rate: float = typer.Option(1000.0, min=1.0, help="Events a second, of all users together."),
    users: int = typer.Option(8, min=1, max=1000, help="Each has a run under way all the time, and three devices."),
    payload: int = typer.Option(200, min=1, max=10_000, help="Bytes of text in each event."),
    routers: int = typer.Option(2, min=1, max=16, help="Router processes."),
    edges: int = typer.Option(2, min=1, max=16, help="Edge processes."),
    as_json: bool = typer.Option(False, "--json", help="For programs."),
) -> int:
    """Load a cluster of its own for minutes, and see whether the memory of any process grows."""

    async def main() -> int:
        async with Cluster(routers=routers, edges=edges, environ={"RUNCAST_LOG_LEVEL": "warning"}) as cluster:
            soaked = await _soak(cluster, users, rate, payload, 60 * minutes)
        if as_json:
            print(msgspec.json.format(msgspec.json.encode(soaked)).decode())
        else:
            _show(soaked)
        return 0 if soaked.whole and soaked.flat else FAILED

    return run_until_signal(main(), status=FAILED)


async def _soak(cluster: Cluster, users: int, rate: float, payload: int, seconds: float) -> Soaked:
    seen, said = cluster.directory / "soak-devices.json", cluster.directory / "soak-agents.json"
    args = ["-m", "runcast.cli.soak.devices", "--edges", ",".join(cluster.ws_urls()), "--users", str(users), "--out", str(seen)]
    devices = await cluster.add("devices", args, ready="^ready devices")
    args = ["-m", "runcast.cli.soak.agents", "--routers", ",".join(cluster.router_addresses()), "--users", str(users)]
    args += ["--rate", str(rate), "--payload", str(payload), "--out", str(said)]
    agents = await cluster.add("agents", args, ready="^ready agents")
    began = time.monotonic()
    samples = await _sample(cluster.processes, seconds)
    os.kill(devices.pid, signal.SIGUSR1)
    await asyncio.sleep(ANSWERS_S)
    took_s = time.monotonic() - began
    published = await _report(agents, said, Published)
    checked = await _report(devices, seen, Checked)
    return Soaked(
        seconds=round(took_s, 1),
        asked=rate,
        rate=round(checked.events / 2 / took_s, 1),
        runs=published.runs,
        lost_runs=sum(published.by_user[user] - ended for user, ended in checked.runs.items()) + checked.open_runs,
        holes=checked.holes,
        chain_breaks=checked.chain_breaks,
        receipts=published.receipts,
        messages=checked.sent,
        answers=published.answers,
        snapshots=checked.snapshots,
        growth=judge_growth(samples),
    )


async def _sample(processes: list[Process], seconds: float) -> dict[str, list[float]]:
    """Resident memory of all processes, at even distances.

    Raises:
        CommandError: one of them ended.
    """
    samples: dict[str, list[float]] = {process.name: [] for process in processes}
    every_s = max(seconds / SAMPLES, 0.5)
    began = time.monotonic()
    for number in range(1, int(seconds / every_s) + 1):
        await asyncio.sleep(max(began + number * every_s - time.monotonic(), 0.0))
        for process in processes:
            if not process.running:
                raise CommandError(
                    "process_failed", f"{process.name} ended with exit status {process.returncode}; its last words:\n{process.tail()}"
                )
            samples[process.name].append(read_usage([process.pid]).rss_kib)
        if sys.stderr.isatty():
            print(f"\r{number * every_s:6.0f} of {seconds:.0f} s", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r" + " " * 20, end="\r", file=sys.stderr, flush=True)
    return samples


async def _report(process: Process, out: Path, form: type[_Report]) -> _Report:
    """Ask a load process to end, and read what it reports.

    Raises:
        CommandError: it did not end well.
    """
    status = await process.stop(bound_s=END_S)
    if status:
        raise _failed(process, status)
    return msgspec.json.decode(await asyncio.to_thread(out.read_bytes), type=form)


def _failed(process: Process, status: int | None) -> CommandError:
    return CommandError("process_failed", f"{process.name} ended with exit status {status}; its last words:\n{process.tail()}")


def _show(soaked: Soaked) -> None:
    console = Console()
    receipts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(soaked.receipts.items())) or "none"
    console.print(
        f"{soaked.seconds:,.0f} s; {soaked.rate:,.0f} events/s arrived of {soaked.asked:,.0f} asked for; {soaked.runs:,} runs, "
        f"{soaked.messages:,} messages, {soaked.snapshots:,} snapshots; receipts: {receipts}\n",
        highlight=False,
    )
    table = Table("resident memory, MiB", "first third", "middle", "last", "growth", "", box=None, pad_edge=False, header_style="bold")
    for growth in soaked.growth:
        row = (f"{growth.first_mib:.1f}", f"{growth.middle_mib:.1f}", f"{growth.last_mib:.1f}", f"{growth.percent:+.1f} %")
        table.add_row(growth.name, *row, "" if growth.flat else f"more than {GROWTH_MAX:.0%}")
    console.print(table, "")
    if not soaked.whole:
        text = f"lost runs: {soaked.lost_runs}, holes: {soaked.holes}, answers: {soaked.answers} of {soaked.messages}"
        console.print("\n".join([text, *soaked.chain_breaks]), highlight=False)
    grown = [growth.name for growth in soaked.growth if not growth.flat]
    console.print(f"Memory grew: {', '.join(grown)}." if grown else "No process grew.", highlight=False)


soak.__doc__ = f"{soak.__doc__}\n\n\b{EXAMPLES}"
