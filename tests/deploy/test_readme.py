"""deploy/README.md lists the settings that exist, for the roles that have them."""

import re
from pathlib import Path

import msgspec
import pytest

from runcast.admin.settings import AdminSettings
from runcast.bus.settings import PREFIX
from runcast.edge.settings import EdgeSettings
from runcast.router.settings import RouterSettings

README = (Path(__file__).parents[2] / "deploy/README.md").read_text()
ROWS = re.findall(r"^\| `(RUNCAST_\w+)` \| (x?) ?\| (x?) ?\| (x?) ?\|", README, re.MULTILINE)


@pytest.mark.parametrize(("kind", "column"), [(RouterSettings, 1), (EdgeSettings, 2), (AdminSettings, 3)])
def test_every_setting_is_listed(kind, column):
    assert {row[0] for row in ROWS if row[column]} == {PREFIX + field.name.upper() for field in msgspec.structs.fields(kind)}
