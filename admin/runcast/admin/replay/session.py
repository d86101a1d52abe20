"""What an edge would say to one page, out of a recording: a pure machine.

Theory. A page that speaks runcast.v1.json can't tell where frames come from: it wants a chain. The chain of a recording goes from batch to
batch of it, whatever lay between them in the log; positions stay those of the log, so that what is seen can be looked up. It is told that
it is a replay, in `welcome`, and that it is caught up, so that it shows what comes as it comes.

Rules
1. Each page plays it for itself: from the beginning, or behind the position that it brings, if that is one of the recording.
2. Events of superseded attempts are left out, as edges leave them out.
3. What is acknowledged is not even looked at; what is sent is refused (`permission_denied`): a replay reaches nobody.
4. A batch that could not be opened is passed over: the recording says so, and whoever plays it is told before.

Inputs are synchronous and carry `now` (monotonic seconds). Knows no socket and no clock.
"""

from collections import deque
from collections.abc import Sequence

from runcast.admin.replay.export import Export
from runcast.admin.replay.pace import due_at
from runcast.wire import VERSION, limits
from runcast.wire.errors import FrameInvalidError
from runcast.wire.fence import Fence
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, Ack, Batch, Error, Hello, Limits, Ping, Pong, Send, ServerFrame, Welcome
from runcast.wire.position import EARLIEST, LATEST, Position

_CODEC = CODECS[JSON_SUBPROTOCOL]
_WELCOME_LIMITS = Limits(limits.FRAME_BYTES_MAX, limits.WINDOW_EVENTS, limits.WINDOW_BYTES, round(limits.PING_INTERVAL_S * 1000))


class Film:
    """A recording as frames, made once for all pages.

    Args:
        export: what was recorded.
        speed: how many times as fast; inf for no waits.
        gap_max_s: the longest wait, seconds.

    Attributes:
        head: of the recording.
        first: the position before it.
        places: of its batches, in their order.
        unreadable: batches that are passed over.
    """

    def __init__(self, export: Export, speed: float, gap_max_s: float) -> None:
        self.head = export.head
        batches = [batch for batch in export.batches if not batch.unreadable]
        self.unreadable = len(export.batches) - len(batches)
        self.first = str(Position(batches[0].epoch, max(batches[0].seq - 1, 0))) if batches else export.head.tip
        self.places = [str(Position(batch.epoch, batch.seq)) for batch in batches]
        self._stored_ms = [batch.stored_ms for batch in batches]
        self._speed, self._gap_max_s = speed, gap_max_s
        fence = Fence()
        self._frames = [
            _CODEC.encode(Batch(prev, pos, fence.pass_on(batch.events, batch.seq)))
            for prev, pos, batch in zip([self.first, *self.places], self.places, batches, strict=False)
        ]

    def begin(self, position: str) -> int:
        """The number of the batch that follows a position; 0 for one that is none of the recording's."""
        try:
            return self.places.index(position) + 1
        except ValueError:
            return 0

    def rest(self, begin: int) -> Sequence[tuple[float, bytes]]:
        """Frames from one on, and when each is due, seconds from now."""
        stored = self._stored_ms[max(begin - 1, 0) :]
        due = due_at(stored, self._speed, self._gap_max_s)[1 if begin else 0 :]
        return list(zip(due, self._frames[begin:], strict=True))


class PageSession:
    """One page's connection.

    Args:
        film: what is played.
    """

    def __init__(self, film: Film) -> None:
        self._film = film
        self._out: deque[bytes] = deque()
        self._rest: deque[tuple[float, bytes]] = deque()
        self._began = 0.0
        self._welcomed = False
        self.over = False

    def receive(self, payload: bytes, now: float) -> None:
        """A frame came.

        Raises:
            FrameInvalidError: it is none, or not the one that is expected.
        """
        frame = _CODEC.decode_client(payload)
        if isinstance(frame, Hello) != (not self._welcomed):
            raise FrameInvalidError("send hello first, once")
        match frame:
            case Hello():
                self._welcome(frame, now)
            case Ping():
                self._say(Pong())
            case Send():
                self._say(Error("permission_denied", "this is a replay: nothing that is sent reaches anybody", frame.id))
            case Ack() | _:
                pass

    def tick(self, now: float) -> None:
        """What is due is said."""
        while self._rest and self._began + self._rest[0][0] <= now:
            self._out.append(self._rest.popleft()[1])
        self.over = self._welcomed and not self._rest

    def deadline(self) -> float | None:
        """When `tick` is wanted; None when nothing is waited for."""
        return self._began + self._rest[0][0] if self._rest else None

    def take(self) -> list[bytes]:
        """Frames to send, in this order; each once."""
        taken = list(self._out)
        self._out.clear()
        return taken

    def _welcome(self, hello: Hello, now: float) -> None:
        film = self._film
        begin = film.begin(hello.position)
        known = begin or hello.position in ("", EARLIEST, LATEST, film.first)
        position = film.places[begin - 1] if begin else film.first
        self._welcomed = True
        self._say(
            Welcome(
                "resumed" if known else "reset",
                position,
                position,  # at once caught up: what comes is shown as it comes
                film.head.tenant,
                film.head.user,
                hello.device,
                _WELCOME_LIMITS,
                "replay",
                VERSION,
                "" if known else "unknown_epoch",
                replay=True,
            )
        )
        self._began = now
        self._rest = deque(film.rest(begin))
        self.tick(now)

    def _say(self, frame: ServerFrame) -> None:
        self._out.append(_CODEC.encode(frame))
