"""Users who are being erased: nobody reads or writes them here until that is over. Pure.

Rules: a hold ends when who asked for it says so, or by itself after `limits_erasure.ERASE_HOLD_S`, should they have died. Holds of one
user by several are one, which ends with the last.

Invariant: at most `limits_erasure.ERASE_AT_ONCE_MAX` users are withheld.
"""

from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.limits_erasure import ERASE_AT_ONCE_MAX, ERASE_HOLD_S

_COME_BACK_S = 0.25


class Withheld:
    """The users who are withheld in one process; `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._holds: dict[UserKey, dict[str, float]] = {}

    def hold(self, user: UserKey, by: str, now: float) -> bool:
        """Withhold a user; False: too many are."""
        self.tick(now)
        if user not in self._holds and len(self._holds) >= ERASE_AT_ONCE_MAX:
            return False
        self._holds.setdefault(user, {})[by] = now + ERASE_HOLD_S
        return True

    def release(self, user: UserKey, by: str) -> None:
        """That is over."""
        holds = self._holds.get(user)
        if holds is not None:
            holds.pop(by, None)
            if not holds:
                del self._holds[user]

    def tick(self, now: float) -> None:
        """Let go whose time is over."""
        for user, holds in list(self._holds.items()):
            for by in [by for by, until in holds.items() if until <= now]:
                self.release(user, by)

    def holds(self, user: UserKey, now: float) -> bool:
        """Whether a user is withheld."""
        if user not in self._holds:
            return False
        self.tick(now)
        return user in self._holds

    def check(self, user: UserKey, now: float) -> None:
        """Go on only with a user who is not withheld.

        Raises:
            UnavailableError: come back in a moment.
        """
        if self._holds and self.holds(user, now):
            raise UnavailableError("this user is being erased just now; try again", retry_after_s=_COME_BACK_S)
