"""Delivery statistics of processes: told by each every few seconds, heard and kept by routers for `GetStatus`.

They go over core NATS: what is lost is said again with the next numbers, for all of them count from the start of the process.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import nats.errors
from nats.aio.msg import Msg
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.wire import limits, subjects
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import decode_token

Collect = Callable[[], dict[str, object]]
"""The statistics now; JSON-like."""


async def tell_statistics(bus: Bus, role: str, process_id: str, collect: Collect, log: BoundLogger) -> None:
    """Tell the statistics of this process every `limits.STATISTICS_INTERVAL_S`; never returns."""
    subject = subjects.statistics_subject(role, process_id)
    while True:
        await asyncio.sleep(limits.STATISTICS_INTERVAL_S)
        if not bus.connected:
            continue
        try:
            await bus.nc.publish(subject, msgspec.json.encode({"role": role, "id": process_id, **collect()}))
        except nats.errors.Error as exc:
            log.warning("statistics_not_told", error=str(exc))


class Heard(NamedTuple):
    """Statistics of a process: JSON text, and when it was heard (monotonic seconds)."""

    role: str
    id: str
    text: bytes
    at: float


class StatisticsBoard:
    """The newest statistics of every process that is alive. Call `open` once, when the connection is open.

    Attributes:
        listeners: called with whatever is heard.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.listeners: list[Callable[[Heard], None]] = []
        self._heard: OrderedDict[str, Heard] = OrderedDict()

    async def open(self) -> None:
        """Listen."""
        await self._bus.nc.subscribe(subjects.ALL_STATISTICS, cb=self._on_statistics)

    def newest(self, now: float) -> list[Heard]:
        """What was heard in the last `limits.STATISTICS_AGE_S`, by role and id."""
        for subject, heard in list(self._heard.items()):
            if now - heard.at > limits.STATISTICS_AGE_S:
                del self._heard[subject]
        return sorted(self._heard.values())

    async def _on_statistics(self, msg: Msg) -> None:
        parts = msg.subject.split(".")
        try:
            role, process_id = parts[1], decode_token(parts[2])
        except (IndexError, IdInvalidError):
            return  # not a process of ours
        heard = self._heard[msg.subject] = Heard(role, process_id, msg.data, time.monotonic())
        self._heard.move_to_end(msg.subject)
        if len(self._heard) > limits.STATISTICS_PROCESSES_MAX:
            self._heard.popitem(last=False)
        for listener in self.listeners:
            listener(heard)
