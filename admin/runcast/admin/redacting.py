"""The rules that this process takes content out by: the redaction file, named by RUNCAST_REDACTION_FILE.

Rules: nobody who calls can switch them off. The file is looked at before every read; one that can't be used any more lets nothing out until
it can: unlike other files, where the old one goes on, for an old one may lack just the rule that was added.
"""

from pathlib import Path

from structlog.stdlib import BoundLogger

from runcast.bus.followed import Watched, look
from runcast.wire.errors import UnavailableError
from runcast.wire.limits_replay import READ_RETRY_S, REDACTION_FILE_BYTES_MAX
from runcast.wire.redaction import Redaction, RedactionError, parse_redaction


def read_redaction(path: Path) -> Redaction:
    """Read a redaction file.

    Raises:
        RedactionError: it can't be used; all its problems, a line each.
    """
    try:
        with path.open("rb") as file:
            text = file.read(REDACTION_FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise RedactionError(f"{path}: it can't be read: {exc.strerror}") from exc
    try:
        return parse_redaction(text)
    except RedactionError as exc:
        raise RedactionError("\n".join(f"{path}: {problem}" for problem in str(exc).splitlines())) from exc


class Redactions:
    """The rules in force.

    Args:
        path: of the file; "" for none.
        log: told when it changes, or can't be used.
    """

    def __init__(self, path: str, log: BoundLogger) -> None:
        self._path = Path(path) if path else None
        self._log = log
        self._seen: Watched | None = None
        self._rules: Redaction | None = Redaction()

    def current(self) -> Redaction:
        """The rules of just now.

        Raises:
            UnavailableError: the file can't be used, so nothing may be shown.
        """
        if self._path is not None:
            seen = look(self._path)  # before it is read, so that a change in between is seen
            if seen != self._seen:
                self._seen = seen
                self._read(self._path)
        if self._rules is None:
            raise UnavailableError(
                "the redaction file can't be used, so no content is shown; its problems are in the log", retry_after_s=READ_RETRY_S
            )
        return self._rules

    def _read(self, path: Path) -> None:
        try:
            self._rules = read_redaction(path)
        except RedactionError as exc:
            self._rules = None
            self._log.error("redaction_file_unusable", problems=str(exc).splitlines())
        else:
            self._log.info("redaction_file_read", rules=len(self._rules.paths))
