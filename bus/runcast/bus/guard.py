"""Keeps out, in one process, whom operators revoke, and sends away whom they disconnect.

Rules
1. Who comes in is checked once, by `check`, with no wait between the check and being among the `guests`. From then on every change of
   the book has all guests looked through. So nobody slips in between.
2. They are looked through at once when something changes, and then at most every `REVOKE_PASS_S`, in chunks: a flood of revocations
   costs a process that much and no more, and others get their turn.
3. An order (`ctl.disconnect`) names a target and is answered with how many connections were closed. One that is about a revocation has its
   number (or that of its end): it is answered when that is known here and everybody was looked at, so its answers tell that it counts
   everywhere. The revocation itself hangs on no order.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec
import nats.errors
from nats.aio.msg import Msg
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.revocation_feed import RevocationFeed
from runcast.bus.revocations import Peer, disconnected
from runcast.wire import limits_revocation as limits
from runcast.wire import subjects
from runcast.wire.errors import IdInvalidError, RuncastError
from runcast.wire.targets import Target, parse_target

_ENDED_KEPT: Final = limits.REVOKE_ORDERS_MAX


class Guest(Protocol):
    """A connection that was let in."""

    @property
    def peer(self) -> Peer | None:
        """Whose it is; None while that is not known, and once it was ended."""
        ...

    def expel(self, error: RuncastError) -> None:
        """End it; `peer` is None from now on."""
        ...


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a process is told to close.

    Attributes:
        target: its key.
        reason: for who is closed.
        seq: of the revocation that it is about, or of its end; 0 for none: they are disconnected, and may come back.
    """

    target: str
    reason: str = ""
    seq: int = 0


class Carried(msgspec.Struct, frozen=True):
    """What became of an order in one process.

    Attributes:
        process: its id.
        connections: that were closed.
        known: the revocation counts there.
    """

    process: str
    connections: int
    known: bool = True


class Guard:
    """Of one process. Call `open` once, when the connection is open; `run` must be running.

    Args:
        bus: the connection.
        process: id of this process.
        log: told of what was closed, and why.
        guests: all connections that were let in.
    """

    def __init__(self, bus: Bus, process: str, log: BoundLogger, guests: Callable[[], Iterable[Guest]]) -> None:
        self._bus = bus
        self._process = process
        self._log = log
        self._guests = guests
        self._feed = RevocationFeed(bus, log, self._look)
        self._wanted = asyncio.Event()
        self._begun = 0  # passes
        self._passed = asyncio.Event()
        self._closing: dict[Target, str] = {}  # whom to disconnect, and the reason
        self._ended: OrderedDict[tuple[Target, int], int] = OrderedDict()  # connections, by target and by revocation (or 0)
        self._orders = 0
        self._opened = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None  # while it runs

    @property
    def current(self) -> bool:
        """It is known who is revoked, as far as anybody can know."""
        return self._feed.current

    async def ready(self, within_s: float | None = limits.REVOCATIONS_WAIT_S) -> None:
        """Wait until it is, at most so many seconds; None: as long as it takes.

        Raises:
            UnavailableError: it takes too long.
        """
        if not self._feed.current:
            await self._feed.ready(within_s)

    def check(self, peer: Peer) -> None:
        """Let somebody in.

        Raises:
            RuncastError: `revoked`.
        """
        entry = self._feed.book.find(peer, _now_ms())
        if entry is not None:
            raise entry.revocation.error

    async def open(self) -> None:
        """Subscribe to what operators say."""
        await self._feed.open()
        await self._bus.nc.subscribe(subjects.DISCONNECT, cb=self._on_order)
        self._opened.set()

    async def run(self) -> None:
        """Carry it out; never returns."""
        await self._opened.wait()
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._feed.run(), name="revocations")
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self._pass()
                await asyncio.sleep(limits.REVOKE_PASS_S)

    # --- inside ---

    def _look(self) -> None:
        self._wanted.set()

    async def _pass(self) -> None:
        """Look at all guests once."""
        self._begun += 1
        closing, self._closing = self._closing, {}
        book, ended = self._feed.book, Counter[tuple[Target, int]]()
        if closing or len(book):
            for number, guest in enumerate(tuple(self._guests()), 1):
                peer = guest.peer
                if peer is not None:
                    self._judge(guest, peer, closing, ended)
                if number % limits.REVOKE_PASS_CHUNK == 0:
                    await asyncio.sleep(0)
        for (target, seq), count in ended.items():
            self._log.info("connections_ended", target=target.key, code="revoked" if seq else "disconnected", connections=count)
            self._ended[target, seq] = self._ended.pop((target, seq), 0) + count
            if len(self._ended) > _ENDED_KEPT:
                self._ended.popitem(last=False)
        self._passed.set()
        self._passed.clear()  # it wakes who waits now

    def _judge(self, guest: Guest, peer: Peer, closing: dict[Target, str], ended: Counter[tuple[Target, int]]) -> None:
        entry = self._feed.book.find(peer, _now_ms())
        if entry is not None:
            guest.expel(entry.revocation.error)
            ended[entry.revocation.target, entry.seq] += 1
            return
        for target in peer.targets:
            if target in closing:
                guest.expel(disconnected(closing[target]))
                ended[target, 0] += 1
                return

    async def _on_order(self, msg: Msg) -> None:
        try:
            order = msgspec.json.decode(msg.data, type=Order)
            target = parse_target(order.target)
        except (msgspec.DecodeError, UnicodeDecodeError, IdInvalidError) as exc:
            self._log.error("order_unreadable", error=str(exc))
            return
        if self._group is not None and self._orders < limits.REVOKE_ORDERS_MAX:
            self._orders += 1
            self._group.create_task(self._carry_out(order, target, msg.reply), name="order")

    async def _carry_out(self, order: Order, target: Target, reply: str) -> None:
        try:
            known = not order.seq or await self._feed.reach(order.seq, limits.REVOKE_ORDER_S)
            if not order.seq:
                self._closing[target] = order.reason
                self._ended.pop((target, 0), None)
            await self._looked()
            done = Carried(self._process, self._ended.pop((target, order.seq), 0), known)
            if reply:
                await self._bus.nc.publish(reply, msgspec.json.encode(done))
        except nats.errors.Error as exc:
            self._log.warning("order_not_answered", error=str(exc))
        finally:
            self._orders -= 1

    async def _looked(self) -> None:
        """Wait until a pass that begins from now on is over."""
        begun = self._begun
        self._wanted.set()
        while self._begun == begun:
            await self._passed.wait()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
