"""docs/commands.md names the commands that exist, and what they read from the environment."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import typer

from runcast.cli.main import app

PAGE = (Path(__file__).parents[3] / "docs/commands.md").read_text()


def commands(group: click.Command, path: str = "runcast") -> Iterator[tuple[str, click.Command]]:
    """Each that can be run, with its whole name."""
    inner = getattr(group, "commands", {})
    if not inner or getattr(group, "invoke_without_command", False):
        yield path, group
    for name, command in inner.items():
        yield from commands(command, f"{path} {name}")


ALL = dict(commands(typer.main.get_command(app)))


def test_every_command_is_on_the_page_and_no_other():
    table = PAGE.split("| command |")[1].split("\n\n")[0]
    shown = {name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    assert shown == ALL.keys()


def test_every_variable_is_on_the_page_beside_its_option():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for command in (typer.main.get_command(app), *ALL.values()):
        for parameter in command.params:
            if parameter.envvar:
                row = [line for line in rows if f"`{parameter.envvar}`" in line]
                assert any(parameter.opts[0] in line for line in row), (command.name, parameter.opts, parameter.envvar)
