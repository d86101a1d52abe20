"""What users send to an agent group, for threads: `runcast.client.Inbox`, for `for`.

Rules: nothing is decided here. Several threads may iterate over one inbox.

Never imports grpc.
"""

from typing import Any, Self

from runcast.client.inbox import Answer
from runcast.client.inbox import Inbox as AsyncInbox
from runcast.client.inbox import InboxMessage as AsyncInboxMessage
from runcast.client.sync.thread import LoopThread


class InboxMessage:
    """Something a user sent to the group. Settle it with one of `ack`, `retry`, `reject`. Attributes as `runcast.client.InboxMessage`."""

    def __init__(self, thread: LoopThread, message: AsyncInboxMessage) -> None:
        self._thread = thread
        self._message = message
        self.key = message.key
        self.id = message.id
        self.tenant = message.tenant
        self.user = message.user
        self.group = message.group
        self.thread = message.thread
        self.device = message.device
        self.time_unix_ms = message.time_unix_ms
        self.text = message.text
        self.tries = message.tries

    @property
    def data(self) -> Any:
        """Further content, JSON-like; None when there is none; raises ValueError when it is not JSON."""
        return self._message.data

    @property
    def answer(self) -> Answer | None:
        """What the user answered; None when this is not an answer; raises ValueError when it is not JSON."""
        return self._message.answer

    def ack(self) -> None:
        """Done: it is not delivered again. Without a connection that is remembered, and told later."""
        self._thread.call(self._message.ack)

    def retry(self) -> None:
        """Not now: it is delivered again, maybe to another worker."""
        self._thread.call(self._message.retry)

    def reject(self) -> None:
        """Never: it is not delivered again."""
        self._thread.call(self._message.reject)


class Inbox:
    """The messages of one agent group; made by `Runcast.inbox`, used with `for`."""

    def __init__(self, thread: LoopThread, inbox: AsyncInbox) -> None:
        self._thread = thread
        self._inbox = inbox

    @property
    def closed(self) -> bool:
        """The iteration has ended, or is about to."""
        return self._inbox.closed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> InboxMessage:
        """The next message; waits for it, and for a router, as long as it takes.

        Raises:
            StopIteration: the inbox, or its Runcast, was closed.
            RefusedError: no router will ever let this worker in.
        """
        message = self._thread.call(_next, self._inbox)
        if message is None:
            raise StopIteration
        return InboxMessage(self._thread, message)

    def close(self) -> None:
        """End the iteration; what is not settled goes to another worker."""
        self._thread.call(self._inbox.aclose)


async def _next(inbox: AsyncInbox) -> AsyncInboxMessage | None:
    """StopAsyncIteration is nothing that a task may end with."""
    try:
        return await anext(inbox)
    except StopAsyncIteration:
        return None
