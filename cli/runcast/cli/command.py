"""What the `runcast` program runs: the commands, or a line that says what they need.

The plain wheel is for agents, and has the program without the packages that its commands are made of. Imports nothing but the standard
library before it knows that they are there.
"""

import sys
from typing import Final

NOT_BEGUN: Final = 2


def main() -> None:
    """Run the command line; without the packages it needs, say so and exit with 2."""
    try:
        from runcast.cli.main import app  # noqa: PLC0415 # may be missing what it needs
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] == "runcast":
            raise
        print(
            f"error: not_installed: the runcast command needs {exc.name}; pip install 'runcast[server,local]' brings all of it "
            "(agents need nothing more: runcast.client works as it is)",
            file=sys.stderr,
        )
        sys.exit(NOT_BEGUN)
    app()
