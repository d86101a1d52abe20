"""An agent of the OpenAI Agents SDK that its user watches: it asks an expert, who has a tool, and hands over to a writer.

runcast up                                # in one terminal
runcast tail --user alice                 # in another one
python openai_agents_agent.py alice       # needs runcast[openai-agents]; no key: the models are the SDK's scripted ones
"""

import argparse
import asyncio

from agents import Agent, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

from runcast.client import Runcast
from runcast.client.adapters.openai_agents import agent_tool, run_agent

set_tracing_disabled(True)  # without a key there is nowhere to send traces to


@function_tool
async def count_letters(text: str) -> int:
    """Count the letters of a text."""
    return sum(character.isalpha() for character in text)


def make_agent() -> Agent[None]:
    """The one that users talk to. Leave the scripted models out to have the SDK's default one."""
    counting = [[function_call("count_letters", {"text": "Hello there"}, call_id="1")], [assistant_message("There are ten.")]]
    researcher: Agent[None] = Agent(name="researcher", tools=[count_letters], model=ScriptedModel(counting))
    writer: Agent[None] = Agent(name="writer", model=ScriptedModel([[assistant_message("That was ten letters.")]]))
    chairing = [[function_call("research", {"question": "How many?"}, call_id="2")], [function_call("transfer_to_writer", {}, call_id="3")]]
    return Agent(
        name="assistant",
        tools=[agent_tool(researcher, name="research", description="Ask the researcher.")],
        handoffs=[writer],
        model=ScriptedModel(chairing),
    )


async def main(user: str, router: str) -> None:
    """Answer one question."""
    question = "How many letters has 'Hello there'?"
    async with Runcast(router, agent="assistant") as rc, rc.run(user=user, thread="t-1", title=question):
        await run_agent(make_agent(), question)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Answers one question of a user.")
    arguments.add_argument("user")
    arguments.add_argument("--router", default="127.0.0.1:7400")
    asyncio.run(main(**vars(arguments.parse_args())))
