"""LangChain and LangGraph, told as Runcast runs, by a callback handler (extra `langchain`).

    async with rc.run(user="alice"):
        await graph.ainvoke(inputs, {"callbacks": [RuncastHandler()]})

Rules.
1. What is invoked at the outermost belongs to the run given, begun and ended here when it has not begun; else to the current run.
2. A graph within a graph is a child run. It shows itself by its first step: before that it is a chain like any other.
3. Models stream while the handler is there, under `ainvoke` too; what is tagged `nostream` is not told.
4. Sync nodes call back on other threads; these callbacks are handed to the run's event loop (`homing`).
5. An interrupt is no error: its graph ends well, its tool call is cancelled, and what it asks for is told once, as `custom`.

A run begun here that the user stops raises `asyncio.CancelledError` out of the invocation: only the caller could swallow it.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers._streaming import _StreamingCallbackHandler  # which LangGraph uses, too

from runcast.client.adapters.homing import Homing
from runcast.client.adapters.narration import Narration
from runcast.client.context import current_run
from runcast.client.run import Run


class _Node:
    """Something that LangChain runs: a chain, a graph, a model or a tool."""

    def __init__(self, key: UUID, root: "_Node | None", narration: Narration, name: str) -> None:
        self.key = key
        self.root = root or self
        self.narration = narration  # where it is told
        self.name = name
        self.mute = False
        self.finishes = root is None  # its end is the narration's
        self.opening = asyncio.Lock()
        self.interrupts: set[str] = set()


def _told(method: Callable[..., Awaitable[None]]) -> Any:
    """Make a callback of a method: called on the event loop of its run, with its node, which a start makes and an end takes away."""
    starts, fails = method.__name__.endswith("_start"), method.__name__.endswith("_error")
    ends = fails or method.__name__.endswith("_end")

    @functools.wraps(method)
    async def callback(self: "RuncastHandler", *args: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any) -> None:
        async def tell() -> None:
            node = await self.enter(run_id, parent_run_id, more) if starts else self.nodes.get(run_id)
            if node is not None:
                try:
                    await method(self, node, *args, **more)
                finally:
                    if ends:
                        await self.leave(node, args[0] if fails else None)

        known = self.nodes.get(run_id) or self.nodes.get(parent_run_id)
        await self.homing.bring(known.narration.loop if known else self.homing.loop(), tell())

    return callback


class RuncastHandler(AsyncCallbackHandler, _StreamingCallbackHandler[Any]):
    """Tells what LangChain does. One serves any number of invocations, also side by side. What can't be told raises out of them:
    LifecycleError without a run, else as `Run.emit`.

    Args:
        run: the run to tell it in. One that has not begun serves one invocation: it begins and ends with it. None: the current run.
    """

    run_inline = True  # in the caller's task: its cancellation and its current run are meant
    raise_error = True

    def __init__(self, run: Run | None = None) -> None:
        self.homing = Homing(run)
        self.nodes: dict[UUID | None, _Node] = {}
        self._given = run

    @_told
    async def on_chain_start(self, *_: Any, **__: Any) -> None: ...

    @_told
    async def on_chain_end(self, *_: Any, **__: Any) -> None: ...

    @_told
    async def on_chain_error(self, node: _Node, error: BaseException, **_: Any) -> None:
        for interrupt in error.args[0] if type(error).__name__ == "GraphInterrupt" else ():
            if interrupt.id not in node.root.interrupts:
                node.root.interrupts.add(interrupt.id)
                await node.narration.custom("interrupt", {"id": interrupt.id, "value": interrupt.value})

    @_told
    async def on_chat_model_start(self, node: _Node, *_: Any, **more: Any) -> None:
        node.mute = "nostream" in (more.get("tags") or ())

    on_llm_start = on_chat_model_start

    @_told
    async def on_llm_new_token(self, node: _Node, token: Any = "", chunk: Any = None, **_: Any) -> None:
        await self._stream(node, *_parts(getattr(chunk, "message", token)))

    @_told
    async def on_stream_event(self, node: _Node, event: Any, **_: Any) -> None:
        delta = event.get("delta") or {}
        await self._stream(node, delta.get("text", ""), delta.get("reasoning", ""))

    @_told
    async def on_llm_end(self, node: _Node, response: LLMResult, **_: Any) -> None:
        for generation in [] if node.mute else [first for prompt in response.generations[:1] for first in prompt[:1]]:
            text, thought = _parts(getattr(generation, "message", generation.text))
            await node.narration.reflect(node.key, thought)
            await node.narration.settle(node.key, text)

    @_told
    async def on_llm_error(self, node: _Node, *_: Any, **__: Any) -> None:
        await node.narration.settle(node.key)

    @_told
    async def on_tool_start(self, node: _Node, serialized: Any, text: str, **more: Any) -> None:
        name = more.get("name") or (serialized or {}).get("name") or "tool"
        await node.narration.begin(node.key, name, more.get("inputs") or text)

    @_told
    async def on_tool_end(self, node: _Node, output: Any, **_: Any) -> None:
        if isinstance(output, ToolMessage) and output.status == "error":
            await node.narration.fail(node.key, output.text)
        else:
            await node.narration.end(node.key, output.content if isinstance(output, ToolMessage) else output)

    @_told
    async def on_tool_error(self, node: _Node, error: BaseException, **_: Any) -> None:
        await node.narration.fail(node.key, asyncio.CancelledError() if _is_detour(error) else error)

    @_told
    async def on_retriever_start(self, node: _Node, _: Any, query: str, **__: Any) -> None:
        await node.narration.begin(node.key, node.name, {"query": query})

    @_told
    async def on_retriever_end(self, node: _Node, documents: Sequence[Document], **_: Any) -> None:
        await node.narration.end(node.key, [{"text": found.page_content[:200], "metadata": found.metadata} for found in documents])

    on_retriever_error = on_tool_error

    @_told
    async def on_custom_event(self, node: _Node, name: str, data: Any, **_: Any) -> None:
        await node.narration.custom(name, data)

    def tap_output_iter(self, _: UUID, output: Any) -> Any:
        return output

    tap_output_aiter = tap_output_iter  # type: ignore[assignment] # typed apart, and the same

    async def enter(self, run_id: UUID, parent_run_id: UUID | None, more: dict[str, Any]) -> _Node:
        """Something begins: in the run of what it belongs to, or else in the handler's."""
        parent = self.nodes.get(parent_run_id)
        if parent is not None and any(tag.startswith("graph:step:") for tag in more.get("tags") or ()):
            async with parent.opening:  # its first steps may begin side by side
                if not parent.finishes:
                    parent.narration = await parent.narration.child(parent.name)
                    parent.finishes = True
        narration = parent.narration if parent else await Narration.open(self._given or current_run())
        self.nodes[run_id] = node = _Node(run_id, parent and parent.root, narration, more.get("name") or "agent")
        return node

    async def leave(self, node: _Node, error: BaseException | None) -> None:
        """Something ended, and with it what it opened."""
        self.nodes.pop(node.key, None)
        if node.root is node:
            self.nodes = {key: other for key, other in self.nodes.items() if other.root is not node}
        if node.finishes and node.narration.run.cancelled:  # LangGraph would take it for an error of the node
            node.root.narration.run.stop(node.narration.run.cancel_reason)
        if node.finishes:
            await node.narration.finish(None if error is None or _is_detour(error) else error)

    async def _stream(self, node: _Node, text: str, thought: str) -> None:
        if not node.mute:
            await node.narration.think(node.key, thought)
            await node.narration.say(node.key, text)


def _parts(message: BaseMessage | str) -> tuple[str, str]:
    """Text and reasoning of a message."""
    if isinstance(message, str):
        return message, ""
    blocks: list[Any] = list(message.content_blocks)
    return message.text, "".join(block.get("reasoning", "") for block in blocks if block["type"] == "reasoning")


def _is_detour(error: BaseException) -> bool:
    """Whether LangGraph raised it to leave a graph (interrupts, commands to a parent), and nothing failed."""
    return any(base.__name__ == "GraphBubbleUp" for base in type(error).__mro__)
