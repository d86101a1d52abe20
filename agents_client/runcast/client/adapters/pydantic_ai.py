"""Pydantic AI, told as Runcast runs, by a capability that sees an agent's event stream (extra `pydantic-ai`).

    agent = Agent("openai:gpt-5", capabilities=[RuncastCapability()])
    async with rc.run(user="alice"):
        result = await agent.run("How is the weather?")

Rules.
1. It is told in the run given, begun and ended here when it has not begun; else in the current run; within the tool of an agent that is
   told itself, in a child of its run.
2. Models stream while the capability is there, whichever way the agent is run.
3. A tool that raises ends as an error; one that the model is to call again, or that was denied, too; one that is deferred, as cancelled.
   What has to be approved or done elsewhere is told as `custom`.
4. Output tools are how a model says its result: they are not told, the result is, when the run ends here.

A run begun here that the user stops raises `RunCancelled` out of `agent.run`; in a tool of another agent, that one goes on.
"""

import asyncio
import dataclasses
from typing import Any

from pydantic_ai import AgentRunResult, CustomEvent, DeferredToolRequests, RunContext, ToolDefinition
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import RunCancelled
from pydantic_ai.messages import (
    AgentStreamEvent,
    DeferredToolRequestsEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    NativeToolCallPart,
    NativeToolReturnPart,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolReturnPart,
)

from runcast.client.adapters.narration import Narration, narrate
from runcast.client.run import Run

_ENVELOPE = frozenset(field.name for field in dataclasses.fields(CustomEvent))


class RuncastCapability(AbstractCapability[Any]):
    """Tells what an agent does. One serves any number of runs, also side by side; give it to the agent, or to a single `agent.run`.

    What can't be told raises out of the agent's run: LifecycleError without a run, else as `Run.emit`.

    Args:
        run: the run to tell it in; one that has not begun serves a single run of the agent. None: see the module's rule 1.
    """

    id: str | None = "runcast"  # an agent has one of these, and one given to a single run replaces it

    def __init__(self, run: Run | None = None) -> None:
        self._given = run
        self._narration: Narration | None = None

    @classmethod
    def get_serialization_name(cls) -> str | None:
        return None

    async def for_run(self, ctx: RunContext[Any]) -> "RuncastCapability":
        return RuncastCapability(self._given)

    async def wrap_run(self, ctx: RunContext[Any], *, handler: Any) -> AgentRunResult[Any]:
        title = ctx.prompt if isinstance(ctx.prompt, str) else ""
        async with narrate(self._given, (ctx.agent and ctx.agent.name) or "agent", title) as narration:
            self._narration = narration
            try:
                result: AgentRunResult[Any] = await handler()
            except asyncio.CancelledError:
                if narration.run.cancelled:
                    ctx.cancel()  # this is a task of its own: the agent's would go on
                raise
            if not isinstance(result.output, str | DeferredToolRequests):
                narration.result = result.output
        return result

    async def on_event(self, ctx: RunContext[Any], *, event: AgentStreamEvent) -> None:
        narration = self._narration
        if narration is None:
            return
        match event:
            case (
                PartStartEvent(index=index, part=TextPart(content=text))
                | PartDeltaEvent(index=index, delta=TextPartDelta(content_delta=text))
            ):
                await narration.say((ctx.run_step, index), text)
            case PartEndEvent(index=index, part=TextPart(content=text)):
                await narration.settle((ctx.run_step, index), text)
            case (
                PartStartEvent(index=index, part=ThinkingPart(content=text))
                | PartDeltaEvent(index=index, delta=ThinkingPartDelta(content_delta=text))
            ):
                await narration.think((ctx.run_step, index), text or "")
            case PartEndEvent(index=index, part=ThinkingPart(content=text)):
                await narration.reflect((ctx.run_step, index), text)
            case FunctionToolCallEvent(part=call) | PartEndEvent(part=NativeToolCallPart() as call):
                await narration.begin(call.tool_call_id, call.tool_name, call.args)
            case FunctionToolResultEvent(part=returned) | PartEndEvent(part=NativeToolReturnPart() as returned):
                await self._end(narration, returned)
            case DeferredToolRequestsEvent(requests=requests):
                for why, calls in (("approval", requests.approvals), ("elsewhere", requests.calls)):
                    await self._defer(narration, why, calls)
            case CustomEvent():
                fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event) if field.name not in _ENVELOPE}
                await narration.custom(event.name, fields)

    async def on_tool_execute_error(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: Any, error: Exception
    ) -> Any:
        if self._narration is not None:
            stopped = isinstance(error, RunCancelled)  # an agent in the tool
            await self._narration.fail(call.tool_call_id, asyncio.CancelledError() if stopped else error)
        raise error

    async def _end(self, narration: Narration, returned: ToolReturnPart | NativeToolReturnPart) -> None:
        if returned.outcome == "success":
            await narration.end(returned.tool_call_id, returned.content)
        elif returned.outcome == "interrupted":
            await narration.fail(returned.tool_call_id, asyncio.CancelledError())
        else:
            await narration.fail(returned.tool_call_id, returned.model_response_str(wrap_if_error=False))

    async def _defer(self, narration: Narration, why: str, calls: list[ToolCallPart]) -> None:
        for call in calls:
            await narration.fail(call.tool_call_id, asyncio.CancelledError())
            await narration.custom("interrupt", {"id": call.tool_call_id, "value": {"for": why, "tool": call.tool_name, "args": call.args}})
