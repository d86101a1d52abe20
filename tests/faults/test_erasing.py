"""An erasure where everything is stored three times, and one server is away meanwhile."""

import asyncio
import json
from typing import Any

import nats
import pytest
import structlog

from runcast.bus.connection import Bus
from runcast.bus.erasure import Eraser
from runcast.bus.settings import ServiceSettings
from runcast.testkit import Cluster, UserDevice
from runcast.testkit.node import Node
from runcast.wire import subjects
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey
from tests.security.test_erasing import fill, shard_of

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("revocation_faults")]
ALL = [("router", "router-0"), ("edge", "edge-0"), ("edge", "edge-1")]


async def test_who_was_away_has_nothing_left_either(three_servers: Cluster, user: str) -> None:
    cluster, key, log = three_servers, UserKey("default", user), structlog.stdlib.get_logger()
    bus = Bus(log)
    await bus.open(ServiceSettings(nats_url=cluster.nats_url, auth="dev", id="test"))
    try:
        eraser = Eraser(bus, log, answers_s=5.0)
        await eraser.open()
        async with UserDevice(cluster, user) as device:
            await fill(cluster, bus, device)
        shard = await shard_of(bus, key)
        assert set(await eraser.left(key, shard)) == {"stream", "cursors", "inbox", "parked", "runs"}
        leader = await cluster.stream_leader(subjects.event_stream(shard))
        away = next(server for server in cluster.nats_servers if server is not leader)
        await away.kill()
        try:
            await erase(eraser, key, shard)
        finally:
            await away.start()
        assert await eraser.left(key, shard) == []
        await lead(bus, away, subjects.event_stream(shard))
        assert await eraser.left(key, shard) == []
    finally:
        await bus.close()
    async with UserDevice(cluster, user, device="new", position="earliest", reconnect=False) as device:
        assert device.recording().received == []


async def erase(eraser: Eraser, user: UserKey, shard: int) -> None:
    """As an operator does: whoever is told that nothing was done, or that nobody knows, does it again."""
    said = set()
    async with asyncio.timeout(60):
        while True:
            try:
                await eraser.erase(user, shard, ALL)
            except UnavailableError as exc:
                said.add(exc.code.name)
                await asyncio.sleep(0.5)
            else:
                break
    assert said <= {"unavailable", "indeterminate"}


async def lead(bus: Bus, server: Node, stream: str, within_s: float = 60.0) -> None:
    """Have a server lead a stream: it must have caught up for that, and what it has is what is answered.

    Until it has, nobody is asked to step down: a follower that is named too early is kept from catching up.
    """
    wish = json.dumps({"placement": {"preferred": server.name}}).encode()
    told: list[object] = []
    try:
        async with asyncio.timeout(within_s):
            while (place := (await api(bus, f"INFO.{stream}")).get("cluster", {})).get("leader") != server.name:
                told = [place]
                if any(replica["name"] == server.name and replica["current"] for replica in place.get("replicas", ())):
                    told.append(await api(bus, f"LEADER.STEPDOWN.{stream}", wish))
                await asyncio.sleep(1.0)  # an election takes so long
    except TimeoutError:
        raise AssertionError(f"{server.name} does not lead {stream}: {told}") from None


async def api(bus: Bus, subject: str, body: bytes = b"") -> dict[str, Any]:
    """Ask JetStream about streams; nothing comes back while there is no leader."""
    try:
        answer = await bus.nc.request(f"$JS.API.STREAM.{subject}", body, timeout=5)
    except nats.errors.Error:
        return {}
    return dict(json.loads(answer.data))
