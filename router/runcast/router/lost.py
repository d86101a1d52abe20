"""What a run's key says, who may go on with the run, and how a run ends whose agent went away (ARCHITECTURE.md, "Run leases").

Theory. Each attempt that is under way has a key in RUNS, written before its first batch is stored. Whoever changes the key from one
revision to the next decides: a router that takes the run over touches it, a router that declares it lost writes `lost`; one of the two
meets another revision than it read, and looks again. A closed key stays for a while as a tombstone, for what is sent again.

    (none) -- batch 1 --> open -- touched by the next router --> open
                           open -- its end is stored ----------> ended   (tombstone)
                           open -- no lease, or given up ------> lost --- said in the log, or needless ---> lost, settled   (tombstone)

An attempt has one key, and the key has one producer: the first to write it.

Rules: a batch behind the first is taken only under an open key; of an ended attempt only what may be a resend. What a lost run shows is
decided by the log alone (`Case`), so that a second router that finishes the work of one which died says the same, or nothing.

Pure: imports no asyncio, clock, random, logging, grpc, nats.
"""

import enum
from typing import Final, Literal

import msgspec

from runcast.v1.event_pb2 import TOOL_STATUS_CANCELLED, Batch, Event, RunLost, ToolCompleted, User
from runcast.wire import limits
from runcast.wire.errors import LifecycleError, RuncastError
from runcast.wire.ids import event_id
from runcast.wire.lifecycle import Step, ends_run, step_of
from runcast.wire.subjects import RunPlace

WRITER: Final = "router"
"""Producer of the batches that routers write."""


class RunRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a run's key.

    Attributes:
        state: of the attempt.
        after: the attempt's batches lie behind this seq of the shard.
        number: the batch that ended it; 0 unless `ended`.
        settled: nothing is to be done about it any more.
    """

    state: Literal["open", "lost", "ended"]
    after: int = 0
    number: int = 0
    settled: bool = False

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)


def parse_record(value: bytes) -> RunRecord | None:
    """Read a key's value; None for a marker, and for what no router wrote."""
    try:
        return msgspec.json.decode(value, type=RunRecord)
    except msgspec.DecodeError:
        return None


class Claim(enum.Enum):
    """What a router does about a run's key before it stores a batch."""

    CREATE = "create"
    TOUCH = "touch"
    RESEND = "resend"


def judge_claim(record: RunRecord | None, attempt: int, number: int) -> Claim:
    """Decide whether a batch may be stored, by the key of its run.

    Args:
        record: what the key says; None when there is none.
        attempt: of the batch.
        number: of the batch.

    Raises:
        RuncastError: `run_lost`.
        LifecycleError: the run has ended.
    """
    if record is None:
        if number == 1:
            return Claim.CREATE
        raise lost_error(attempt)
    if record.state == "open":
        return Claim.TOUCH
    if record.state == "lost":
        raise lost_error(attempt)
    if number > record.number:
        raise LifecycleError("the run has ended; start another run")
    return Claim.RESEND  # a resend: storage recognises it


def lost_error(attempt: int) -> RuncastError:
    """What the producer of a lost run is told."""
    return RuncastError(
        f"attempt {attempt} of this run was declared lost while its agent was away; begin attempt {attempt + 1}", code="run_lost"
    )


def taken_error(attempt: int) -> RuncastError:
    """What a producer is told that begins an attempt which another one has."""
    return RuncastError(
        f"attempt {attempt} of this run is another producer's; begin attempt {attempt + 1}, or leave the run to it", code="attempt_taken"
    )


class Outcome(enum.Enum):
    """What became of a run whose agent went away."""

    UNSEEN = "unseen"
    """Nothing of the attempt is in the log: there is nothing to end."""
    ENDED = "ended"
    """Its end is in the log."""
    SUPERSEDED = "superseded"
    """A higher attempt has started."""
    LOST = "lost"
    """It stands open on every screen."""


class Case:
    """One attempt whose agent went away, and what the user's log tells of it.

    Args:
        place: the run, attempt and user.
    """

    def __init__(self, place: RunPlace) -> None:
        self.place = place
        self._number = 0
        self._last: Event | None = None
        self._tools: dict[str, str] = {}
        self._ended = False
        self._superseded = False

    @property
    def number(self) -> int:
        """The newest batch of the attempt."""
        return self._number

    def note(self, batch: Batch) -> bool:
        """Take the next batch of the user's log, whosever run it is of; returns whether it says something about this one."""
        if batch.run_id != self.place.run_id or batch.attempt < self.place.attempt or not batch.events:
            return False
        if batch.attempt > self.place.attempt:
            self._superseded = True
            return True
        self._number = max(self._number, batch.number)
        for event in batch.events:
            self._ended = self._ended or ends_run(event)
            step = step_of(event)
            if step is Step.TOOL_BEGIN:
                self._tools[event.tool_executing.tool_call_id] = event.tool_executing.tool
            elif step is Step.TOOL_END:
                self._tools.pop(event.tool_completed.tool_call_id, None)
        self._last = batch.events[-1]
        return True

    @property
    def outcome(self) -> Outcome:
        """By what was noted so far."""
        if self._ended:
            return Outcome.ENDED
        if self._superseded:
            return Outcome.SUPERSEDED
        return Outcome.UNSEEN if self._last is None else Outcome.LOST

    def closing(self, reason: str, now_ms: int) -> Batch:
        """The batch that ends a LOST attempt: its open tools, then `run_lost`.

        Args:
            reason: for people.
            now_ms: the events' time, Unix milliseconds.
        """
        assert self._last is not None  # noqa: S101 # LOST says so
        kinds = [
            Event(tool_completed=ToolCompleted(tool_call_id=call, tool=tool, status=TOOL_STATUS_CANCELLED))
            for call, tool in list(self._tools.items())[: limits.BATCH_EVENTS_MAX - 1]  # readers close the rest by themselves
        ]
        kinds.append(Event(run_lost=RunLost(reason=reason)))
        place, last = self.place, self._last
        for seq, event in enumerate(kinds, last.seq + 1):
            event.id = event_id(place.run_id, place.attempt, seq)
            event.run_id, event.attempt, event.seq = place.run_id, place.attempt, seq
            event.time_unix_ms = now_ms
            event.agent, event.thread = last.agent, last.thread
            event.parent_run_id, event.traceparent = last.parent_run_id, last.traceparent
        user = User(tenant=place.user.tenant, id=place.user.user)
        return Batch(user=user, producer=WRITER, run_id=place.run_id, attempt=place.attempt, number=self._number + 1, events=kinds)
