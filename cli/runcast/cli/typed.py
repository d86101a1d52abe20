"""What has to be typed to start this program, so that hints can be typed as they stand.

In a clone `runcast` lies in `.venv/bin`, which need not be on PATH; messages say `runcast …`, as documents do.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

NAME: Final = "runcast"
_COMMAND: Final = re.compile(rf"(?<=`){NAME} ")
"""Messages put what can be typed between backticks."""


def program(started_as: str | None = None) -> str:
    """`runcast` where a shell finds this very program by that name, else the path by which it was started.

    Args:
        started_as: the path; None: this process's own.
    """
    path = Path(sys.argv[0] if started_as is None else started_as)
    if path.name != NAME or not path.exists():  # another program's process, such as a test's
        return NAME
    found = shutil.which(NAME)
    return NAME if found is not None and path.samefile(found) else shlex.quote(str(path))


def as_typed(text: str) -> str:
    """A message, with its commands as they have to be typed."""
    name = program()
    return text if name == NAME else _COMMAND.sub(lambda _: f"{name} ", text)
