"""LangChain and LangGraph as a device sees them: real graphs, the library's fake models, a real cluster."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

os.environ["LANGSMITH_TRACING"] = "false"

import pytest
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.documents import Document
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

from runcast.client import LifecycleError, Runcast, sync
from runcast.client.adapters.langchain import RuncastHandler
from runcast.testkit import Cluster
from runcast.testkit.plugin import DeviceFactory
from tests.delivery.retelling import children, connect, offline, until_end

HELLO = {"messages": [HumanMessage("hello")]}


@pytest.fixture(autouse=True)
def _offline() -> Iterator[None]:
    with offline():
        yield


@pytest.fixture
async def rc(runcast_cluster: Cluster):
    async with connect(runcast_cluster) as client:
        yield client


class Scripted(GenericFakeChatModel):
    """The library's fake leaves tool calls and reasoning out when it streams. Here they come, too; an exception is raised."""

    def _stream(self, messages, stop=None, run_manager=None, **kwargs) -> Iterator[ChatGenerationChunk]:
        message = next(self.messages)
        if isinstance(message, Exception):
            raise message
        parts: list[Any] = (
            [{"content": [{"type": "reasoning", "reasoning": message.additional_kwargs["thought"]}]}]
            if "thought" in message.additional_kwargs
            else []
        )
        parts += [{"content": word} for word in message.text.replace(" ", " \0").split("\0") if word]
        parts += [{"content": "", "tool_calls": message.tool_calls}] if message.tool_calls else []
        for part in parts:
            chunk = ChatGenerationChunk(message=AIMessageChunk(**part))
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


@tool
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@tool
def divide(a: int, b: int) -> float:
    """Divide."""
    return a / b


def calls(*asked: tuple[str, dict[str, Any]], text: str = "") -> AIMessage:
    return AIMessage(text, tool_calls=[{"name": name, "args": args, "id": f"c{index}"} for index, (name, args) in enumerate(asked)])


def agent(*script: AIMessage | Exception | str, tools=(add, divide), name: str = "assistant", **compiling):
    model = Scripted(messages=iter([AIMessage(said) if isinstance(said, str) else said for said in script]))

    async def think(state: MessagesState):
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", think)
    graph.add_node("tools", ToolNode(list(tools), handle_tool_errors=True))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(name=name, **compiling)


def chain_of(*nodes: Any, **compiling):
    graph = StateGraph(MessagesState)
    graph.add_sequence([(f"n{index}", node) for index, node in enumerate(nodes)])
    graph.add_edge(START, "n0")
    return graph.compile(name="outer", **compiling)


# --- what is told ---


async def test_an_agent_with_tools_is_told_in_the_open_run(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    working = agent(calls(("add", {"a": 1, "b": 2}), ("divide", {"a": 1, "b": 0}), text="Let me see"), "It is three")
    async with rc.run(user=user) as run:
        await working.ainvoke(HELLO, {"callbacks": [RuncastHandler()]})
        await run.respond("and that was it")
    told = await until_end(watcher, run.id)
    assert told[:2] == ["assistant starts", "says Let me see."]
    *begun, third, fourth = sorted(told[2:6], key=lambda line: (line.startswith("divide"), line.startswith("add"), line))
    assert begun == ['calls add {"a":1,"b":2}', 'calls divide {"a":1,"b":0}']
    assert third == 'add ok "3"'
    assert fourth.startswith("divide error")
    assert told[6:] == ["says It is three.", "says and that was it.", "completes"]
    deltas = [event for event in watcher.events if event.agent_response.text and event.run_id == run.id]
    assert len(deltas) >= 3


async def test_reasoning_is_told_by_the_sentence(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    message = AIMessage("So be it", additional_kwargs={"thought": "First this.\n\nThen that"})
    whole = AIMessage([{"type": "reasoning", "reasoning": "In one"}, {"type": "text", "text": "piece"}])
    async with rc.run(user=user) as run:
        await Scripted(messages=iter([message])).ainvoke("hi", {"callbacks": [RuncastHandler()]})
        await Scripted(messages=iter([whole]), disable_streaming=True).ainvoke("hi", {"callbacks": [RuncastHandler()]})
    told = ["thinks Then that", "says So be it.", "thinks In one", "says piece."]
    assert (await until_end(watcher, run.id))[1:] == [*told, "completes"]


async def test_a_run_that_has_not_begun_begins_and_ends_with_the_invocation(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    run = rc.run(user=user, title="A question")
    handler = RuncastHandler(run)
    await agent("done").ainvoke(HELLO, {"callbacks": [handler]})
    assert await until_end(watcher, run.id) == ["assistant starts A question", "says done.", "completes"]
    with pytest.raises(LifecycleError, match="used before"):
        await agent("again").ainvoke(HELLO, {"callbacks": [handler]})
    with pytest.raises(LifecycleError, match="async with"):
        await agent("nowhere").ainvoke(HELLO, {"callbacks": [RuncastHandler()]})


async def test_one_handler_serves_invocations_side_by_side(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    handler = RuncastHandler()

    async def work(text: str) -> str:
        async with rc.run(user=user) as run:
            await asyncio.gather(*(agent(f"{text} {number} a b c").ainvoke(HELLO, {"callbacks": [handler]}) for number in range(3)))
        return run.id

    for text, run_id in zip("xyz", await asyncio.gather(*map(work, "xyz")), strict=True):
        assert sorted(await until_end(watcher, run_id))[2:] == [f"says {text} {number} a b c." for number in range(3)]
    assert not handler.nodes


@pytest.mark.filterwarnings("ignore:The method `BaseChatModel._achat_model_stream_v3` is in beta")
async def test_other_models_retrievers_and_events(rc: Runcast, user: str, device: DeviceFactory) -> None:
    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document("x" * 1000, metadata={"source": "a.txt"})]

    async def report(value: Any) -> Any:
        await adispatch_custom_event("progress", {"share": 0.5})
        return value

    watcher = await device()
    config = {"callbacks": [RuncastHandler()]}
    async with rc.run(user=user) as run:
        await FakeListChatModel(responses=["one two"]).ainvoke("hi", config)
        await FakeListLLM(responses=["a plain model"]).ainvoke("hi", config)
        await FakeListChatModel(responses=["silent"], tags=["nostream"]).ainvoke("hi", config)
        await GenericFakeChatModel(messages=iter(["not streamed"]), disable_streaming=True).ainvoke("hi", config)
        await Shelf().ainvoke("letters", config)
        await RunnableLambda(report).ainvoke(1, config)
        async with await GenericFakeChatModel(messages=iter(["in version three"])).astream_events("hi", config, version="v3") as stream:
            await stream
    told = await until_end(watcher, run.id)
    assert told[1:4] == ["says one two.", "says a plain model.", "says not streamed."]
    assert told[4] == 'calls Shelf {"query":"letters"}'
    assert told[5] == 'Shelf ok [{"text":"' + "x" * 200 + '","metadata":{"source":"a.txt"}}]'
    assert told[6:] == ['progress {"share":0.5}', "says in version three.", "completes"]


async def test_streams_are_told_once_also_when_they_are_left(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    config = {"callbacks": [RuncastHandler()]}
    async with rc.run(user=user) as run:
        async for _ in agent("one two").astream(HELLO, config, stream_mode=["messages", "updates"]):
            pass
        async for _ in agent("three four").astream_events(HELLO, config, version="v2"):
            pass
        async for _ in agent("five six seven").astream(HELLO, config, stream_mode="messages"):
            break
        await run.complete("left")
    told = await until_end(watcher, run.id)
    assert told[1:3] == ["says one two.", "says three four."]
    assert told[3].startswith("says five")
    assert told[4:] == ["completes"]


# --- graphs within graphs ---


async def test_subgraphs_are_children(rc: Runcast, user: str, device: DeviceFactory) -> None:
    @tool
    async def ask(question: str) -> str:
        """Ask the expert."""
        return (await agent("the expert says", name="expert").ainvoke(HELLO))["messages"][-1].text

    async def in_a_function(state: MessagesState) -> Any:
        return await agent(calls(("add", {"a": 1, "b": 1})), "two", name="writer").ainvoke(state)

    watcher = await device()
    whole = chain_of(
        agent("found it", name="researcher"), in_a_function, agent(calls(("ask", {"question": "?"})), "all done", tools=[ask], name="chief")
    )
    async with rc.run(user=user, thread="t-1") as run:
        await whole.ainvoke(HELLO, {"callbacks": [RuncastHandler()]})
    assert await until_end(watcher, run.id) == ["assistant starts", "completes"]
    first, second, third = children(watcher, run.id)
    assert await until_end(watcher, first) == ["researcher starts", "says found it.", "completes"]
    assert await until_end(watcher, second) == ["writer starts", 'calls add {"a":1,"b":1}', 'add ok "2"', "says two.", "completes"]
    assert await until_end(watcher, third) == [
        "chief starts",
        'calls ask {"question":"?"}',
        'ask ok "the expert says"',
        "says all done.",
        "completes",
    ]
    [deepest] = children(watcher, third)
    assert await until_end(watcher, deepest) == ["expert starts", "says the expert says.", "completes"]
    assert {event.thread for event in watcher.events} == {"t-1"}


async def test_spans_are_left_in_whatever_task(rc: Runcast, user: str, device: DeviceFactory, caplog: pytest.LogCaptureFixture) -> None:
    import opentelemetry.trace  # noqa: F401 # so that spans are made

    watcher = await device()
    run = rc.run(user=user)
    await chain_of(agent(calls(("add", {"a": 1, "b": 1})), "two", name="inner")).ainvoke(HELLO, {"callbacks": [RuncastHandler(run)]})
    await until_end(watcher, run.id)
    assert "detach" not in caplog.text


async def test_first_steps_side_by_side_are_one_child(rc: Runcast, user: str, device: DeviceFactory) -> None:
    async def say(state: MessagesState) -> Any:
        return {"messages": [await Scripted(messages=iter([AIMessage("hello there")])).ainvoke("hi")]}

    inner = StateGraph(MessagesState)
    for name in "abc":
        inner.add_node(name, say)
        inner.add_edge(START, name)
    watcher = await device()
    async with rc.run(user=user) as run:
        await chain_of(inner.compile(name="team")).ainvoke(HELLO, {"callbacks": [RuncastHandler()]})
    await until_end(watcher, run.id)
    [team] = children(watcher, run.id)
    assert await until_end(watcher, team) == ["team starts", *["says hello there."] * 3, "completes"]


# --- what goes wrong ---


async def test_errors_are_told_where_they_happen(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    failing = chain_of(agent(TimeoutError("no answer"), name="researcher"))
    run = rc.run(user=user)
    with pytest.raises(TimeoutError):
        await failing.ainvoke(HELLO, {"callbacks": [RuncastHandler(run)]})
    assert await until_end(watcher, run.id) == ["assistant starts", "fails timeout"]
    [child] = children(watcher, run.id)
    assert await until_end(watcher, child) == ["researcher starts", "fails timeout"]


async def test_an_error_that_was_caught_leaves_nothing_open(rc: Runcast, user: str, device: DeviceFactory) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        with pytest.raises(ZeroDivisionError):
            await divide.ainvoke({"a": 1, "b": 0}, {"callbacks": [RuncastHandler()]})
        await run.complete("went on")
    told = await until_end(watcher, run.id)
    assert told[1] == 'calls divide {"a":1,"b":0}'
    assert told[2].startswith("divide error")
    assert told[3:] == ["completes"]


@pytest.mark.parametrize("own", [False, True])
async def test_the_user_stops_it(rc: Runcast, user: str, device: DeviceFactory, own: bool) -> None:
    @tool
    async def wait() -> None:
        """Wait."""
        await watcher.cancel(run.id, "enough")
        await asyncio.Event().wait()

    watcher = await device()
    waiting = chain_of(agent(calls(("wait", {}), text="One moment"), tools=[wait], name="waiter"))
    run = rc.run(user=user)
    if own:
        with pytest.raises(asyncio.CancelledError):
            await waiting.ainvoke(HELLO, {"callbacks": [RuncastHandler(run)]})
    else:
        async with run:
            await waiting.ainvoke(HELLO, {"callbacks": [RuncastHandler()]})
    assert run.cancelled
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await until_end(watcher, run.id) == ["assistant starts", "is stopped: enough"]
    [child] = children(watcher, run.id)
    assert await until_end(watcher, child) == ["waiter starts", "says One moment.", "calls wait {}", "wait cancelled", "is stopped: enough"]


@pytest.mark.parametrize("own", [False, True])
async def test_who_stops_a_subgraph_stops_all(rc: Runcast, user: str, device: DeviceFactory, own: bool) -> None:
    @tool
    async def wait() -> None:
        """Wait."""
        await watcher.wait_for(lambda event: event.tool_executing.tool == "wait")
        [child] = children(watcher, run.id)
        await watcher.cancel(child, "enough")
        await asyncio.Event().wait()

    watcher = await device()
    waiting = chain_of(agent(calls(("wait", {})), tools=[wait], name="waiter"))
    run = rc.run(user=user)
    if own:
        with pytest.raises(asyncio.CancelledError):
            await waiting.ainvoke(HELLO, {"callbacks": [RuncastHandler(run)]})
    else:
        async with run:
            await waiting.ainvoke(HELLO, {"callbacks": [RuncastHandler()]})
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await until_end(watcher, run.id) == ["assistant starts", "is stopped: enough"]
    [child] = children(watcher, run.id)
    assert await until_end(watcher, child) == ["waiter starts", "calls wait {}", "wait cancelled", "is stopped: enough"]


async def test_an_interrupt_is_no_error(rc: Runcast, user: str, device: DeviceFactory) -> None:
    @tool
    def approve(what: str) -> str:
        """Ask the user."""
        return str(interrupt({"may I": what}))

    watcher = await device()
    graph = chain_of(agent(calls(("approve", {"what": "go"})), "gone", tools=[approve], name="goer"), checkpointer=InMemorySaver())
    config = {"callbacks": [RuncastHandler()], "configurable": {"thread_id": "1"}}
    async with rc.run(user=user) as run:
        await graph.ainvoke(HELLO, config)
    async with rc.run(user=user) as second:
        await graph.ainvoke(Command(resume="yes"), config)
    await until_end(watcher, run.id)
    [child] = children(watcher, run.id)
    told = await until_end(watcher, child)
    assert told[:3] == ["goer starts", 'calls approve {"what":"go"}', "approve cancelled"]
    assert told[3].startswith('interrupt {"id":')
    assert told[3].endswith('"value":{"may I":"go"}}')
    assert told[4:] == ["completes"]
    await until_end(watcher, second.id)
    [child] = children(watcher, second.id)
    assert (await until_end(watcher, child))[1:] == ['calls approve {"what":"go"}', 'approve ok "yes"', "says gone.", "completes"]


# --- threads ---


async def test_sync_nodes_and_sync_graphs_in_threads(rc: Runcast, user: str, device: DeviceFactory) -> None:
    def node(state: MessagesState) -> Any:
        divide.invoke({"a": 4, "b": 2})
        return {"messages": [Scripted(messages=iter([AIMessage("from a thread")])).invoke("hi")]}

    watcher = await device()
    config = {"callbacks": [RuncastHandler()]}
    async with rc.run(user=user) as run:
        await chain_of(node).ainvoke(HELLO, config)
        await asyncio.to_thread(chain_of(node).invoke, HELLO, config)
    told = ['calls divide {"a":4,"b":2}', "divide ok 2.0", "says from a thread."]
    assert (await until_end(watcher, run.id))[1:] == [*told, *told, "completes"]


async def test_a_graph_in_an_agent_that_blocks(runcast_cluster: Cluster, user: str, device: DeviceFactory) -> None:
    def node(state: MessagesState) -> Any:
        return {"messages": [Scripted(messages=iter([AIMessage("from a thread")])).invoke("hi")]}

    def work() -> str:
        with sync.Runcast(runcast_cluster.router_addresses()[0], agent="assistant") as rc, rc.run(user=user) as run:
            chain_of(chain_of(node)).invoke(HELLO, {"callbacks": [RuncastHandler()]})
        return run.id

    watcher = await device()
    run_id = await asyncio.to_thread(work)
    assert await until_end(watcher, run_id) == ["assistant starts", "completes"]
    [child] = children(watcher, run_id)
    assert (await until_end(watcher, child))[1:] == ["says from a thread.", "completes"]


async def test_a_blocked_loop_is_said_and_blocks_no_longer(
    rc: Runcast, user: str, device: DeviceFactory, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = await device()
    async with rc.run(user=user) as run:
        result = Scripted(messages=iter([AIMessage("a b c d e f g h")])).invoke("hi", {"callbacks": [RuncastHandler()]})
        assert result.text == "a b c d e f g h"
    assert "asyncio.to_thread" in caplog.text
    assert (await until_end(watcher, run.id)) == ["assistant starts", "completes"]
