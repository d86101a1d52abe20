"""Who else on this machine can read or change the files that a service trusts.

Rules: what a link points to counts, for secrets are mounted as links. A group may read: that is how secrets get to a service that is not
root.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from runcast.cli.security.findings import Finding

SECRET_FILES: Final = ("RUNCAST_AUTH_FILE", "RUNCAST_TLS_KEY", "RUNCAST_NATS_KEY", "RUNCAST_NATS_CREDS", "RUNCAST_KEYS_FILE")
"""Settings that name a file which nobody else is to read."""
OTHER_FILES: Final = ("RUNCAST_TLS_CERT", "RUNCAST_TLS_CA", "RUNCAST_NATS_CA", "RUNCAST_NATS_CERT", "RUNCAST_POLICY_FILE")
"""Settings that name a file which nobody else is to change."""


def review(environ: Mapping[str, str], further: Iterable[Path] = ()) -> list[Finding]:
    """Look at the files that the settings name.

    Args:
        environ: the settings.
        further: files with secrets that other files name.
    """
    found = [_file(Path(environ[name]), name, secret=True) for name in SECRET_FILES if environ.get(name)]
    found += [_file(path, "named by the auth or keys file", secret=True) for path in further]
    found += [_file(Path(environ[name]), name, secret=False) for name in OTHER_FILES if environ.get(name)]
    return found


def _file(path: Path, what: str, *, secret: bool) -> Finding:
    where = str(path)
    try:
        mode, above = path.stat().st_mode, path.resolve().parent
        open_above = above.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH
    except OSError as exc:
        return Finding("file_mode", "unknown", what, where, f"can't be looked at: {exc.strerror}", "run this as the service's user")
    shown = f"mode {stat.S_IMODE(mode):04o}"
    if mode & stat.S_IWOTH:
        return Finding("file_mode", "critical", what, where, f"anybody on this machine can change it ({shown})", f"chmod o-rw {where}")
    if open_above:
        said = f"anybody on this machine can replace it: {above} is for all to write"
        return Finding("file_mode", "critical", what, where, said, f"chmod o-w {above}")
    if secret and mode & stat.S_IROTH:
        return Finding("file_mode", "high", what, where, f"anybody on this machine can read it ({shown})", f"chmod o-r {where}")
    if mode & stat.S_IWGRP and os.geteuid() != 0:
        return Finding("file_mode", "low", what, where, f"its group can change it ({shown})", f"chmod g-w {where}")
    return Finding("file_mode", "ok", what, where, shown)
