"""What was seen in a trial, record by record: the only thing that the checker is given. Pure; one JSON line a record.

Times (`t`) are seconds of the machine's monotonic clock, which all its processes share. Who writes what:

    agents    Planned, then Acked as it is acknowledged; Failed when the library gives a run up; Receipted; Taken, Handled
    devices   Opened, Framed (every batch frame as it came, repeats too), Dropped (the connection ended), Sent, Answered
    the trial Injected (a fault, and when it was healed)

A record is written before what it tells of can have an effect (Planned, Sent, Framed), or after it is certain (Acked, Answered), so a
process that is killed never leaves an effect without its record.

Never imports asyncio, sockets, the clock, or the rest of the testkit.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec


class Record(msgspec.Struct, tag_field="is", kw_only=True, omit_defaults=True):
    """What all have in common: when."""

    t: float


class Planned(Record, tag="planned"):
    """An agent is about to begin an attempt of a run, and means to emit these kinds, from seq 1 on, in this order."""

    user: str
    run: str
    attempt: int
    agent: str
    kinds: list[str]


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
    """An agent was handed a message; `stamp` is when an edge took it in (ms), so two stamps mean that it was stored twice."""

    id: str
    user: str
    agent: str
    tries: int
    stamp: int


class Handled(Record, tag="handled"):
    """The agent acknowledged the message."""

    id: str
    user: str
    agent: str


class Parked(Record, tag="parked"):
    """The message was set aside after too many tries, visibly: not lost."""

    id: str
    user: str


class Opened(Record, tag="opened"):
    """A device got its welcome.

    Attributes:
        asked: what its hello said; "" for its cursor.
        trick: what is wrong with `asked`, on purpose: old, future, foreign, epoch, malformed; "" when it is honest.
        outcome: resumed, reset, snapshot.
        position: prev of the first frame to come.
        tip: newest position then.
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


class Seen(msgspec.Struct, array_like=True):
    """An event as a frame carried it. `first`: first_seq, when it stands for several; `ms`: its own time, since the Unix epoch."""

    id: str
    kind: str
    run: str = ""
    attempt: int = 0
    seq: int = 0
    first: int = 0
    ms: int = 0


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
    """A device is about to send a message."""

    id: str
    user: str
    device: str


class Answered(Record, tag="answered"):
    """What the edge said of it: "stored", or the code of its refusal; "" when no answer came in time."""

    id: str
    user: str
    device: str
    outcome: str
    definite: bool = True
    duplicate: bool = False


class Injected(Record, tag="injected"):
    """A fault was put in at `t` and healed at `healed`."""

    kind: str
    target: str
    healed: float
    what: str = ""


class Settled(Record, tag="settled"):
    """All faults are healed, nothing new is sent, and it was quiet: from here on everything owed has been delivered, or is lost."""

    devices: list[tuple[str, str]]
    """(user, device) of those that were connected then, and are owed everything."""


AnyRecord = (
    Planned | Acked | Failed | Receipted | Taken | Handled | Parked | Opened | Framed | Dropped | Sent | Answered | Injected | Settled
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
