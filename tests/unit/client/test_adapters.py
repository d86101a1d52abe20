"""Adapters cost nothing where they are not used, and their table names what the frameworks really have."""

import re
import subprocess
import sys
from pathlib import Path

import agents
import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from openai.types import responses
from pydantic_ai import messages
from pydantic_ai.capabilities import AbstractCapability

ROOT = Path(__file__).parents[3]
TABLE = (ROOT / "agents_client/README.md").read_text().split("## Framework event")[1]
FRAMEWORKS = {"langchain": "langchain_core", "openai_agents": "agents", "pydantic_ai": "pydantic_ai"}
OTHER_WORDS = {"GraphInterrupt", "ToolMessage", "RuncastHooks", "CancelledError", "LifecycleError"}


@pytest.mark.parametrize("module", ["", *FRAMEWORKS])
def test_a_module_imports_its_own_framework_alone(module: str) -> None:
    name = f"runcast.client.adapters.{module}" if module else "runcast.client"
    told = subprocess.run([sys.executable, "-c", f"import sys, {name}; print(*sys.modules)"], capture_output=True, text=True, check=True)
    loaded = set(told.stdout.split()) & set(FRAMEWORKS.values())
    assert loaded == ({FRAMEWORKS[module]} if module else set())


@pytest.mark.parametrize("module", FRAMEWORKS)
def test_an_adapter_is_small(module: str) -> None:
    assert len((ROOT / f"agents_client/runcast/client/adapters/{module}.py").read_text().splitlines()) < 200


def test_the_table_names_what_the_frameworks_have() -> None:
    rows = [row.split("|")[2:5] for row in TABLE.splitlines() if row.startswith("| ") and "---" not in row][1:]
    assert len(rows) == 13
    langchain, openai, pydantic = (re.findall(r"`(\w[\w.]*)`", " ".join(row[column] for row in rows)) for column in range(3))
    assert {name for name in langchain if name.startswith("on_")} <= set(dir(AsyncCallbackHandler))
    assert {name for name in openai if name.startswith("on_")} <= set(dir(agents.RunHooks))
    deltas = {
        getattr(responses, name).model_fields["type"].annotation.__args__[0] for name in dir(responses) if name.endswith("DeltaEvent")
    }
    assert {name for name in openai if name.startswith("response.")} <= deltas
    known = {*dir(messages), *dir(AbstractCapability), *OTHER_WORDS}
    assert {name for name in pydantic if name[0].isupper() or name.startswith(("on_", "wrap_"))} <= known
