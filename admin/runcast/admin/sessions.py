"""Who is logged in to the pages of this process. Pure: `now` (monotonic seconds) and randomness are arguments.

Rules
1. A browser has a secret of 32 random bytes in a cookie; what is kept is its SHA-256, so that this memory lets nobody in.
2. A session is over `limits_admin.SESSION_S` after it began, or `SESSION_IDLE_S` after it was last used, or when its operator logs out.
3. Who it is, and in which roles, is asked at every request of the auth file in force: what was withdrawn there ends at once.
4. At most `limits_admin.SESSIONS_MAX`; the next takes the place of the longest unused.

Imports no asyncio, clock, random, logging, grpc, nats, aiohttp.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from runcast.bus.identity.admins import Admin
from runcast.wire import limits_admin

Find = Callable[[], Admin | None]
"""Whose credentials these are, by the auth file in force; None when nobody's."""


class Session:
    """One login.

    Attributes:
        find: who it is.
        began: monotonic seconds.
        used: monotonic seconds.
    """

    __slots__ = ("began", "find", "used")

    def __init__(self, find: Find, now: float) -> None:
        self.find = find
        self.began = now
        self.used = now

    def left_s(self, now: float) -> float:
        """How long it lasts if it is not used again, seconds."""
        return min(self.began + limits_admin.SESSION_S, self.used + limits_admin.SESSION_IDLE_S) - now


class Sessions:
    """All of a process."""

    def __init__(self) -> None:
        self._each: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        """How many are kept, some of which may be over."""
        return len(self._each)

    def open(self, secret: str, find: Find, now: float) -> Session:
        """Somebody logged in.

        Args:
            secret: for the cookie: random, and new.
            find: who it is.
            now: monotonic seconds.
        """
        session = self._each[_digest(secret)] = Session(find, now)
        while len(self._each) > limits_admin.SESSIONS_MAX:
            self._each.popitem(last=False)
        return session

    def use(self, secret: str, now: float) -> tuple[Session, Admin] | None:
        """The session of a cookie, and who it is; None when it is over, or there is none."""
        digest = _digest(secret)
        session = self._each.get(digest)
        if session is None:
            return None
        admin = session.find() if session.left_s(now) > 0.0 else None
        if admin is None:
            del self._each[digest]
            return None
        session.used = now
        self._each.move_to_end(digest)
        return session, admin

    def look(self, secret: str, now: float) -> Admin | None:
        """Who a session is of, if it is not over; that is no use of it."""
        session = self._each.get(_digest(secret))
        return session.find() if session is not None and session.left_s(now) > 0.0 else None

    def close(self, secret: str) -> None:
        """Its operator logged out."""
        self._each.pop(_digest(secret), None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
