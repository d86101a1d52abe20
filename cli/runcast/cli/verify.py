"""`runcast verify`: prove the promises on this machine, under faults, and say what was found.

Exit status 0 only when every anomaly count is 0 and the trial came to its end.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec
import typer

from runcast.cli.failures import FAILED, NOT_BEGUN, CommandError, guarded, run_until_signal
from runcast.cli.local import say
from runcast.testkit.checker import ANOMALIES, Spread
from runcast.testkit.faults import KINDS
from runcast.testkit.history import to_line
from runcast.testkit.trial import Outcome, TrialSettings, run_trial

EXAMPLES: Final = """
Examples:

  runcast verify
      one minute with all faults

  runcast verify --seed 7 --duration 20 --users 10 --nats 3
      a smaller load, on a NATS cluster of three servers; the same seed plans the same faults

  runcast verify --faults edge,slow --json
      some faults only; one JSON object on stdout

  runcast verify --seed 7 --history seen.jsonl --logs logs
      keep what was seen, a record a line, and the logs of all processes
"""

MEANINGS: Final = {
    "lost": "acknowledged, and not shown to a device that was owed it",
    "duplicated": "shown twice",
    "reordered": "shown in another order",
    "leaked": "shown to another user",
    "gaps_unannounced": "left out in silence",
    "false_resets": "sent back to the beginning without need",
    "false_receipts": "a receipt, or a refusal, that was not true",
    "upstream_lost": "a message that no agent got",
    "upstream_duplicated": "a message that was stored twice",
    "frozen_runs": "a run without an end",
}


@guarded
def verify(
    seed: int = typer.Option(1, min=0, help="Plans the faults, and what agents and devices do."),
    duration: float = typer.Option(60.0, min=3.0, max=3600.0, help="Of the load, seconds."),
    users: int = typer.Option(40, min=1, max=1000, help="Each has three devices, and a fourth at the end."),
    edges: int = typer.Option(3, min=1, max=9, help="Edge processes."),
    routers: int = typer.Option(2, min=1, max=9, help="Router processes."),
    nats: int = typer.Option(1, help="nats-servers: 1, or 3 for a cluster."),
    faults: str = typer.Option(",".join(KINDS), help="Kinds of faults, with commas between them; empty for none."),
    json: bool = typer.Option(False, "--json", help="One JSON object on stdout, the rest on stderr."),
    history: Path | None = typer.Option(None, dir_okay=False, help="Write what was seen there, a JSON record a line."),
    logs: Path | None = typer.Option(None, file_okay=False, help="Copy the logs of all processes there."),
) -> int:
    """Start a cluster, load it, break it, and check every promise."""
    if nats not in (1, 3):
        raise CommandError("usage", f"--nats {nats}: 1 or 3", status=NOT_BEGUN)
    kinds = tuple(kind.strip() for kind in faults.split(",") if kind.strip())
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise CommandError("usage", f"--faults {','.join(unknown)}: there are {','.join(KINDS)}", status=NOT_BEGUN)
    settings = TrialSettings(seed, duration, users, edges, routers, nats, kinds)
    tell = _to_stderr if json else say

    async def main() -> int:
        tell(f"Starting {routers} routers, {edges} edges, {nats} nats-server{'s' if nats > 1 else ''} ...")
        outcome = await run_trial(settings, tell, keep_logs=logs)
        if history is not None:
            await asyncio.to_thread(_write, history, outcome)
        if json:
            print(msgspec.json.encode(report(settings, outcome)).decode())
        else:
            for line in table(outcome):
                say(line)
        return 0 if outcome.verdict.clean else FAILED

    return run_until_signal(main(), status=FAILED)


verify.__doc__ = f"{verify.__doc__}\n\n\b{EXAMPLES}"


def report(settings: TrialSettings, outcome: Outcome) -> dict[str, object]:
    """The JSON form of an outcome."""
    verdict = outcome.verdict
    return {
        "seed": settings.seed,
        "duration_s": settings.duration_s,
        "users": settings.users,
        "nats": settings.nats,
        "clean": verdict.clean,
        "accepted": verdict.accepted,
        "delivered": verdict.delivered,
        **verdict.anomalies,
        "indeterminate": verdict.indeterminate,
        "superseded": verdict.superseded,
        "shown": verdict.shown,
        "resets": verdict.resets,
        "upstream_accepted": verdict.upstream_accepted,
        "upstream_redelivered": verdict.upstream_redelivered,
        "receipts": verdict.receipts,
        "faults": verdict.faults,
        "recover_ms": _spread(verdict.recover),
        "latency_ms": _spread(verdict.latency),
        "receipt_ms": _spread(verdict.receipt),
        "settle_s": round(outcome.settle_s, 1),
        "settled": verdict.settled,
        "examples": verdict.examples,
    }


def table(outcome: Outcome) -> list[str]:
    """An outcome for people, a line each."""
    verdict = outcome.verdict
    lines = [
        "",
        f"  {verdict.accepted:>8,}  events acknowledged to agents",
        f"  {verdict.delivered:>8,}  of them on every device that was owed them ({verdict.shown:,} shown in all)",
        f"  {verdict.upstream_accepted:>8,}  messages to agents stored, {verdict.upstream_redelivered:,} delivered again",
        "",
    ]
    lines += [f"  {verdict.anomalies[kind]:>8,}  {kind.replace('_', ' '):<20} {MEANINGS[kind]}" for kind in ANOMALIES]
    lines += [f"            e.g. {text}" for texts in verdict.examples.values() for text in texts]
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(verdict.faults.items())) or "none"
    receipts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(verdict.receipts.items())) or "none"
    lines += [
        "",
        f"  {verdict.indeterminate:>8,}  indeterminate        the agent was told that it may be stored or not",
        f"  faults    {faults}",
        f"  receipts  {receipts}",
        f"  recovery  {_words(verdict.recover)} from a lost connection until caught up",
        f"  latency   {_words(verdict.latency)} from an agent to a device",
        f"            {_words(verdict.receipt)} until a receipt",
        "",
        "Every promise was kept." if verdict.clean else "NOT every promise was kept." if verdict.settled else "The trial did not end.",
    ]
    return lines


def _write(path: Path, outcome: Outcome) -> None:
    path.write_bytes(b"".join(to_line(record) for record in sorted(outcome.history, key=lambda record: record.t)))


def _spread(spread: Spread) -> dict[str, float]:
    return {"p50": spread.p50, "p99": spread.p99, "max": spread.max}


def _words(spread: Spread) -> str:
    return f"p50 {spread.p50:,.0f} ms, p99 {spread.p99:,.0f} ms, max {spread.max:,.0f} ms"


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
