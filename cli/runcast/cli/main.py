"""The `runcast` command: its parts and their help."""

import typer

from runcast.cli.admin.command import app as admin
from runcast.cli.admin.command import erase
from runcast.cli.bench.at_rest import at_rest
from runcast.cli.bench.client import client
from runcast.cli.bench.command import bench
from runcast.cli.demo import demo
from runcast.cli.doctor import doctor
from runcast.cli.failures import Debugging
from runcast.cli.key import key
from runcast.cli.publish import publish
from runcast.cli.replay.command import replay
from runcast.cli.soak.command import soak
from runcast.cli.tail import tail
from runcast.cli.testkit import testkit
from runcast.cli.token import token
from runcast.cli.up import up
from runcast.cli.verify import verify
from runcast.wire import VERSION

HELP = """Every event of an AI agent's run reaches the person watching: in order, once, on every device.

\b
  runcast demo                  the whole system with a page to talk to
  runcast demo --ask QUESTION   one question in the terminal
  runcast up                    the system without the demo agent
  runcast tail --user alice     a user's stream, as it comes
  runcast replay --user alice   what was stored of a user, played again
  runcast token --user alice    a token for development and tests
  runcast admin status          what operators see; and do: runcast admin --help
"""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"runcast {VERSION}")
        raise typer.Exit


@app.callback(help=HELP)
def runcast(
    debug: bool = typer.Option(False, "--debug", envvar="RUNCAST_DEBUG", help="Show tracebacks."),
    _: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """What every command shares."""
    Debugging.wanted = debug


for command in (demo, up, publish, tail, replay, doctor, soak, verify, token, key, erase):
    app.command()(command)
app.add_typer(admin, name="admin")
app.add_typer(testkit, name="testkit")
benches = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")
benches.callback()(bench)
benches.command()(client)
benches.command("at-rest")(at_rest)
app.add_typer(benches, name="bench")
