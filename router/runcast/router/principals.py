"""Who has a stream open here, so that what is withdrawn ends at once, and what runs out is renewed in time.

Rules:
- Another auth file counts for open streams too: what an agent may do is what the file in force grants, and who is not in it any more loses
  its streams.
- Shortly before a token is over, its streams are sent away (GoAway): a client comes back with a new token, and nothing is lost. A stream
  that is still there when it is over ends with `token_expired`.
- Whom an operator revokes or disconnects loses its streams (`runcast.bus.guard`).
- One clock for all of them, no timer each.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from runcast.bus.denials import Denials
from runcast.bus.guard import Guest
from runcast.bus.identity.authfile import AuthFile
from runcast.bus.revocations import Peer
from runcast.router.auth import Principal
from runcast.router.node import Leavable
from runcast.wire import limits_identity as limits
from runcast.wire.errors import RuncastError

Check = Callable[[], None]
"""Raises RuncastError when what a stream does is not granted any more."""


class _Place:
    """A stream, and whose it is."""

    def __init__(self, stream: Leavable, principal: Principal, check: Check, denials: Denials) -> None:
        self.principal = principal
        self.check = check
        self.leaving = False
        self._stream = stream
        self._denials = denials
        self._ended = False

    @property
    def peer(self) -> Peer | None:
        """See `guard.Guest`."""
        return None if self._ended else self.principal.peer

    def expel(self, error: RuncastError) -> None:
        """See `guard.Guest`."""
        self._ended = True
        self._denials.note(self.principal.name, error.code.name, error.message)
        self._stream.refuse(error)


class Principals:
    """The open streams of a router, and whose they are. `run` must be running.

    Args:
        denials: told about those that lose their streams.
        clock: Unix seconds.
    """

    def __init__(self, denials: Denials, clock: Callable[[], float] = time.time) -> None:
        self._denials = denials
        self._clock = clock
        self._places: dict[Leavable, _Place] = {}

    @contextmanager
    def holding(self, stream: Leavable, principal: Principal, check: Check = lambda: None) -> Iterator[None]:
        """Look after a stream while the block lasts."""
        self._places[stream] = _Place(stream, principal, check, self._denials)
        try:
            yield
        finally:
            del self._places[stream]

    async def run(self) -> None:
        """Look at the clock; never returns."""
        while True:
            await asyncio.sleep(limits.PRINCIPALS_CHECK_S)
            self.tick(self._clock())

    def tick(self, now: float) -> None:
        """Send away whose token is nearly over, and end whose is."""
        for stream, place in list(self._places.items()):
            left_s = place.principal.expires_at - now
            if left_s <= 0.0:
                place.expel(RuncastError("the token is over; come back with a new one", code="token_expired"))
            elif left_s <= limits.AGENT_TOKEN_RENEW_S and not place.leaving:
                place.leaving = True
                stream.leave("the token is nearly over; come back with a new one", int(left_s * 1000))

    def reload(self, file: AuthFile) -> None:
        """Another auth file is in force."""
        for place in list(self._places.values()):
            principal = place.principal
            if principal.find is None:
                continue
            agent = principal.find(file)
            if agent is None:
                place.expel(RuncastError("the token is not accepted any more; get a valid one, then connect again", code="unauthenticated"))
                continue
            principal.scopes = agent.scopes
            try:
                place.check()
            except RuncastError as exc:
                place.expel(exc)

    def guests(self) -> Collection[Guest]:
        """All of them, for the guard."""
        return self._places.values()
