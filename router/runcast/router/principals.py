"""Who has a stream open here, so that what is withdrawn ends at once, and what runs out is renewed in time.

Rules:
- Another auth file counts for open streams too: what an agent may do is what the file in force grants, and who is not in it any more loses
  its streams.
- Shortly before a token is over, its streams are sent away (GoAway): a client comes back with a new token, and nothing is lost. A stream
  that is still there when it is over ends with `token_expired`.
- One clock for all of them, no timer each.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runcast.bus.denials import Denials
from runcast.bus.identity.authfile import AuthFile
from runcast.router.auth import Principal
from runcast.router.node import Leavable
from runcast.wire import limits
from runcast.wire.errors import RuncastError

Check = Callable[[], None]
"""Raises RuncastError when what a stream does is not granted any more."""


class _Place:
    def __init__(self, principal: Principal, check: Check) -> None:
        self.principal = principal
        self.check = check
        self.leaving = False


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
        self._places[stream] = _Place(principal, check)
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
                self._end(stream, place, RuncastError("the token is over; come back with a new one", code="token_expired"))
            elif left_s <= limits.AGENT_TOKEN_RENEW_S and not place.leaving:
                place.leaving = True
                stream.leave("the token is nearly over; come back with a new one", int(left_s * 1000))

    def reload(self, file: AuthFile) -> None:
        """Another auth file is in force."""
        for stream, place in list(self._places.items()):
            principal = place.principal
            if principal.find is None:
                continue
            agent = principal.find(file)
            if agent is None:
                self._end(stream, place, RuncastError("the token is not accepted any more", code="unauthenticated"))
                continue
            principal.scopes = agent.scopes
            try:
                place.check()
            except RuncastError as exc:
                self._end(stream, place, exc)

    def end(self, chosen: Callable[[Principal], bool], error: RuncastError) -> int:
        """End the streams of the chosen principals; returns how many."""
        found = [(stream, place) for stream, place in self._places.items() if chosen(place.principal)]
        for stream, place in found:
            self._end(stream, place, error)
        return len(found)

    def _end(self, stream: Leavable, place: _Place, error: RuncastError) -> None:
        self._denials.note(place.principal.name, error.code.name, error.message)
        stream.refuse(error)
