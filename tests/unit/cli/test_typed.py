"""Hints name the program as it has to be typed."""

from pathlib import Path

import pytest

from runcast.cli.typed import as_typed, program


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A program `runcast` in a folder with a space in its name."""
    path = tmp_path / "a clone" / "runcast"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_what_a_shell_finds_is_named_by_its_name(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(there.parent))
    assert program(str(there)) == "runcast"
    link = there.parents[1] / "runcast"
    link.symlink_to(there)
    assert program(str(link)) == "runcast", "the same program"


def test_what_a_shell_does_not_find_is_named_by_its_path(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(there.parents[1]))
    assert program(str(there)) == f"'{there}'"
    monkeypatch.chdir(there.parents[1])
    assert program("a clone/runcast") == "'a clone/runcast'"
    other = there.parents[1] / "runcast"  # another of that name is found in its place
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert program(str(there)) == f"'{there}'"


@pytest.mark.parametrize("started_as", ["/usr/bin/pytest", "/nowhere/runcast", ""])
def test_another_program_says_what_documents_say(started_as: str) -> None:
    assert program(started_as) == "runcast"


def test_commands_in_messages_are_those_in_backticks(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "the runcast service is away; `runcast up` starts one, or `runcast demo`; `runcast[server]`"
    assert as_typed(text) == text
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr("sys.argv", [str(there)])
    assert as_typed(text) == f"the runcast service is away; `'{there}' up` starts one, or `'{there}' demo`; `runcast[server]`"
