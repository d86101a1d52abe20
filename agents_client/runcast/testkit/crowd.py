"""The people of a trial: for each user several devices that come, go, fall behind, ask for what they should not, and send messages.

The kinds of devices:
    steady    stays connected, comes back at once, sends messages and cancels, and sends again what was not answered
    restless  leaves every few seconds, mostly without a word, and comes back with an honest, old, future, foreign, broken or no position
    page      leaves too, often in the middle of a snapshot, and asks for a snapshot when it comes back
    slow      reads, but acknowledges seldom: it falls behind, and has to be fed from the log
    late      comes when all is over, and reads everything from the beginning

All are real WebSocket clients; every frame is written down as it came, before anything is made of it.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiohttp

from runcast.testkit.device import Device
from runcast.testkit.device_link import DeviceClosedError
from runcast.testkit.device_session import Answered as Told
from runcast.testkit.history import Answered, AnyRecord, CancelSent, Dropped, Sent
from runcast.testkit.sightings import framed, opened
from runcast.testkit.trial_agent import GROUP, POISON
from runcast.wire.errors import PositionMalformedError, RuncastError
from runcast.wire.frames import CODECS, Batch, ServerFrame, Welcome
from runcast.wire.position import EARLIEST, SNAPSHOT_EPOCH, Position, parse_position

SEND_TRIES_MAX: Final = 12
"""Tries of one message. Then it is left as it is: nobody was told that it is stored."""
OLD_POSITIONS_MAX: Final = 200
"""Positions that a device remembers, to come back with."""
_LEAVE_S: Final = (0.7, 5.0)
_ACK_S: Final = (0.5, 6.0)
_SEND_S: Final = (1.0, 8.0)
_SEND_TIMEOUT_S: Final = 6.0
_BEGIN_S: Final = 8.0
"""How long a device waits for the run that it is going to cancel."""
_BREAK_OFF: Final = 0.3
"""Share of the snapshots that a page breaks off at a frame."""


class Member:
    """One device of one user.

    Args:
        user: whose.
        kind: steady, restless, page, slow or late.
        urls: of the edges.
        token: of the user.
        write: takes records.
        rng: decides what it does.
        http: the session that all share.
        poison: its first message is poison.
    """

    def __init__(
        self,
        user: str,
        kind: str,
        urls: Sequence[str],
        token: str,
        write: Callable[[AnyRecord], None],
        rng: random.Random,
        http: aiohttp.ClientSession,
        *,
        poison: bool = False,
    ) -> None:
        self.user = user
        self.kind = kind
        self._poison = poison
        self._awaited = ""  # the run that is to begin
        self._begun = asyncio.Event()
        self._fed_up = asyncio.Event()
        self._write = write
        self._rng = rng
        self._trick = ""
        self._places: list[str] = []
        self._sent = 0
        self.device = Device(
            rng.sample(list(urls), len(urls)),
            token,
            device=kind,
            position=EARLIEST if kind == "late" else None,
            subprotocol=rng.choice(sorted(CODECS)),
            ack=kind != "slow",
            snapshot=kind == "page",
            reconnect=True,
            strict=False,
            record=False,
            on_frame=self._on_frame,
            on_lost=self._on_lost,
            http=http,
        )

    # --- what is written down ---

    def _on_frame(self, frame: ServerFrame) -> None:
        now = time.monotonic()
        if isinstance(frame, Batch):
            self._write(framed(frame, self.user, self.kind, now, time.time_ns() // 1_000_000))
            self._remember(frame.pos)
            if any(event.run_id == self._awaited for event in frame.events):
                self._begun.set()
            if self.kind == "page" and frame.pos.startswith(SNAPSHOT_EPOCH) and self._rng.random() < _BREAK_OFF:
                self._fed_up.set()
        elif isinstance(frame, Welcome):
            session = self.device.session
            record = opened(frame, self.user, self.kind, now, session.position, self._trick, slow=self.kind == "slow")
            record.wants = session.wants_snapshot
            self._write(record)
            self._trick = ""

    def _remember(self, position: str) -> None:
        """Note a position, to come back with."""
        if len(self._places) < OLD_POSITIONS_MAX:
            self._places.append(position)
        else:
            self._places[self._rng.randrange(OLD_POSITIONS_MAX)] = position

    def _on_lost(self, _: str) -> None:
        code = self.device.close_code or 0
        self._write(Dropped(t=time.monotonic(), user=self.user, device=self.kind, code=code))

    # --- what it does ---

    @property
    def there(self) -> bool:
        """Whether it is connected and caught up with where the stream ended when it came."""
        return self.device.connected and self.device.session.caught_up

    async def connect(self) -> None:
        """Connect, and try again until it is; whatever position was refused for good is forgotten."""
        while True:
            try:
                await self.device.connect()
            except TimeoutError:
                pass  # the device goes on trying by itself
            except DeviceClosedError:
                await self.device.disconnect()
                self._trick, self.device.session.position = "", ""
                continue
            return

    async def live(self, calm: asyncio.Event, others: Sequence["Member"]) -> None:
        """Be what this kind of device is, until it is calm."""
        await self.connect()
        match self.kind:
            case "steady":
                await self._send(calm, others)
            case "restless" | "page":
                await self._come_and_go(calm, others)
            case "slow":
                while not await _wait(calm, self._rng.uniform(*_ACK_S)):
                    await self.acknowledge()

    async def acknowledge(self) -> None:
        """Acknowledge all; nothing when the connection is gone just now."""
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self.device.acknowledge()

    async def _come_and_go(self, calm: asyncio.Event, others: Sequence["Member"]) -> None:
        honest = self.device.session.position
        while not await self._wait_to_leave(calm):
            self._write(Dropped(t=time.monotonic(), user=self.user, device=self.kind, meant=True))
            await self.device.disconnect(abruptly=self._rng.random() < 0.7)
            if not self._trick:  # else nobody has answered to the last one
                honest = self.device.session.position
            if self.kind == "page":
                self.device.session.ask_snapshot()
            self._trick, self.device.session.position = self._choose_position(honest, others)
            await self.connect()

    async def _wait_to_leave(self, calm: asyncio.Event) -> bool:
        """Wait until it is time, or a page has enough of a snapshot; True when it is calm instead."""
        self._fed_up.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rng.uniform(*_LEAVE_S)), asyncio.TaskGroup() as either:
                waits = [either.create_task(event.wait()) for event in (calm, self._fed_up)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        return calm.is_set()

    def _choose_position(self, honest: str, others: Sequence["Member"]) -> tuple[str, str]:
        """A trick and a position to come back with."""
        try:
            here = parse_position(honest)
        except PositionMalformedError:
            return "", honest
        trick = self._rng.choice(["", "", "", "", "cursor", "old", "old", "future", "foreign", "epoch", "malformed", "earliest"])
        match trick:
            case "cursor":
                return "", ""
            case "earliest":
                return "", EARLIEST
            case "old" if self._places:
                return trick, self._rng.choice(self._places)
            case "future":
                return trick, str(Position(here.epoch, here.seq + 10**9))
            case "epoch":
                return trick, str(Position("aaaaaaaa", here.seq))
            case "malformed":
                return trick, "not a position"
            case "foreign":
                places = [place for other in others if other.user != self.user for place in other._places[-3:]]
                return (trick, self._rng.choice(places)) if places else ("", honest)
        return "", honest

    async def _send(self, calm: asyncio.Event, others: Sequence["Member"]) -> None:
        if self._poison:
            self._sent += 1
            await self.send(f"{self.user}/m{self._sent}", poison=True)
        while not await _wait(calm, self._rng.uniform(*_SEND_S)):
            self._sent += 1
            name = f"{self.user}/m{self._sent}"
            match self._rng.choice(["plain", "plain", "early", "late", "meddle"]):
                case "early":  # stop the run before there is one
                    await self.cancel(f"hold/{name}")
                    await self.send(name, run=f"hold/{name}")
                case "late":
                    self._awaited = f"hold/{name}"
                    self._begun.clear()
                    await self.send(name, run=self._awaited)
                    await _wait(self._begun, _BEGIN_S)
                    await self.cancel(self._awaited)
                case "meddle":
                    theirs = [other._awaited for other in others if other._awaited and other.user != self.user]
                    if theirs:
                        await self.cancel(self._rng.choice(theirs))
                    await self.send(name)
                case _:
                    await self.send(name)

    async def send(self, name: str, *, run: str = "", poison: bool = False) -> None:
        """Send one message, again under its id until it is answered for good. `run`: the one that is to answer it."""
        self._write(Sent(t=time.monotonic(), id=name, user=self.user, device=self.kind, poison=poison))
        text, data = POISON if poison else "a question", {"run": run} if run else None
        await self._until_answered(name, lambda: self.device.send_message(GROUP, "t", text, id=name, data=data, timeout=_SEND_TIMEOUT_S))

    async def cancel(self, run: str) -> None:
        """Ask for the end of a run, in the same way."""
        name = f"{self.user}/stop {run}"
        self._write(CancelSent(t=time.monotonic(), id=name, user=self.user, device=self.kind, run=run))
        await self._until_answered(name, lambda: self.device.cancel(run, "enough", id=name, timeout=_SEND_TIMEOUT_S))

    async def _until_answered(self, name: str, send: Callable[[], Awaitable[Told]]) -> None:
        for _ in range(SEND_TRIES_MAX):
            outcome, definite, retry, duplicate = "", False, True, False
            try:
                answered = await send()
                outcome, definite, retry, duplicate = "stored", True, False, answered.duplicate
            except RuncastError as exc:
                outcome, definite, retry = exc.code.name, exc.code.definite, exc.code.retry
            except (TimeoutError, DeviceClosedError, ConnectionError, aiohttp.ClientError):
                pass  # nobody knows: it goes out again
            self._write(
                Answered(
                    t=time.monotonic(),
                    id=name,
                    user=self.user,
                    device=self.kind,
                    outcome=outcome,
                    definite=definite,
                    duplicate=duplicate,
                )
            )
            if not retry:
                return
            await asyncio.sleep(self._rng.uniform(0.1, 0.6))


async def _wait(calm: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until it is calm; True when it is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await calm.wait()
    return calm.is_set()
