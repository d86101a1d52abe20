"""The book follows its bucket at a real NATS: what is missed is noticed, and nobody comes in before it was read."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from nats.js.api import StreamConfig
from pytest_asyncio import fixture
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.revocation_feed import RevocationFeed
from runcast.bus.revoking import Revoking
from runcast.bus.streams import revoked_config
from runcast.testkit import Cluster
from runcast.wire import limits_revocation as limits
from runcast.wire import subjects
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.targets import Target, make_target

STREAM = f"KV_{subjects.REVOKED_BUCKET}"


def token(number: int) -> Target:
    return make_target("token", f"t{number}")


@fixture
async def revoking(bus: Bus) -> Revoking:
    made = Revoking(bus)
    await made.open()
    return made


@contextlib.asynccontextmanager
async def following(bus: Bus, log: BoundLogger) -> AsyncIterator[RevocationFeed]:
    feed = RevocationFeed(bus, log, lambda: None)
    await feed.open()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(feed.run())
        yield feed
        running.cancel()


def kept_out(feed: RevocationFeed) -> set[str]:
    return {entry.revocation.target.names[0] for entry in feed.book.entries(time.time_ns() // 1_000_000)}


async def until(feed: RevocationFeed, *names: str, within_s: float = limits.REVOCATIONS_ROUND_S + 3.0) -> None:
    async with asyncio.timeout(within_s):
        while kept_out(feed) != set(names):  # noqa: ASYNC110 # ends by the clock, too
            await asyncio.sleep(0.02)


async def test_nobody_comes_in_before_it_was_read(bus: Bus, log: BoundLogger, revoking: Revoking) -> None:
    async with following(bus, log) as feed:
        with pytest.raises(UnavailableError):
            await feed.ready(0.6)  # there is no bucket
        await bus.js.add_stream(revoked_config(1))
        await feed.ready(5.0)
        assert feed.book.whole
    await revoking.revoke(token(1), by="me")
    async with following(bus, log) as feed:
        assert not feed.current
        await feed.ready(5.0)
        assert kept_out(feed) == {"t1"}


async def test_changes_are_heard_at_once(bus: Bus, log: BoundLogger, revoking: Revoking) -> None:
    await bus.js.add_stream(revoked_config(1))
    async with following(bus, log) as feed:
        await feed.ready(5.0)
        for number in range(3):
            await revoking.revoke(token(number), by="me")
        await until(feed, "t0", "t1", "t2", within_s=1.0)
        assert await revoking.lift(token(1).key)
        await until(feed, "t0", "t2", within_s=1.0)
        await revoking.revoke(token(0), by="me", lasts_s=1.0)
        await until(feed, "t2", within_s=3.0)
        assert feed.book.whole, "nothing was missed"


async def test_what_was_not_heard_is_found(bus: Bus, log: BoundLogger, revoking: Revoking) -> None:
    """Without the republish rule no change is heard: as when NATS loses each of them."""
    config = revoked_config(1)
    config.republish = None
    await bus.js.add_stream(config)
    async with following(bus, log) as feed:
        await feed.ready(5.0)
        await revoking.revoke(token(1), by="me")
        assert kept_out(feed) == set()
        await until(feed, "t1")  # the slow round
        await revoking.revoke(token(2), by="me")
        last = await bus.leaders.message(STREAM, {"last_by_subj": subjects.kv_subject(subjects.REVOKED_BUCKET, token(2).key)}, 0.0)
        assert last is not None
        assert await feed.reach(last.seq, 1.0), "who asks for it need not wait for the round"
        assert kept_out(feed) == {"t1", "t2"}
        await revoking.revoke(token(3), by="me")
        _, news = subjects.revoked_subjects()
        await bus.nc.publish(news.replace(">", token(4).key), b"", headers={subjects.HEADER_SEQ: str(last.seq + 2)})
        await until(feed, "t1", "t2", "t3", within_s=2.0)  # a hole is seen at once
        assert not await feed.reach(last.seq + 50, 0.3)


async def test_a_bucket_that_was_made_anew_counts(bus: Bus, log: BoundLogger, revoking: Revoking) -> None:
    await bus.js.add_stream(revoked_config(1))
    async with following(bus, log) as feed:
        for number in range(5):
            await revoking.revoke(token(number), by="me")
        await until(feed, *(f"t{number}" for number in range(5)))
        await bus.js.delete_stream(STREAM)
        await bus.js.add_stream(revoked_config(1))
        await until(feed)
        await revoking.revoke(token(9), by="me")
        await until(feed, "t9")


async def test_after_a_lost_connection_it_is_read_before_anybody_comes_in(
    bus: Bus, nats: Cluster, log: BoundLogger, revoking: Revoking
) -> None:
    await bus.js.add_stream(revoked_config(1))
    async with following(bus, log) as feed:
        await feed.ready(5.0)
        await revoking.revoke(token(1), by="me")
        assert nats.nats is not None
        await nats.nats.kill()
        async with asyncio.timeout(10):
            while feed.current:  # noqa: ASYNC110 # there is an event for the other way only
                await asyncio.sleep(0.02)
        assert kept_out(feed) == {"t1"}, "what was known goes on"
        with pytest.raises(UnavailableError):
            await feed.ready(0.2)
        await nats.nats.start()
        await feed.ready(15.0)
        assert kept_out(feed) == {"t1"}


async def test_a_full_bucket_refuses_the_next_and_takes_changes(bus: Bus, log: BoundLogger, revoking: Revoking) -> None:
    config: StreamConfig = revoked_config(1)
    config.max_msgs = 3
    await bus.js.add_stream(config)
    async with following(bus, log) as feed:
        for number in range(3):
            await revoking.revoke(token(number), by="me")
        with pytest.raises(RuncastError, match="storage_full"):
            await revoking.revoke(token(3), by="me")
        await revoking.revoke(token(1), by="me", reason="more is known")
        await until(feed, "t0", "t1", "t2")
        assert await revoking.lift(token(0).key)
        await until(feed, "t1", "t2")
        assert len(await revoking.all()) == 2
        async with asyncio.timeout(limits.REVOCATION_MARKER_S + 5.0):
            while True:
                with contextlib.suppress(RuncastError):
                    await revoking.revoke(token(3), by="me")
                    break
                await asyncio.sleep(0.1)
        await until(feed, "t1", "t2", "t3")
