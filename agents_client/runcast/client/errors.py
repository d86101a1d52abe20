"""What the client library raises, beside the tree of `runcast.wire.errors`.

    RuncastError
    ├── EventTooLargeError           event_too_large: raised to the caller, nothing was queued
    ├── OutboxFullError              rate_limited: with when_full="raise"; else callers wait
    ├── OutboxClosedError            outbox_closed
    ├── SpillError                   spill_unusable: another process has the file, or it is none
    ├── NoAnswerError                no_answer: nobody answered in time; a TimeoutError too
    ├── UnsentError                  what `close()` could not get rid of
    ├── RefusedError
    │   └── RunRefusedError          the router did not take a batch; the run failed
    └── UnavailableError
        └── RunIndeterminateError    a batch may or may not be stored, and it can't be known any more; the run failed

Never imports asyncio, grpc or the clock.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from runcast.v1.event_pb2 import Event
from runcast.wire.errors import RefusedError, RuncastError, UnavailableError
from runcast.wire.ids import UserKey


class RunKey(NamedTuple):
    """One attempt of one run of one user."""

    user: UserKey
    run_id: str
    attempt: int


class Leftover(NamedTuple):
    """What of a run was not acknowledged.

    Attributes:
        key: the run.
        unsure: events that were sent and not answered: they may be stored.
        unsent: events that were never sent: they are not stored.
    """

    key: RunKey
    unsure: tuple[Event, ...]
    unsent: tuple[Event, ...]


class EventTooLargeError(RuncastError):
    """An event is larger than `limits.EVENT_BYTES_MAX`. Nothing was queued; the run goes on."""

    default_code = "event_too_large"


class OutboxFullError(RuncastError):
    """The outbox has no room; nothing was queued. Callers that did not ask for it (`when_full="raise"`) wait instead."""

    default_code = "rate_limited"


class OutboxClosedError(RuncastError):
    """The Runcast was closed."""

    default_code = "outbox_closed"


class SpillError(RuncastError):
    """The spill file can't be used."""

    default_code = "spill_unusable"


class NoAnswerError(RuncastError, TimeoutError):
    """Nobody answered a question in time, and it has no default."""

    default_code = "no_answer"


_RUNS_SHOWN = 3
"""Runs that the text of an UnsentError names."""


class UnsentError(RuncastError):
    """`close()` ran out of time.

    Attributes:
        leftovers: by run, what may be stored and what is certainly not.
    """

    default_code = "unavailable"

    def __init__(self, leftovers: Sequence[Leftover], why: str) -> None:
        unsure = sum(len(left.unsure) for left in leftovers)
        unsent = sum(len(left.unsent) for left in leftovers)
        shown = [_describe(left) for left in leftovers[:_RUNS_SHOWN]]
        if len(leftovers) > _RUNS_SHOWN:
            shown.append(f"and {len(leftovers) - _RUNS_SHOWN} runs more")
        doubt = f", {unsure} were sent and not answered (they may be stored)" if unsure else ""
        super().__init__(
            f"closed {why} with {unsent} events never sent{doubt}, of {len(leftovers)} runs: {'; '.join(shown)}. All are in `leftovers`: "
            "emit them again in the next attempt of their runs, or give `close` more time",
            code="indeterminate" if unsure else "unavailable",
        )
        self.leftovers = tuple(leftovers)


def _describe(left: Leftover) -> str:
    """A run, and how many events of which kind are left of it, in order of appearance."""
    kinds = Counter(event.WhichOneof("kind") or "unknown" for event in left.unsure + left.unsent)
    counts = ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in kinds.items())
    return f"run {left.key.run_id!r} attempt {left.key.attempt} of user {left.key.user.user!r} ({counts})"


class RunRefusedError(RefusedError):
    """A router refused a batch for good; the run failed, and nothing of `dropped` is stored.

    With code `run_lost` the agent was away too long: a router has ended the attempt on the user's screen. What was under way when the agent
    went away may be stored; the next attempt supersedes it all. With code `attempt_taken` another producer has begun the same attempt (it
    was handed the same message, say), and goes on with it.

    Attributes:
        dropped: the refused events and those that waited behind them.
    """

    def __init__(self, message: str, *, code: str, dropped: tuple[Event, ...]) -> None:
        super().__init__(message, code=code)
        self.dropped = dropped


class RunIndeterminateError(UnavailableError):
    """A batch may or may not be stored, and can't be sent again safely; the run failed. A new attempt of it supersedes both cases.

    Attributes:
        unsure: the events of that batch.
        unsent: the events that waited behind it: they are not stored.
    """

    default_code = "indeterminate"

    def __init__(self, message: str, *, unsure: tuple[Event, ...], unsent: tuple[Event, ...]) -> None:
        super().__init__(message)
        self.unsure = unsure
        self.unsent = unsent
