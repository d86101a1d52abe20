import pytest
from typer.testing import CliRunner

from runcast.bus.identity.authfile import read_authfile
from runcast.bus.sealing.keysfile import read_keysfile
from runcast.cli.main import app
from runcast.wire import VERSION


@pytest.mark.parametrize("command", ["demo", "up", "publish", "tail", "doctor", "bench", "token", "key"])
def test_help_teaches_by_examples(command: str):
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"runcast {command}" in done.output.partition("Examples")[2]


def test_help_of_key_names_the_tables_that_it_makes():
    shown = CliRunner().invoke(app, ["key", "--help"], env={"COLUMNS": "200"}).output
    assert all(table in shown for table in ("an [[agents]] entry", "an [[admins]] entry", "a [tenants.acme] entry")), shown


def test_a_key_is_believed_by_what_is_printed(tmp_path):
    done = CliRunner().invoke(app, ["key", "analyst", "--tenant", "acme", "--group", "support"])
    assert done.exit_code == 0
    file = tmp_path / "auth.toml"
    file.write_text(done.output)
    text = done.output.split()[-1]
    _, agent = read_authfile(file).agents.by_key(text)
    assert agent is not None
    assert (agent.name, agent.tenants, agent.groups) == ("analyst", ("acme",), ("support",))
    assert CliRunner().invoke(app, ["key", "analyst", "--tenant", "ac*"]).exit_code != 0


def test_a_key_at_rest_can_be_used_as_it_is_printed(tmp_path):
    printed = [CliRunner().invoke(app, ["key", "--at-rest", *args]) for args in (["k1", "--tenant", "a.b c"], ["all-1"])]
    assert [done.exit_code for done in printed] == [0, 0]
    file = tmp_path / "keys.toml"
    file.write_text("\n".join(done.output for done in printed))
    keyring = read_keysfile(file).keyring
    assert keyring.currents() == {"a.b c": "k1", "*": "all-1"}
    assert keyring.keys_of("a.b c").secrets["k1"] != keyring.keys_of("else").secrets["all-1"]
    for wrong in (["k 1"], ["k1", "--group", "support"], ["k1", "--tenant", "a", "--tenant", "b"], ["k1", "--tenant", "t" * 129]):
        assert CliRunner().invoke(app, ["key", "--at-rest", *wrong]).exit_code == 2


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
