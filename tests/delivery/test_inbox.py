"""What routers promise about users' messages to agents: order per user, one worker at a time, leases, and parking of poison."""

import asyncio
import time
from collections import defaultdict

import pytest

from runcast.bus.settings import ServiceSettings
from runcast.cli import doctor
from runcast.cli.entry import TlsFiles
from runcast.testkit.cluster import Cluster
from runcast.testkit.plugin import ClusterFactory
from runcast.v1.inbox_pb2 import DISPOSITION_REJECT, DISPOSITION_RETRY, InboxDelivery, InboxMessage
from runcast.wire import limits, subjects
from tests.delivery.routers import Worker, jetstream, put, queue_is_empty, say


async def nothing_comes(worker: Worker, wait_s: float) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.take(), wait_s)


async def test_a_user_s_messages_are_handed_out_in_order_and_to_one_worker_at_a_time(runcast_cluster: Cluster, user: str) -> None:
    users = [f"{user}-{n}" for n in range(6)]
    sent = {name: [f"{number:02}" for number in range(20)] for name in users}
    handed: dict[str, list[str]] = defaultdict(list)
    at: dict[str, list[int]] = defaultdict(list)  # the workers that hold something of a user

    async def work(number: int, worker: Worker) -> None:
        while True:
            delivery = await worker.take()
            name = delivery.message.user.id
            handed[name].append(delivery.message.id)
            at[name].append(number)
            assert set(at[name]) == {number}, "one user at two workers"
            await asyncio.sleep(0.001 * (len(handed[name]) % 7))
            at[name].remove(number)
            await worker.settle(delivery, DISPOSITION_REJECT if delivery.message.id.endswith("3") else 1)

    workers = [Worker(runcast_cluster.routers[n % 2].address, user, f"w{n}", in_flight_max=1 + 3 * (n % 2)) for n in range(4)]
    try:
        for worker in workers:
            await worker.open()
        async with asyncio.TaskGroup() as group:
            working = [group.create_task(work(number, worker)) for number, worker in enumerate(workers)]
            async with jetstream(runcast_cluster) as js:
                for number in range(20):
                    for name in users:
                        message = InboxMessage(id=sent[name][number], user={"tenant": "default", "id": name}, group=user)
                        await js.publish(f"in.{subjects.encode_token(user)}.0.default.{name}", message.SerializeToString())
            await queue_is_empty(runcast_cluster, user)
            for task in working:
                task.cancel()
    finally:
        for worker in workers:
            await worker.channel.close()
    assert handed == sent


async def test_what_follows_a_message_that_is_held_goes_to_the_worker_that_holds_it(runcast_cluster: Cluster, user: str) -> None:
    """An agent that keeps a message until its run is over gets the answer that the run waits for."""
    first_router, second_router = (node.address for node in runcast_cluster.routers)
    async with Worker(first_router, user, "w1") as first:
        await say(runcast_cluster, user, user, "m0")
        held = [await first.take()]
        async with Worker(second_router, user, "w2") as second, Worker(second_router, user, "w3") as third:
            idle = [asyncio.ensure_future(worker.take()) for worker in (second, third)]
            for number in range(1, 8):
                await say(runcast_cluster, user, user, f"m{number}")
            held += [await first.take() for _ in range(7)]
            assert [(delivery.message.id, delivery.tries) for delivery in held] == [(f"m{number}", 1) for number in range(8)]
            assert not any(task.done() for task in idle)
            for delivery in held:
                await first.settle(delivery)
            await queue_is_empty(runcast_cluster, user)
            await say(runcast_cluster, user, user, "any")
            done, _ = await asyncio.wait([*idle, asyncio.ensure_future(first.take())], return_when=asyncio.FIRST_COMPLETED)
            assert [task.result().message.id for task in done] == ["any"]
            for task in idle:
                task.cancel()
            await asyncio.gather(*idle, return_exceptions=True)


async def test_a_full_worker_holds_up_other_users_nowhere(runcast_cluster: Cluster, user: str) -> None:
    first_router, second_router = (node.address for node in runcast_cluster.routers)
    async with Worker(first_router, user, "w1", in_flight_max=1) as first, Worker(second_router, user, "w2", in_flight_max=1) as second:
        for number in range(4):
            await say(runcast_cluster, user, user, f"m{number}")
        reads = {asyncio.ensure_future(worker.take()): worker for worker in (first, second)}
        (done,), (waiting,) = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
        assert done.result().message.id == "m0"
        await say(runcast_cluster, f"{user}-other", user, "other")
        assert (await waiting).message.id == "other"
        await reads[waiting].settle(waiting.result())
        await nothing_comes(reads[waiting], 0.5)


async def test_what_is_said_of_an_older_delivery_does_not_settle_a_newer_one(runcast_cluster: Cluster, user: str) -> None:
    async with Worker(runcast_cluster.routers[0].address, user) as worker:
        await say(runcast_cluster, user, user, "m")
        older = await worker.take()
        await worker.settle(older, DISPOSITION_RETRY)
        newer = await worker.take()
        assert (older.tries, newer.tries) == (1, 2)
        assert newer.delivery_id != older.delivery_id
        await worker.settle(older)
        await worker.settle(InboxDelivery(delivery_id=newer.delivery_id.partition(".")[0]))
        await say(runcast_cluster, user, user, "n")  # when it comes, what was said before has been heard
        following = await worker.take()
        async with jetstream(runcast_cluster) as js:
            info = await js.stream_info(subjects.INBOX_STREAM, subjects_filter=subjects.inbox_group_subjects(user))
            assert sum(info.state.subjects.values()) == 2
        await worker.settle(newer)
        await worker.settle(following)
        await queue_is_empty(runcast_cluster, user)


async def test_a_frozen_router_s_worker_can_settle_nothing_that_went_to_another(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster = await runcast_cluster_factory(routers=2, edges=0)
    frozen, other = cluster.routers
    async with Worker(frozen.address, user, "w1") as first:
        await say(cluster, user, user, "m")
        older = await first.take()
        await frozen.pause()
        await first.settle(older)
        async with Worker(other.address, user, "w2") as second:
            newer = await second.take()
            assert (newer.message.id, newer.tries) == ("m", 2)
            frozen.resume()
            await say(cluster, f"{user}-2", user, "n")
            reads = {asyncio.ensure_future(worker.take()): worker for worker in (first, second)}
            (done,), (rest,) = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
            rest.cancel()
            await reads[done].settle(done.result())
            await asyncio.sleep(limits.INBOX_EXTEND_S)  # the frozen router has had its time to do harm
            async with jetstream(cluster) as js:
                info = await js.stream_info(subjects.INBOX_STREAM, subjects_filter=subjects.inbox_group_subjects(user))
                assert sum((info.state.subjects or {}).values()) == 1
            await second.settle(newer)
            await queue_is_empty(cluster, user)


async def test_poison_is_parked_and_the_next_message_goes_on(runcast_cluster: Cluster, user: str) -> None:
    addresses = [node.address for node in runcast_cluster.routers]
    await say(runcast_cluster, user, user, "poison")
    await say(runcast_cluster, user, user, "next")
    for number in range(1, limits.INBOX_TRIES_MAX + 1):
        async with Worker(addresses[number % 2], user, f"w{number}") as worker:
            delivery = await worker.take()
            assert (delivery.message.id, delivery.tries) == ("poison", number)
    begun = time.monotonic()
    async with Worker(addresses[0], user, "healthy") as worker:
        delivery = await worker.take()
        assert delivery.message.id == "next"
        assert time.monotonic() - begun < limits.INBOX_ACK_WAIT_S
        await worker.settle(delivery)
        await queue_is_empty(runcast_cluster, user)
    async with jetstream(runcast_cluster) as js:
        parked = await js.get_last_msg(subjects.PARKED_STREAM, f"parked.{subjects.encode_token(user)}.*.default.*")
        assert InboxMessage.FromString(parked.data).id == "poison"
        assert parked.headers[subjects.HEADER_TRIES] == str(limits.INBOX_TRIES_MAX)
        assert "no worker settled it" in parked.headers[subjects.HEADER_REASON]
    checks, _ = await doctor.examine(ServiceSettings(nats_url=runcast_cluster.nats_url), [], [], TlsFiles())
    (told,) = [check for check in checks if check.what == "parked"]
    assert (told.state, told.where) == ("note", subjects.PARKED_STREAM)


async def test_tries_go_on_where_they_were_when_a_killed_server_has_forgotten_them(
    runcast_cluster_factory: ClusterFactory, user: str
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=0)
    address = cluster.routers[0].address
    await say(cluster, user, user, "m")
    for number in (1, 2):
        async with Worker(address, user, f"w{number}") as worker:
            assert (await worker.take()).tries == number
    assert cluster.nats is not None
    await cluster.nats.kill()
    await cluster.nats.start()
    async with jetstream(cluster) as js:  # as the server does that lost what it had not written: it begins to count anew
        await js.delete_consumer(subjects.INBOX_STREAM, subjects.inbox_consumer(user))
    async with Worker(address, user, "w3") as worker:
        delivery = await worker.take()
        assert (delivery.message.id, delivery.tries) == ("m", 3)


async def test_what_cannot_be_read_is_parked_at_once(runcast_cluster: Cluster, user: str) -> None:
    subject = f"in.{subjects.encode_token(user)}.0.default.x"
    async with Worker(runcast_cluster.routers[0].address, user):
        await put(runcast_cluster, subject, b"\xff\xff")
        await queue_is_empty(runcast_cluster, user)
    async with jetstream(runcast_cluster) as js:
        parked = await js.get_last_msg(subjects.PARKED_STREAM, subjects.parked_subject(subject))
    assert parked.data == b"\xff\xff"
    assert "can't be read" in parked.headers[subjects.HEADER_REASON]
