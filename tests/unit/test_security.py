"""SECURITY.md and the pages in docs/ say what the code does: proofs exist, the example is believed, codes are the table's."""

import re
from pathlib import Path

import pytest

from runcast.bus.identity.authfile import read_authfile
from runcast.wire.codes import CODES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
PAGES = {name: (ROOT / f"docs/{name}.md").read_text() for name in ("users", "agents", "operators")}
MODEL = TEXT.split("\n## Threat model\n")[1].split("\n## ")[0]
ROWS = [line for line in MODEL.splitlines() if line.startswith("| ") and not line.startswith("| threat |")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_every_threat_names_its_test_or_says_that_it_is_not_built(row: str) -> None:
    proof = row.split("|")[3]
    named = re.findall(r"`([^`]+)::([^`]+)`", proof)
    assert named or "not built" in proof
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test} is not there"


def test_the_example_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "auth.toml").write_text("".join(part.split("```")[0] for part in PAGES["users"].split("```toml\n")[1:]))
    (tmp_path / "backend.secret").write_text("s" * 32)
    file = read_authfile(tmp_path / "auth.toml")
    assert [issuer.name for issuer in file.issuers.values()] == ["auth0", "keycloak", "cognito", "backend"]
    assert file.hook is not None


def test_the_close_codes_are_the_tables() -> None:
    shown = re.findall(r"(\d{4}) `([a-z_]+)`", PAGES["users"].split("\n## What a user sees\n")[1])
    assert {name: int(close) for close, name in shown} == {code.name: code.close for code in CODES.values() if code.close}


@pytest.mark.parametrize(("page", "heading"), [("agents", "What it is told"), ("operators", "What you are told")])
def test_the_statuses_are_the_tables(page: str, heading: str) -> None:
    shown = re.findall(r"^\| `([a-z_]+)` \| ([A-Z_]+) \|", PAGES[page].split(f"\n## {heading}\n")[1], re.MULTILINE)
    assert len(shown) >= 10
    assert dict(shown) == {name: CODES[name].grpc for name, _ in shown}


def test_every_code_is_on_the_page_of_who_gets_it() -> None:
    """A new one belongs on one of them: what it means to a person, an agent or an operator."""
    assert {name for name in CODES if not any(f"`{name}`" in text for text in PAGES.values())} == set()
