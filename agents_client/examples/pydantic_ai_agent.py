"""A Pydantic AI agent that its user watches: it thinks, asks another agent, and answers.

runcast up                              # in one terminal
runcast tail --user alice               # in another one
python pydantic_ai_agent.py alice       # needs runcast[pydantic-ai]; no key: the model is a function
"""

import argparse
import asyncio
from collections.abc import AsyncIterator

from pydantic_ai import Agent, ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaThinkingCalls, DeltaThinkingPart, DeltaToolCall, DeltaToolCalls, FunctionModel

from runcast.client import Runcast
from runcast.client.adapters.pydantic_ai import RuncastCapability


async def count(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    """What the researcher's model does: call its tool, then speak."""
    if len(messages) == 1:
        yield {0: DeltaToolCall("count_letters", '{"text": "Hello there"}')}
    else:
        yield "There are ten."


async def answer(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[str | DeltaToolCalls | DeltaThinkingCalls]:
    """What the assistant's model does: think, ask the researcher, then speak, word by word."""
    if len(messages) == 1:
        yield {0: DeltaThinkingPart(content="The researcher will know.")}
        yield {1: DeltaToolCall("research", '{"question": "How many?"}')}
    else:
        for word in ("That ", "was ", "ten ", "letters."):
            yield word


researcher = Agent(FunctionModel(stream_function=count), name="researcher", capabilities=[RuncastCapability()])  # or "openai:…"
assistant = Agent(FunctionModel(stream_function=answer), name="assistant", capabilities=[RuncastCapability()])


@researcher.tool_plain
async def count_letters(text: str) -> int:
    """Count the letters of a text."""
    return sum(character.isalpha() for character in text)


@assistant.tool_plain
async def research(question: str) -> str:
    """Ask the researcher."""
    return (await researcher.run(question)).output


async def main(user: str, router: str) -> None:
    """Answer one question."""
    question = "How many letters has 'Hello there'?"
    async with Runcast(router, agent="assistant") as rc, rc.run(user=user, thread="t-1", title=question):
        await assistant.run(question)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Answers one question of a user.")
    arguments.add_argument("user")
    arguments.add_argument("--router", default="127.0.0.1:7400")
    asyncio.run(main(**vars(arguments.parse_args())))
