"""The agent's side of Runcast: emit what an agent does, receive what users send.

async with Runcast("127.0.0.1:7400", agent="analyst") as rc:
    async for message in rc.inbox("demo"):
        async with rc.run(user=message.user, thread=message.thread, reply_to=message.id) as run:
            await run.thinking("Reading")
            async with run.tool("search", args={"q": message.text}) as tool:
                tool.result = await search(message.text)
            await run.respond("Found it.")
        await message.ack()
"""

import runcast.client.forks  # noqa: F401 # before anything imports gRPC
from runcast.client.classify import Classification, Rule
from runcast.client.context import current_run
from runcast.client.errors import (
    EventTooLargeError,
    Leftover,
    NoAnswerError,
    OutboxClosedError,
    OutboxFullError,
    RunIndeterminateError,
    RunKey,
    RunRefusedError,
    SpillError,
    UnsentError,
)
from runcast.client.inbox import Answer, Inbox, InboxMessage
from runcast.client.instrument import instrument, tool
from runcast.client.receipts import Receipt
from runcast.client.run import Run
from runcast.client.runcast import Runcast
from runcast.client.statistics import ConnectionState, Statistics
from runcast.client.tls import Tls
from runcast.client.tool import ToolCall
from runcast.wire.errors import IdInvalidError, LifecycleError, RefusedError, RuncastError, UnavailableError

__all__ = [
    "Answer",
    "Classification",
    "ConnectionState",
    "EventTooLargeError",
    "IdInvalidError",
    "Inbox",
    "InboxMessage",
    "Leftover",
    "LifecycleError",
    "NoAnswerError",
    "OutboxClosedError",
    "OutboxFullError",
    "Receipt",
    "RefusedError",
    "Rule",
    "Run",
    "RunIndeterminateError",
    "RunKey",
    "RunRefusedError",
    "Runcast",
    "RuncastError",
    "SpillError",
    "Statistics",
    "Tls",
    "ToolCall",
    "UnavailableError",
    "UnsentError",
    "current_run",
    "instrument",
    "tool",
]
