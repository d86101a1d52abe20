"""What a device asks of its edge, kept within bounds: sends, new tokens, and answers that it does not read. Pure.

Rules: so many sends are unanswered at most; one new token is checked at a time, and of those that come meanwhile the newest is next; past
so many answers that wait for its socket a device is asking without reading. New tokens have a rate of their own, since each is checked.

What is sent behind a new token is meant for whoever that token names, so it is held until all tokens are checked, and then let go or given
up. It counts as unanswered, so what is held has the same bound.
"""

from typing import Final

from runcast.bus.policy.bucket import Bucket, Rate
from runcast.wire import limits, limits_floods
from runcast.wire.errors import RuncastError
from runcast.wire.frames import Send

_CHECKS: Final = Rate(limits_floods.REFRESHES_PER_S, limits_floods.REFRESHES_BURST)


class Requests:
    """Of one connection."""

    __slots__ = ("_answers", "_checking", "_checks", "_held", "_sends", "_token")

    def __init__(self) -> None:
        self._checks = Bucket()
        self._answers = 0
        self._sends = 0
        self._checking = False
        self._token: str | None = None
        self._held: list[Send] = []

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
        self._held.append(send)
        return self.let_go()

    def end_send(self) -> None:
        """It is answered."""
        self._sends -= 1

    def begin_check(self, token: str, now: float) -> list[str]:
        """A new token came; returns the one to check now, none while one is being checked.

        Raises:
            RuncastError: `rate_limited`: too many came; the token before goes on.
        """
        wait_s = self._checks.take(now, _CHECKS)
        if wait_s:
            raise RuncastError("new tokens come too fast; the one before goes on", code="rate_limited", retry_after_s=wait_s)
        self._token = token
        return self._begin()

    def end_check(self) -> list[str]:
        """It was checked, and the session goes on; returns the one to check next."""
        self._checking = False
        return self._begin()

    def let_go(self) -> list[Send]:
        """What was held, in order, once no token is being checked any more; until then nothing."""
        if self._checking:
            return []
        held, self._held = self._held, []
        return held

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
