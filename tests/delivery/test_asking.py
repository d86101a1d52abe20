"""`run.ask` against real routers, edges and devices: the first answer comes back to the process that asked, whatever goes on meanwhile."""

import asyncio
import sys
from typing import Any

import pytest

from runcast.client import LifecycleError, NoAnswerError, OutboxClosedError, Run, Runcast, sync
from runcast.client.asking import check_question
from runcast.testkit import Cluster
from runcast.testkit.device import Device
from runcast.testkit.plugin import ClusterFactory, DeviceFactory
from runcast.v1 import event_pb2 as pb
from runcast.v1.event_pb2 import Event
from runcast.wire import limits_client as limits
from runcast.wire.errors import RefusedError
from runcast.wire.lifecycle import ends_run
from runcast.wire.runstate import reduce_events
from tests.delivery.routers import START, Producer, answer, make_batch


def connect(cluster: Cluster) -> Runcast:
    return Runcast(",".join(cluster.router_addresses()), agent="analyst")


async def asked(device: Device, count: int = 1) -> list[pb.InputRequested]:
    """The questions that a device was shown, when there are so many."""
    found: list[Event] = []
    while len(found) < count:
        found = [event for event in device.events if event.HasField("input_requested")]
        if len(found) < count:
            await device.wait_count(len(device.events) + 1)
    return [event.input_requested for event in found]


async def outcomes(device: Device, run: Run) -> list[tuple[int, bytes, str]]:
    """How the questions of a run were settled, when it has ended."""
    await device.wait_for(lambda event: event.run_id == run.id and ends_run(event))
    settled = [event.input_resolved for event in device.events if event.HasField("input_resolved")]
    return [(each.outcome, each.value_json, each.device) for each in settled]


@pytest.mark.parametrize(
    ("question", "value", "kind"),
    [
        ({"kind": "approval"}, False, pb.INPUT_TYPE_APPROVAL),
        ({}, "to Lübeck", pb.INPUT_TYPE_QUESTION),
        ({"options": ["a", "b"]}, "b", pb.INPUT_TYPE_CHOICE),
    ],
)
async def test_the_answer_of_a_second_device_comes_back(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, question: dict[str, Any], value: object, kind: int
) -> None:
    first, second = await device(edge=0), await device(edge=1)
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run, asyncio.TaskGroup() as group:
        asking = group.create_task(run.ask("Shall I?", **question, timeout_s=30))
        [request] = await asked(second)
        assert (request.prompt, request.type, list(request.options)) == ("Shall I?", kind, question.get("options", []))
        assert request.HasField("expires_unix_ms")
        [waiting] = reduce_events(second.events).open
        assert waiting.status == "waiting"
        await second.answer(run.id, request.request_id, value)
        assert await asking == value
    assert [each[0] for each in await outcomes(first, run)] == [pb.INPUT_OUTCOME_ANSWERED]
    [shown] = [item for item in reduce_events(first.events).timeline if item.id == run.id]
    assert [(each.status, each.value, each.device) for each in shown.requests] == [("answered", value, second.device)]


async def test_several_questions_at_once_get_their_own_answers(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run, asyncio.TaskGroup() as group:
        asking = [group.create_task(run.ask(prompt)) for prompt in ("one?", "two?", "two?")]
        requests = await asked(watcher, 3)
        assert len({request.request_id for request in requests}) == 3
        for number, request in reversed(list(enumerate(requests))):
            await watcher.answer(run.id, request.request_id, f"{request.prompt} {number}")
        assert [await each for each in asking] == ["one? 0", "two? 1", "two? 2"]
        await run.thinking("on it")


async def test_two_answers_race_and_one_counts(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    devices = [await device(edge=number) for number in (0, 1)]
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run, asyncio.TaskGroup() as group:
        asking = group.create_task(run.ask("Who?"))
        [[request], _] = [await asked(each) for each in devices]
        told = await asyncio.gather(*(each.answer(run.id, request.request_id, each.device) for each in devices), return_exceptions=True)
        winner = await asking
    [refusal] = [outcome for outcome in told if isinstance(outcome, RefusedError)]
    assert refusal.code.name == "request_closed"
    assert winner == devices[1 - told.index(refusal)].device
    for each in devices:
        assert await outcomes(each, run) == [(pb.INPUT_OUTCOME_ANSWERED, f'"{winner}"'.encode(), winner)]


@pytest.mark.parametrize("default", ["nobody", None])
async def test_nobody_answers_and_the_default_is_taken(
    runcast_cluster: Cluster, user: str, device: DeviceFactory, default: str | None
) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run:
        assert await run.ask("Who?", default=default, timeout_s=0.3) == default
        [request] = await asked(watcher)
        await watcher.wait_kind("input_resolved")
        with pytest.raises(RefusedError) as caught:
            await watcher.answer(run.id, request.request_id, "me")
        assert caught.value.code.name == "request_closed"
    text = b"null" if default is None else b'"nobody"'
    assert request.default_json == text
    assert await outcomes(watcher, run) == [(pb.INPUT_OUTCOME_DEFAULTED, text, "")]


async def test_nobody_answers_and_there_is_no_default(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run:
        with pytest.raises(NoAnswerError, match=r"'May I\?' within 0.2 s"):
            await run.ask("May I?", kind="approval", timeout_s=0.2)
        for wrong in (0, -1, limits.ASK_WAIT_MAX_S + 1):
            with pytest.raises(ValueError, match="timeout_s"):
                await run.ask("May I?", kind="approval", timeout_s=wrong)
    assert await outcomes(watcher, run) == [(pb.INPUT_OUTCOME_WITHDRAWN, b"", "")]


async def test_an_answer_that_does_not_fit_has_the_question_asked_again(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run, asyncio.TaskGroup() as group:
        asking = group.create_task(run.ask("May I?", kind="approval", timeout_s=30))
        [request] = await asked(watcher)
        await answer(runcast_cluster, user, run.id, request.request_id, b'"maybe"')  # by an edge that did not know the question
        _, again = await asked(watcher, 2)
        assert (again.prompt, again.expires_unix_ms) == (request.prompt, request.expires_unix_ms)
        await watcher.answer(run.id, again.request_id, True)
        assert await asking is True
    settled = await outcomes(watcher, run)
    assert [each[0] for each in settled] == [pb.INPUT_OUTCOME_WITHDRAWN, pb.INPUT_OUTCOME_ANSWERED]


async def test_answers_that_never_fit_count_as_none(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run:
        digest = check_question("May I?", "approval", (), True).digest
        for number in range(1, limits.ASK_TRIES_MAX + 1):
            await answer(runcast_cluster, user, run.id, f"{digest}-{number}", b"1")
        assert await run.ask("May I?", kind="approval", default=True) is True
    settled = await outcomes(watcher, run)
    assert [each[0] for each in settled] == [pb.INPUT_OUTCOME_WITHDRAWN] * (limits.ASK_TRIES_MAX - 1) + [pb.INPUT_OUTCOME_DEFAULTED]


async def test_a_thread_that_blocks_may_ask_too(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()

    def work() -> str:
        with sync.Runcast(",".join(runcast_cluster.router_addresses()), agent="analyst") as rc, rc.run(user=user, run_id=user) as run:
            return run.ask("Which?", options=["a", "b"], timeout_s=30)

    async with asyncio.TaskGroup() as group:
        working = group.create_task(asyncio.to_thread(work))
        [request] = await asked(watcher)
        await watcher.answer(user, request.request_id, "b")
        assert await working == "b"


# --- the end of a wait that is no answer ---


async def test_a_run_that_is_cancelled_while_it_asks_withdraws_its_question(
    runcast_cluster: Cluster, user: str, device: DeviceFactory
) -> None:
    watcher = await device()

    async def stop(run: Run) -> None:
        await asked(watcher, 2)
        await watcher.cancel(run.id, "enough")

    async with connect(runcast_cluster) as rc:
        async with rc.run(user=user) as run, asyncio.TaskGroup() as group:
            group.create_task(stop(run))
            group.create_task(run.ask("first?"))
            await run.ask("second?")
        assert run.cancelled
        assert [each[0] for each in await outcomes(watcher, run)] == [pb.INPUT_OUTCOME_WITHDRAWN] * 2
        assert [event.WhichOneof("kind") for event in watcher.events if event.run_id == run.id][-1] == "run_cancelled"


async def test_an_ask_that_is_cancelled_withdraws_its_question_and_the_run_goes_on(
    runcast_cluster: Cluster, user: str, device: DeviceFactory
) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await run.ask("Who?")
        await run.respond("nobody, then")
    assert await outcomes(watcher, run) == [(pb.INPUT_OUTCOME_WITHDRAWN, b"", "")]


async def test_an_ask_may_be_cancelled_at_any_moment(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with connect(runcast_cluster) as rc, rc.run(user=user) as run:
        digest = check_question("Who?", None, (), None).digest
        for steps in range(40):
            if steps % 2:
                await answer(runcast_cluster, user, run.id, f"{digest}-{1 + steps}", b'"me"')  # it is there as soon as it is asked for
            asking = asyncio.create_task(run.ask("Who?"))
            for _ in range(steps):
                await asyncio.sleep(0.0 if steps % 4 < 2 else 0.0005)
            asking.cancel()
            await asyncio.wait({asking})
            assert asking.cancelled() or asking.result() == "me"
        await run.ask("Done?", default="yes", timeout_s=0.1)
    settled = len(await outcomes(watcher, run))
    assert settled == len(await asked(watcher)) >= 30


async def test_who_asks_is_told_when_the_run_is_over_or_the_runcast_closes(
    runcast_cluster: Cluster, user: str, device: DeviceFactory
) -> None:
    watcher = await device()
    async with asyncio.TaskGroup() as group, connect(runcast_cluster) as rc:
        async with rc.run(user=user) as run:
            outlived = group.create_task(_error_of(run.ask("one?")))
            await asked(watcher)
        assert isinstance(await outlived, LifecycleError)
        assert isinstance(await _error_of(run.ask("late?")), LifecycleError)

        async def close_within() -> None:
            async with rc.run(user=user) as run:
                closing = group.create_task(_error_of(run.ask("two?")))
                await asked(watcher, 2)
                await rc.close(0.1)
                assert isinstance(await closing, OutboxClosedError)

        assert isinstance(await _error_of(close_within()), OutboxClosedError)


async def _error_of(asking: Any) -> BaseException | None:
    try:
        await asking
    except Exception as exc:
        return exc
    return None


# --- routers and agents that come and go ---


@pytest.mark.parametrize("ending", ["answer", "cancel"])
async def test_the_router_dies_while_a_run_asks(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "runcast.client")
    cluster = await runcast_cluster_factory(routers=2, edges=1)
    watcher = await device(cluster=cluster)
    async with connect(cluster) as rc, rc.run(user=user) as run, asyncio.TaskGroup() as group:
        asking = group.create_task(run.ask("Who?"))
        [request] = await asked(watcher)
        connected = next(record.getMessage() for record in caplog.records if "connected to router" in record.getMessage())
        await next(node for node in cluster.routers if connected.endswith(node.address)).kill()
        async with asyncio.timeout(10):
            if ending == "answer":
                await watcher.answer(run.id, request.request_id, "me")
                assert await asking == "me"
            else:
                await watcher.cancel(run.id)
                await asyncio.Event().wait()
    assert run.cancelled == (ending == "cancel")
    await watcher.wait_kind("run_cancelled" if run.cancelled else "agent_completed", run_id=run.id)


async def test_an_answer_waits_for_the_routers_to_come_back(
    runcast_cluster_factory: ClusterFactory, user: str, device: DeviceFactory
) -> None:
    cluster = await runcast_cluster_factory(routers=1, edges=1)
    watcher = await device(cluster=cluster)
    async with connect(cluster) as rc, rc.run(user=user) as run, asyncio.TaskGroup() as group:
        asking = group.create_task(run.ask("Who?"))
        [request] = await asked(watcher)
        await cluster.routers[0].kill()
        await watcher.answer(run.id, request.request_id, "me")
        await cluster.routers[0].start()
        assert await asking == "me"


AGENT = """
import asyncio, sys
from runcast.client import Runcast

async def main(routers, user, attempt):
    async with Runcast(routers, agent="payer") as rc, rc.run(user=user, run_id=user, attempt=int(attempt)) as run:
        await run.complete("paid" if await run.ask("Pay?", kind="approval", timeout_s=30) else "not paid")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_agent_s_question_is_answered_for_its_next_attempt(
    runcast_cluster: Cluster, user: str, device: DeviceFactory
) -> None:
    watcher = await device()
    routers = ",".join(runcast_cluster.router_addresses())
    first = await asyncio.create_subprocess_exec(sys.executable, "-c", AGENT, routers, user, "1")
    [request] = await asked(watcher)
    first.kill()
    await first.wait()
    await watcher.answer(user, request.request_id, True)
    second = await asyncio.create_subprocess_exec(sys.executable, "-c", AGENT, routers, user, "2")
    completed = await watcher.wait_kind("agent_completed", timeout=20)
    assert (completed.attempt, completed.agent_completed.summary) == (2, "paid")
    assert await second.wait() == 0
    [shown] = reduce_events(watcher.events).timeline
    assert [(each.status, each.device) for each in shown.requests] == [("answered", watcher.device)]


async def test_an_answer_waits_for_the_agent_to_come_back(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    """The first process dies while it asks; the next attempt, elsewhere, asks the same, and something else."""
    watcher = await device()
    request_id = f"{check_question('Pay?', 'approval', (), None).digest}-1"
    async with Producer(runcast_cluster.routers[0].address, f"first-{user}") as producer:
        batch = make_batch(user, 1, 1, START, "input_requested", run_id=user, producer=producer.producer)
        batch.events[1].input_requested.request_id = request_id
        batch.events[1].input_requested.type = pb.INPUT_TYPE_APPROVAL
        await producer.store(batch)
        await asked(watcher)
    await watcher.answer(user, request_id, True)
    async with connect(runcast_cluster) as rc, rc.run(user=user, run_id=user, attempt=2) as run:
        assert await run.ask("Pay?", kind="approval") is True
        assert await run.ask("Pay twice?", kind="approval", default=False, timeout_s=0.2) is False, "that was not answered"
        with pytest.raises(RefusedError):
            await watcher.answer(user, request_id, False)
    assert await outcomes(watcher, run) == [
        (pb.INPUT_OUTCOME_ANSWERED, b"true", watcher.device),
        (pb.INPUT_OUTCOME_DEFAULTED, b"false", ""),
    ]
