"""Pydantic AI as a device sees it: real agents, the library's TestModel and FunctionModel, a real cluster."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, CustomEvent, DeferredToolRequests, ModelRetry, RunContext
from pydantic_ai.exceptions import RunCancelled
from pydantic_ai.models.function import DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from runcast.client import LifecycleError, Runcast
from runcast.client.adapters.pydantic_ai import RuncastCapability
from runcast.testkit import Cluster
from runcast.testkit.plugin import DeviceFactory
from tests.delivery.retelling import children, connect, offline, until_end


@pytest.fixture(autouse=True)
def _offline() -> Iterator[None]:
    with offline():
        yield


@pytest.fixture
async def rc(runcast_cluster: Cluster):
    async with connect(runcast_cluster) as client:
        yield client


def scripted(*answers: Any) -> FunctionModel:
    """Each answer is what the model streams: texts, thoughts, calls, or an exception."""
    left = iter(answers)

    async def stream(_: Any, __: Any) -> AsyncIterator[Any]:
        for part in next(left):
            if isinstance(part, Exception):
                raise part
            yield part

    return FunctionModel(stream_function=stream)


def thought(text: str) -> Any:
    return {0: DeltaThinkingPart(content=text)}


def calls(*asked: tuple[str, str]) -> Any:
    return {10 + index: DeltaToolCall(name, args, tool_call_id=f"c{index}") for index, (name, args) in enumerate(asked)}


def agent(*answers: Any, name: str = "helper", **more: Any) -> Agent[Any, Any]:
    made = Agent(scripted(*answers), name=name, capabilities=[RuncastCapability()], **more)

    @made.tool_plain
    async def add(a: int, b: int) -> int:
        return a + b

    @made.tool_plain
    def divide(a: int, b: int) -> float:
        return a / b

    @made.tool_plain
    def guess(what: str) -> str:
        raise ModelRetry(f"not {what}")

    return made


# --- what is told ---


async def test_an_agent_with_tools_is_told_in_the_open_run(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    script = [
        [
            thought("I think "),
            thought("so."),
            "Let ",
            "me see",
            calls(("add", '{"a":1,"b":2}'), ("guess", '{"what":"x"}'), ("add", '{"a":"?"}')),
        ],
        ["It is ", "three"],
    ]
    async with rc.run(user=user) as run:
        result = await agent(*script).run("1 + 2?")
    assert result.output == "It is three"
    told = await until_end(watcher, run.id)
    assert told[:3] == ["assistant starts", "thinks I think so.", "says Let me see."]
    assert sorted(told[3:6]) == ['calls add {"a":"?"}', 'calls add {"a":1,"b":2}', 'calls guess {"what":"x"}']
    assert "add ok 3" in told[6:9]
    assert "guess error not x" in told[6:9]
    assert any(line.startswith("add error") for line in told[6:9])
    assert told[9:] == ["says It is three.", "completes"]


async def test_every_way_to_run_an_agent_is_told(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        async with agent(["one ", "two"]).run_stream("?") as streamed:
            assert await streamed.get_output() == "one two"
        async with agent(["three"]).iter("?") as steps:
            async for _ in steps:
                pass
        async with agent(["four"]).run_stream_events("?") as events:
            async for _ in events:
                pass
        await Agent(TestModel(custom_output_text="five"), capabilities=[RuncastCapability()]).run("?")
    assert (await until_end(watcher, run.id))[1:] == ["says one two.", "says three.", "says four.", "says five.", "completes"]


async def test_a_run_of_its_own_has_the_result(rc: Runcast, user: str, device: DeviceFactory) -> None:
    class Sum(BaseModel):
        sum: int

    watcher = await device()
    run = rc.run(user=user, title="A sum")
    summing = Agent(TestModel(custom_output_args={"sum": 3}), output_type=Sum, capabilities=[RuncastCapability()])
    result = await summing.run("1 + 2?", capabilities=[RuncastCapability(run)])
    assert result.output == Sum(sum=3)
    assert await until_end(watcher, run.id) == ["assistant starts A sum", 'completes {"sum":3}']
    with pytest.raises(LifecycleError, match="async with"):
        await summing.run("nowhere")


async def test_events_of_the_application_and_deferred_calls_are_told(rc: Runcast, user: str, device: DeviceFactory) -> None:
    @dataclass(kw_only=True)
    class AdapterProgress(CustomEvent):
        share: float

    watcher = await device()
    asking = agent([calls(("report", "{}"))], [calls(("launch", '{"code":"x"}'))], output_type=[str, DeferredToolRequests])

    @asking.tool
    async def report(ctx: RunContext[Any]) -> str:
        await ctx.emit(AdapterProgress(share=0.5))
        return "done"

    @asking.tool_plain(requires_approval=True)
    def launch(code: str) -> str:
        return code

    async with rc.run(user=user) as run:
        result = await asking.run("go")
    assert isinstance(result.output, DeferredToolRequests)
    assert (await until_end(watcher, run.id))[1:] == [
        "calls report {}",
        'adapter_progress {"share":0.5}',
        'report ok "done"',
        'calls launch {"code":"x"}',
        "launch cancelled",
        'interrupt {"id":"c0","value":{"for":"approval","tool":"launch","args":"{\\"code\\":\\"x\\"}"}}',
        "completes",
    ]


async def test_another_event_loop_is_refused(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        with pytest.raises(LifecycleError, match="another event loop"):
            await asyncio.to_thread(agent(["one"]).run_sync, "?")
    assert await until_end(watcher, run.id) == ["assistant starts", "completes"]


# --- agents among agents ---


async def test_agents_in_tools_are_children_also_side_by_side(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    expert = agent(["one"], ["two"], name="expert")
    asking = agent([calls(("ask", '{"question":"first?"}'), ("ask", '{"question":"second?"}'))], ["done"])

    @asking.tool_plain
    async def ask(question: str) -> str:
        return str((await expert.run(question)).output)

    async with rc.run(user=user, thread="t-1") as run:
        await asking.run("hello")
        await agent(["and on"]).run("more")
    told = await until_end(watcher, run.id)
    assert sorted(told[1:3]) == ['calls ask {"question":"first?"}', 'calls ask {"question":"second?"}']
    assert sorted(told[3:5]) == ['ask ok "one"', 'ask ok "two"']
    assert told[5:] == ["says done.", "says and on.", "completes"]
    both = [await until_end(watcher, child) for child in children(watcher, run.id)]
    assert sorted(child[0] for child in both) == ["expert starts first?", "expert starts second?"]
    assert sorted(child[1] for child in both) == ["says one.", "says two."]
    assert {event.thread for event in watcher.events} == {"t-1"}


# --- what goes wrong ---


async def test_errors_are_told(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    for failing, raises, told in [
        (agent(["So", TimeoutError("no answer")]), TimeoutError, ["says So.", "fails timeout"]),
        (agent([calls(("divide", '{"a":1,"b":0}'))]), ZeroDivisionError, ['calls divide {"a":1,"b":0}', "divide error", "fails unknown"]),
    ]:
        run = rc.run(user=user)
        with pytest.raises(raises):
            await failing.run("?", capabilities=[RuncastCapability(run)])
        ending = (await until_end(watcher, run.id))[1:]
        assert [line[: len(start)] for line, start in zip(ending, told, strict=True)] == told


async def test_an_error_in_a_child_is_the_childs_and_the_tools(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    expert = agent([TimeoutError("no answer")], name="expert")
    asking = agent([calls(("ask", "{}"))], ["never mind"])

    @asking.tool_plain
    async def ask() -> str:
        return str((await expert.run("?")).output)

    async with rc.run(user=user) as run:
        with pytest.raises(TimeoutError):
            await asking.run("hello")
        await run.respond("sorry")
    told = await until_end(watcher, run.id)
    assert told[1] == "calls ask {}"
    assert told[2].startswith("ask error")
    assert told[3:] == ["says sorry.", "completes"]
    [child] = children(watcher, run.id)
    assert (await until_end(watcher, child))[1:] == ["fails timeout"]


@pytest.mark.parametrize("which", ["open", "own", "child"])
async def test_the_user_stops_it(rc: Runcast, user: str, device: DeviceFactory, which: str) -> None:
    stopped = asyncio.Event()
    watcher = await device()
    expert = agent(["One moment", calls(("wait", "{}"))], ["on it goes"], name="expert")
    asking = agent([calls(("ask", "{}"))], ["on it goes"])
    run = rc.run(user=user)

    @asking.tool_plain
    async def ask() -> str:
        return str((await expert.run("?")).output)

    @expert.tool_plain
    async def wait() -> None:
        await watcher.wait_for(lambda event: event.tool_executing.tool == "wait")
        try:
            await watcher.cancel(children(watcher, run.id)[0] if which == "child" else run.id, "enough")
            await asyncio.Event().wait()
        finally:
            stopped.set()

    if which == "open":
        async with run:
            await asking.run("?")
    elif which == "own":
        with pytest.raises(RunCancelled):
            await asking.run("?", capabilities=[RuncastCapability(run)])
    else:
        await asking.run("?", capabilities=[RuncastCapability(run)])
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await stopped.wait()
    ending = ["says on it goes.", "completes"] if which == "child" else ["is stopped: enough"]
    assert await until_end(watcher, run.id) == ["assistant starts", "calls ask {}", "ask cancelled", *ending]
    [child] = children(watcher, run.id)
    assert (await until_end(watcher, child))[1:] == ["says One moment.", "calls wait {}", "wait cancelled", "is stopped: enough"]


async def test_a_service_that_is_shut_down_is_told_as_ever(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    waiting = agent([calls(("wait", "{}"))])
    working = asyncio.Event()
    run = rc.run(user=user)

    @waiting.tool_plain
    async def wait() -> None:
        working.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(waiting.run("?", capabilities=[RuncastCapability(run)]))
        await working.wait()
        task.cancel()
    assert task.cancelled()
    told = ["assistant starts", "calls wait {}", "wait cancelled", "is stopped: the agent was stopped"]
    assert await until_end(watcher, run.id) == told
