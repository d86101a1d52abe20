"""How processes forget a user who is erased: they hear it on one subject, do it, and answer (ARCHITECTURE.md, "Erasing a user").

Two steps, each told to all processes at once. *hold*: from now on nobody here reads or writes the user; the process answers that it heard,
and then, when what was under way is finished and what it kept in memory is forgotten, that it is done. *release*: whoever comes now begins
anew. Should the second step never come, the hold ends by itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Literal

import msgspec
import nats.errors
from nats.aio.msg import Msg
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.withheld import Withheld
from runcast.wire import subjects
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey, check_id
from runcast.wire.limits_erasure import ERASE_HOLD_S, ERASE_SETTLE_S


class Order(msgspec.Struct, frozen=True):
    """What processes are told. `id` names the erasing."""

    id: str
    step: Literal["hold", "release"]
    tenant: str
    user: str


class Answer(msgspec.Struct, frozen=True):
    """What a process answers.

    Attributes:
        role: router, edge or admin.
        id: of the process.
        state: heard: it is at it; done: nothing of the user is left here; failed: something is still under way.
        connections: of devices that were closed.
    """

    role: str
    id: str
    state: Literal["heard", "done", "failed"]
    connections: int = 0


Forget = Callable[[UserKey], Awaitable[int]]
"""Forget a user who is withheld: end what is open, wait for what is under way, drop what is kept; returns how many connections that
closed."""

_read_order: Final = msgspec.json.Decoder(Order).decode


class _Storing:
    """What is being stored of one user just now."""

    __slots__ = ("_all", "_count", "_done", "_user")

    def __init__(self, user: UserKey, everybody: "dict[UserKey, _Storing]", done: Callable[[], None]) -> None:
        self._user = user
        self._all = everybody
        self._done = done
        self._count = 0

    def __enter__(self) -> None:
        self._count += 1
        self._all[self._user] = self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._count -= 1
        if not self._count:
            del self._all[self._user]
            self._done()


class ErasureWatch:
    """The users who are erased, as one process sees it. Call `open` once.

    Args:
        bus: an open connection.
        role: of this process.
        process_id: its id.
        log: told of each user that was forgotten, by token.
    """

    def __init__(self, bus: Bus, role: str, process_id: str, log: BoundLogger) -> None:
        self._bus = bus
        self._role = role
        self._id = process_id
        self._log = log
        self._withheld = Withheld()
        self._storing: dict[UserKey, _Storing] = {}
        self._news = asyncio.Event()
        self._orders: asyncio.Queue[tuple[Order, UserKey, str]] = asyncio.Queue()

    async def open(self) -> None:
        """Listen."""
        await self._bus.nc.subscribe(subjects.ERASE, cb=self._on_order)

    async def run(self, forget: Forget) -> None:
        """Do what is heard; never returns."""
        async with asyncio.TaskGroup() as group:
            while True:
                order, user, reply = await self._orders.get()
                group.create_task(self._forget(order, user, reply, forget))

    # --- for those who read and write ---

    def holds(self, user: UserKey) -> bool:
        """Whether nobody may read or write the user just now."""
        return self._withheld.holds(user, time.monotonic())

    def storing(self, user: UserKey) -> _Storing:
        """Around every store of something of a user, by `with`.

        Raises:
            UnavailableError: the user is being erased.
        """
        self._withheld.check(user, time.monotonic())
        return self._storing.get(user) or _Storing(user, self._storing, self._tell)

    async def passed(self, user: UserKey) -> None:
        """Wait until the user is not withheld."""
        while self.holds(user):
            try:
                async with asyncio.timeout(ERASE_HOLD_S / 20):  # its own end is told by nobody
                    await self._news.wait()
            except TimeoutError:
                continue

    async def settled(self, user: UserKey) -> None:
        """Wait until nothing of the user is being stored by this process."""
        while user in self._storing:
            await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()  # it wakes who waits now

    # --- orders ---

    async def _on_order(self, msg: Msg) -> None:
        try:
            order = _read_order(msg.data)
            user = UserKey(check_id(order.tenant, "tenant id"), check_id(order.user, "user id"))
        except (msgspec.DecodeError, RuncastError):
            return  # not an admin service of ours
        if order.step == "release":
            self._withheld.release(user, order.id)
            self._tell()
        elif self._withheld.hold(user, order.id, time.monotonic()):
            await self._answer(msg.reply, "heard")
            self._orders.put_nowait((order, user, msg.reply))
        else:
            await self._answer(msg.reply, "failed")

    async def _forget(self, order: Order, user: UserKey, reply: str, forget: Forget) -> None:
        connections, state = 0, "done"
        try:
            async with asyncio.timeout(ERASE_SETTLE_S):
                connections = await forget(user)
        except (TimeoutError, RuncastError):  # as while storage can't be reached
            state = "failed"
        self._log.info("user_forgotten", user=user.token, erasing=order.id, connections=connections, state=state)
        await self._answer(reply, state, connections)

    async def _answer(self, reply: str, state: str, connections: int = 0) -> None:
        if not reply:
            return
        answer = msgspec.json.encode({"role": self._role, "id": self._id, "state": state, "connections": connections})
        try:
            await self._bus.nc.publish(reply, answer)
        except nats.errors.Error as exc:
            self._log.warning("erasing_not_answered", error=str(exc))
