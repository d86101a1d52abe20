"""One user, looked at again and again: who is there, what is stored, what waits. It looks, and that is all (`reading.py`).

The log is read once, and then what is new; a look takes `FOUND_READ_S` at most, and goes on at the next where it ended. Storage that was
created anew, or a user who was erased meanwhile, begins anew. Nothing of what users and agents said is kept but titles and errors' texts,
as the redaction rules left them.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from runcast.admin.found.devices import Kept, Place, Places, devices_of, read_kept
from runcast.admin.found.timeline import Timeline
from runcast.admin.node import Node
from runcast.admin.reading import Wish, stored_at_ms
from runcast.bus.leaders import Found
from runcast.bus.sealing.seals import UnreadableError
from runcast.v1.inbox_pb2 import InboxMessage
from runcast.wire import limits, subjects
from runcast.wire import limits_dashboard as bounds
from runcast.wire.errors import IdInvalidError, RuncastError, UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.position import Position


class Waiting(msgspec.Struct):
    """A message to an agent group that is not settled, or was put aside.

    Attributes:
        group: to whom.
        kind: `text` or `answer`; "" when it can't be opened.
        device: from where.
        since_ms: when it was stored.
        bytes: of what is stored.
        tries: how often it had been handed out, of one that was put aside.
        reason: why it was put aside, or can't be opened.
    """

    group: str
    kind: str
    device: str
    since_ms: int
    bytes: int
    tries: int = 0
    reason: str = ""


class Search:
    """Looks at one user.

    Args:
        node: of this process.
        user: who.
    """

    def __init__(self, node: Node, user: UserKey) -> None:
        self._node = node
        self._user = user
        self._paths: tuple[str, ...] = ()
        self._forgotten = 0
        self._begin("")

    def forget(self, user: UserKey | None) -> None:
        """That user is erased, or, for None, anybody may be: what was read is not shown any more."""
        if user in (None, self._user):
            self._forgotten += 1
            self._begin("")

    @property
    def forgotten(self) -> int:
        """How often what was read was forgotten."""
        return self._forgotten

    def _begin(self, epoch: str) -> None:
        self._epoch = epoch
        self._after = ""
        self._timeline = Timeline()
        self._places = Places()
        self._caught_up = False
        self._lost = False

    async def look(self, now_ms: int) -> dict[str, Any]:
        """All that is known just now, for the page.

        Raises:
            UnavailableError: NATS did not answer, the redaction file can't be used, or the user is being erased.
            RuncastError: `rate_limited`: too many streams are read just now.
        """
        node, user = self._node, self._user
        shard = node.shard_of(user)
        epoch = node.shards.get(shard).epoch
        forgotten = self._forgotten
        if epoch != self._epoch:
            self._begin(epoch)
        _, present, cursors, (messages, messages_more), (aside, aside_more) = await _all(
            self._read(epoch),
            node.presence.ask(user, shard, first=False),
            self._cursors(shard),
            self._messages(subjects.INBOX_STREAM, f"in.*.{shard}.{user.token}"),
            self._messages(subjects.PARKED_STREAM, f"parked.*.{shard}.{user.token}"),
        )
        if forgotten != self._forgotten:
            self._begin("")  # what was under way has put something back
            raise UnavailableError("this user may have been erased meanwhile; what is left is read anew")
        edges = {device: each.edge for each in present for device in each.devices}
        devices, more = devices_of(edges, cursors, self._places, epoch)
        there = {
            "shard": shard,
            "edges": sorted({edge for edge in edges.values() if edge}),
            "connected": len(edges),
            "devices": devices,
            "devices_more": more,
            "waiting": messages,
            "waiting_more": messages_more,
            "parked": aside,
            "parked_more": aside_more,
        }
        return self._view(now_ms, there)

    def nothing(self, now_ms: int) -> dict[str, Any]:
        """In place of what was known of who is erased, until it is looked at again."""
        self._begin("")
        lists: dict[str, Any] = {name: [] for name in ("edges", "devices", "waiting", "parked")}
        more = {f"{name}_more": False for name in ("devices", "waiting", "parked")}
        return self._view(now_ms, {"shard": 0, "connected": 0, **lists, **more})

    def _view(self, now_ms: int, there: dict[str, Any]) -> dict[str, Any]:
        told = self._timeline.told(now_ms)
        return {
            "tenant": self._user.tenant,
            "user": self._user.user,
            "found": bool(there["devices"] or there["waiting"] or there["parked"] or told["batches"]),
            "position": self._after,
            "caught_up": self._caught_up,
            "lost": self._lost,
            "rules": len(self._paths),
            "silence_s": bounds.SILENCE_S,
            **there,
            **told,
        }

    async def _read(self, epoch: str) -> None:
        paths = self._node.redactions.current().paths
        if paths != self._paths:  # what was read by other rules is not shown by these
            self._begin(epoch)
            self._paths = paths
        async with self._node.reading(Wish(self._user, after=self._after)) as reading:
            if reading.incomplete and reading.tip < self._after:  # erased meanwhile
                self._begin(epoch)
                return
            self._lost = self._lost or reading.incomplete
            self._caught_up = False
            try:
                async with asyncio.timeout(bounds.FOUND_READ_S) as left:
                    async for batches in reading.pages():
                        for batch in batches:
                            self._timeline.take(batch)
                            self._places.take(Place(batch.seq, batch.stored_ms, len(batch.events)))
                        self._after = str(Position(epoch, batches[-1].seq))
                self._caught_up = True
            except TimeoutError:
                if not left.expired():
                    raise

    async def _cursors(self, shard: int) -> list[Kept]:
        wanted = subjects.kv_subject(subjects.CURSORS_BUCKET, subjects.cursor_keys(self._user, shard))
        kept = []
        for message in await self._node.recordings.latest(f"KV_{subjects.CURSORS_BUCKET}", wanted, limits.VERIFY_SUBJECTS_MAX):
            cursor = read_kept(message.data)
            try:
                device = subjects.device_of_cursor(message.subject)
            except IdInvalidError:
                continue  # never written by us
            if cursor is not None:
                kept.append(Kept(device, cursor))
        return kept

    async def _messages(self, stream: str, wanted: str) -> tuple[list[Waiting], bool]:
        """The first ones, and whether there are more."""
        found: list[Waiting] = []
        seq = 0
        while True:
            question: dict[str, object] = {"seq": seq + 1, "next_by_subj": wanted}
            message = await self._node.bus.leaders.message(stream, question, 0.0)
            if message is None or len(found) >= bounds.FOUND_WAITING_MAX:
                return found, message is not None
            seq = message.seq
            found.append(self._waiting(message))

    def _waiting(self, found: Found) -> Waiting:
        tries = found.header(subjects.HEADER_TRIES)
        reason = found.header(subjects.HEADER_REASON)[: bounds.FOUND_TEXT_CHARS_MAX]
        told = Waiting("", "", "", stored_at_ms(found.time), len(found.data), int(tries) if tries.isdecimal() else 0, reason)
        try:
            # A message that was put aside is sealed for its first subject.
            subject = f"in.{found.subject.partition('.')[2]}"
            message = InboxMessage.FromString(self._node.bus.seals.open(self._user, subject, found.data))
        except UnreadableError as exc:
            told.reason = exc.message
        except DecodeError:
            told.reason = "what is stored is no message"
        else:
            told.group, told.device, told.kind = message.group, message.device, message.WhichOneof("kind") or ""
        return told


async def _all(*questions: Coroutine[Any, Any, Any]) -> list[Any]:
    """The answers to questions that are asked at once.

    Raises:
        RuncastError: of the first that was not answered, when all others are over.
    """

    async def told(question: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await question
        except RuncastError as exc:
            return exc

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(told(question)) for question in questions]
    answers = [task.result() for task in tasks]
    for answer in answers:
        if isinstance(answer, RuncastError):
            raise answer
    return answers
