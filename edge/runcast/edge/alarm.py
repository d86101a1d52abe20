"""Raises the alert when something critical does not reach a connected user: a counter, and one message on `alerts.<shard>.<tenant>.<user>`.

What is overdue here may have been acknowledged on another edge. So all edges are told to write their cursors of the user at once, then the
cursors are read, and only then it is decided. Several edges may hold devices of the same user; a key in RUNS, made by whoever comes first,
keeps it to one alert a run. When the key can't be written, the alert is given all the same: better twice than never.
"""

import asyncio
import time

import msgspec
import nats.errors
import nats.js.errors
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.presence import PresenceReader
from runcast.edge.cursors import Cursors
from runcast.edge.feed import Feed
from runcast.edge.statistics import EdgeStatistics
from runcast.edge.vigil import Watched
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError
from runcast.wire.position import Position

_WRONG_LAST_SEQUENCE = 10071
"""nats-server error code: the key exists already."""


class DeliveryAlert(msgspec.Struct, tag_field="type", tag="delivery_alert"):
    """What is published: an event of a run that no device of a connected user acknowledged for so long."""

    tenant: str
    user: str
    run_id: str
    event_id: str
    kind: str
    pos: str
    age_s: float
    edge: str
    devices: list[str]


class Alarm:
    """The alarm of one edge.

    Args:
        bus: an open connection.
        cursors: of the devices.
        statistics: counts the alerts.
        tasks: where alerts are looked into.
        log: of the edge.
        edge: its id.
    """

    def __init__(
        self, bus: Bus, cursors: Cursors, statistics: EdgeStatistics, tasks: asyncio.TaskGroup, log: BoundLogger, edge: str
    ) -> None:
        self._bus = bus
        self._cursors = cursors
        self._statistics = statistics
        self._tasks = tasks
        self._log = log
        self._edge = edge
        self._presence = PresenceReader(bus)
        self._looking: set[Feed] = set()

    def raise_for(self, feed: Feed) -> None:
        """The feed's vigil is overdue: look into it. Does nothing while that is under way."""
        if feed not in self._looking:
            self._looking.add(feed)
            self._tasks.create_task(self._look_into(feed))

    async def _look_into(self, feed: Feed) -> None:
        try:
            first = feed.vigil.overdue(time.monotonic())
            await self._presence.hurry(feed.user, feed.shard, Position(feed.epoch, first))
            await asyncio.sleep(limits.PRESENCE_WAIT_S)  # nobody says when all edges have done so
            for cursor in await self._cursors.find_all(feed.user, feed.shard):
                if cursor.epoch == feed.epoch:
                    feed.vigil.acked(cursor.since, cursor.seq)
            now = time.monotonic()
            for late in feed.vigil.alerts(now) if any(listener.device for listener in feed.listeners) else ():
                if await self._is_first(feed, late):
                    await self._publish(feed, late, now)
        except UnavailableError as exc:
            self._log.warning("alert_not_decided", user=feed.subject, error=exc.message)
        finally:
            self._looking.discard(feed)

    async def _is_first(self, feed: Feed, late: Watched) -> bool:
        """Whether nobody raised the alert of this run before."""
        key = subjects.kv_subject(subjects.RUNS_BUCKET, subjects.alert_key(feed.user, feed.shard, late.run_id))
        headers = {"Nats-Expected-Last-Subject-Sequence": "0", "Nats-TTL": str(int(limits.ALERT_AGE_S))}
        try:
            await self._bus.js.publish(key, self._edge.encode(), headers=headers)
        except nats.js.errors.APIError as exc:
            return exc.err_code != _WRONG_LAST_SEQUENCE
        except (TimeoutError, nats.errors.Error) as exc:
            self._log.warning("alert_not_noted", user=feed.subject, run=late.run_id, error=str(exc))
        return True

    async def _publish(self, feed: Feed, late: Watched, now: float) -> None:
        self._statistics.alerts += 1
        alert = DeliveryAlert(
            tenant=feed.user.tenant,
            user=feed.user.user,
            run_id=late.run_id,
            event_id=late.event_id,
            kind=late.kind,
            pos=str(Position(feed.epoch, late.seq)),
            age_s=round(now - late.at, 3),
            edge=self._edge,
            devices=sorted({listener.device for listener in feed.listeners if listener.device}),
        )
        self._log.warning("delivery_alert", user=feed.subject, run=late.run_id, kind=late.kind, age_s=alert.age_s, devices=alert.devices)
        try:
            await self._bus.nc.publish(subjects.alert_subject(feed.user, feed.shard), msgspec.json.encode(alert))
        except nats.errors.Error as exc:
            self._log.warning("alert_not_published", user=feed.subject, run=late.run_id, error=str(exc))
