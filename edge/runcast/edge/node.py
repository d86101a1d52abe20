"""An edge: what its parts share, and what they do together. Start and stop are `runcast.edge.app`'s, its routes `runcast.edge.routes`."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from typing import Final

from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.denials import Denials
from runcast.bus.deployment import Shard
from runcast.bus.direct import DirectReader
from runcast.bus.erasure_watch import ErasureWatch
from runcast.bus.guard import Guard
from runcast.bus.policy.book import PolicyBook
from runcast.bus.retention import retention_of
from runcast.bus.shards import Shards
from runcast.edge.alarm import Alarm
from runcast.edge.allowance import Allowance
from runcast.edge.auth import Authenticator, authenticator
from runcast.edge.connection import Connection
from runcast.edge.cursors import Cursors
from runcast.edge.door import Door
from runcast.edge.entrance import Entrance
from runcast.edge.hub import Hub
from runcast.edge.life import State
from runcast.edge.memory import Memory, choose_bound
from runcast.edge.origins import Origins
from runcast.edge.resident import container_bytes, resident_bytes, trim
from runcast.edge.resume import Room
from runcast.edge.settings import EdgeSettings
from runcast.edge.socket import Socket
from runcast.edge.statistics import EdgeStatistics
from runcast.edge.upstream import Upstream
from runcast.wire import VERSION, limits, limits_floods
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey

TICK_S: Final = 1.0
"""How often sessions look at the clock."""
FULL: Final = "this edge has no memory for another session; try again, or another edge"


class Edge:
    """What the connections of one edge share.

    Attributes:
        settings: of this process.
        log: bound to role and id.
        auth: turns tokens into users.
        policy: what tenants may use.
        allowance: what devices use of it.
        memory: whether there is some for new sessions.
        entrance: the port, and who is not known yet; set before it is opened.
        origins: pages that may connect.
        tasks: work that outlives a connection.
        room: for snapshots.
        shards: what storage looks like, as far as it is verified just now.
        erasures: users who are being erased.
        retention: of tenants.
        hub: feeds; set once NATS is there, like the rest below.
        cursors: what devices acknowledged.
        upstream: stores what devices send.
        statistics: counts of this edge.
        refusals: of tokens and pages since the start, by code.
        denials: who was not let in.
        guard: keeps out whom operators revoke.
        door: who may come in.
    """

    entrance: Entrance
    hub: Hub
    cursors: Cursors
    upstream: Upstream

    def __init__(self, settings: EdgeSettings, log: BoundLogger, tasks: asyncio.TaskGroup) -> None:
        self.settings = settings
        self.log = log
        self.auth: Authenticator = authenticator(settings.auth, settings.auth_file, log)
        self.policy = PolicyBook(settings.policy_file, development=settings.auth == "dev", log=log)
        self.origins = Origins(settings.origin_list, local=settings.auth == "dev")
        self.tasks = tasks
        self.room = Room()
        self.bus = Bus(log)
        self.connections: set[Connection] = set()
        self.statistics = EdgeStatistics()
        self.refusals: Counter[str] = Counter()
        self.denials = Denials(log, self.refusals)
        self.guard = Guard(self.bus, settings.id, log, lambda: self.connections)
        self.started = time.monotonic()
        self.shards = Shards()
        self.retention = retention_of(self.policy.of)
        self.erasures = ErasureWatch(self.bus, "edge", settings.id, log)
        self.not_ready = "waiting for NATS"
        self.policy.replaced.append(self._allow)
        self.allowance = Allowance(self.policy.of)
        self.door = Door(self.auth, self.guard, self.denials)
        self.memory = Memory(choose_bound(settings.memory_max_mib, container_bytes()))

    def admit(self, user: UserKey) -> None:
        """A device has proved whose it is; `allowance.leave` must follow, unless this raises.

        Raises:
            RuncastError: `unavailable` without memory, `rate_limited` with too many connections.
        """
        if self.memory.full:
            raise RuncastError(FULL, code="unavailable", retry_after_s=limits_floods.MEMORY_RETRY_S)
        self.allowance.connect(user)

    def _allow(self) -> None:
        """Another policy is in force."""
        for connection in self.connections:
            if connection.user is not None:
                connection.session.allow(self.allowance.egress(connection.user))

    def begin(self, count: int) -> None:
        """The deployment has so many shards."""
        if not self.not_ready and count != self.shards.count:
            self.hub.end_all()
        self.shards.begin(count)

    def verified(self, number: int, shard: Shard) -> None:
        """A shard can be reached, and is as it should be."""
        self.shards.verified(number, shard)
        if not self.not_ready:
            self.hub.adopt(number, shard)

    async def attach(self) -> None:
        """NATS and the deployment are there: take connections."""
        reader = DirectReader(self.bus)
        await reader.open()
        self.cursors = Cursors(self.bus, reader, wall_ms, self.tasks, self.log)
        alarm = Alarm(self.bus, self.cursors, self.statistics, self.tasks, self.log, self.settings.id)
        self.hub = Hub(
            self.bus,
            reader,
            self.shards,
            self.tasks,
            self.log,
            alarm,
            self.settings.id,
            self.settings.alert_after_s,
            self.erasures,
            self.retention,
        )
        self.upstream = Upstream(self.bus, wall_ms, self.policy.of, self.retention, lambda number: self.shards.get(number).retention_s)
        await self.erasures.open()
        self.not_ready = ""

    async def serve(self, connection: Connection, ws: Socket) -> None:
        """Serve a connection to its end, whichever transport it came by."""
        self.connections.add(connection)
        opened = time.monotonic()
        try:
            await connection.run()
        except* Exception:
            self.log.exception("session_failed", user=connection.user.token if connection.user else "")
            with contextlib.suppress(ConnectionError):
                await ws.close(code=4000, message=b"internal error; connect again")
        finally:
            self.connections.discard(connection)
            if connection.admitted and connection.user is not None:
                self.allowance.leave(connection.user)
            session = connection.session
            self.log.info(
                "session_closed",
                user=connection.user.token if connection.user else "",
                device=session.device,
                code=int(ws.close_code or 0),
                why=session.close_code,
                sent=session.events_sent,
                sent_seq=session.sent,
                acked_seq=session.acked,
                seconds=round(time.monotonic() - opened, 3),
            )

    def collect(self) -> dict[str, object]:
        """The statistics now, for people and for `stats.edge.<id>`."""
        now = time.monotonic()
        statistics = self.statistics
        behind = sum(1 for connection in self.connections if connection.session.state in (State.BEHIND, State.RESUMING))
        return {
            "version": VERSION,
            "uptime_s": round(now - self.started, 1),
            "users": 0 if self.not_ready else self.hub.users,
            "devices": len(self.connections),
            "devices_behind": behind,
            "events_sent": statistics.events_sent,
            "events_acked": statistics.events_acked,
            "oldest_unacked_s": round(max((each.unacknowledged.oldest_s(now) for each in self.connections), default=0.0), 3),
            "to_send": statistics.to_send.as_json(),
            "to_ack": statistics.to_ack.as_json(),
            "alerts": statistics.alerts,
            "refusals": dict(self.refusals),
            "auth": self.auth.report(),
            "policy": self.policy.report(),
            "health": self.bus.health.report(now),
            "strangers": len(self.entrance.strangers),
            "strangers_refused": dict(self.entrance.strangers.refused),
            "strangers_cut": dict(self.entrance.strangers.cut),
            "memory_bytes": self.memory.used,
        }

    async def forget(self, user: UserKey) -> int:
        """The user is erased: see `runcast.bus.erasure_watch`."""
        connections = self.hub.forget(user)
        await self.erasures.settled(user)
        await self.cursors.forget(user, self.hub.shard_of(user))
        return connections

    async def tick(self, stop: asyncio.Event) -> None:
        """Let the sessions look at the clock until `stop`."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await stop.wait()
            now = time.monotonic()
            for connection in tuple(self.connections):
                connection.tick(now)
            self._look_at_memory(now)

    def _look_at_memory(self, now: float) -> None:
        if self.memory.observe(resident_bytes()):
            self.log.warning("memory_full" if self.memory.full else "memory_again", used=self.memory.used, bound=self.memory.bytes_max)
        if self.memory.wants_trim(now):
            trim()

    async def drain(self) -> None:
        """Send everybody away, within `DRAIN_S`."""
        spread = min(len(self.connections) / limits.DRAIN_DEVICES_PER_S, limits.DRAIN_S * 0.6)
        for connection in tuple(self.connections):
            reconnect_in = random.uniform(0, spread)  # noqa: S311 # jitter, not a secret
            connection.drain(reconnect_in_s=reconnect_in, grace_s=reconnect_in + 0.5)
        deadline = time.monotonic() + limits.DRAIN_S
        while self.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            for connection in tuple(self.connections):
                connection.tick(time.monotonic())


def wall_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
