"""agents_client/README.md lists the options of `Runcast` with their defaults, and what its classes offer."""

import inspect
import re
from pathlib import Path

from runcast.client import InboxMessage, Run, Runcast, ToolCall

SECTION = (Path(__file__).parents[3] / "agents_client/README.md").read_text().split("\n## What there is\n")[1].split("\n## ")[0]


def test_every_option_is_listed_with_its_default():
    rows = re.findall(r"^\| `(\w+)` \| `?([^`|]+?)`? \|", SECTION, re.MULTILINE)
    shown = {name: said for name, said in rows if not name[0].isupper()}
    parameters = inspect.signature(Runcast).parameters
    told = {name: each.default for name, each in parameters.items() if name not in ("target", "agent")}
    assert shown == {name: {None: "none", (): "none", "default": '"default"'}.get(value) or _written(value) for name, value in told.items()}


def _written(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_what_classes_offer_is_there():
    for kind in (Runcast, Run, ToolCall, InboxMessage):
        named = re.search(rf"^\| `{kind.__name__}` \| (.+) \|$", SECTION, re.MULTILINE)
        assert named is not None
        for name in re.findall(r"`(\w+)`", named[1]):
            assert hasattr(kind, name) or f"\n    {name}: " in (inspect.getdoc(kind) or ""), (kind, name)
