"""The policy in force: read at start, read again when its file changes.

Rules: a file that can't be used never replaces one that can: the old one stays, `problem` says so, and the log says it once. What is in
force is replaced in one step, and counts for what comes from then on. Without a file everybody is "standard"; in development mode, where
there is nobody to protect from anybody, "unlimited". Nothing here ends by itself: `run` is cancelled.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from structlog.stdlib import BoundLogger

from runcast.bus.policy.policyfile import Policy, PolicyFile, PolicyFileError, read_policyfile
from runcast.bus.policy.tiers import BUILT_IN, Tier
from runcast.wire import limits_policy as policy_limits


class PolicyBook:
    """Which tier every tenant is of, just now.

    Args:
        path: of the policy file; "" for none.
        development: what counts without a file is "unlimited", else "standard".
        log: for what happens to the file.

    Attributes:
        policy: in force.
        problem: why a newer one is not in force; "" when there is none.
        replaced: called after another one came into force.

    Raises:
        PolicyFileError: a file is named, and can't be used.
    """

    def __init__(self, path: str, *, development: bool, log: BoundLogger) -> None:
        self._file: PolicyFile | None = read_policyfile(Path(path)) if path else None
        self.policy: Policy = self._file.policy if self._file else Policy(BUILT_IN["unlimited" if development else "standard"], {})
        self.problem = ""
        self.replaced: list[Callable[[], None]] = []
        self._log = log

    def of(self, tenant: str) -> Tier:
        """The tier of a tenant, by its id."""
        return self.policy.of(tenant)

    async def run(self, every_s: float = policy_limits.POLICY_FILE_CHECK_S) -> None:
        """Follow the file until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(every_s)

    def look(self) -> None:
        """Read the file again if it changed."""
        if self._file is None or not (self._file.changed or self.problem):
            return
        try:
            file = read_policyfile(self._file.watched.path)
        except PolicyFileError as exc:
            if str(exc) != self.problem:
                self.problem = str(exc)
                self._log.error("policy_file_refused", problems=self.problem.splitlines(), advice="the one before stays in force")
            return
        changed = file.policy != self.policy
        self._file, self.policy, self.problem = file, file.policy, ""
        if changed:
            self._log.info("policy_file_read", default=file.policy.default.name, tenants=len(file.policy.tenants))
            for each in self.replaced:
                each()

    def report(self) -> dict[str, Any]:
        """How it is doing, for JSON."""
        reason = "the policy file changed and can't be used; see the log" if self.problem else ""
        return {"state": "degraded" if reason else "ok", "reason": reason}
