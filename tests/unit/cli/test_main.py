import pytest
from typer.testing import CliRunner

from runcast.cli.main import app
from runcast.wire import VERSION


@pytest.mark.parametrize("command", ["demo", "up", "publish", "tail", "doctor", "bench", "token"])
def test_help_teaches_by_examples(command: str):
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"runcast {command}" in done.output.partition("Examples")[2]


@pytest.mark.parametrize("command", ["record", "assert"])
def test_help_of_the_testkit_teaches_by_examples(command: str):
    done = CliRunner().invoke(app, ["testkit", command, "--help"])
    assert f"runcast testkit {command}" in done.output.partition("Examples")[2]


def test_help_names_every_command():
    done = CliRunner().invoke(app, ["--help"])
    assert all(command in done.output for command in ("demo", "up", "publish", "tail", "doctor", "bench", "testkit", "token"))


def test_version():
    assert CliRunner().invoke(app, ["--version"]).output == f"runcast {VERSION}\n"


def test_usage_errors_exit_with_2():
    assert CliRunner().invoke(app, ["tail"]).exit_code == 2
    assert CliRunner().invoke(app, ["sing"]).exit_code == 2
