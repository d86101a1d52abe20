"""The same client for agents that block: threads instead of tasks, the same names without `await`.

with Runcast("127.0.0.1:7400", agent="analyst") as rc:
    with rc.run(user="alice", thread="t-42") as run:
        run.thinking("Reading", progress=0.1)
        with run.tool("search", args={"q": question}) as tool:
            tool.result = search(question)
        run.respond("Found it.")
        receipt = run.complete("done", receipt=5.0)

All of it may be used by many threads at once. What `runcast.client` raises is raised here too; and `StoppedError`, by calls on a run after
the user pressed stop.
"""

from runcast.client.sync.block import StoppedError
from runcast.client.sync.inbox import Inbox, InboxMessage
from runcast.client.sync.run import Run, ToolCall, current_run
from runcast.client.sync.runcast import Runcast

__all__ = ["Inbox", "InboxMessage", "Run", "Runcast", "StoppedError", "ToolCall", "current_run"]
