"""Who of a user is there: a question to all edges at once, answered by those that have a device of the user.

An edge listens on a user's presence subject only while one of the user's devices is connected to it, so where nobody is, the server
itself says so at once ("no responders"). All answers come to one subscription, told apart by the last token of the reply subject.
Bounded: a question is over after `limits.PRESENCE_WAIT_S`.

A position in the payload says that a receipt for it is awaited: the edges write the cursors of devices that have passed it, or will,
at once (`hurry`).
"""

import asyncio
import contextlib

import msgspec
import nats.errors
from nats.aio.msg import Msg

from runcast.bus.connection import Bus
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.position import Position


class Presence(msgspec.Struct, frozen=True):
    """A user's devices on one edge."""

    edge: str
    devices: list[str]


class _Question:
    """Answers to one question, and what ends it."""

    __slots__ = ("answers", "done", "first")

    def __init__(self, *, first: bool) -> None:
        self.answers: list[Presence] = []
        self.first = first
        self.done = asyncio.Event()


class PresenceReader:
    """Asks on one connection. Call `open` once before use."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._questions: dict[str, _Question] = {}
        self._next = 0
        self._prefix = ""

    async def open(self) -> None:
        """Subscribe to the answers."""
        self._prefix = self._bus.nc.new_inbox()
        await self._bus.nc.subscribe(f"{self._prefix}.*", cb=self._on_answer)

    async def ask(self, user: UserKey, shard: int, *, first: bool) -> list[Presence]:
        """The edges that have devices of the user.

        Args:
            user: who.
            shard: the user's.
            first: answer as soon as one device is known; otherwise all edges are waited for.

        Raises:
            UnavailableError: there is no connection to NATS.
        """
        if not self._bus.connected:
            raise UnavailableError("there is no connection to NATS just now; nobody can be asked")
        self._next += 1
        token = str(self._next)
        question = self._questions[token] = _Question(first=first)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.PRESENCE_WAIT_S):
                    await self._bus.nc.publish(subjects.presence_subject(user, shard), reply=f"{self._prefix}.{token}")
                    await question.done.wait()
        except nats.errors.Error as exc:
            raise UnavailableError(f"the edges could not be asked: {exc}") from exc
        finally:
            del self._questions[token]
        return question.answers

    async def hurry(self, user: UserKey, shard: int, position: Position) -> None:
        """Tell the user's edges that a receipt for `position` is awaited.

        Raises:
            UnavailableError: it could not be said.
        """
        try:
            await self._bus.nc.publish(subjects.presence_subject(user, shard), str(position).encode())
        except nats.errors.Error as exc:
            raise UnavailableError(f"the edges could not be told: {exc}") from exc

    async def _on_answer(self, msg: Msg) -> None:
        question = self._questions.get(msg.subject.rpartition(".")[2])
        if question is None:
            return
        if (msg.headers or {}).get("Status") == "503":
            question.done.set()
            return
        try:
            answer = msgspec.json.decode(msg.data, type=Presence)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # not an edge of ours
        if answer.devices:
            question.answers.append(answer)
            if question.first:
                question.done.set()
