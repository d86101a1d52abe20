"""What the machine of a device's connection (`runcast.edge.session`) wants done, in order; and the frame that it begins with.

Pure: imports no asyncio, clock, random, logging, nats, aiohttp.
"""

from collections.abc import Sequence
from typing import NamedTuple

from runcast.edge.entry import Entry
from runcast.edge.replay import Plan
from runcast.wire import VERSION, limits
from runcast.wire.errors import RuncastError
from runcast.wire.frames import Error, Hello, Limits, RunSummary, Send, ServerFrame, Welcome
from runcast.wire.ids import UserKey
from runcast.wire.position import Position


class Control(NamedTuple):
    """Send this frame, ahead of data."""

    frame: ServerFrame


class Data(NamedTuple):
    """Send these bytes, an encoded batch frame, after all data before it: so many events, which stand for these entries.

    A frame of a snapshot stands for none.
    """

    payload: bytes
    events: int
    entries: Sequence[Entry]


class Open(NamedTuple):
    """Find the device's place (`opened` answers): its hello."""

    hello: Hello


class Read(NamedTuple):
    """Read the log from `seq` on, inclusive (`history` answers)."""

    seq: int


class Acked(NamedTuple):
    """The device handled everything up to `seq`; `awaited`: somebody waits to hear of it."""

    seq: int
    awaited: bool = False


class Store(NamedTuple):
    """Store what the device sent (`stored` or `refused` answers)."""

    send: Send


class Reauthenticate(NamedTuple):
    """Check a new token; it must be the same user's."""

    token: str


class Probe(NamedTuple):
    """Send a WebSocket ping."""


class Wake(NamedTuple):
    """Call `tick` after so many seconds."""

    after_s: float


class Close(NamedTuple):
    """Close the connection, after what was to be sent."""

    code: str
    message: str


Effect = Control | Data | Open | Read | Acked | Store | Reauthenticate | Probe | Wake | Close


def welcome(
    user: UserKey,
    device: str,
    edge: str,
    plan: Plan,
    position: Position,
    tip: Position,
    runs: list[RunSummary],
    token_expires_in_ms: int = 0,
) -> Control:
    """The first frame of a connection.

    Args:
        user: whose device it is.
        device: its id.
        edge: id of this edge.
        plan: how it goes on.
        position: what the first batch follows on.
        tip: where the stream ends now.
        runs: those under way, when a snapshot begins.
        token_expires_in_ms: how long the token still counts; 0: nobody knows.
    """
    bounds = Limits(limits.FRAME_BYTES_MAX, limits.WINDOW_EVENTS, limits.WINDOW_BYTES, int(limits.PING_INTERVAL_S * 1000))
    return Control(
        Welcome(
            plan.outcome,
            position=str(position),
            tip=str(tip),
            tenant=user.tenant,
            user=user.user,
            device=device,
            limits=bounds,
            edge=edge,
            version=VERSION,
            reason=plan.reason,
            runs=runs,
            token_expires_in_ms=token_expires_in_ms,
        )
    )


def error_frame(error: RuncastError, send_id: str) -> Error:
    """What a device is told of an error; `send_id`: of the send that it is about, "" for none."""
    row = error.code
    return Error(row.name, error.message, send_id, row.retry, row.definite, int(error.retry_after_s * 1000))
