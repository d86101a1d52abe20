"""What a device asks of its edge, kept within bounds: sends, new tokens, and answers that it does not read. Pure.

Rules: so many sends are unanswered at most; one new token is checked at a time, and of those that come meanwhile the newest is next; past
so many answers that wait for its socket a device is asking without reading. New tokens have a rate of their own, since each is checked.
"""

from typing import Final

from runcast.bus.policy.bucket import Bucket, Rate
from runcast.wire import limits, limits_floods
from runcast.wire.errors import RuncastError

_CHECKS: Final = Rate(limits_floods.REFRESHES_PER_S, limits_floods.REFRESHES_BURST)


class Requests:
    """Of one connection."""

    __slots__ = ("_answers", "_checking", "_checks", "_sends", "_token")

    def __init__(self) -> None:
        self._checks = Bucket()
        self._answers = 0
        self._sends = 0
        self._checking = False
        self._token: str | None = None

    def begin_send(self) -> None:
        """Something was sent, and is to be answered.

        Raises:
            RuncastError: `rate_limited`.
        """
        if self._sends >= limits.SENDS_IN_FLIGHT_MAX:
            raise RuncastError(
                f"{limits.SENDS_IN_FLIGHT_MAX} sends are unanswered; wait for their sent", code="rate_limited", retry_after_s=0.2
            )
        self._sends += 1

    def end_send(self) -> None:
        """It is answered."""
        self._sends -= 1

    def begin_check(self, token: str, now: float) -> str | None:
        """A new token came; returns the one to check now, None while one is being checked.

        Raises:
            RuncastError: `rate_limited`: too many came; the token before goes on.
        """
        wait_s = self._checks.take(now, _CHECKS)
        if wait_s:
            raise RuncastError("new tokens come too fast; the one before goes on", code="rate_limited", retry_after_s=wait_s)
        return self._begin(token)

    def end_check(self) -> str | None:
        """It was checked, and the session goes on; returns the one to check next."""
        self._checking = False
        token, self._token = self._token, None
        return None if token is None else self._begin(token)

    def _begin(self, token: str) -> str | None:
        if self._checking:
            self._token = token
            return None
        self._checking = True
        return token

    def answer(self, *, waiting: bool) -> bool:
        """An answer goes out; `waiting`: behind others that the socket does not take. False: there are too many of them."""
        self._answers += waiting
        return self._answers <= limits.ANSWERS_WAITING_MAX

    def answers_read(self) -> None:
        """The socket took what waited."""
        self._answers = 0
