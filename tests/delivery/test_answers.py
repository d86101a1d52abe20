"""Answers of users: from an edge, beside the run, to the process that asked."""

import pytest

from runcast.testkit import Cluster
from tests.delivery.routers import START, WORK, Producer, answer, cancel, make_batch


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
