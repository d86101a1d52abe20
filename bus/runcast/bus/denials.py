"""What was not allowed: counted always, logged once for each caller and reason, so that who tries for ever does not fill the log.

Invariant: at most `limits.REFUSALS_LOGGED_MAX` are remembered; the longest unused is forgotten, and would be logged again.
"""

from collections import Counter, OrderedDict

from structlog.stdlib import BoundLogger

from runcast.wire import limits_identity as limits


class Denials:
    """The refusals of one process.

    Args:
        log: told of each once.
        counts: by code.
    """

    def __init__(self, log: BoundLogger, counts: Counter[str]) -> None:
        self._log = log
        self._counts = counts
        self._logged: OrderedDict[tuple[str, str], None] = OrderedDict()

    def note(self, who: str, code: str, reason: str, *, counted: bool = False) -> None:
        """Somebody was refused.

        Args:
            who: an address, or the name of a principal; no secret.
            code: of the code table.
            reason: for operators; no secret, nothing that a caller can make up.
            counted: it is in the counts already.
        """
        if not counted:
            self._counts[code] += 1
        key = (who, reason)
        if key in self._logged:
            self._logged.move_to_end(key)
            return
        self._logged[key] = None
        if len(self._logged) > limits.REFUSALS_LOGGED_MAX:
            self._logged.popitem(last=False)
        self._log.warning("refused", who=who, code=code, reason=reason)
