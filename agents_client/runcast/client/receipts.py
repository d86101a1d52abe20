"""Receipts that an agent awaits: from the event that asked to the router's word on its batch (PROTOCOL.md, "Receipts"). Pure.

    QUEUED ── its batch is stored ──► AWAITED ── a Receipt, or the deadline and RECEIPT_SLACK_S ──► answered

Rules
1. The batch of an event that asked carries the deadline, so the router answers unasked. What was sent before without it, and what was
   not answered when the stream broke, is asked for by a `ReceiptAsk` with the position of the batch: on the next stream, whichever
   router it leads to.
2. A router that says nothing in time is not waited for any longer: what is known is that the batch is stored.
3. At most `awaited_max` receipts are awaited; the next is answered STORED as soon as its batch is.
4. A run that fails fails the receipts of what is not stored; those of what is stored go on.

Invariant: every ticket gets exactly one result.

Synchronous: `now` is monotonic seconds. Never imports asyncio, a clock, randomness, logging or grpc.
"""

from typing import Final, Literal, NamedTuple

from runcast.client.arguments import check_number
from runcast.client.errors import RunKey
from runcast.v1.event_pb2 import User
from runcast.v1.ingest_pb2 import (
    RECEIPT_OUTCOME_DELIVERED,
    RECEIPT_OUTCOME_EXPIRED,
    RECEIPT_OUTCOME_OFFLINE,
    ReceiptAsk,
)
from runcast.v1.ingest_pb2 import Receipt as ReceiptMessage
from runcast.wire import limits
from runcast.wire.errors import RuncastError
from runcast.wire.position import Position, parse_position

Outcome = Literal["stored", "delivered", "expired", "offline"]

_OUTCOMES: Final[dict[int, Outcome]] = {
    RECEIPT_OUTCOME_DELIVERED: "delivered",
    RECEIPT_OUTCOME_EXPIRED: "expired",
    RECEIPT_OUTCOME_OFFLINE: "offline",
}


class Receipt(NamedTuple):
    """What became of an event that asked for a receipt. It is stored in any case.

    Attributes:
        outcome: "delivered": the application on `device` acknowledged it; "expired": nobody did in time, though a device was
            connected; "offline": nobody did in time, and no device is connected; "stored": no more can be said.
        device: who acknowledged; "" unless delivered.
        latency_s: from storing to knowing, seconds.
        position: where it is in the user's stream.
    """

    outcome: Outcome
    device: str
    latency_s: float
    position: Position


class Answered(NamedTuple):
    """What is to be told to the owner of a ticket."""

    ticket: object
    result: Receipt | RuncastError


class _Entry:
    """One ticket; `position` is "" until its batch is stored, and `unwatched` ones are answered then."""

    __slots__ = ("deadline_s", "key", "position", "seq", "stored_at", "ticket", "unwatched")

    def __init__(self, ticket: object, key: RunKey, seq: int, deadline_s: float, *, unwatched: bool) -> None:
        self.ticket = ticket
        self.key = key
        self.seq = seq
        self.deadline_s = deadline_s
        self.unwatched = unwatched
        self.position = ""
        self.stored_at = 0.0

    def give_up_at(self) -> float:
        return self.stored_at + self.deadline_s + limits.RECEIPT_SLACK_S


def check_receipt(receipt: float) -> float:
    """The time that a receipt is awaited, seconds; raises ValueError when it is out of range, TypeError when it is no number."""
    receipt = check_number(receipt, "receipt", "number of seconds")
    if not 0.0 < receipt <= limits.RECEIPT_DEADLINE_MAX_S:
        raise ValueError(f"receipt is {receipt}; give seconds, above 0 and up to {limits.RECEIPT_DEADLINE_MAX_S:g}")
    return receipt


class ReceiptBook:
    """The receipts of one process."""

    def __init__(self, *, awaited_max: int = limits.RECEIPTS_PER_STREAM_MAX) -> None:
        self._awaited_max = awaited_max
        self._queued: dict[RunKey, list[_Entry]] = {}
        self._awaited: dict[tuple[RunKey, int], list[_Entry]] = {}
        self._to_ask: dict[tuple[RunKey, int], None] = {}
        self._names: dict[tuple[str, int, int], tuple[RunKey, int]] = {}
        self._results: list[Answered] = []
        self._count = 0
        self._tick_at: float | None = None

    def __len__(self) -> int:
        """How many are awaited, stored or not."""
        return self._count

    @property
    def full(self) -> bool:
        """No more may be awaited: send the event without a deadline, and `expect` it `unwatched`."""
        return self._count >= self._awaited_max

    def take_results(self) -> list[Answered]:
        """What is known since the last call."""
        results, self._results = self._results, []
        return results

    def deadline(self) -> float | None:
        """When to call `tick`, monotonic seconds; None when nothing has a time."""
        return self._tick_at

    # --- inputs ---

    def expect(self, ticket: object, key: RunKey, seq: int, deadline_s: float, *, unwatched: bool = False) -> None:
        """An event that is queued asks for a receipt; `unwatched`: only for its storing."""
        self._queued.setdefault(key, []).append(_Entry(ticket, key, seq, deadline_s, unwatched=unwatched))
        self._count += not unwatched

    def expect_stored(self, ticket: object, key: RunKey, number: int, position: str, now: float, deadline_s: float) -> None:
        """A batch that is stored already is asked for."""
        entry = _Entry(ticket, key, 0, deadline_s, unwatched=self.full)
        self._count += not entry.unwatched
        self._await(entry, number, position, now, ask=True)

    def stored(self, key: RunKey, number: int, last_seq: int, position: str, now: float, *, carried: bool) -> None:
        """A batch was acknowledged; `carried` says that it told the router of its deadline."""
        queued = self._queued.get(key)
        if queued is None:
            return
        here = [entry for entry in queued if entry.seq <= last_seq]
        rest = [entry for entry in queued if entry.seq > last_seq]
        if rest:
            self._queued[key] = rest
        else:
            del self._queued[key]
        for entry in here:
            self._await(entry, number, position, now, ask=not carried)

    def failed(self, key: RunKey, error: RuncastError) -> None:
        """A run failed: nothing more of it will be stored."""
        for entry in self._queued.pop(key, ()):
            self._finish(entry, error)

    def received(self, message: ReceiptMessage) -> None:
        """The router's word on a batch."""
        place = self._names.get((message.run_id, message.attempt, message.number))
        if place is None:
            return  # answered before: asked twice, over two streams
        for entry in self._leave(place):
            outcome = _OUTCOMES.get(message.outcome, "stored")
            self._finish(entry, Receipt(outcome, message.device, message.latency_ms / 1000, parse_position(entry.position)))

    def disconnected(self) -> None:
        """The stream is gone, and with it what its router knew of us."""
        self._to_ask = dict.fromkeys(self._awaited)

    def take_asks(self, now: float) -> list[ReceiptAsk]:
        """What to ask the router on the stream that is open now."""
        asks = []
        for place in self._to_ask:
            entries = self._awaited.get(place)
            if not entries:
                continue
            key, number = place
            first = min(entry.stored_at for entry in entries)
            left_s = max(entry.stored_at + entry.deadline_s for entry in entries) - now
            asks.append(
                ReceiptAsk(
                    user=User(tenant=key.user.tenant, id=key.user.user),
                    run_id=key.run_id,
                    attempt=key.attempt,
                    number=number,
                    position=entries[0].position,
                    deadline_ms=max(1, round(left_s * 1000)),
                    elapsed_ms=max(0, round((now - first) * 1000)),
                )
            )
        self._to_ask = {}
        return asks

    def tick(self, now: float) -> None:
        """Let time pass: who was not answered is told what is known."""
        if self._tick_at is None or now < self._tick_at:
            return
        for place, entries in list(self._awaited.items()):
            late = [entry for entry in entries if entry.give_up_at() <= now]
            if not late:
                continue
            left = [entry for entry in entries if entry not in late]
            self._leave(place)
            if left:
                self._awaited[place] = left
                self._names[place[0].run_id, place[0].attempt, place[1]] = place
            for entry in late:
                self._finish(entry, self._only_stored(entry, now))
        self._tick_at = min((entry.give_up_at() for entries in self._awaited.values() for entry in entries), default=None)

    def close(self, now: float, error: RuncastError) -> None:
        """Nothing will be heard any more: `error` is what became of that which is not stored."""
        for key in list(self._queued):
            self.failed(key, error)
        for place in list(self._awaited):
            for entry in self._leave(place):
                self._finish(entry, self._only_stored(entry, now))

    # --- inside ---

    def _await(self, entry: _Entry, number: int, position: str, now: float, *, ask: bool) -> None:
        entry.position, entry.stored_at = position, now
        if entry.unwatched:
            self._finish(entry, self._only_stored(entry, now))
            return
        self._tick_at = min(entry.give_up_at(), self._tick_at or entry.give_up_at())
        place = (entry.key, number)
        self._awaited.setdefault(place, []).append(entry)
        self._names[entry.key.run_id, entry.key.attempt, number] = place
        if ask:
            self._to_ask[place] = None

    def _leave(self, place: tuple[RunKey, int]) -> list[_Entry]:
        key, number = place
        self._names.pop((key.run_id, key.attempt, number), None)
        self._to_ask.pop(place, None)
        return self._awaited.pop(place, [])

    def _only_stored(self, entry: _Entry, now: float) -> Receipt:
        return Receipt("stored", "", now - entry.stored_at, parse_position(entry.position))

    def _finish(self, entry: _Entry, result: Receipt | RuncastError) -> None:
        self._count -= not entry.unwatched
        self._results.append(Answered(entry.ticket, result))
