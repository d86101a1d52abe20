"""The audit log: what operators did, and were refused, in a stream of its own (`RUNCAST_AUDIT`, subject `audit.<action>`, JSON).

Rules
1. An action is written before it begins (`begun`) and again when it has ended, under one id, both before it is answered. What can't be
   written is not begun; so whatever was done is in the log, even if this process dies in its midst.
2. Refused calls are written, too, but no more often than `limits_admin.REFUSALS_AUDITED_EVERY_S` allows, so that strangers can't drive out
   what counts; those between are counted.
3. Nobody takes an entry out: the stream denies it, and NATS's permissions do.

No secret is in an entry, nor anything that users or agents said.
"""

import asyncio
import time
import uuid
from typing import Final

import msgspec
from structlog.stdlib import BoundLogger

from runcast.admin.allowance import Allowance
from runcast.bus.connection import Bus
from runcast.bus.direct import DirectReader
from runcast.bus.leaders import StreamMissingError
from runcast.bus.storage import store
from runcast.wire import limits, limits_admin, subjects
from runcast.wire.errors import RuncastError, UnavailableError

BEGUN: Final = "begun"
OK: Final = "ok"
_AGAIN_S: Final = 0.1
_LAG_TRIES: Final = 5


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        id: names it.
        at_ms: Unix milliseconds.
        by: the name of the credentials; "" when nobody knows.
        address: where it came from.
        action: the call's name.
        target: what it was about, for people.
        reason: as given.
        outcome: `begun`, `ok`, or a code of the table.
    """

    id: str
    at_ms: int
    by: str
    address: str
    action: str
    target: str = ""
    reason: str = ""
    outcome: str = BEGUN


class _State(msgspec.Struct):
    first_seq: int = 0
    last_seq: int = 0


class _Info(msgspec.Struct):
    state: _State = msgspec.field(default_factory=_State)


def make_entry(action: str, *, by: str, address: str, target: str = "", reason: str = "", outcome: str = BEGUN) -> Entry:
    """A new entry, of now."""
    target = target.encode(errors="replace")[: limits_admin.AUDIT_TARGET_BYTES_MAX].decode(errors="ignore")
    return Entry(
        id=uuid.uuid4().hex, at_ms=time.time_ns() // 1_000_000, by=by, address=address, action=action, target=target, reason=reason,
        outcome=outcome,
    )  # fmt: skip


def fold(entries: list[Entry]) -> list[Entry]:
    """One entry a call, the later of two: in the order of what is first said of each."""
    found: dict[str, Entry] = {}
    for entry in entries:
        found[entry.id] = entry
    return list(found.values())


class Audit:
    """Writes and reads the log. Call `open` once, when the connection is open.

    Args:
        bus: the connection.
        log: told of what could not be written.
    """

    def __init__(self, bus: Bus, log: BoundLogger) -> None:
        self._bus = bus
        self._log = log
        self._reader = DirectReader(bus)
        self._refusals = Allowance(limits_admin.REFUSALS_AUDITED_BURST_MAX, limits_admin.REFUSALS_AUDITED_EVERY_S, time.monotonic())

    async def open(self) -> None:
        """Be ready to read."""
        await self._reader.open()

    async def write(self, entry: Entry) -> None:
        """Store an entry for certain.

        Raises:
            UnavailableError: it could not be stored, or nobody can say whether it was.
            RuncastError: `storage_full`.
        """
        for attempt in range(1, limits_admin.AUDIT_TRIES_MAX + 1):
            try:
                await self._store(entry)
            except UnavailableError as exc:
                if attempt == limits_admin.AUDIT_TRIES_MAX:
                    raise
                self._log.warning("audit_again", action=entry.action, error=exc.message)
                await asyncio.sleep(_AGAIN_S * attempt)
            else:
                return

    async def _store(self, entry: Entry) -> None:
        msg_id = f"{entry.id}.{entry.outcome}"  # by it storage knows a second sending
        subject = subjects.audit_subject(entry.action)
        await store(self._bus, subject, msgspec.json.encode(entry), msg_id=msg_id, timeout_s=limits_admin.AUDIT_TIMEOUT_S)

    async def begin(self, entry: Entry) -> None:
        """Store that something is about to be done.

        Raises:
            UnavailableError: it could not be stored, so it must not be done.
        """
        try:
            await self.write(entry)
        except RuncastError as exc:
            raise UnavailableError(
                f"nothing was done: it can't be written to the audit log just now ({exc.message})", retry_after_s=exc.retry_after_s
            ) from exc

    async def end(self, entry: Entry, outcome: str) -> None:
        """Store how it ended.

        Raises:
            UnavailableError: `indeterminate`: it ended, and that could not be stored.
        """
        try:
            await self.write(msgspec.structs.replace(entry, outcome=outcome))
        except RuncastError as exc:
            self._log.error("audit_end_not_written", id=entry.id, action=entry.action, outcome=outcome, error=exc.message)
            raise UnavailableError(
                f"{entry.action} ended ({outcome}), but the audit log has only that it began: {exc.message}", code="indeterminate"
            ) from exc

    async def refused(self, entry: Entry) -> None:
        """Store that a call was refused, if that is not too often; what can't be stored is logged."""
        if not self._refusals.take(time.monotonic()):
            return
        beyond, self._refusals.beyond = self._refusals.beyond, 0
        if beyond:
            entry = msgspec.structs.replace(entry, reason=f"{beyond} more were refused since the entry before, and not written")
        await self.note(entry)

    async def note(self, entry: Entry) -> None:
        """Store what may be missing; what can't be stored is logged."""
        try:
            await self._store(entry)
        except RuncastError as exc:
            self._log.warning("not_audited", action=entry.action, by=entry.by, outcome=entry.outcome, error=exc.message)

    async def newest(self, count: int) -> list[Entry]:
        """The newest entries, one a call, the newest last.

        Args:
            count: 1 to `limits_admin.AUDIT_LIST_MAX`.

        Raises:
            UnavailableError: storage did not answer.
        """
        try:
            answer = await self._bus.leaders.info(subjects.AUDIT_STREAM, limits.LEADER_ATTEMPT_S)
        except StreamMissingError as exc:
            raise UnavailableError("there is no audit log yet; start a router: it creates the streams") from exc
        state = msgspec.json.decode(answer, type=_Info).state
        seq, lagging = max(state.last_seq - 2 * count + 1, state.first_seq, 1), 0
        entries: list[Entry] = []
        while seq <= state.last_seq and lagging < _LAG_TRIES:
            messages = await self._reader.history(subjects.AUDIT_STREAM, "audit.>", seq)
            if not messages:  # a replica that does not have them yet
                lagging += 1
                await asyncio.sleep(_AGAIN_S)
                continue
            for message in messages:
                try:
                    entries.append(msgspec.json.decode(message.data, type=Entry))
                except msgspec.DecodeError:
                    self._log.warning("audit_entry_unreadable", seq=message.seq)  # not of this version
            seq = messages[-1].seq + 1
        return fold(entries)[-count:]
