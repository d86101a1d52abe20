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
from runcast.testkit.faults import KINDS
from runcast.testkit.history import to_line
from runcast.testkit.trial import Outcome, TrialSettings, run_trial
from runcast.testkit.verdict import ANOMALIES, Spread

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

Exit status: 0 every promise was kept; 1 one was not, or the trial did not come to its end; 2 it could not begin.
"""

MEANINGS: Final = {
    "lost": "acknowledged, and not shown to a device that was owed it",
    "duplicated": "shown twice",
    "reordered": "shown in another order",
    "altered": "shown with another content",
    "leaked": "shown to another user",
    "gaps_unannounced": "left out in silence",
    "false_resets": "sent back to the beginning without need",
    "false_snapshots": "a snapshot that is not what the stream comes to",
    "stale": "an edge gave what it knew to be superseded",
    "false_receipts": "a receipt, or a refusal, that was not true",
    "upstream_lost": "a message that no agent settled",
    "upstream_duplicated": "a message that was stored twice",
    "upstream_reordered": "a message handed out before an earlier one",
    "false_parkings": "a message put aside too early, or too late",
    "false_cancels": "a cancel not honoured, or one nobody asked for",
    "frozen_runs": "a run without an end",
    "false_losses": "a run declared lost while its agent was well",
    "drain_waits": "over 3 s for a process that was asked to end",
}


@guarded
def verify(
    seed: int = typer.Option(1, min=0, help="Plans the faults, and what agents and devices do."),
    duration: float = typer.Option(60.0, min=3.0, max=3600.0, help="Of the load, seconds."),
    users: int = typer.Option(40, min=1, max=1000, help="Each has three devices, and a fourth at the end."),
    edges: int = typer.Option(3, min=1, max=9, help="Edge processes."),
    routers: int = typer.Option(2, min=1, max=9, help="Router processes."),
    nats: int = typer.Option(1, help="nats-servers: 1, or 3 for a cluster."),
    faults: str = typer.Option(",".join(KINDS), show_default="all", help=f"Kinds of faults, of {', '.join(KINDS)}; empty for none."),
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
        "snapshots": verdict.snapshots,
        "upstream_accepted": verdict.upstream_accepted,
        "upstream_redelivered": verdict.upstream_redelivered,
        "upstream_ordered": verdict.upstream_ordered,
        "parked": verdict.parked,
        "cancels": verdict.cancels,
        "receipts": verdict.receipts,
        "faults": verdict.faults,
        "recover_ms": _spread(verdict.recover),
        "latency_ms": _spread(verdict.latency),
        "receipt_ms": _spread(verdict.receipt),
        "receipt_calm_ms": _spread(verdict.receipt_calm),
        "cancel_ms": _spread(verdict.cancel),
        "drain_ms": _spread(verdict.drain),
        "settle_s": round(outcome.settle_s, 1),
        "settled": verdict.settled,
        "examples": verdict.examples,
    }


def table(outcome: Outcome) -> list[str]:
    """An outcome for people, a line each."""
    verdict = outcome.verdict
    counts = [
        (
            verdict.accepted,
            f"events acknowledged to agents{_but(verdict.indeterminate, 'more may be stored or not, and agents were told so')}",
        ),
        (verdict.delivered, f"of them on every device that was owed them; {verdict.shown:,} shown in all"),
        (verdict.superseded, "events of superseded attempts that devices were given, and left out"),
        (verdict.snapshots["whole"], f"snapshots read to their end, {verdict.snapshots['broken_off']:,} broken off"),
        (
            verdict.upstream_accepted,
            f"messages to agents stored, {verdict.parked:,} put aside; delivered again: {verdict.upstream_redelivered:,}",
        ),
        (verdict.cancels, "runs cancelled by their user"),
    ]
    lines = ["", *(f"  {count:>8,}  {what}" for count, what in counts), ""]
    for kind in ANOMALIES:
        count = verdict.anomalies[kind]
        lines.append(f"  {'!' if count else ' '}{count:>7,}  {kind.replace('_', ' '):<20} {MEANINGS[kind]}")
        lines += [f"            e.g. {text}" for text in verdict.examples.get(kind, ())]
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(verdict.faults.items())) or "none"
    receipts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(verdict.receipts.items())) or "none"
    times = [
        ("latency", verdict.latency, "from an agent's emit to a device"),
        ("recovery", verdict.recover, "from a lost connection until caught up"),
        ("drain", verdict.drain, "from emit to device while a process was drained, and nothing else broken"),
        ("receipt", verdict.receipt, "from storing until an agent knew of a delivery"),
        ("  calm", verdict.receipt_calm, "the same while nothing was broken"),
        ("cancel", verdict.cancel, "from the word that a cancel is stored until the run's end was shown"),
    ]
    lines += ["", f"  faults    {faults}", f"  receipts  {receipts}", ""]
    lines += [f"  {'ms':<8}  {'count':>7} {'p50':>7} {'p99':>7} {'max':>7}"]
    lines += [f"  {name:<8}  {_row(spread)}   {what}" for name, spread, what in times]
    clean = "Every promise was kept." if verdict.clean else "NOT every promise was kept."
    ordered = (
        f"The order of {verdict.upstream_ordered:,} messages to agents was judged: the others were handed out while something was broken."
    )
    lines += ["", ordered if verdict.upstream_accepted else "", clean if verdict.settled else "The trial did not end."]
    return lines


def _write(path: Path, outcome: Outcome) -> None:
    path.write_bytes(b"".join(to_line(record) for record in sorted(outcome.history, key=lambda record: record.t)))


def _spread(spread: Spread) -> dict[str, float]:
    return {"count": spread.count, "p50": spread.p50, "p99": spread.p99, "max": spread.max}


def _row(spread: Spread) -> str:
    if not spread.count:
        return f"{0:>7} {'-':>7} {'-':>7} {'-':>7}"
    return f"{spread.count:>7,} {spread.p50:>7,.0f} {spread.p99:>7,.0f} {spread.max:>7,.0f}"


def _but(count: int, what: str) -> str:
    return f"; {count:,} {what}" if count else ""


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
