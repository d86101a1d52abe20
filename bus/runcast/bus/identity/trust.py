"""The auth file in force: read at start, read again when it or a file that it names changes, its key sets kept fresh.

Rules: a file that can't be used never replaces one that can: the old one stays, `problem` says so, and the log says it once; what is in
force is replaced in one step, between two tokens. Nothing here ends by itself: `run` is cancelled.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from structlog.stdlib import BoundLogger

from runcast.bus.identity.authfile import AuthFile, AuthFileError, Peers, read_authfile
from runcast.bus.identity.jwt import Verified, Verifier
from runcast.wire import limits_identity as limits


class Trust:
    """Whom this process believes.

    Args:
        path: of the auth file.
        log: for what happens to it.

    Attributes:
        file: in force.
        problem: why a newer one is not in force; "" when there is none.
        replaced: called after another file came into force.

    Raises:
        AuthFileError: there is none that can be used.
    """

    def __init__(self, path: Path, log: BoundLogger) -> None:
        self.file: AuthFile = read_authfile(path)
        self.problem = ""
        self.replaced: list[Callable[[], None]] = []
        self._path = path
        self._log = log
        self._verifier = Verifier(self.file)

    async def verify(self, token: str, peers: Peers) -> Verified:
        """Check a token against the file in force; see `Verifier.verify`."""
        return await self._verifier.verify(token, peers)

    async def run(self, every_s: float = limits.AUTH_FILE_CHECK_S) -> None:
        """Follow the file and the key sets until cancelled."""
        try:
            while True:
                self.look()
                async with asyncio.TaskGroup() as group:
                    for key_set in self._verifier.sets.values():
                        if key_set.due():
                            group.create_task(key_set.refresh())
                await asyncio.sleep(every_s)
        finally:
            for key_set in self._verifier.sets.values():
                await key_set.close()

    def look(self) -> None:
        """Read the file again if it changed."""
        if not self.file.changed and not self.problem:
            return
        try:
            file = read_authfile(self._path)
        except AuthFileError as exc:
            if str(exc) != self.problem:
                self.problem = str(exc)
                self._log.error("auth_file_refused", problems=self.problem.splitlines(), advice="the one before stays in force")
            return
        changed = file != self.file
        self.file, self.problem = file, ""
        if changed:
            self._verifier = Verifier(file, self._verifier)
            self._log.info("auth_file_read", issuers=[issuer.name for issuer in file.issuers.values()])
            for each in self.replaced:
                each()

    def report(self) -> dict[str, Any]:
        """How it is doing, for JSON: what operators need, nothing that helps a guesser."""
        sets = [key_set.problem for key_set in self._verifier.sets.values()]
        unreachable = sum(1 for problem in sets if problem)
        reason = "the auth file changed and can't be used; see the log" if self.problem else ""
        if not reason and unreachable:
            reason = f"{unreachable} of {len(sets)} key sets could not be fetched lately"
        return {"state": "degraded" if reason else "ok", "reason": reason}
