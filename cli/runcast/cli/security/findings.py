"""A finding, and how findings are counted. Pure.

Severities: *critical*: anybody may do anything; *high*: somebody without rights gets some, or a secret is seen; *medium*: one more mistake
and it is high; *low*: good to know. *ok*: looked at, and closed. *unknown*: could not be looked at.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Severity = Literal["critical", "high", "medium", "low", "ok", "unknown"]
ORDER: Final[tuple[Severity, ...]] = ("critical", "high", "medium", "low", "unknown", "ok")
"""The worst first."""
OPEN: Final[tuple[Severity, ...]] = ("critical", "high", "medium", "low")


_DEVELOPMENT: Final = frozenset({"dev_mode", "edge_dev", "router_open", "admin_open"})
"""What says, while it is open, that everybody is believed."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        id: names it for programs; never renamed.
        severity: see the module.
        what: in a few words.
        where: a setting, a file, an address.
        found: in words.
        advice: what to do; "" when nothing.
    """

    id: str
    severity: Severity
    what: str
    where: str
    found: str
    advice: str = ""


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """In the order in which they are told."""
    return sorted(findings, key=lambda finding: ORDER.index(finding.severity))


def count(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many there are of each severity."""
    found = Counter(finding.severity for finding in findings)
    return {severity: found[severity] for severity in ORDER}


def fails(findings: Iterable[Finding], at: Severity) -> bool:
    """Whether any is as bad as `at`, or worse."""
    bad = OPEN[: OPEN.index(at) + 1]
    return any(finding.severity in bad for finding in findings)


def is_development(findings: Iterable[Finding]) -> bool:
    """Whether what was looked at is in development mode, and believes everybody on purpose."""
    return any(finding.id in _DEVELOPMENT and finding.severity in OPEN for finding in findings)
