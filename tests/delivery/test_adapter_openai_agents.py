"""The OpenAI Agents SDK as a device sees it: the SDK's Runner and its scripted model, a real cluster."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"

import pytest
from agents import Agent, MaxTurnsExceeded, Runner, UserError, function_tool
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call
from openai.types.responses import ResponseTextDeltaEvent
from openai.types.responses.response_reasoning_item import ResponseReasoningItem, Summary
from pydantic import BaseModel

from runcast.client import LifecycleError, Runcast
from runcast.client.adapters.openai_agents import RuncastHooks, agent_tool, run_agent
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


@function_tool
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@function_tool
def divide(a: int, b: int) -> float:
    """Divide."""
    return a / b


@function_tool(failure_error_function=None)
def insist(a: int) -> float:
    """Divide by zero, and raise."""
    return a / 0


def agent(*script: Any, name: str = "helper", **more: Any) -> Agent[Any]:
    """Each part of the script is an answer: a text, an exception, or items."""
    steps = [[assistant_message(said)] if isinstance(said, str) else said for said in script]
    return Agent(name=name, model=ScriptedModel(steps), **more)


def call(name: str, index: int = 1, **args: Any) -> Any:
    return function_call(name, args, call_id=f"c{index}")


def reasoning(*thoughts: str) -> Any:
    return ResponseReasoningItem(id="r1", type="reasoning", summary=[Summary(text=thought, type="summary_text") for thought in thoughts])


# --- what is told ---


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_agent_with_tools_is_told_in_the_open_run(rc: Runcast, user: str, device: DeviceFactory, streamed: bool) -> None:
    watcher = await device()
    script = [
        [reasoning("I think so."), assistant_message("Let me see"), call("add", a=1, b=2), call("divide", 2, a=1, b=0)],
        "It is three",
    ]
    working = agent(*script, tools=[add, divide])
    async with rc.run(user=user) as run:
        if streamed:
            result = await run_agent(working, "1 + 2?")
            assert result.final_output == "It is three"
        else:
            async with RuncastHooks(working) as hooks:
                await Runner.run(working, "1 + 2?", hooks=hooks)
    told = await until_end(watcher, run.id)
    assert told[:3] == ["assistant starts", "thinks I think so.", "says Let me see."]
    assert told[3:5] == ['calls add {"a":1,"b":2}', 'calls divide {"a":1,"b":0}']
    assert sorted(told[5:7]) == ["add ok 3", "divide error The tool failed."]
    assert told[7:] == ["says It is three.", "completes"]


def deltas(*texts: str, then: Any = ()) -> Any:
    """An answer that comes in pieces."""

    async def stream(asked: ModelCall) -> AsyncIterator[Any]:
        whole = ScriptedModel([[assistant_message("".join(texts)), *then]])
        plain = {"previous_response_id": None, "conversation_id": None, "prompt": None}
        async for event in whole.stream_response(None, "", asked.model_settings, [], None, [], asked.tracing, **plain):
            for text in texts if isinstance(event, ResponseTextDeltaEvent) else ():
                yield event.model_copy(update={"delta": text})
                await asyncio.sleep(0)
            if not isinstance(event, ResponseTextDeltaEvent):
                yield event

    return ModelStep.stream(stream)


async def test_text_comes_in_deltas_and_events_are_handed_on(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    run = rc.run(user=user, title="A question")
    speaking = agent(deltas("one ", "two ", "three"))
    async with RuncastHooks(speaking, run) as hooks:
        seen = [event.type async for event in hooks.stream(Runner.run_streamed(speaking, "?", hooks=hooks))]
    assert {"raw_response_event", "run_item_stream_event", "agent_updated_stream_event"} == set(seen)
    assert await until_end(watcher, run.id) == ["assistant starts A question", "says one two three.", "completes"]
    assert len([event for event in watcher.events if event.agent_response.text]) >= 1


async def test_a_stream_that_is_read_slowly_neither_repeats_nor_holds_up(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    slow = agent(deltas("a ", "b ", "c", then=[call("add", a=1, b=2)]), deltas("d ", "e"), tools=[add])
    async with rc.run(user=user) as run, RuncastHooks(slow) as hooks:
        async for _ in hooks.stream(Runner.run_streamed(slow, "?", hooks=hooks)):
            await asyncio.sleep(0.02)
    told = await until_end(watcher, run.id)
    assert told == ["assistant starts", "says a b c.", 'calls add {"a":1,"b":2}', "add ok 3", "says d e.", "completes"]


async def test_what_is_no_text_is_the_result(rc: Runcast, user: str, device: DeviceFactory) -> None:
    class Sum(BaseModel):
        sum: int

    watcher = await device()
    run = rc.run(user=user)
    result = await run_agent(agent('{"sum": 3}', output_type=Sum), "1 + 2?", run)
    assert result.final_output == Sum(sum=3)
    assert (await until_end(watcher, run.id))[-1] == 'completes {"sum":3}'


async def test_what_waits_for_approval_is_told(rc: Runcast, user: str, device: DeviceFactory) -> None:
    guarded = function_tool(lambda a: a, name_override="launch", description_override="Launch", needs_approval=True)
    watcher = await device()
    async with rc.run(user=user) as run:
        result = await run_agent(agent([call("launch", a="x")], tools=[guarded]), "go")
        assert result.interruptions
    told = await until_end(watcher, run.id)
    assert told[1:] == ['interrupt {"id":"c1","value":{"tool":"launch","args":"{\\"a\\":\\"x\\"}"}}', "completes"]


# --- agents among agents ---


async def test_whom_it_hands_over_to_is_a_child(rc: Runcast, user: str, device: DeviceFactory) -> None:
    chief = agent([call("transfer_to_french")], "I am back", name="chief")
    german = agent([assistant_message("Hallo"), call("transfer_to_chief", 3)], name="german", handoffs=[chief])
    french = agent(
        [assistant_message("Bonjour"), call("add", 5, a=1, b=1)],
        [call("transfer_to_german", 2)],
        name="french",
        handoffs=[german],
        tools=[add],
    )
    chief.handoffs = [french]
    watcher = await device()
    async with rc.run(user=user) as run:
        await run_agent(chief, "hello")
    assert await until_end(watcher, run.id) == ["assistant starts", "says I am back.", "completes"]
    first, second = children(watcher, run.id)
    assert await until_end(watcher, first) == [
        "french starts handed over by chief",
        "says Bonjour.",
        'calls add {"a":1,"b":1}',
        "add ok 2",
        "completes",
    ]
    assert await until_end(watcher, second) == ["german starts handed over by french", "says Hallo.", "completes"]


async def test_agents_as_tools_are_children_also_side_by_side(rc: Runcast, user: str, device: DeviceFactory) -> None:
    expert = agent("one", "two", name="expert")
    ask = agent_tool(expert, name="ask", description="Ask the expert.")
    asking = agent([call("ask", 1, question="first?"), call("ask", 2, question="second?")], "done", tools=[ask])
    watcher = await device()
    async with rc.run(user=user, thread="t-1") as run:
        await run_agent(asking, "hello")
    told = await until_end(watcher, run.id)
    assert told[1:3] == ['calls ask {"question":"first?"}', 'calls ask {"question":"second?"}']
    assert sorted(told[3:5]) == ['ask ok "one"', 'ask ok "two"']
    both = [await until_end(watcher, child) for child in children(watcher, run.id)]
    assert sorted(child[0] for child in both) == ["expert starts first?", "expert starts second?"]
    assert sorted(child[1] for child in both) == ["says one.", "says two."]
    assert {event.thread for event in watcher.events} == {"t-1"}


# --- what goes wrong ---


async def test_errors_are_told(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    for failing, raises, told in [
        (agent(TimeoutError("no answer")), TimeoutError, ["fails timeout"]),
        (agent(*[[call("add", index, a=1, b=2)] for index in range(3)], tools=[add]), MaxTurnsExceeded, ["fails unknown"]),
        (agent([call("insist", a=1)], tools=[insist]), UserError, ['calls insist {"a":1}', "insist error", "fails unknown"]),
    ]:
        run = rc.run(user=user)
        with pytest.raises(raises):
            await run_agent(failing, "?", run, max_turns=2)
        ending = (await until_end(watcher, run.id))[-len(told) :]
        assert [line.split(" The ")[0].split(" Something")[0] for line in ending] == told
    with pytest.raises(LifecycleError, match="async with"):
        await run_agent(agent("nowhere"), "?")


async def test_the_error_of_a_child_is_the_childs_too(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    other = agent(TimeoutError("no answer"), name="other")
    run = rc.run(user=user)
    with pytest.raises(TimeoutError):
        await run_agent(agent([call("transfer_to_other")], handoffs=[other]), "?", run)
    assert await until_end(watcher, run.id) == ["assistant starts", "fails timeout"]
    [child] = children(watcher, run.id)
    assert (await until_end(watcher, child))[1:] == ["fails timeout"]


@pytest.mark.parametrize("which", ["open", "own", "handed over"])
async def test_the_user_stops_it(rc: Runcast, user: str, device: DeviceFactory, which: str) -> None:
    stopped = asyncio.Event()

    @function_tool
    async def wait() -> None:
        """Wait."""
        await watcher.wait_for(lambda event: event.tool_executing.tool == "wait")
        try:
            await watcher.cancel(children(watcher, run.id)[0] if which == "handed over" else run.id, "enough")
            await asyncio.Event().wait()
        finally:
            stopped.set()

    watcher = await device()
    other = agent([assistant_message("One moment"), call("wait")], name="other", tools=[wait])
    handing = agent([call("transfer_to_other", 2)], handoffs=[other])
    run = rc.run(user=user)
    if which == "open":
        async with run:
            await run_agent(handing, "?")
    else:
        with pytest.raises(asyncio.CancelledError):
            await run_agent(handing, "?", run)
    assert run.cancelled
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await stopped.wait()
    assert await until_end(watcher, run.id) == ["assistant starts", "is stopped: enough"]
    [child] = children(watcher, run.id)
    assert (await until_end(watcher, child))[1:] == ["says One moment.", "calls wait {}", "wait cancelled", "is stopped: enough"]
