"""Provisioning a real server: created once, agreed by all, verified, and refused with the reason."""

import asyncio
import random
import re
from pathlib import Path
from typing import Any

import pytest
import structlog
from nats.js.api import RePublish

from runcast.bus.connection import Bus
from runcast.bus.deployment import DeploymentError, provision, read_deployment, stream_states
from runcast.bus.settings import ServiceSettings
from runcast.bus.shards import Shards
from runcast.bus.storage import store
from runcast.bus.streams import EPOCH_KEY
from runcast.testkit import Cluster
from runcast.testkit.node import find_nats_server
from runcast.testkit.plugin import ClusterFactory
from runcast.testkit.ports import HOST, pick_port
from runcast.testkit.processes import Process
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey
from runcast.wire.position import Position, parse_position

Log = structlog.stdlib.BoundLogger


async def test_routers_that_start_at_once_agree(bus: Bus, nats: Cluster, log: Log) -> None:
    assert await read_deployment(bus) is None
    others = [Bus(log), Bus(log)]
    for other in others:
        await other.open(ServiceSettings(nats_url=nats.nats_url, auth="dev", id="other"))
    found = await asyncio.gather(
        *(provision(each, shards=count, replicas=1, log=log) for each, count in zip((bus, *others), (0, 4, 0), strict=True))
    )
    for other in others:
        await other.close()
    assert found[0] == found[1] == found[2] == await read_deployment(bus)
    assert len(found[0].shards) == limits.SHARDS_EMBEDDED
    epochs = [shard.epoch for shard in found[0].shards]
    assert len(set(epochs)) == len(epochs)
    for epoch in epochs:
        assert parse_position(str(Position(epoch, 1))) == Position(epoch, 1)
    assert {shard.retention_s for shard in found[0].shards} == {limits.RETENTION_S}
    assert await provision(bus, shards=0, replicas=1, log=log) == found[0], "again changes nothing"


async def test_a_server_that_stands_still_meanwhile_is_asked_again(bus: Bus, nats: Cluster, log: Log) -> None:
    assert nats.nats is not None
    await nats.nats.pause()
    asyncio.get_running_loop().call_later(2 * limits.LEASE_PUT_S, nats.nats.resume)  # longer than one try at anything
    found = await provision(bus, shards=2, replicas=1, log=log)
    assert found == await read_deployment(bus)


async def test_each_shard_is_told_as_soon_as_it_is_verified(bus: Bus, log: Log) -> None:
    shards = Shards()
    deployment = await provision(bus, shards=3, replicas=1, log=log, found=shards)
    assert shards.deployment == deployment
    read = Shards()
    await bus.js.delete_stream(subjects.event_stream(1))
    assert await read_deployment(bus, read) is None
    assert (read.count, read.deployment) == (3, None)


async def test_a_server_without_jetstream_is_named(runcast_cluster_factory: ClusterFactory, tmp_path: Path, log: Log) -> None:
    port = pick_port(random.Random())
    server = Process("nats", [find_nats_server(), "-a", HOST, "-p", str(port)], directory=tmp_path, ready="ready", ready_on="stderr")
    await server.start()
    plain = Bus(log)
    await plain.open(ServiceSettings(nats_url=f"nats://{HOST}:{port}", auth="dev", id="test"))
    try:
        with pytest.raises(DeploymentError, match="has no JetStream"):
            await provision(plain, shards=1, replicas=1, log=log)
    finally:
        await plain.close()
        await server.kill()


async def test_another_shard_count_is_refused(bus: Bus, log: Log) -> None:
    await provision(bus, shards=2, replicas=1, log=log)
    with pytest.raises(DeploymentError, match=r"has 2 shards, RUNCAST_SHARDS says 3; .* set it to 2"):
        await provision(bus, shards=3, replicas=1, log=log)
    assert len((await provision(bus, shards=0, replicas=1, log=log)).shards) == 2


async def test_another_schema_is_refused(bus: Bus, log: Log) -> None:
    await provision(bus, shards=1, replicas=1, log=log)
    kv = await bus.js.key_value(subjects.META_BUCKET)
    await kv.put(subjects.META_DEPLOYMENT, b'{"schema":99,"shards":1}')
    for attempt in (provision(bus, shards=0, replicas=1, log=log), read_deployment(bus)):
        with pytest.raises(DeploymentError, match="schema 99"):
            await attempt


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"subjects": ["ev.0.other.>"]}, r"subjects are \['ev.0.other.>'\], not \['ev.0.>'\]"),
        ({"republish": None}, r"does not republish ev.0.> to live.0.>"),
        ({"republish": RePublish(src="ev.0.>", dest="elsewhere.0.>")}, "does not republish"),
        ({"allow_direct": False}, "allow_direct is off"),
        ({"duplicate_window": 5.0}, "duplicate window is 5.0 s, not above 7.5 s"),
        ({"metadata": {"other": "x"}}, f"no {EPOCH_KEY}"),
    ],
)
async def test_a_stream_that_was_tampered_with_is_named(bus: Bus, log: Log, change: dict[str, Any], says: str) -> None:
    await provision(bus, shards=1, replicas=1, log=log)
    info = await bus.js.stream_info(subjects.event_stream(0))
    config = info.config.evolve(**change)
    if change.get("republish", ...) is None or "metadata" in change:  # an update keeps these: the stream is made anew
        await bus.js.delete_stream(subjects.event_stream(0))
        await bus.js.add_stream(config)
    else:
        await bus.js.update_stream(config)
    for attempt in (provision(bus, shards=0, replicas=1, log=log), read_deployment(bus)):
        with pytest.raises(DeploymentError, match="stream RUNCAST_EV_0 is not as Runcast needs it") as caught:
            await attempt
        assert re.search(says, str(caught.value))


async def test_what_operators_may_tune_is_taken_as_found(bus: Bus, log: Log) -> None:
    await provision(bus, shards=1, replicas=1, log=log)
    info = await bus.js.stream_info(subjects.event_stream(0))
    await bus.js.update_stream(info.config.evolve(max_age=3600.0, max_msgs_per_subject=50))
    assert (await provision(bus, shards=0, replicas=1, log=log)).shards[0].retention_s == 3600.0
    await bus.js.update_stream(info.config.evolve(max_age=0))
    assert (await provision(bus, shards=0, replicas=1, log=log)).shards[0].retention_s == float("inf")


async def test_streams_of_older_deployments_get_message_ttls_and_stay_what_they_are(bus: Bus, log: Log) -> None:
    before = await provision(bus, shards=1, replicas=1, log=log)
    for name in (subjects.event_stream(0), subjects.INBOX_STREAM, subjects.PARKED_STREAM):
        config = (await bus.js.stream_info(name)).config
        await bus.js.delete_stream(name)
        await bus.js.add_stream(config.evolve(allow_msg_ttl=False))
    await store(bus, subjects.event_subject(UserKey("t", "u"), 0), b"x")
    with pytest.raises(UnavailableError, match="allow-msg-ttl"):
        await store(bus, subjects.event_subject(UserKey("t", "u"), 0), b"x", ttl_s=5)
    assert await provision(bus, shards=1, replicas=1, log=log) == before
    for subject in (subjects.event_subject(UserKey("t", "u"), 0), "in.g.0.t.u", "parked.g.0.t.u"):
        await store(bus, subject, b"y", ttl_s=5)
    assert (await bus.js.stream_info(subjects.event_stream(0))).state.messages == 2


async def test_the_resend_horizon_follows_from_the_dedupe_window(bus: Bus, log: Log) -> None:
    assert (await provision(bus, shards=2, replicas=1, log=log)).resend_horizon_s == pytest.approx(limits.RESEND_HORIZON_S)
    for shard, window_s in ((0, 60.0), (1, 12.0)):
        info = await bus.js.stream_info(subjects.event_stream(shard))
        await bus.js.update_stream(info.config.evolve(duplicate_window=window_s))
    found = await provision(bus, shards=0, replicas=1, log=log)
    assert found.resend_horizon_s == 12.0 - limits.RESEND_MARGIN_S
    assert found == await read_deployment(bus)


async def test_recreated_storage_has_another_epoch(bus: Bus, log: Log) -> None:
    before = await provision(bus, shards=2, replicas=1, log=log)
    await store(bus, subjects.event_subject(UserKey("t", "u"), 0), b"x")
    await bus.js.delete_stream(subjects.event_stream(0))
    assert await read_deployment(bus) is None, "a shard is missing"
    after = await provision(bus, shards=2, replicas=1, log=log)
    assert after.shards[0].epoch != before.shards[0].epoch
    assert after.shards[1] == before.shards[1]


async def test_the_state_of_every_stream(bus: Bus, log: Log) -> None:
    deployment = await provision(bus, shards=2, replicas=1, log=log)
    await store(bus, subjects.event_subject(UserKey("t", "u"), 1), b"x")
    states = {state.name: state for state in await stream_states(bus, deployment)}
    assert list(states)[:2] == ["RUNCAST_EV_0", "RUNCAST_EV_1"]
    assert (states["RUNCAST_EV_1"].messages, states["RUNCAST_EV_1"].last_seq) == (1, 1)
    assert states["RUNCAST_EV_1"].epoch == deployment.shards[1].epoch
    assert states[subjects.INBOX_STREAM].epoch == ""


async def test_live_messages_carry_the_chain(bus: Bus, log: Log) -> None:
    """What the edge hangs on, asked of the real server: prev survives eviction by number, and is 0 when nothing is left."""
    await provision(bus, shards=1, replicas=1, log=log)
    user, other = UserKey("t", "u"), UserKey("t", "other")
    info = await bus.js.stream_info(subjects.event_stream(0))
    await bus.js.update_stream(info.config.evolve(max_msgs_per_subject=1))
    live = await bus.nc.subscribe(subjects.live_subject(user, 0))
    for owner in (user, other, user, user):
        await store(bus, subjects.event_subject(owner, 0), b"x")
    await bus.js.purge_stream(subjects.event_stream(0), subject=subjects.event_subject(user, 0))
    await store(bus, subjects.event_subject(user, 0), b"x")
    links = []
    for _ in range(4):
        headers = (await live.next_msg(timeout=5)).headers or {}
        links.append((int(headers[subjects.HEADER_PREV]), int(headers[subjects.HEADER_SEQ])))
    assert links == [(0, 1), (1, 3), (3, 4), (0, 5)]
