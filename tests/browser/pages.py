"""What tests of pages share: waiting for one to be caught up, and an agent that answers at the pace of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from playwright.async_api import Page, expect

from runcast.client import InboxMessage, Run, Runcast

OpenPage = Callable[..., Awaitable[Page]]
"""Takes the edge's base URL, then `context` (default: a new one, as another browser would be) and the page's query."""


async def expect_live(page: Page) -> None:
    """Wait until the page is caught up."""
    await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live", timeout=15_000)


class Agent:
    """Takes the messages of a group; each run does what the test says, step by step."""

    def __init__(self) -> None:
        self._runs: asyncio.Queue[tuple[InboxMessage, Run]] = asyncio.Queue()
        self._release = asyncio.Event()

    async def next_run(self) -> tuple[InboxMessage, Run]:
        """The next message, and the run that was started for it. It stays open until it is completed, or cancelled, or the test ends."""
        return await self._runs.get()

    async def serve(self, runcast: Runcast, group: str, tasks: asyncio.TaskGroup) -> None:
        async for message in runcast.inbox(group):
            await message.ack()
            tasks.create_task(self._run(runcast, message))

    async def _run(self, runcast: Runcast, message: InboxMessage) -> None:
        async with runcast.run(user=message.user, thread=message.thread, title=message.text, reply_to=message.id) as run:
            self._runs.put_nowait((message, run))
            await self._release.wait()

    def release(self) -> None:
        """Let all runs end."""
        self._release.set()


@asynccontextmanager
async def answering(routers: str, group: str) -> AsyncIterator[Agent]:
    """An agent of `group`, for as long as the block lasts."""
    agent = Agent()
    async with Runcast(routers, agent="tester") as runcast, asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(agent.serve(runcast, group, tasks))
        try:
            yield agent
        finally:
            agent.release()
            serving.cancel()
