"""Reading a stream without consumers: batched Direct Get, and the tip from the leader.

See ARCHITECTURE.md, "No consumer per user", and NATS ADR-31.

Any replica answers a Direct Get, and may lag behind the leader; `leader_tip` asks the leader. All answers come to one subscription,
told apart by the last token of the reply subject. Each message says which one of the answer came before it, so an answer that lost one on
the way (a reconnect in its midst) is refused as a whole, never taken with a hole. Bounded: `limits.HISTORY_READS_MAX` reads at once, each
given up when nothing of its answer comes for `limits.HISTORY_QUIET_S` (the server that was asked may be gone), or at last after
`limits.HISTORY_TIMEOUT_S`.
"""

import asyncio
from typing import NamedTuple

import msgspec
import nats.errors
from nats.aio.msg import Msg

from runcast.bus.connection import Bus
from runcast.bus.leaders import Found
from runcast.bus.storage import storage_error
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError


class Message(NamedTuple):
    """A stored message.

    Attributes:
        subject: of the message.
        seq: in the stream.
        data: its payload.
        pending: how many of what was asked for lie behind it.
        stored_at: when it was stored, RFC 3339.
    """

    subject: str
    seq: int
    data: bytes
    pending: int = 0
    stored_at: str = ""


class _Read:
    """Answers to one request, until its end is told."""

    __slots__ = ("done", "messages", "quiet", "until")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.messages: list[Message] = []
        self.done: asyncio.Future[None] = loop.create_future()
        self.quiet: asyncio.Timeout | None = None
        self.until = loop.time() + limits.HISTORY_TIMEOUT_S

    def heard(self) -> None:
        """A part of the answer came: there may be more to come."""
        if self.quiet is not None and not self.quiet.expired():
            self.quiet.reschedule(min(asyncio.get_running_loop().time() + limits.HISTORY_QUIET_S, self.until))


class DirectReader:
    """Reads of one connection. Call `open` once before use."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._reads: dict[str, _Read] = {}
        self._next = 0
        self._prefix = ""
        self._slots = asyncio.Semaphore(limits.HISTORY_READS_MAX)

    async def open(self) -> None:
        """Subscribe to the answers."""
        self._prefix = self._bus.nc.new_inbox()
        await self._bus.nc.subscribe(f"{self._prefix}.*", cb=self._on_answer)

    async def history(self, stream: str, subject: str, from_seq: int, *, batch: int = limits.HISTORY_CHUNK) -> list[Message]:
        """Messages of `subject` with seq >= `from_seq`, oldest first; at most `batch`, at most 1 MiB; [] when there is none.

        Raises:
            UnavailableError: no answer in time; ask again.
        """
        request = {
            "seq": max(from_seq, 1),
            "next_by_subj": subject,
            "batch": batch,
            "max_bytes": limits.HISTORY_CHUNK_BYTES,
        }
        return await self._request(stream, request)

    async def tips(self, stream: str, wanted: list[str]) -> dict[str, int]:
        """The newest seq by subject, of up to 1,024 subjects; those without a message are absent. From any replica.

        Raises:
            UnavailableError: no answer in time; ask again.
        """
        return {message.subject: message.seq for message in await self.latest(stream, wanted)}

    async def latest(self, stream: str, wanted: list[str], *, batch: int = 0) -> list[Message]:
        """The newest message of each of up to 1,024 subjects, where there is one. From any replica.

        Args:
            stream: where.
            wanted: subjects; with wildcards, `batch` says how many messages may come.
            batch: 0 for one per subject.

        Raises:
            UnavailableError: no answer in time; ask again.
        """
        return await self._request(stream, {"multi_last": wanted, "batch": batch or len(wanted)})

    async def last(self, stream: str, subject: str) -> Message | None:
        """The newest message of one subject, from any replica; None when there is none.

        Raises:
            UnavailableError: no answer in time; ask again.
        """
        found = await self.latest(stream, [subject])
        return found[0] if found else None

    async def leader_tip(self, stream: str, subject: str, within_s: float = 0.0) -> int:
        """The newest seq of `subject`, asked of the stream's leader; 0 when there is none.

        Args:
            stream: where.
            subject: exactly one.
            within_s: how long it may take, should there be no leader just now; 0.0 asks once.

        Raises:
            UnavailableError: no answer in time; ask again.
        """
        found = await self.leader_last(stream, subject, within_s)
        return found.seq if found is not None else 0

    async def leader_last(self, stream: str, subject: str, within_s: float = 0.0) -> Found | None:
        """The newest message of `subject`, asked of the stream's leader; None when there is none. As `leader_tip`."""
        return await self._bus.leaders.message(stream, {"last_by_subj": subject}, within_s)

    async def leader_holds(self, stream: str, subject: str, seq: int) -> bool:
        """Whether the message at `seq` is there and is one of `subject`, asked of the stream's leader.

        Raises:
            UnavailableError: no answer in time; ask again.
        """
        found = await self._bus.leaders.message(stream, {"seq": seq}, 0.0)
        return found is not None and found.subject == subject

    async def _request(self, stream: str, request: dict[str, object]) -> list[Message]:
        async with self._slots:
            self._next += 1
            token = str(self._next)
            read = self._reads[token] = _Read()
            try:
                async with asyncio.timeout(limits.HISTORY_QUIET_S) as read.quiet:
                    await self._bus.nc.publish(
                        f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request), reply=f"{self._prefix}.{token}"
                    )
                    await read.done
            except (nats.errors.Error, TimeoutError) as exc:
                raise _unavailable(exc) from exc
            finally:
                del self._reads[token]
            return read.messages

    async def _on_answer(self, msg: Msg) -> None:
        read = self._reads.get(msg.subject.rpartition(".")[2])
        if read is None or read.done.done():
            return
        headers = msg.headers or {}
        status = headers.get("Status", "")
        before = read.messages[-1].seq if read.messages else 0
        if status in ("", "204") and int(headers.get(subjects.HEADER_PREV, before)) != before:
            read.done.set_exception(UnavailableError("a part of the answer was lost on the way; ask again"))
        elif not status:
            seq, pending = int(headers[subjects.HEADER_SEQ]), int(headers.get(subjects.HEADER_PENDING, "0"))
            read.heard()
            read.messages.append(Message(headers["Nats-Subject"], seq, msg.data, pending, headers.get("Nats-Time-Stamp", "")))
        elif status in ("204", "404"):
            read.done.set_result(None)
        else:
            text = f"direct get answered {status} {headers.get('Description', '')}".rstrip()
            read.done.set_exception(UnavailableError(f"{text}; ask again"))


def _unavailable(exc: Exception) -> UnavailableError:
    """Reading stores nothing, so no answer is `unavailable`, never `indeterminate`."""
    if isinstance(exc, TimeoutError):
        return UnavailableError("the log did not answer in time; ask again")
    return UnavailableError(f"the log could not be read: {getattr(storage_error(exc), 'message', exc)}")
