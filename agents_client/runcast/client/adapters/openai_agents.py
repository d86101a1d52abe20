"""The OpenAI Agents SDK, told as Runcast runs, by hooks and the event stream (extra `openai-agents`).

    async with rc.run(user="alice"):
        result = await run_agent(agent, "How is the weather?")

or, with more in one's own hands:

    async with RuncastHooks(agent) as hooks:
        result = Runner.run_streamed(agent, question, hooks=hooks)
        async for event in hooks.stream(result):
            ...

Rules.
1. It is told in the run given, begun and ended here when it has not begun; else in the current run; within the tool of an agent that is
   told itself, in a child of its run.
2. Whom an agent hands over to is a child run, until it hands over, back, or is done.
3. Tools are told by hooks, as they happen; text and reasoning by the stream, if there is one. The stream may lag behind the hooks, so the
   end of a model's answer tells what the stream has not told yet, and what the stream tells after that counts for nothing.
4. A tool that raises is seen by the SDK's own words for it. With a `failure_error_function` of one's own an error looks like a result.

A run begun here that the user stops raises `asyncio.CancelledError`: only the caller could swallow it.
"""

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

from agents import (
    Agent,
    FunctionTool,
    ModelResponse,
    RunContextWrapper,
    RunHooks,
    Runner,
    RunResultStreaming,
    StreamEvent,
    Tool,
    TResponseInputItem,
    default_tool_error_function,
    function_tool,
)
from agents.tool_context import ToolContext
from openai.types.responses import ResponseOutputMessage, ResponseReasoningItem

from runcast.client.adapters.narration import Narration, narrate
from runcast.client.run import Run
from runcast.wire.errors import LifecycleError

_ENDS = frozenset({"response.completed", "response.failed", "response.incomplete"})
_TEXTS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THOUGHTS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})


class RuncastHooks(RunHooks[Any]):
    """Hooks for one run of the SDK's Runner, used with `async with`.

    Args:
        agent: the one that is run.
        run: where to tell it; None: see the module's rule 1.

    Raises (by `async with`):
        LifecycleError: there is no run.
        RuncastError: as `Run.emit`.
    """

    def __init__(self, agent: Agent[Any], run: Run | None = None, *, title: str = "") -> None:
        self._agent = agent
        self._scope = narrate(run, agent.name, title)
        self._narration: Narration | None = None
        self._child: Narration | None = None  # of the agent that was handed over to
        self._answers = 0  # of models, that are complete

    async def __aenter__(self) -> Self:
        self._narration = await self._scope.__aenter__()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            await self._end_child(exc)
        finally:
            await self._scope.__aexit__(exc_type, exc, traceback)

    @property
    def narration(self) -> Narration:
        """Where the agent at work is told.

        Raises:
            LifecycleError: outside of the block.
        """
        if self._narration is None:
            raise LifecycleError("these hooks are not in use; pass them on within `async with RuncastHooks(agent) as hooks:`")
        return self._child or self._narration

    async def stream(self, result: RunResultStreaming) -> AsyncIterator[StreamEvent]:
        """Tell the text of `Runner.run_streamed`, and hand its events on. A run that is left early is cancelled."""
        answer = 0
        try:
            async for event in result.stream_events():
                if event.type == "raw_response_event":
                    told = answer < self._answers  # by its end
                    key = (answer, getattr(event.data, "output_index", 0))
                    if event.data.type in _ENDS:
                        answer += 1
                    elif event.data.type in _TEXTS and not told:
                        await self.narration.say(key, getattr(event.data, "delta", ""))
                    elif event.data.type in _THOUGHTS and not told:
                        await self.narration.think(key, getattr(event.data, "delta", ""))
                yield event
        finally:
            if not result.is_complete:
                result.cancel()

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        answer, self._answers = self._answers, self._answers + 1
        for index, item in enumerate(response.output):
            if isinstance(item, ResponseOutputMessage):
                await self.narration.settle((answer, index), _text(item.content))
            elif isinstance(item, ResponseReasoningItem):
                await self.narration.reflect((answer, index), _text([*(item.summary or []), *(item.content or [])]))

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool) -> None:
        await self.narration.begin(_key(context, tool), tool.name, getattr(context, "tool_arguments", None))

    async def on_tool_end(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool, result: object) -> None:
        if result == default_tool_error_function(context, Exception()):
            await self.narration.fail(_key(context, tool), "The tool failed.")
        else:
            await self.narration.end(_key(context, tool), result)

    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Agent[Any], to_agent: Agent[Any]) -> None:
        await self._end_child()
        if to_agent is not self._agent:
            self._child = await self.narration.child(to_agent.name, f"handed over by {from_agent.name}")

    async def _end_child(self, error: BaseException | None = None) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.finish(error)


async def run_agent(
    agent: Agent[Any], question: str | list[TResponseInputItem], run: Run | None = None, **options: Any
) -> RunResultStreaming:
    """Run an agent as `Runner.run_streamed` does, to its end, and tell all of it.

    Args:
        agent: to run.
        question: its input.
        run: where to tell it; None: see the module's rule 1.
        options: of `Runner.run_streamed`, but for `hooks`.

    Returns:
        What the Runner returned, complete.

    Raises:
        LifecycleError: there is no run.
        RuncastError: as `Run.emit`.
        Exception: what the Runner raises.
    """
    title = question if isinstance(question, str) else ""
    async with RuncastHooks(agent, run, title=title) as hooks:
        result = Runner.run_streamed(agent, question, hooks=hooks, **options)
        async for _ in hooks.stream(result):
            pass
        for item in result.interruptions:
            await hooks.narration.custom("interrupt", {"id": item.call_id, "value": {"tool": item.name, "args": item.arguments}})
        if not isinstance(result.final_output, str):
            hooks.narration.result = result.final_output
    return result


def agent_tool(agent: Agent[Any], *, name: str, description: str) -> FunctionTool:
    """An agent as another one's tool, as `agent.as_tool` makes it, told as a child run.

    Args:
        agent: to be asked.
        name: the tool's.
        description: the tool's, for the model.
    """

    async def ask(context: ToolContext[Any], question: str) -> str:
        return str((await run_agent(agent, question, context=context.context)).final_output)

    return function_tool(ask, name_override=name, description_override=description)


def _text(parts: Sequence[Any]) -> str:
    """Of a message, or of reasoning."""
    return "".join(getattr(part, "text", "") or getattr(part, "refusal", "") for part in parts)


def _key(context: RunContextWrapper[Any], tool: Tool) -> str:
    return getattr(context, "tool_call_id", "") or tool.name
