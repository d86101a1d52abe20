"""A LangGraph agent that its user watches: a team with a tool, then a writer.

runcast up                            # in one terminal
runcast tail --user alice             # in another one
python langchain_agent.py alice       # needs runcast[langchain] and langgraph; no key: the models are LangChain's fakes
"""

import argparse
import asyncio
from typing import Any

from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from runcast.client import Runcast
from runcast.client.adapters.langchain import RuncastHandler


@tool
async def count_letters(text: str) -> int:
    """Count the letters of a text."""
    return sum(character.isalpha() for character in text)


def make_team() -> Any:
    """A model that calls a tool: a graph of its own, so it is shown as a child run."""
    call = {"name": "count_letters", "args": {"text": "Hello there"}, "id": "call-1"}
    model = FakeMessagesListChatModel(responses=[AIMessage("", tool_calls=[call]), AIMessage("There are ten.")])  # or any chat model

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([count_letters]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return graph.compile(name="researcher")


def make_agent() -> Any:
    """The team, then a writer, whose words are streamed."""
    model = GenericFakeChatModel(messages=iter(["That was ten letters."]))

    async def write(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_sequence([("research", make_team()), ("write", write)])
    graph.add_edge(START, "research")
    return graph.compile(name="assistant")


async def main(user: str, router: str) -> None:
    """Answer one question."""
    question = "How many letters has 'Hello there'?"
    async with Runcast(router, agent="assistant") as rc, rc.run(user=user, thread="t-1", title=question):
        await make_agent().ainvoke({"messages": [HumanMessage(question)]}, {"callbacks": [RuncastHandler()]})


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Answers one question of a user.")
    arguments.add_argument("user")
    arguments.add_argument("--router", default="127.0.0.1:7400")
    asyncio.run(main(**vars(arguments.parse_args())))
