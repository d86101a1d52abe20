"""`runcast bench at-rest`: what sealing what is stored costs: two clusters, with and without, under the same load at the same time."""

import asyncio
import base64
import os
import time
from pathlib import Path
from typing import Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from runcast.bus.sealing import envelope
from runcast.cli.bench.command import Figures, Load, machine
from runcast.cli.failures import FAILED, guarded, run_until_signal
from runcast.testkit import Cluster
from runcast.wire.ids import UserKey

_CALLS: Final = 5000
"""Of each function of the envelope, timed."""
_BATCH_BYTES: Final = 1024

EXAMPLES: Final = """
Examples:

  runcast bench at-rest
      two clusters, one of them with a key; 25 users and 250 events a second on each

Both share this machine's processors at the same time, so what else runs here weighs on both alike: the ratio is the figure.
Exit status: 0 nothing was lost, duplicated or misordered; 1 something was.
"""


class AtRestFigures(msgspec.Struct):
    """What one `runcast bench at-rest` found.

    Attributes:
        machine: of what these are the figures.
        seal_us: processor time of sealing a batch of 1 KiB, microseconds.
        open_us: of opening it.
        derive_us: of deriving a user's key: once a user, day and process.
        plain: the cluster without keys.
        sealed: the cluster with one.
        ratio: processor time per event, sealed to plain, by role.
    """

    machine: dict[str, str | int]
    seal_us: float
    open_us: float
    derive_us: float
    plain: Figures
    sealed: Figures
    ratio: dict[str, float]


@guarded
def at_rest(
    users: int = typer.Option(25, min=1, max=5000, help="Users of each cluster, each with a run and a device."),
    rate: float = typer.Option(250.0, min=0.1, help="Events a second on each."),
    seconds: float = typer.Option(10.0, min=0.5, help="For how long."),
    payload: int = typer.Option(300, min=0, max=100_000, help="Bytes of padding in each event."),
    as_json: bool = typer.Option(False, "--json", help="For programs."),
) -> int:
    """Measure encryption at rest on this machine: with and without, at the same time."""

    async def main() -> int:
        quiet = {"RUNCAST_LOG_LEVEL": "warning"}
        async with Cluster(routers=1, edges=1, environ=quiet) as plain:
            keys = plain.directory / "keys.toml"
            _write_keys(keys)
            async with Cluster(routers=1, edges=1, environ={**quiet, "RUNCAST_KEYS_FILE": str(keys)}) as sealed:
                both = await asyncio.gather(*(Load(each, users, rate, seconds, payload).measure() for each in (plain, sealed)))
        ratio = {role: round(both[1].cpu_us_per_event[role] / max(us, 0.1), 3) for role, us in both[0].cpu_us_per_event.items()}
        figures = AtRestFigures(machine(), *_time_envelope(), both[0], both[1], ratio)
        if as_json:
            print(msgspec.json.format(msgspec.json.encode(figures)).decode())
        else:
            _show(figures)
        bad = any(d.lost or d.duplicated or d.misordered for d in (each.delivery for each in both))
        return FAILED if bad or any(each.chain_breaks for each in both) else 0

    return run_until_signal(main(), status=FAILED)


def _write_keys(path: Path) -> None:
    secret = base64.b64encode(os.urandom(envelope.KEY_BYTES)).decode()
    path.write_text(f'unlisted = "refuse"\n[tenants."*"]\ncurrent = "bench"\nplain = false\nkeys = {{ bench = "{secret}" }}\n')


def _time_envelope() -> tuple[float, float, float]:
    """Processor time of sealing, opening and deriving, microseconds a call."""
    secret, user, place, payload = os.urandom(envelope.KEY_BYTES), UserKey("acme", "alice"), "ev.0.acme.alice", os.urandom(_BATCH_BYTES)
    key, day = envelope.derive(secret, user, 1), 1
    began = time.process_time()
    for _ in range(_CALLS):
        sealed = envelope.seal(key, envelope.head_of("k1", 86_400), place, os.urandom(envelope.NONCE_BYTES), payload)
    at_sealed = time.process_time()
    for _ in range(_CALLS):
        envelope.unseal(key, envelope.read(sealed), place)
    at_opened = time.process_time()
    for _ in range(_CALLS):
        envelope.derive(secret, user, day)
    at_derived = time.process_time()
    times = (at_sealed - began, at_opened - at_sealed, at_derived - at_opened)
    seal_us, open_us, derive_us = (round(1e6 * each / _CALLS, 2) for each in times)
    return seal_us, open_us, derive_us


def _show(f: AtRestFigures) -> None:
    console = Console()
    console.print(
        f"{f.plain.users} users, {f.plain.rate:g} events/s for {f.plain.seconds:g} s, {f.plain.payload_bytes} B payload, on each of two"
        f" clusters at once; {f.machine['processors']} processors, Python {f.machine['python']}\n",
        highlight=False,
    )
    table = Table("CPU \u00b5s per event", *f.ratio, box=None, pad_edge=False, header_style="bold")
    table.add_row("plain text", *(f"{f.plain.cpu_us_per_event[role]:.0f}" for role in f.ratio))
    table.add_row("sealed", *(f"{f.sealed.cpu_us_per_event[role]:.0f}" for role in f.ratio))
    table.add_row("ratio", *(f"{value:.2f}" for value in f.ratio.values()))
    console.print(table, "")
    latency = Table("emit to device, ms", "p50", "p90", "p99", "max", box=None, pad_edge=False, header_style="bold")
    for name, figures in (("plain text", f.plain), ("sealed", f.sealed)):
        row = figures.delivery.emit_to_device_ms
        latency.add_row(name, *(f"{value:.1f}" for value in (row.p50, row.p90, row.p99, row.max)))
    console.print(latency, "")
    console.print(f"A batch of 1 KiB: sealed in {f.seal_us} \u00b5s, opened in {f.open_us}; a user's key: {f.derive_us}", highlight=False)


at_rest.__doc__ = f"{at_rest.__doc__}\n\n\b{EXAMPLES}"
