"""Findings on a terminal, the worst first, and as JSON."""

from typing import Final

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from runcast.cli.security.findings import OPEN, ORDER, Finding, Severity, count, fails, is_development
from runcast.cli.typed import as_typed

_STYLE: Final[dict[Severity, str]] = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "yellow",
    "low": "cyan",
    "unknown": "magenta",
    "ok": "green",
}
_ON_PURPOSE: Final = (
    "This is development mode, as `runcast up` and `runcast demo` start it: it believes everybody on purpose. To try Runcast on a machine "
    "of your own, nothing has to be done. What is told above is to be closed before others reach it: docs/users.md, docs/agents.md."
)
_INDENT: Final = (0, 0, 0, 11)
_PIPED: Final = 120
"""Columns where there is no terminal."""


def as_json(findings: list[Finding], *, fail_on: Severity) -> str:
    """For programs; `secure`: nothing is open that is as bad as `fail_on`."""
    said = {
        "secure": not fails(findings, fail_on),
        "development": is_development(findings),
        "counts": count(findings),
        "findings": findings,
    }
    return msgspec.json.format(msgspec.json.encode(said)).decode()


def show(findings: list[Finding], *, verbose: bool, fail_on: Severity) -> None:
    """For people: what is open, the worst first, and what the exit status says; what is closed is only counted unless `verbose`."""
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
            console.print(Padding(Text(as_typed(finding.found)), _INDENT))
            if finding.advice:
                console.print(Padding(Text(as_typed(f"-> {finding.advice}"), style="italic"), _INDENT))
        console.print()
    if is_development(findings):
        console.print(Text(as_typed(_ON_PURPOSE)))
        console.print()
    console.print(_summary(findings))
    if fails(findings, fail_on):
        console.print(f"Exit status 1: something is open that is {fail_on} or worse (--fail-on).")


def _summary(findings: list[Finding]) -> Text:
    counts = count(findings)
    parts = [Text(f"{counts[severity]} {severity}", style=_STYLE[severity]) for severity in OPEN if counts[severity]]
    text = Text(", ").join(parts) if parts else Text("Nothing is open of what was looked at", style="green")
    text.append(f"; {counts['ok']} closed")
    if counts["unknown"]:
        text.append(f"; {counts['unknown']} not looked at", style=_STYLE["unknown"])
    return text
