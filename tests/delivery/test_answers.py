"""Answers of users: from an edge, beside the run, to the process that asked."""

import asyncio
from collections.abc import Awaitable

import pytest

from runcast.testkit import Cluster
from runcast.testkit.plugin import DeviceFactory
from runcast.v1.event_pb2 import INPUT_OUTCOME_DEFAULTED, INPUT_TYPE_APPROVAL, Batch
from runcast.wire import subjects
from runcast.wire.errors import RefusedError
from runcast.wire.frames import Send
from runcast.wire.ids import UserKey
from tests.delivery.routers import START, WORK, Producer, Worker, answer, cancel, jetstream, make_batch, shards_of


@pytest.fixture
def address(runcast_cluster: Cluster) -> str:
    return runcast_cluster.routers[0].address


# --- routers ---


async def test_an_answer_reaches_the_stream_that_waits_for_it(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Producer(address) as producer, Producer(address, "other") as other:
        await producer.store(make_batch(user, 1, 1, START))
        await producer.ask(user, "q1", "q2")
        await other.ask(f"{user}-other", "q1")
        await answer(runcast_cluster, user, "r", "q1", b'"yes"')
        await producer.listen(lambda: bool(producer.answers))
        await answer(runcast_cluster, user, "r", "q1", b'"no"')
        await answer(runcast_cluster, user, "r", "q2")
        await producer.listen(lambda: len(producer.answers) == 2)
        await answer(runcast_cluster, f"{user}-other", "r", "q1", b"1")
        await other.listen(lambda: bool(other.answers))
    told = [(each.user.id, each.run_id, each.request_id, each.value_json, each.device) for each in producer.answers]
    assert told == [(user, "r", "q1", b'"yes"', "d1"), (user, "r", "q2", b"true", "d1")]
    assert [each.value_json for each in other.answers] == [b"1"], "of its own user alone"


async def test_an_answer_is_kept_for_who_asks_later_and_elsewhere(runcast_cluster: Cluster, user: str) -> None:
    await answer(runcast_cluster, user, "r", "q1")
    for node in runcast_cluster.routers:
        async with Producer(node.address) as producer:
            await producer.ask(user, "q1")
            await producer.listen(lambda found=producer: bool(found.answers))
            assert [each.request_id for each in producer.answers] == ["q1"]


async def test_what_was_dropped_is_not_answered(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.ask(user, "q1", "q2")
        await producer.ask(user, "q1", dropped=True)
        await producer.store(make_batch(user, 1, 1, START, WORK))  # by then the router has read what came before
        await answer(runcast_cluster, user, "r", "q1")
        await answer(runcast_cluster, user, "r", "q2")
        await producer.listen(lambda: bool(producer.answers))
    assert [each.request_id for each in producer.answers] == ["q2"]


async def test_a_run_that_waits_hears_of_a_cancel_on_a_router_that_never_saw_it(runcast_cluster: Cluster, address: str, user: str) -> None:
    async with Producer(address) as producer:
        await producer.ask(user, "q1")
        await cancel(runcast_cluster, user, "r")
        await producer.listen(lambda: bool(producer.cancels))


# --- edges ---


def question(user: str, number: int, seq: int, *kinds: str) -> Batch:
    """A batch that ends with a question or its settlement."""
    batch = make_batch(user, number, seq, *kinds)
    for event in batch.events:
        if event.HasField("input_requested"):
            event.input_requested.request_id = "q1"
            event.input_requested.type = INPUT_TYPE_APPROVAL
        elif event.HasField("input_resolved"):
            event.input_resolved.request_id = "q1"
            event.input_resolved.outcome = INPUT_OUTCOME_DEFAULTED
    return batch


async def refused(answering: Awaitable[object]) -> str:
    with pytest.raises(RefusedError) as caught:
        await answering
    assert caught.value.code.definite
    assert not caught.value.code.retry
    return caught.value.code.name


@pytest.mark.parametrize("subprotocol", ["runcast.v1.json", "runcast.v1.proto"])
async def test_the_first_answer_stays(runcast_cluster: Cluster, address: str, user: str, device: DeviceFactory, subprotocol: str) -> None:
    one, two = await device(edge=0, subprotocol=subprotocol), await device(edge=1)
    async with Producer(address) as producer:
        await producer.ask(user, "q1")
        assert not (await one.answer("r", "q1", False, id="a-1")).duplicate
        assert (await one.answer("r", "q1", False, id="a-1")).duplicate, "a resend is told so"
        assert await refused(two.answer("r", "q1", True)) == "request_closed"
        assert await refused(one.answer("r", "q1", False)) == "request_closed"
        await producer.listen(lambda: bool(producer.answers))
    assert [(each.value_json, each.device) for each in producer.answers] == [(b"false", one.device)]


async def test_answers_that_race_over_two_edges_have_one_winner(
    runcast_cluster: Cluster, address: str, user: str, device: DeviceFactory
) -> None:
    devices = [await device(edge=number % 2) for number in range(6)]
    async with Producer(address) as producer:
        await producer.ask(user, "q1")
        told = await asyncio.gather(*(each.answer("r", "q1", number) for number, each in enumerate(devices)), return_exceptions=True)
        await producer.listen(lambda: bool(producer.answers))
    [winner] = [number for number, outcome in enumerate(told) if not isinstance(outcome, BaseException)]
    assert {outcome.code.name for outcome in told if isinstance(outcome, RefusedError)} == {"request_closed"}
    assert [(each.value_json, each.device) for each in producer.answers] == [(str(winner).encode(), devices[winner].device)]


async def test_an_edge_refuses_what_nobody_can_use(runcast_cluster: Cluster, address: str, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with Producer(address) as producer:
        await producer.store(question(user, 1, 1, START, "input_requested"))
        await watcher.wait_kind("input_requested")
        assert await refused(watcher.answer("r", "q1", "yes")) == "send_invalid"
        assert await refused(watcher.answer("r", "", True)) == "id_invalid"
        assert await refused(watcher.answer("r", "q1", "x" * 40_000)) == "send_too_large"
        assert await refused(watcher.send(Send("a-2", "answer", run_id="r", request_id="q1"))) == "send_invalid"
        await watcher.answer("r", "q1", True, id="a-1")
        await producer.store(question(user, 2, 3, "input_resolved"))
        await watcher.wait_kind("input_resolved")
        assert await refused(watcher.answer("r", "q1", True)) == "request_closed"
        assert (await watcher.answer("r", "q1", True, id="a-1")).duplicate
        await producer.store(question(user, 3, 4, "input_requested", "agent_completed"))
        await watcher.wait_kind("agent_completed")
        assert await refused(watcher.answer("r", "q1", True)) == "request_closed"


async def test_an_answer_to_a_group_is_a_message_as_ever(runcast_cluster: Cluster, address: str, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with Worker(address, f"g-{user}") as worker:
        for _ in range(2):
            await watcher.answer("r", "q1", True, group=f"g-{user}")
            delivery = await worker.take()
            assert (delivery.message.answer.run_id, delivery.message.answer.value_json) == ("r", b"true")
            await worker.settle(delivery)


async def test_what_is_kept_of_a_user_is_bounded_and_its_time_ends(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    key = UserKey("default", user)
    shard = subjects.shard_of(key, await shards_of(runcast_cluster))
    async with jetstream(runcast_cluster) as js:
        names = [subjects.kv_subject(subjects.RUNS_BUCKET, subjects.answer_key(key, shard, "r", str(number))) for number in range(1000)]
        for name in names:
            await js.publish_async(name, b"", headers={"Nats-TTL": "60"})
        await js.publish_async_completed()
        with pytest.raises(RefusedError) as caught:
            await watcher.answer("r", "q1", True)
        assert caught.value.code.name == "storage_full"
        await js.purge_stream(
            f"KV_{subjects.RUNS_BUCKET}", subject=subjects.kv_subject(subjects.RUNS_BUCKET, f"answer.{shard}.{key.token}.>")
        )
        await js.publish(names[0], b"", headers={"Nats-TTL": "60"})  # as the server's marker in place of an expired key
    assert not (await watcher.answer("r", "0", True)).duplicate
