"""Retention per tenant: what is stored goes away by itself, and nobody concludes from what is left that nothing did."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import nats
import pytest
import structlog
from pytest_asyncio import fixture

from runcast.bus.connection import Bus
from runcast.bus.deployment import Shard, provision
from runcast.bus.direct import DirectReader
from runcast.bus.retention import RetentionOf, keep_all
from runcast.bus.settings import ServiceSettings
from runcast.bus.storage import store
from runcast.edge.entry import Entry
from runcast.edge.feed import Feed
from runcast.edge.history import History
from runcast.edge.resume import Room, begin
from runcast.edge.vigil import Vigil
from runcast.testkit import Cluster
from runcast.v1.event_pb2 import Batch
from runcast.wire import limits, subjects
from runcast.wire.ids import UserKey
from runcast.wire.position import Position

pytestmark = pytest.mark.xdist_group("retention")
BRIEF = 'default = "standard"\n[tenants]\nacme = "brief"\n[tiers.brief]\nretention_s = 900\n'
SHORT_S = 1.0
"""A retention, seconds: NATS's shortest."""
KEY = UserKey("t", "u")
SUBJECT = subjects.event_subject(KEY, 0)


# --- what is stored, by the whole system ---


async def ttls(nats_url: str, stream: str, pattern: str) -> list[str]:
    """The times to live of the messages of some subjects."""
    connection = await nats.connect(nats_url)
    try:
        js = connection.jetstream()
        found = (await js.stream_info(stream, subjects_filter=pattern)).state.subjects or {}
        messages = [await js.get_last_msg(stream, subject) for subject in found]
        return [(message.headers or {}).get("Nats-TTL", "") for message in messages]
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def cluster(start_shared: Callable[..., Cluster], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    policy = tmp_path_factory.mktemp("retention") / "policy.toml"
    policy.write_text(BRIEF)
    return start_shared(routers=1, edges=1, shards=1, environ={"RUNCAST_POLICY_FILE": str(policy)})


async def test_everything_of_a_tenant_is_stored_with_its_retention(cluster: Cluster, runcast_device):
    for tenant in ("acme", "other"):
        device = await runcast_device("u", tenant=tenant, urls=cluster.ws_urls())
        async with cluster.connect(tenant=tenant) as agent, agent.run(user="u") as run:
            asked = asyncio.create_task(run.ask("sure?", kind="approval"))
            request = await device.wait_for(lambda event: event.HasField("input_requested"))
            await device.answer(request.run_id, request.input_requested.request_id, True)
            await asked
        await device.cancel("no-such-run")
        await device.send_message("nobody", "", "hello")
    url, runs = cluster.nats_url, f"KV_{subjects.RUNS_BUCKET}"
    assert await ttls(url, "RUNCAST_EV_0", "ev.0.acme.>") == ["900"]
    assert await ttls(url, "RUNCAST_EV_0", "ev.0.other.>") == [""]
    assert await ttls(url, subjects.INBOX_STREAM, "in.*.0.acme.>") == ["900"]
    assert await ttls(url, subjects.INBOX_STREAM, "in.*.0.other.>") == [""]
    for kind in ("cancel", "answer"):
        assert await ttls(url, runs, f"$KV.RUNCAST_RUNS.{kind}.0.acme.>") == ["900"]
        assert await ttls(url, runs, f"$KV.RUNCAST_RUNS.{kind}.0.other.>") == ["3600"]


async def test_what_is_put_aside_is_kept_for_the_rest_of_its_time(cluster: Cluster):
    connection = await nats.connect(cluster.nats_url)
    try:
        await connection.jetstream().publish("in.desk.0.acme.u", b"\xff no message")
        await asyncio.sleep(2.1)  # it gets that old
        async with cluster.connect(tenant="acme") as agent, asyncio.timeout(10):
            waiting = asyncio.ensure_future(anext(agent.inbox("desk")))
            while not (found := await ttls(cluster.nats_url, subjects.PARKED_STREAM, "parked.>")):  # noqa: ASYNC110 # storage tells nobody
                await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait([waiting])
    finally:
        await connection.close()
    assert len(found) == 1
    assert 880 <= int(found[0]) <= 898


# --- what an edge concludes, from a real log ---


class Log:
    """A shard's log, and feeds of one user."""

    def __init__(self, bus: Bus, reader: DirectReader, shard: Shard, tasks: asyncio.TaskGroup) -> None:
        self.bus = bus
        self.reader = reader
        self._shard = shard
        self._tasks = tasks
        self._feeds: list[Feed] = []

    async def feed(self, retention: RetentionOf) -> Feed:
        log = structlog.stdlib.get_logger()
        feed = Feed(History(KEY, 0, self._shard, self.bus, self.reader, retention), self.bus, self._tasks, log, "edge", Vigil())
        self._feeds.append(feed)
        await feed.opened()
        return feed

    async def resume(self, seq: int, retention: RetentionOf = keep_all) -> tuple[str, str]:
        """How a device goes on that is at `seq`."""
        feed = await self.feed(retention)
        plan = (await begin(feed, str(Position(feed.epoch, seq)), None, snapshot=False, room=Room())).plan
        return plan.outcome, plan.reason

    async def put(self, *, ttl_s: int = 0, subject: str = SUBJECT) -> int:
        return (await store(self.bus, subject, Batch().SerializeToString(), ttl_s=ttl_s)).seq

    async def gone(self, seq: int) -> None:
        """Wait until a message has left."""
        async with asyncio.timeout(10):
            while await self.bus.leaders.message("RUNCAST_EV_0", {"seq": seq}, 0.0) is not None:  # noqa: ASYNC110 # storage tells nobody
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        for feed in self._feeds:
            await feed.close()


@fixture
async def log(runcast_cluster_factory) -> AsyncIterator[Log]:
    logger = structlog.stdlib.get_logger()
    cluster = await runcast_cluster_factory(routers=0, edges=0)
    bus = Bus(logger)
    await bus.open(ServiceSettings(nats_url=cluster.nats_url, auth="dev", id="test"))
    shard = (await provision(bus, shards=1, replicas=1, log=logger)).shards[0]
    reader = DirectReader(bus)
    await reader.open()
    async with asyncio.TaskGroup() as tasks:
        log = Log(bus, reader, shard, tasks)
        yield log
        await log.close()
    await bus.close()


def short(tenant: str) -> float:
    return SHORT_S


async def test_an_old_message_that_outlived_a_newer_one_proves_nothing(log: Log) -> None:
    """The retention was made shorter: what was stored before stays for longer than what was stored after."""
    old = await log.put()
    lost = await log.put(ttl_s=1)
    assert await log.resume(old, short) == ("resumed", "")
    await log.gone(lost)
    assert await log.resume(old, short) == ("reset", "expired")  # though it is the tip
    newer = await log.put()
    assert await log.resume(old, short) == ("reset", "expired")
    assert await log.resume(lost, short) == ("reset", "expired")
    assert await log.resume(newer, short) == ("resumed", "")
    assert await log.resume(old) == ("resumed", ""), "who does not know of the retention is deceived: so this test can fail"


async def test_before_everything_nothing_is_proved_when_something_left_from_the_midst(log: Log) -> None:
    await log.put(subject=subjects.event_subject(UserKey("t", "somebody else"), 0))
    await log.put()
    assert await log.resume(0) == ("resumed", "")
    await log.gone(await log.put(ttl_s=1))
    await log.put()
    assert await log.resume(0) == ("reset", "expired")


async def test_a_live_stream_goes_on_when_what_it_delivered_has_aged_out(log: Log) -> None:
    feed = await log.feed(short)
    listener = Listener()
    feed.listeners.add(listener)
    first = await log.put(ttl_s=1)
    await listener.until(lambda: listener.seqs == [first])
    tip = first
    while tip:  # the slow round, quicker
        await asyncio.sleep(SHORT_S / 10)
        tip = await log.reader.leader_tip("RUNCAST_EV_0", SUBJECT)
        feed.verified(tip, time.monotonic())
    second = await log.put(ttl_s=1)
    await listener.until(lambda: listener.seqs == [first, second])
    assert not listener.why


class Listener:
    """A device of the user."""

    device = "d"

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.why = ""
        self._news = asyncio.Event()

    def offer(self, entry: Entry) -> None:
        self.seqs.append(entry.seq)
        self._news.set()

    def lost(self, why: str, code: str, retry_after_s: float) -> None:
        self.why = why
        self._news.set()

    def hurry(self, seq: int) -> None: ...

    async def until(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not (true() or self.why):
                self._news.clear()
                await self._news.wait()
        assert true(), self.why


def test_the_shortest_retention_is_longer_than_all_that_counts_on_the_log() -> None:
    from runcast.wire.limits_policy import RETENTION_MIN_S

    assert RETENTION_MIN_S >= limits.RECEIPT_DEADLINE_MAX_S
    assert RETENTION_MIN_S > limits.DEDUPE_WINDOW_S
    assert RETENTION_MIN_S > 4 * limits.VERIFY_INTERVAL_S
