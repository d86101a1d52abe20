"""What a router does with producers and workers, over real gRPC: store, order, refuse, cancel, hand out, send away."""

import asyncio
import json
from typing import Any

import grpc
import grpc.aio
import nats
import nats.js.errors
import pytest

from runcast.testkit.cluster import Cluster
from runcast.v1.event_pb2 import User
from runcast.v1.ingest_pb2 import PublishRequest, RunAbandon
from runcast.wire import limits, subjects
from runcast.wire.ids import UserKey
from tests.delivery.routers import (
    END,
    START,
    WORK,
    Producer,
    cancel,
    jetstream,
    make_batch,
    shards_of,
    stored,
)

# --- storing ---


async def test_a_batch_is_stored_as_it_came_and_a_resend_to_any_router_is_the_same(runcast_cluster: Cluster, user: str) -> None:
    batch = make_batch(user, 1, 1, START, WORK)
    batch.events[1].MergeFromString(b"\xc2\x02\x02\x08\x01")  # field 40, unknown here
    first_router, second_router = (node.address for node in runcast_cluster.routers)
    async with Producer(first_router) as first, Producer(second_router) as second:
        (ack,) = await first.store(batch)
        (again,) = await second.store(batch)
        (same,) = await first.store(batch)
    assert not ack.duplicate
    assert again.duplicate
    assert same.duplicate
    assert ack.position == again.position == same.position
    assert [found.SerializeToString() for found in await stored(runcast_cluster, user)] == [batch.SerializeToString()]


async def test_many_runs_at_once_keep_each_run_s_order(runcast_cluster: Cluster, address: str, user: str) -> None:
    runs = [f"r{index}" for index in range(50)]
    async with Producer(address) as producer:
        for number in range(1, 9):
            kind = START if number == 1 else END if number == 8 else WORK
            acks = await producer.store(*(make_batch(user, number, number, kind, run_id=run) for run in runs))
            assert not any(ack.duplicate for ack in acks)
    numbers: dict[str, list[int]] = {}
    for batch in await stored(runcast_cluster, user):
        numbers.setdefault(batch.run_id, []).append(batch.number)
    assert numbers == {run: list(range(1, 9)) for run in runs}


async def test_positions_rise_with_the_order_of_acknowledgement(address: str, user: str) -> None:
    async with Producer(address) as producer:
        positions = []
        for number in range(1, 6):
            (ack,) = await producer.store(make_batch(user, number, number, START if number == 1 else WORK))
            positions.append(ack.position)
    assert positions == sorted(set(positions))
    assert len({position.partition("-")[0] for position in positions}) == 1


async def test_refusals_cost_the_other_runs_of_the_stream_nothing(address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.store(make_batch(user, 1, 1, START, run_id="good"))
        wrong = {
            "id_invalid": make_batch("u" * 129, 1, 1, START),
            "batch_invalid": make_batch(user, 1, 1),
            "batch_too_large": make_batch(user, 1, 1, START, *[WORK] * 256),
            "event_too_large": make_batch(user, 1, 1, START),
            "batch_out_of_turn": make_batch(user, 7, 7, WORK, run_id="good"),
            "lifecycle_violation": make_batch(user, 1, 1, WORK),
        }
        wrong["event_too_large"].events[0].agent_started.title = "x" * limits.EVENT_BYTES_MAX
        for number, (code, batch) in enumerate(wrong.items(), 2):
            refusal = await producer.refused(batch)
            assert (refusal.code, refusal.retry, refusal.definite) == (code, False, True)
            await producer.store(make_batch(user, number, number, WORK, run_id="good"))
        await producer.store(make_batch(user, 1, 1, START, WORK))


async def test_a_stream_that_breaks_the_protocol_ends_with_its_code(address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.send(*(make_batch(user, 1, 1, START, run_id=f"r{index}") for index in range(limits.STREAM_WINDOW_BATCHES + 1)))
        assert await producer.ended() == (grpc.StatusCode.RESOURCE_EXHAUSTED, "flow_control")
    async with grpc.aio.insecure_channel(address) as channel:
        for payload, code in ((b"", "hello_expected"), (b"\xff\xff", "batch_invalid")):
            call = channel.stream_stream("/runcast.v1.IngestService/Publish")()
            await call.write(payload)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()
            assert dict(raised.value.trailing_metadata())["runcast-code"] == code


async def test_a_producer_that_closes_its_side_gets_every_answer(address: str, user: str) -> None:
    async with Producer(address) as producer:
        batches = [make_batch(user, 1, 1, START, run_id=f"r{index}") for index in range(600)]
        await producer.send(*batches)
        await producer.call.done_writing()
        await producer.listen(lambda: len(producer.acks) == len(batches))
        assert await producer.ended() == (grpc.StatusCode.OK, "")


# --- leases and keys of runs ---


def run_subject(place: subjects.RunPlace) -> str:
    return subjects.kv_subject(subjects.RUNS_BUCKET, place.key)


async def key_of(cluster: Cluster, user: str, producer: str, run_id: str = "r") -> tuple[dict[str, Any], dict[str, str]]:
    """What the key of a run says, and its headers."""
    key = UserKey("default", user)
    place = subjects.RunPlace(producer, subjects.shard_of(key, await shards_of(cluster)), key, run_id, 1)
    async with jetstream(cluster) as js:
        message = await js.get_last_msg(f"KV_{subjects.RUNS_BUCKET}", run_subject(place))
        return json.loads(message.data), message.headers or {}


async def test_a_run_s_key_is_there_before_its_first_batch_and_closed_after_its_end(
    runcast_cluster: Cluster, address: str, user: str
) -> None:
    async with Producer(address, user) as producer:
        await producer.store(make_batch(user, 1, 1, START, producer=user))
        value, headers = await key_of(runcast_cluster, user, user)
        assert (value["state"], headers["Nats-Expected-Last-Subject-Sequence"]) == ("open", "0")
        await producer.store(make_batch(user, 2, 2, END, producer=user))
        async with asyncio.timeout(5):
            while value["state"] == "open":
                value, headers = await key_of(runcast_cluster, user, user)
        assert (value["state"], value["number"], headers["KV-Operation"]) == ("ended", 2, "PURGE")
        assert headers["Nats-TTL"] == str(int(limits.RUN_TOMBSTONE_S))
        await producer.store(make_batch(user, 1, 1, START, END, producer=user, run_id="short"))
        with pytest.raises(nats.js.errors.NotFoundError):  # it never was open
            await key_of(runcast_cluster, user, user, "short")
    async with Producer(runcast_cluster.routers[1].address, user) as producer:  # a resend of an ended run's end
        assert (await producer.store(make_batch(user, 2, 2, END, producer=user)))[0].duplicate
        assert (await producer.refused(make_batch(user, 3, 3, WORK, producer=user))).code == "lifecycle_violation"


@pytest.mark.parametrize("kinds", [(START,), (START, END)], ids=["of an open run", "of a run of one batch"])
async def test_an_attempt_that_another_producer_has_is_refused(runcast_cluster: Cluster, user: str, kinds: tuple[str, ...]) -> None:
    """As two workers begin it that were handed the same message."""
    here, there = (node.address for node in runcast_cluster.routers)
    first, second = f"{user}-1", f"{user}-2"
    async with Producer(here, first) as one, Producer(there, second) as two:
        await one.store(make_batch(user, 1, 1, *kinds, producer=first))
        for other in ((START, WORK), (START, END)):
            refusal = await two.refused(make_batch(user, 1, 1, *other, producer=second))
            assert (refusal.code, refusal.retry, refusal.definite) == ("attempt_taken", False, True)
            assert "begin attempt 2" in refusal.message
        if END not in kinds:
            await one.store(make_batch(user, 2, 2, END, producer=first))
        assert (await two.refused(make_batch(user, 1, 1, START, producer=second))).code == "attempt_taken", "ended, and still its own"
        await two.store(make_batch(user, 1, 1, START, END, producer=second, attempt=2))
    async with Producer(there, first) as one:  # its own it may send again, anywhere
        assert (await one.store(make_batch(user, 1, 1, *kinds, producer=first)))[0].duplicate
    found = [(batch.producer, batch.attempt, batch.number) for batch in await stored(runcast_cluster, user)]
    assert found == [(first, 1, 1), *([] if END in kinds else [(first, 1, 2)]), (second, 2, 1)]


async def test_of_producers_that_begin_an_attempt_at_once_one_has_it(runcast_cluster: Cluster, user: str) -> None:
    producers = [Producer(runcast_cluster.routers[number % 2].address, f"{user}-{number}") for number in range(6)]
    for producer in producers:
        await producer.open()
    await asyncio.gather(*(producer.send(make_batch(user, 1, 1, START, WORK, producer=producer.producer)) for producer in producers))
    await asyncio.gather(*(producer.listen(lambda it=producer: bool(it.acks or it.refusals)) for producer in producers))
    assert sum(bool(producer.acks) for producer in producers) == 1
    assert {refusal.code for producer in producers for refusal in producer.refusals.values()} == {"attempt_taken"}
    assert len(await stored(runcast_cluster, user)) == 1
    for producer in producers:
        await producer.channel.close()


async def test_a_run_nobody_knows_can_t_be_taken_over(address: str, user: str) -> None:
    async with Producer(address) as producer:
        refusal = await producer.refused(make_batch(user, 4, 9, WORK))
        assert (refusal.code, refusal.retry, refusal.definite) == ("run_lost", False, True)
        assert "begin attempt 2" in refusal.message


async def test_a_run_that_is_given_up_is_lost_once_and_its_batches_are_refused(runcast_cluster: Cluster, address: str, user: str) -> None:
    abandon = RunAbandon(user=User(tenant="default", id=user), run_id="r", attempt=1)
    ended = RunAbandon(user=abandon.user, run_id="over", attempt=1)
    async with Producer(address) as producer:
        await producer.store(make_batch(user, 1, 1, START, WORK), make_batch(user, 1, 1, START, END, run_id="over"))
        for times in (1, 2):
            await producer.call.write(PublishRequest(abandons=[abandon, ended]))
            await producer.listen(lambda expected=2 * times: len(producer.abandoned) == expected)
        assert sorted(found.run_id for found in producer.abandoned) == ["over", "over", "r", "r"]
        for number in (1, 2):
            other = Producer(runcast_cluster.routers[1].address)
            async with other:
                assert (await other.refused(make_batch(user, number, number, START if number == 1 else WORK))).code == "run_lost"
    lost = [batch for batch in await stored(runcast_cluster, user) if batch.producer == "router"]
    assert [(batch.run_id, batch.number, batch.events[0].seq, batch.events[0].WhichOneof("kind")) for batch in lost] == [
        ("r", 2, 3, "run_lost")
    ]


# --- cancels ---


async def test_a_cancel_reaches_the_run_that_is_open_once(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.store(make_batch(user, 1, 1, START))
        await producer.store(make_batch(user, 1, 1, START, run_id="other"))
        await cancel(runcast_cluster, user, "r")
        await producer.listen(lambda: bool(producer.cancels))
        await cancel(runcast_cluster, user, "r")
        await cancel(runcast_cluster, user, "other")
        await producer.listen(lambda: len(producer.cancels) == 2)
    assert [(run.user.id, run.run_id, run.reason) for run in producer.cancels] == [(user, "r", "enough"), (user, "other", "enough")]


async def test_a_cancel_before_the_first_event_and_between_two_routers_is_honoured(runcast_cluster: Cluster, user: str) -> None:
    await cancel(runcast_cluster, user, "r")
    for number, router in enumerate(runcast_cluster.routers, 1):
        async with Producer(router.address) as producer:
            await producer.store(make_batch(user, number, number, START if number == 1 else WORK))
            await producer.listen(lambda found=producer: bool(found.cancels))
            assert [run.run_id for run in producer.cancels] == ["r"]


async def test_a_cancel_of_another_user_s_run_of_the_same_name_is_not_heard(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.store(make_batch(user, 1, 1, START))
        await producer.store(make_batch(user, 1, 1, START, run_id="sentinel"))
        await cancel(runcast_cluster, f"{user}-other", "r")
        await cancel(runcast_cluster, user, "sentinel")
        await producer.listen(lambda: bool(producer.cancels))
    assert [run.run_id for run in producer.cancels] == ["sentinel"]
