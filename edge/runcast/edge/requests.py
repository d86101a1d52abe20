"""What a device asks of its edge, kept within bounds: sends, new tokens, and answers that it does not read. Pure.

Rules: so many sends are unanswered at most; one new token is checked at a time, and of those that come meanwhile the newest is next; past
so many answers that wait for its socket a device is asking without reading. New tokens have a rate of their own, since each is checked.

What is sent behind a new token is meant for whoever that token names, so it is held until that one is judged, and then stored or refused
with it. A token that is replaced before it was looked at is never judged, so what is behind it is refused at once. What is held counts as
unanswered, so it has the same bound.
"""

from typing import Final

from runcast.bus.policy.bucket import Bucket, Rate
from runcast.wire import limits, limits_floods
from runcast.wire.errors import RuncastError
from runcast.wire.frames import Send

_CHECKS: Final = Rate(limits_floods.REFRESHES_PER_S, limits_floods.REFRESHES_BURST)


class Requests:
    """Of one connection."""

    __slots__ = ("_answers", "_behind", "_checking", "_checks", "_sends", "_token", "_waiting")

    def __init__(self) -> None:
        self._checks = Bucket()
        self._answers = 0
        self._sends = 0
        self._checking = False
        self._behind: tuple[Send, ...] = ()  # the token that is checked
        self._token: str | None = None  # the next one
        self._waiting: tuple[Send, ...] = ()  # behind that one

    def begin_send(self, send: Send) -> list[Send]:
        """Something was sent, and is to be answered; returns what to store now: nothing while it is held.

        Raises:
            RuncastError: `rate_limited`.
        """
        if self._sends >= limits.SENDS_IN_FLIGHT_MAX:
            raise RuncastError(
                f"{limits.SENDS_IN_FLIGHT_MAX} sends are unanswered; wait for their sent", code="rate_limited", retry_after_s=0.2
            )
        self._sends += 1
        if not self._checking:
            return [send]
        if self._token is None:
            self._behind += (send,)
        else:
            self._waiting += (send,)
        return []

    def end_send(self) -> None:
        """It is answered."""
        self._sends -= 1

    def begin_check(self, token: str, now: float) -> tuple[list[str], tuple[Send, ...]]:
        """A new token came; returns the one to check now, none while one is being checked, and what is to be refused.

        Raises:
            RuncastError: `rate_limited`: too many came; the token before goes on.
        """
        wait_s = self._checks.take(now, _CHECKS)
        if wait_s:
            raise RuncastError("new tokens come too fast; the one before goes on", code="rate_limited", retry_after_s=wait_s)
        refused, self._waiting = self._waiting, ()
        self._token = token
        return self._begin(), refused

    def end_check(self) -> tuple[list[str], tuple[Send, ...]]:
        """It was checked, and the session goes on; returns the one to check next, and what was sent behind the one that was."""
        self._checking = False
        judged, self._behind, self._waiting = self._behind, self._waiting, ()
        return self._begin(), judged

    def _begin(self) -> list[str]:
        if self._checking or self._token is None:
            return []
        self._checking = True
        token, self._token = self._token, None
        return [token]

    def answer(self, *, waiting: bool) -> bool:
        """An answer goes out; `waiting`: behind others that the socket does not take. False: there are too many of them."""
        self._answers += waiting
        return self._answers <= limits.ANSWERS_WAITING_MAX

    def answers_read(self) -> None:
        """The socket took what waited."""
        self._answers = 0
