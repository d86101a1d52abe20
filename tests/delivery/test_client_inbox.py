"""The agent's inbox against real routers: handed out, settled, and handed out again."""

import asyncio
import time

import pytest

from runcast.client import Runcast
from runcast.testkit import Cluster
from runcast.testkit.plugin import ClusterFactory, DeviceFactory
from runcast.wire import limits


def connect(cluster: Cluster) -> Runcast:
    return Runcast(",".join(cluster.router_addresses()), agent="analyst")


async def test_messages_are_handed_out_until_they_are_settled(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    group = f"g-{user}"
    async with connect(runcast_cluster) as rc:
        inbox = rc.inbox(group, in_flight=4)
        await watcher.send_message(group, "t-1", "first", data={"k": [1]})
        message = await anext(inbox)
        assert (message.user, message.tenant, message.thread, message.text, message.data) == (user, "default", "t-1", "first", {"k": [1]})
        assert (message.answer, message.tries) == (None, 1)
        await message.retry()
        again = await anext(inbox)
        assert (again.id, again.tries) == (message.id, 2)
        await again.ack()
        await again.ack()
        await watcher.send_message(group, "t-1", "never")
        await (await anext(inbox)).reject()
        await watcher.answer("run-1", "request-1", True, group=group, thread="t-1")
        async for answered in inbox:
            assert answered.answer is not None
            assert (answered.answer.run_id, answered.answer.request_id, answered.answer.value) == ("run-1", "request-1", True)
            await answered.ack()
            break
    with pytest.raises(StopAsyncIteration):
        await anext(inbox)


async def test_a_question_is_answered_by_a_run(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    group = f"g-{user}"
    async with connect(runcast_cluster) as rc:
        await watcher.send_message(group, "t-1", "why?")
        async for message in rc.inbox(group):
            async with rc.run(user=message.user, thread=message.thread, reply_to=message.id) as run:
                await run.respond("because")
            await message.ack()
            break
        started = await watcher.wait_kind("agent_started", run_id=run.id)
        await watcher.wait_kind("agent_completed", run_id=run.id)
    asked = await watcher.wait_kind("user_message")
    assert started.agent_started.reply_to == asked.id


async def test_what_is_held_while_a_router_dies_is_handled_once(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory
) -> None:
    cluster = await runcast_cluster_factory(routers=2, edges=1)
    watcher = await device(cluster=cluster)
    handled: list[str] = []
    async with connect(cluster) as rc:
        inbox = rc.inbox("demo")
        await watcher.send_message("demo", "t-1", "0")
        held = await anext(inbox)
        for number in (1, 0):
            await cluster.routers[number].kill()
            await watcher.send_message("demo", "t-1", f"after {number}")
            message = await anext(inbox) if number else held
            handled.append(message.text)
            await message.ack()
            await cluster.routers[number].start()
        message = await anext(inbox)
        handled.append(message.text)
        await message.ack()
    assert handled == ["after 1", "0", "after 0"]


async def test_an_inbox_leaves_a_router_that_stops(runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory) -> None:
    cluster = await runcast_cluster_factory(routers=2, edges=1)
    watcher = await device(cluster=cluster)
    handled: list[str] = []
    async with connect(cluster) as rc:
        inbox = rc.inbox("demo")

        async def work() -> None:
            async for message in inbox:
                handled.append(message.text)
                await message.ack()
                if message.text == "last":
                    return

        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            await watcher.send_message("demo", "t-1", "first")
            for number in (0, 1):
                began = time.monotonic()
                await cluster.routers[number].stop()
                assert time.monotonic() - began < limits.DRAIN_GRACE_S, "nobody is waited for"
                await watcher.send_message("demo", "t-1", f"after {number}")
                await cluster.routers[number].start()
            await watcher.send_message("demo", "t-1", "last")
    assert handled == ["first", "after 0", "after 1", "last"]


@pytest.mark.parametrize("outlived", [False, True])
async def test_closing_ends_an_iteration_that_waits(runcast_cluster: Cluster, user: str, outlived: bool) -> None:
    async with connect(runcast_cluster) as rc:
        inbox = rc.inbox(f"g-{user}")

        async def fail() -> None:
            raise KeyError("an agent's own")

        async def listen() -> int:
            if outlived:  # until Python 3.13 this leaves a cancellation on the task
                with pytest.raises(ExceptionGroup):
                    async with asyncio.TaskGroup() as parts:
                        parts.create_task(fail())
            return len([message async for message in inbox])

        async with asyncio.TaskGroup() as group:
            listening = group.create_task(listen())
            await rc.ready()
            await rc.close()
        assert listening.result() == 0


async def test_waiting_for_a_message_may_be_cancelled(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    group = f"g-{user}"
    async with connect(runcast_cluster) as rc:
        inbox = rc.inbox(group)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(inbox), 0.2)
        await watcher.send_message(group, "t-1", "later")
        message = await anext(inbox)
        assert message.text == "later"
        await message.ack()
