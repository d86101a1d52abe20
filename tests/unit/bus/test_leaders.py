"""Questions to leaders, with real servers: asked again when there is another leader, and no longer than there is time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import structlog
from nats.aio.msg import Msg
from pytest_asyncio import fixture

from runcast.bus.connection import Bus
from runcast.bus.leaders import StreamMissingError
from runcast.bus.settings import ServiceSettings
from runcast.bus.storage import Stored, store
from runcast.testkit import Cluster
from runcast.testkit.plugin import ClusterFactory
from runcast.wire import limits
from runcast.wire.errors import UnavailableError

Log = structlog.stdlib.BoundLogger
LAST = {"last_by_subj": "ev.0.t.u"}


@fixture
async def three(runcast_cluster_factory: ClusterFactory) -> Cluster:
    return await runcast_cluster_factory(routers=0, edges=0, nats_servers=3)


@fixture
async def wide_bus(three: Cluster, log: Log) -> AsyncIterator[Bus]:
    """A connection to whichever server is there."""
    opened = Bus(log)
    await opened.open(ServiceSettings(nats_url=three.nats_url, auth="dev", id="test"))
    yield opened
    await opened.close()


async def test_what_is_there_and_what_is_not(bus: Bus) -> None:
    await bus.js.add_stream(name="RUNCAST_EV_0", subjects=["ev.0.>"])
    assert await bus.leaders.message("RUNCAST_EV_0", LAST, 0.0) is None
    stored = await store(bus, "ev.0.t.u", b"x")
    found = await bus.leaders.message("RUNCAST_EV_0", LAST, 0.0)
    assert found is not None
    assert (found.subject, found.seq, found.data) == ("ev.0.t.u", stored.seq, b"x")
    assert await bus.leaders.message("RUNCAST_EV_9", LAST, 5.0) is None
    with pytest.raises(StreamMissingError):
        await bus.leaders.info("RUNCAST_EV_9", 5.0)


async def test_a_question_has_its_time(bus: Bus, nats: Cluster) -> None:
    await bus.js.add_stream(name="RUNCAST_EV_0", subjects=["ev.0.>"])
    assert nats.nats is not None
    await nats.nats.pause()
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="leader of RUNCAST_EV_0 could not be asked"):
        await bus.leaders.message("RUNCAST_EV_0", LAST, 0.0)
    assert limits.LEADER_ATTEMPT_S <= time.monotonic() - began < limits.LEADER_ATTEMPT_S + 2.0
    asking = asyncio.gather(*(bus.leaders.message("RUNCAST_EV_0", LAST, 20.0) for _ in range(3 * limits.LEADER_ASKS_MAX)))
    nats.nats.resume()
    assert await asking == [None] * 3 * limits.LEADER_ASKS_MAX


async def test_a_stream_that_nobody_leads_costs_others_nothing(bus: Bus) -> None:
    await bus.js.add_stream(name="RUNCAST_EV_1", subjects=["ev.1.>"])
    asked = 0

    async def keep_silent(_: Msg) -> None:
        nonlocal asked
        asked += 1

    await bus.nc.subscribe("$JS.API.STREAM.MSG.GET.SILENT.ONE", cb=keep_silent)
    await bus.nc.flush()
    waiting = [asyncio.create_task(bus.leaders.message("SILENT.ONE", LAST, 0.0)) for _ in range(4 * limits.LEADER_ASKS_MAX)]
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await bus.leaders.message("RUNCAST_EV_1", {"last_by_subj": "ev.1.t.u"}, 0.0) is None
    assert time.monotonic() - began < limits.LEADER_ATTEMPT_S
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(failure) for failure in failed} == {UnavailableError}
    assert asked <= 2 * limits.LEADER_ASKS_MAX, "who had to wait for too long asked nothing"


async def store_surely(bus: Bus) -> Stored:
    """A store that was under way at an election is indeterminate: it is made certain by sending it again."""
    while True:
        with contextlib.suppress(UnavailableError):
            return await store(bus, "ev.0.t.u", b"x", msg_id="x")


@pytest.mark.timeout(120)
async def test_the_next_leader_is_asked_at_once(three: Cluster, wide_bus: Bus) -> None:
    bus = wide_bus
    await bus.js.add_stream(name="RUNCAST_EV_0", subjects=["ev.0.>"], num_replicas=3)
    stored = await store_surely(bus)
    elected: list[float] = []
    bus.elected.append(lambda stream: elected.append(time.monotonic()) if stream == "RUNCAST_EV_0" else None)
    leader = await three.stream_leader("RUNCAST_EV_0")
    assert leader is not None
    await leader.kill()
    asking = asyncio.gather(*(bus.leaders.message("RUNCAST_EV_0", LAST, 30.0) for _ in range(2 * limits.LEADER_ASKS_MAX)))
    found = await asking
    assert {message.seq for message in found if message is not None} == {stored.seq}
    assert None not in found
    if elected:  # it may be told while this connection is being opened to another server
        assert time.monotonic() - elected[-1] < limits.LEADER_ATTEMPT_S + 2.0
