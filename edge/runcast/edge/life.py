"""The life of a device's connection: its states, and the times that end it. Pure.

    NEW ── hello ──► RESUMING ── caught up ──► LIVE ⇄ BEHIND         any ──► DRAINING ──► CLOSED

Rules: nobody stays longer than their token counts; who does not say hello in time, or is silent for too long, is sent away; before that
a silent peer is asked once whether it is there. One that was told to go is closed when its grace is over.
"""

import enum
import math
from typing import Final, NamedTuple

from runcast.wire import limits


class State(enum.Enum):
    """Where a session is in its life."""

    NEW = "new"
    RESUMING = "resuming"
    LIVE = "live"
    BEHIND = "behind"
    DRAINING = "draining"
    CLOSED = "closed"


NEXT: Final[dict[State, frozenset[State]]] = {
    State.NEW: frozenset({State.RESUMING, State.CLOSED}),
    State.RESUMING: frozenset({State.LIVE, State.BEHIND, State.DRAINING, State.CLOSED}),
    State.LIVE: frozenset({State.BEHIND, State.DRAINING, State.CLOSED}),
    State.BEHIND: frozenset({State.LIVE, State.DRAINING, State.CLOSED}),
    State.DRAINING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}


class Overdue(NamedTuple):
    """Time is over: end the connection with this row of the code table."""

    code: str
    message: str


class Life:
    """Of one connection.

    Args:
        now: monotonic seconds; so are all `now` below.
    """

    __slots__ = ("_close_at", "_expires_at", "_heard_at", "_opened_at", "_probed", "state")

    def __init__(self, now: float) -> None:
        self.state = State.NEW
        self._opened_at = now
        self._heard_at = now
        self._probed = False
        self._close_at: float | None = None
        self._expires_at = math.inf

    def enter(self, state: State) -> None:
        """Go to another state."""
        assert state in NEXT[self.state], f"{self.state} -> {state}"  # noqa: S101 # the table is the invariant
        self.state = state

    def heard(self, now: float) -> None:
        """Anything at all arrived."""
        self._heard_at = now
        self._probed = False

    def close_at(self, at: float) -> None:
        """The peer was told to go, and is closed then."""
        self._close_at = at

    def expire_at(self, at: float) -> None:
        """The token that the peer gave last counts until then."""
        self._expires_at = at

    def expires_in_ms(self, now: float | None) -> int:
        """How long the token still counts, at least 1; 0: no end of it is known, or no now."""
        return 0 if now is None or self._expires_at == math.inf else max(1, int((self._expires_at - now) * 1000))

    def overdue(self, now: float) -> Overdue | None:
        """Whether the time for something is over."""
        if now >= self._expires_at:
            return Overdue("token_expired", "the token is over; get a new one, then connect again with it")
        if self._close_at is not None and now >= self._close_at:
            return Overdue("draining", "this edge is stopping; connect again, to any other")
        if self.state is State.NEW and now - self._opened_at >= limits.HELLO_TIMEOUT_S:
            return Overdue("hello_timeout", f"no hello within {limits.HELLO_TIMEOUT_S:.0f} s")
        if now - self._heard_at >= limits.DEAD_AFTER_S:
            return Overdue("silent", f"nothing was heard for {limits.DEAD_AFTER_S:.0f} s")
        return None

    def wants_probe(self, now: float) -> bool:
        """Whether to ask now if the peer is there; said once in a silence."""
        if self._probed or now - self._heard_at < limits.PING_INTERVAL_S:
            return False
        self._probed = True
        return True
