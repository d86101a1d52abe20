"""What was seen in a trial, record by record: the only thing that the checker is given. Pure; one JSON line a record.

Times (`t`) are seconds of the machine's monotonic clock, which all its processes share. Who writes what:

    agents    Planned, then Acked as it is acknowledged; Failed when the library gives a run up; Receipted; Taken, then Handled or Returned
    devices   Opened, Framed (every batch frame as it came, repeats too), Dropped (the connection ended), Sent or CancelSent, then Answered
    the trial Injected (a fault, and when it was healed), Parked (what it found put aside), Settled

A record is written before what it tells of can have an effect (Planned, Sent, Framed, Handled), or after it is certain (Acked, Answered),
so a process that is killed never leaves an effect without its record.

Never imports asyncio, sockets, the clock, or the rest of the testkit.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec


class Record(msgspec.Struct, tag_field="is", kw_only=True, omit_defaults=True):
    """What all have in common: when."""

    t: float


class Planned(Record, tag="planned"):
    """An agent is about to begin an attempt of a run, and means to emit these kinds, from seq 1 on, in this order.

    Attributes:
        agent: its name; "" when no agent told, and the plan was made of what was seen: then neither cancels nor losses are judged.
        words: of each delta, see `delta_text`; 0: nothing is known of the texts.
    """

    user: str
    run: str
    attempt: int
    agent: str
    kinds: list[str]
    words: int = 0


class Acked(Record, tag="acked"):
    """All events of the attempt up to `upto` are acknowledged; `pos` is the position of the last of them."""

    user: str
    run: str
    attempt: int
    upto: int
    pos: str


class Failed(Record, tag="failed"):
    """The library gave the attempt up: `unsure` events are indeterminate, `dropped` ones are not stored for certain."""

    user: str
    run: str
    attempt: int
    unsure: list[int] = []
    dropped: list[int] = []
    why: str = ""


class Receipted(Record, tag="receipted"):
    """A receipt for everything up to `upto`: stored, delivered (to `device`), expired or offline."""

    user: str
    run: str
    attempt: int
    upto: int
    outcome: str
    device: str = ""
    latency_ms: float = 0.0


class Taken(Record, tag="taken"):
    """An agent was handed a message.

    Attributes:
        tries: how often it was, as the agent was told.
        stamp: when an edge took it in (ms), so two stamps mean that it was stored twice.
        worker: this life of the agent.
    """

    id: str
    user: str
    agent: str
    tries: int
    stamp: int
    worker: str = ""


class Handled(Record, tag="handled"):
    """The agent is about to say that it is done with the message."""

    id: str
    user: str
    agent: str
    worker: str = ""


class Returned(Record, tag="returned"):
    """The agent is about to give the message back, for somebody to try again."""

    id: str
    user: str
    agent: str
    worker: str = ""


class Parked(Record, tag="parked"):
    """The message was found among those that were set aside.

    Attributes:
        user: whose it is there.
        tries: how often it had been handed out, as is said there.
    """

    id: str
    user: str
    tries: int = 0


class Opened(Record, tag="opened"):
    """A device got its welcome.

    Attributes:
        asked: what its hello said; "" for its cursor.
        trick: what is wrong with `asked`, on purpose: old, future, foreign, epoch, malformed; "" when it is honest.
        outcome: resumed, reset, snapshot.
        position: prev of the first frame to come.
        tip: newest position then.
        slow: it acknowledges late on purpose, so that how long things take it says nothing.
        wants: whether it asked for a snapshot (True), forbade it (False), or left it to the edge.
        runs: run, attempt and newest seq of those that are said to be under way.
    """

    user: str
    device: str
    edge: str
    asked: str
    outcome: str
    position: str
    tip: str
    trick: str = ""
    reason: str = ""
    slow: bool = False
    wants: bool | None = False
    runs: list[tuple[str, int, int]] = []


class Seen(msgspec.Struct, array_like=True):
    """An event as a frame carried it.

    Attributes:
        first: first_seq, when it stands for several.
        ms: its own time, since the Unix epoch.
        digest: CRC-32 of its text (agent_response) or of all of it but first_seq (every other kind); 0: not known.
    """

    id: str
    kind: str
    run: str = ""
    attempt: int = 0
    seq: int = 0
    first: int = 0
    ms: int = 0
    digest: int = 0


class Framed(Record, tag="framed"):
    """A batch frame as it came. `ms`: the time of day, to be compared with the events' own."""

    user: str
    device: str
    prev: str
    pos: str
    events: list[Seen] = []
    ms: int = 0


class Dropped(Record, tag="dropped"):
    """The device's connection ended; `meant`: by the device itself."""

    user: str
    device: str
    code: int = 0
    meant: bool = False


class Sent(Record, tag="sent"):
    """A device is about to send a message. `poison`: no agent will settle it."""

    id: str
    user: str
    device: str
    poison: bool = False


class CancelSent(Record, tag="cancel_sent"):
    """A device is about to ask for the end of a run."""

    id: str
    user: str
    device: str
    run: str


class Answered(Record, tag="answered"):
    """What the edge said of it: "stored", or the code of its refusal; "" when no answer came in time."""

    id: str
    user: str
    device: str
    outcome: str
    definite: bool = True
    duplicate: bool = False


class Injected(Record, tag="injected"):
    """A fault was put in at `t` and healed at `healed`. `status`: with which a process ended that was asked to end."""

    kind: str
    target: str
    healed: float
    what: str = ""
    status: int = 0


class Settled(Record, tag="settled"):
    """All faults are healed, nothing new is sent, and it was quiet: from here on everything owed has been delivered, or is lost."""

    devices: list[tuple[str, str]]
    """(user, device) of those that were connected then, and are owed everything."""


AnyRecord = (
    Planned
    | Acked
    | Failed
    | Receipted
    | Taken
    | Handled
    | Returned
    | Parked
    | Opened
    | Framed
    | Dropped
    | Sent
    | CancelSent
    | Answered
    | Injected
    | Settled
)

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(AnyRecord)


def to_line(record: AnyRecord) -> bytes:
    """One record as a line."""
    return _encoder.encode(record) + b"\n"


def from_lines(lines: Iterable[bytes]) -> Iterator[AnyRecord]:
    """Records from lines. An empty line, and one that is cut off (its writer was killed while it wrote), is left out.

    Raises:
        msgspec.ValidationError: a whole line is no record.
    """
    for line in lines:
        if line.strip():
            try:
                yield _decoder.decode(line)
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                continue


def event_id(run: str, attempt: int, seq: int) -> str:
    """Id of a run's event, as PROTOCOL.md says ("Events")."""
    return f"{run}.{attempt}.{seq}"


def emitted_at(record: Framed, event: Seen) -> float:
    """When an event was emitted, seconds of the monotonic clock; when it came, if that is not known."""
    return record.t - (record.ms - event.ms) / 1000 if event.ms and record.ms else record.t


def delta_text(seq: int, words: int) -> str:
    """What the delta at `seq` of an attempt says: nothing else in the attempt says the same."""
    return f"{seq} " * words


def delta_digest(seqs: Iterable[int], words: int) -> int:
    """`Seen.digest` of the deltas at `seqs`, joined."""
    digest = 0
    for seq in seqs:
        digest = zlib.crc32(delta_text(seq, words).encode(), digest)
    return digest
