"""A user's stream as it is stored, for those who look after it: read from the log, opened, redacted.

Rules
1. It looks, and that is all: no consumer, no cursor, no receipt, no lease, no presence. The user's devices and agents can't tell.
2. It ends at what was newest when it began, as the stream's leader told it; an answer of a replica that lags is asked for again.
3. What does not open is told of, in its place; it is not passed over.
4. Nothing leaves that has not been redacted.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from runcast.admin.redacting import Redactions
from runcast.bus.connection import Bus
from runcast.bus.direct import DirectReader, Message
from runcast.bus.sealing.seals import UnreadableError
from runcast.v1.event_pb2 import Batch
from runcast.wire import limits, subjects
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.limits_replay import READ_LAG_TRIES, READ_RETRY_S, READS_AT_ONCE_MAX
from runcast.wire.position import Position, parse_position
from runcast.wire.recorded import RecordedBatch, Runs, Span
from runcast.wire.redaction import Redaction

_BACKOFF_S: Final = 0.05


class Wish(NamedTuple):
    """What is asked for; fields as in `ReadStreamRequest`.

    Attributes:
        user: whose stream.
        run_id: only this run.
        after: a position; "" for the beginning.
        upto: a position; "" for no end.
        from_ms: Unix milliseconds; 0 for no bound.
        to_ms: likewise.
    """

    user: UserKey
    run_id: str = ""
    after: str = ""
    upto: str = ""
    from_ms: int = 0
    to_ms: int = 0


class Reading:
    """One read of one stream.

    Args:
        reader: of the log.
        bus: whose keys open what is sealed.
        wish: what is asked for.
        shard: the user's.
        epoch: of that shard.
        redaction: the rules in force.

    Attributes:
        redaction: as given.
        tip: the newest position when it began.
        incomplete: what follows the position asked for may have left the log.
        batches: so many were handed out.
        events: likewise.
        redacted: values that were taken out of them.
    """

    def __init__(self, reader: DirectReader, bus: Bus, wish: Wish, shard: int, epoch: str, redaction: Redaction) -> None:
        self._reader = reader
        self._bus = bus
        self._wish = wish
        self._epoch = epoch
        self._stream = subjects.event_stream(shard)
        self._subject = subjects.event_subject(wish.user, shard)
        self._runs = Runs(wish.run_id)
        self._span = Span(
            _seq_of(wish.after, epoch) if wish.after else 0,
            _seq_of(wish.upto, epoch) if wish.upto else math.inf,
            wish.from_ms,
            wish.to_ms or math.inf,
        )
        self._tip = 0
        self.redaction = redaction
        self.tip = ""
        self.incomplete = False
        self.batches = self.events = self.redacted = 0

    async def open(self) -> None:
        """Find out where it ends, and whether it begins where it was asked to.

        Raises:
            UnavailableError: storage did not answer.
        """
        self._tip = await self._reader.leader_tip(self._stream, self._subject, limits.LEADER_WAIT_S)
        self.tip = str(Position(self._epoch, self._tip))
        after = self._span.after_seq
        if after > 0:
            self.incomplete = after > self._tip or not await self._reader.leader_holds(self._stream, self._subject, after)

    async def pages(self) -> AsyncIterator[list[RecordedBatch]]:
        """What is wanted, a part of the log at a time.

        Raises:
            UnavailableError: storage did not answer, or a replica stays behind.
        """
        seq, lagging = self._span.after_seq, 0
        while seq < min(self._tip, self._span.upto_seq):
            messages = await self._reader.history(self._stream, self._subject, seq + 1)
            if not messages:
                lagging += 1
                if lagging >= READ_LAG_TRIES:
                    raise UnavailableError("the log does not give what its tip promises; ask again", retry_after_s=READ_RETRY_S)
                await asyncio.sleep(_BACKOFF_S * 2**lagging)
                continue
            lagging = 0
            page = []
            for message in messages:
                stored_ms = stored_at_ms(message.stored_at)
                if message.seq > self._tip or self._span.over(message.seq, stored_ms):
                    break
                batch = self._wanted(message, stored_ms)
                if batch is not None:
                    page.append(batch)
            else:
                seq = messages[-1].seq
                if page:
                    yield page
                continue
            if page:
                yield page
            return

    def _wanted(self, message: Message, stored_ms: int) -> RecordedBatch | None:
        batch = self._runs.of(self._open(message, stored_ms))  # shown all of them: a run before the span may have children in it
        if batch is None or not self._span.holds(message.seq, stored_ms):
            return None
        events = []
        for event in batch.events:
            event, taken = self.redaction.apply(event)  # noqa: PLW2901 # the other one must not be used
            self.redacted += taken
            events.append(event)
        self.batches += 1
        self.events += len(events)
        return batch._replace(events=events)

    def _open(self, message: Message, stored_ms: int) -> RecordedBatch:
        batch = RecordedBatch(self._epoch, message.seq, stored_ms, [])
        try:
            data = self._bus.seals.open(self._wish.user, self._subject, message.data)
            return batch._replace(events=list(Batch.FromString(data).events))
        except UnreadableError as exc:
            return batch._replace(unreadable=exc.message)
        except DecodeError:
            return batch._replace(unreadable="what is stored is no batch")


class Recordings:
    """Reads streams for one admin process. Call `open` once, when the connection is open.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._reader = DirectReader(bus)
        self._places = READS_AT_ONCE_MAX

    async def open(self) -> None:
        """Be ready to read."""
        await self._reader.open()

    async def read(self, wish: Wish, shard: int, epoch: str, redactions: Redactions) -> Reading:
        """Begin to read a stream. `close` must follow.

        Raises:
            PositionMalformedError: `after` or `upto` is no position.
            RuncastError: `request_invalid`: a position of other storage; `rate_limited`: too many are read just now.
            UnavailableError: storage did not answer, or the redaction file can't be used.
        """
        made = Reading(self._reader, self._bus, wish, shard, epoch, redactions.current())
        if not self._places:
            text = f"{READS_AT_ONCE_MAX} streams are read just now; try again in a moment"
            raise RuncastError(text, code="rate_limited", retry_after_s=READ_RETRY_S)
        self._places -= 1
        try:
            await made.open()
        except BaseException:
            self.close()
            raise
        return made

    async def latest(self, stream: str, wanted: str, count: int) -> list[Message]:
        """The newest message of each subject that matches, `count` at most.

        Raises:
            UnavailableError: storage did not answer.
        """
        return await self._reader.latest(stream, [wanted], batch=count)

    def close(self) -> None:
        """A read is over."""
        self._places += 1


def _seq_of(text: str, epoch: str) -> int:
    position = parse_position(text)
    if position.epoch != epoch:
        raise RuncastError(
            f"{text} is a position of other storage: this user's shard has the epoch {epoch}; take one from a newer frame or export",
            code="request_invalid",
        )
    return position.seq


def stored_at_ms(text: str) -> int:
    """Unix milliseconds of when something was stored, as NATS says it (RFC 3339, up to nine digits of a second); 0 when it does not say."""
    whole, _, rest = text.partition(".")
    try:
        seconds = int(datetime.fromisoformat(f"{whole.rstrip('Z')}+00:00").timestamp())
        return seconds * 1000 + int((rest.rstrip("Z") + "000")[:3])
    except ValueError:
        return 0
