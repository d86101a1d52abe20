"""deploy/README.md lists the settings that exist, for the roles that have them, and the log lines that want somebody."""

import re
from pathlib import Path

import msgspec
import pytest

from runcast.admin.settings import AdminSettings
from runcast.bus.settings import PREFIX
from runcast.edge.settings import EdgeSettings
from runcast.router.settings import RouterSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "deploy/README.md").read_text()
ROWS = re.findall(r"^\| `(RUNCAST_\w+)` \| (x?) ?\| (x?) ?\| (x?) ?\|", README, re.MULTILINE)


@pytest.mark.parametrize(("kind", "column"), [(RouterSettings, 1), (EdgeSettings, 2), (AdminSettings, 3)])
def test_every_setting_is_listed(kind, column):
    assert {row[0] for row in ROWS if row[column]} == {PREFIX + field.name.upper() for field in msgspec.structs.fields(kind)}


def logged(level: str) -> set[str]:
    sources = [path.read_text() for room in ("bus", "router", "edge", "admin") for path in (ROOT / room).rglob("*.py")]
    return {event for text in sources for event in re.findall(rf'log\.{level}\(\s*"([a-z_]+)"', text)}


def test_every_error_in_a_log_is_listed_and_the_warnings_that_are_named_exist():
    section = README.split("\n## Logs: what to look at\n")[1].split("\n## ")[0]
    table, warnings = section.split("\nWarnings pass")
    shown = {event for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for event in re.findall(r"`([a-z_]+)`", row)}
    assert shown == logged("error")
    named = set(re.findall(r"`([a-z_]+)`", warnings)) - {"memory_full"}  # chosen between two names
    assert named <= logged("warning")
