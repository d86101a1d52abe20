"""How a process is doing: one state for each thing it depends on, with the reason (PROTOCOL.md, "Health").

    state / input   connected     disconnected   verified   failed
    starting        starting      starting       ok         starting
    ok              ok            unavailable    ok         degraded
    degraded        degraded      unavailable    ok         degraded
    unavailable     degraded      unavailable    ok         unavailable

*starting*: it was never in order yet. *ok*: it is. *degraded*: it can be reached, and does not do all that it should. *unavailable*: it
can't be reached. Only a verification makes a thing ok: that it can be reached is not enough.

Rules: attempts to get it back are counted from the moment it was last ok, and the times that it came back for good; both counts stop
at `limits.HEALTH_COUNT_MAX`. How often attempts are made is bounded where they are made (backoff). A process is as well as the worst of
what it depends on.

Pure: `now` (monotonic seconds) is an argument; imports no asyncio, clock, randomness, logging, grpc, nats or aiohttp.
"""

from enum import Enum
from typing import Any, Final

from runcast.wire import limits


class State(Enum):
    """Of a dependency, from best to worst."""

    OK = "ok"
    DEGRADED = "degraded"
    STARTING = "starting"
    UNAVAILABLE = "unavailable"


class Input(Enum):
    """What was noticed of a dependency."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    VERIFIED = "verified"
    FAILED = "failed"


_S, _O, _D, _U = State.STARTING, State.OK, State.DEGRADED, State.UNAVAILABLE
TABLE: Final[dict[State, dict[Input, State]]] = {
    _S: {Input.CONNECTED: _S, Input.DISCONNECTED: _S, Input.VERIFIED: _O, Input.FAILED: _S},
    _O: {Input.CONNECTED: _O, Input.DISCONNECTED: _U, Input.VERIFIED: _O, Input.FAILED: _D},
    _D: {Input.CONNECTED: _D, Input.DISCONNECTED: _U, Input.VERIFIED: _O, Input.FAILED: _D},
    _U: {Input.CONNECTED: _D, Input.DISCONNECTED: _U, Input.VERIFIED: _O, Input.FAILED: _U},
}
_WORST_LAST: Final = list(State)


class Dependency:
    """One thing that a process depends on.

    Args:
        name: for people and programs, such as "nats".
        now: monotonic seconds.

    Attributes:
        state: how it is.
        reason: why it is not ok; "" when it is.
        since: when the state began, monotonic seconds.
        attempts: failures and losses since it was last ok.
        recoveries: how often it became ok again after it had been.
    """

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.state = State.STARTING
        self.reason = "not reached yet"
        self.since = now
        self.attempts = 0
        self.recoveries = 0

    def connected(self, now: float) -> None:
        """It can be reached; what it is worth is not known yet."""
        self._move(Input.CONNECTED, "connected, not verified yet", now)

    def disconnected(self, now: float, reason: str) -> None:
        """It can't be reached any more."""
        self._move(Input.DISCONNECTED, reason, now)

    def verified(self, now: float) -> None:
        """It is as it should be."""
        self._move(Input.VERIFIED, "", now)

    def failed(self, now: float, reason: str) -> None:
        """It did not do what was asked."""
        self._move(Input.FAILED, reason, now)

    def report(self, now: float) -> dict[str, Any]:
        """For JSON."""
        return {
            "state": self.state.value,
            "reason": self.reason,
            "for_s": round(now - self.since, 1),
            "attempts": self.attempts,
            "recoveries": self.recoveries,
        }

    def _move(self, what: Input, reason: str, now: float) -> None:
        before, self.state = self.state, TABLE[self.state][what]
        if self.state is State.OK:
            if before in (State.DEGRADED, State.UNAVAILABLE):
                self.recoveries = min(self.recoveries + 1, limits.HEALTH_COUNT_MAX)
            self.reason, self.attempts = "", 0
        else:
            self.reason = reason[: limits.REFUSAL_CHARS_MAX]
            if what in (Input.DISCONNECTED, Input.FAILED):
                self.attempts = min(self.attempts + 1, limits.HEALTH_COUNT_MAX)
        if self.state is not before:
            self.since = now


class Dependencies:
    """All that a process depends on.

    Args:
        now: monotonic seconds.

    Attributes:
        nats: the connection to NATS.
        storage: the deployment's streams: there, as they should be, and taking what is given them.
        keys: for what is stored sealed: the keys file is good, and what is read opens.
    """

    def __init__(self, now: float) -> None:
        self.nats = Dependency("nats", now)
        self.storage = Dependency("storage", now)
        self.keys = Dependency("keys", now)

    @property
    def each(self) -> tuple[Dependency, ...]:
        """In the order in which one depends on the other."""
        return (self.nats, self.storage, self.keys)

    @property
    def state(self) -> State:
        """Of the process: the worst of all."""
        return max((dependency.state for dependency in self.each), key=_WORST_LAST.index)

    @property
    def reason(self) -> str:
        """Why the process is not ok: the first that is not; "" when all are."""
        return next((f"{d.name}: {d.reason}" for d in self.each if d.state is not State.OK), "")

    def report(self, now: float) -> dict[str, Any]:
        """For JSON: the process's state and each dependency's."""
        return {"state": self.state.value, "dependencies": {d.name: d.report(now) for d in self.each}}
