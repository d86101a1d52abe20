"""What operators do about connections: revoke, lift, list, disconnect. On the other side are `runcast.bus.guard` and its bucket.

Rules
1. A revocation counts when it is stored, and is stored when `revoke` returns; only then are the processes asked what they closed, and if
   they know of it. Their answers are a report, and nothing hangs on them: a process that does not answer reads the bucket.
2. Storing is tried until there is a leader, within `REVOCATIONS_WAIT_S`: the same key and value again do no harm.
3. A question to all processes is over when all that are expected have answered, or after `REVOKE_ORDER_S` and a margin.

Foreign exceptions are mapped in `runcast.bus.storage` and here.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import nats.errors
from nats.aio.msg import Msg

from runcast.bus.connection import Bus
from runcast.bus.direct import DirectReader
from runcast.bus.guard import Carried, Order
from runcast.bus.keys import Bucket
from runcast.bus.revocation_feed import read_confirmed
from runcast.bus.revocations import Entry, Revocation, in_force, write_revocation
from runcast.wire import limits_revocation as limits
from runcast.wire import subjects
from runcast.wire.errors import IdInvalidError, RuncastError, UnavailableError
from runcast.wire.targets import Target, parse_target

T = TypeVar("T")

_MARGIN_S: Final = 0.25
"""For an answer that was given in the last moment to arrive."""


class Closed(NamedTuple):
    """What processes said that they closed.

    Attributes:
        processes: those that closed something.
        connections: all of them together.
        silent: those that were expected to answer, and did not.
    """

    processes: int
    connections: int
    silent: tuple[str, ...] = ()


class _Question:
    __slots__ = ("answers", "done", "expected")

    def __init__(self, expected: Collection[str]) -> None:
        self.answers: dict[str, Carried] = {}
        self.expected = frozenset(expected)
        self.done = asyncio.Event()


class Revoking:
    """Of one process. Call `open` once, when the connection is open.

    Args:
        bus: the connection.
        clock: Unix seconds.
    """

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._clock = clock
        self._bucket = Bucket(bus, subjects.REVOKED_BUCKET)
        self._reader = DirectReader(bus)
        self._questions: dict[str, _Question] = {}
        self._next = 0
        self._prefix = ""

    async def open(self) -> None:
        """Subscribe to answers."""
        await self._reader.open()
        self._prefix = self._bus.nc.new_inbox()
        await self._bus.nc.subscribe(f"{self._prefix}.*", cb=self._on_answer)

    async def revoke(
        self,
        target: Target,
        *,
        by: str,
        reason: str = "",
        lasts_s: float = 0.0,
        until_new_token: bool = False,
        expected: Collection[str] = (),
    ) -> tuple[Revocation, Closed]:
        """Close a target's connections and keep it out.

        Args:
            target: whom.
            by: the name of the operator's credentials.
            reason: for people, the one who is kept out too; at most 100 bytes.
            lasts_s: how long, whole seconds; 0.0 for the longest that is allowed.
            until_new_token: of a user or device: tokens that are issued from now on are good.
            expected: ids of the edges and routers that are known to be there.

        Raises:
            RuncastError: `request_invalid`: nothing was done; `storage_full`: there are too many.
            UnavailableError: it could not be stored, or (`indeterminate`) may have been.
        """
        check_reason(reason)
        lasts_s = float(int(lasts_s)) or limits.REVOCATION_MAX_S
        if not 0 < lasts_s <= limits.REVOCATION_MAX_S:
            raise RuncastError(f"a revocation lasts at most {limits.REVOCATION_MAX_S:.0f} s; ask for less", code="request_invalid")
        if until_new_token and target.kind not in ("user", "device"):
            raise RuncastError("until_new_token is for users and devices; leave it out", code="request_invalid")
        now_ms = int(self._clock() * 1000)
        revocation = Revocation(target, now_ms, now_ms + int(lasts_s * 1000), by, reason, until_new_token)
        value = write_revocation(revocation)
        seq = await self._store(lambda: self._bucket.put(target.key, value, ttl_s=lasts_s + 1.0))
        return revocation, await self._tell(Order(target.key, reason, seq), expected)

    async def disconnect(self, target: Target, *, reason: str = "", expected: Collection[str] = ()) -> Closed:
        """Close a target's connections; they may come back. Arguments as for `revoke`.

        Raises:
            RuncastError: `request_invalid`: nothing was done.
            UnavailableError: nobody could be told.
        """
        check_reason(reason)
        if not self._bus.connected:
            raise UnavailableError("there is no connection to NATS just now; nobody was told")
        return await self._tell(Order(target.key, reason), expected)

    async def lift(self, key: str, *, expected: Collection[str] = ()) -> bool:
        """End a revocation; False when there is none under this id.

        Args:
            key: its id.
            expected: as for `revoke`: those that it is waited for, to know of it.

        Raises:
            UnavailableError: it could not be, or (`indeterminate`) may have been.
        """
        try:
            parse_target(key)
        except IdInvalidError:
            return False
        found = await self._store(lambda: self._bucket.get(key))
        if found is None or not found.value:
            return False
        seq = await self._store(lambda: self._bucket.put(key, b"", ttl_s=limits.REVOCATION_MARKER_S, closing=True))
        await self._tell(Order(key, "", seq), expected)
        return True

    async def all(self) -> list[Entry]:
        """Those in force, the oldest first.

        Raises:
            UnavailableError: they could not be read.
        """
        return in_force(await read_confirmed(self._bus, self._reader, limits.REVOCATIONS_WAIT_S), int(self._clock() * 1000))

    # --- inside ---

    async def _store(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it again until it is certain, within `REVOCATIONS_WAIT_S`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limits.REVOCATIONS_WAIT_S
        while True:
            try:
                return await work()
            except UnavailableError:
                if loop.time() >= until:
                    raise
            await asyncio.sleep(limits.REVOCATIONS_PAUSE_S)

    async def _tell(self, order: Order, expected: Collection[str]) -> Closed:
        self._next += 1
        token = str(self._next)
        question = self._questions[token] = _Question(expected)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.REVOKE_ORDER_S + limits.REVOKE_PASS_S + _MARGIN_S):
                    await self._bus.nc.publish(subjects.DISCONNECT, msgspec.json.encode(order), reply=f"{self._prefix}.{token}")
                    await question.done.wait()
        except nats.errors.Error as exc:
            if not order.seq:
                raise UnavailableError(f"nobody could be told: {exc}") from exc
        finally:
            del self._questions[token]
        closed = [answer.connections for answer in question.answers.values() if answer.connections]
        return Closed(len(closed), sum(closed), tuple(sorted(question.expected - question.answers.keys())))

    async def _on_answer(self, msg: Msg) -> None:
        question = self._questions.get(msg.subject.rpartition(".")[2])
        if question is None:
            return
        if (msg.headers or {}).get("Status") == "503":  # nobody listens
            question.done.set()
            return
        try:
            answer = msgspec.json.decode(msg.data, type=Carried)
        except msgspec.DecodeError:
            return  # not a process of ours
        if answer.known:
            question.answers[answer.process] = answer
        if question.expected and question.expected <= question.answers.keys():
            question.done.set()


def check_reason(reason: str) -> None:
    """See that a reason is not too long.

    Raises:
        RuncastError: `request_invalid`.
    """
    if len(reason.encode(errors="replace")) > limits.REVOCATION_REASON_BYTES_MAX:
        raise RuncastError(f"the reason is over {limits.REVOCATION_REASON_BYTES_MAX} bytes; shorten it", code="request_invalid")
