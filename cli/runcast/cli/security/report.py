"""Findings on a terminal, the worst first, and as JSON."""

from typing import Final

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from runcast.cli.security.findings import OPEN, ORDER, Finding, Severity, count

_STYLE: Final[dict[Severity, str]] = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "yellow",
    "low": "cyan",
    "unknown": "magenta",
    "ok": "green",
}
_INDENT: Final = (0, 0, 0, 11)
_PIPED: Final = 120
"""Columns where there is no terminal."""


def as_json(findings: list[Finding], *, failed: bool) -> str:
    """For programs."""
    return msgspec.json.format(msgspec.json.encode({"secure": not failed, "counts": count(findings), "findings": findings})).decode()


def show(findings: list[Finding], *, verbose: bool) -> None:
    """For people: what is open, the worst first; what is closed is only counted unless `verbose`."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPED)
    for severity in ORDER:
        some = [finding for finding in findings if finding.severity == severity]
        if not some or (severity == "ok" and not verbose):
            continue
        for finding in some:
            name = "?" if severity == "unknown" else severity
            # As it is: in an address, brackets are no markup.
            console.print(Text.assemble((f" {name:<9}", _STYLE[severity]), " ", (finding.what, "bold"), "   ", (finding.where, "dim")))
            console.print(Padding(Text(finding.found), _INDENT))
            if finding.advice:
                console.print(Padding(Text(f"-> {finding.advice}", style="italic"), _INDENT))
        console.print()
    console.print(_summary(findings))


def _summary(findings: list[Finding]) -> Text:
    counts = count(findings)
    parts = [Text(f"{counts[severity]} {severity}", style=_STYLE[severity]) for severity in OPEN if counts[severity]]
    text = Text(", ").join(parts) if parts else Text("Nothing is open of what was looked at", style="green")
    text.append(f"; {counts['ok']} closed")
    if counts["unknown"]:
        text.append(f"; {counts['unknown']} not looked at", style=_STYLE["unknown"])
    return text
