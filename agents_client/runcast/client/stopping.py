"""A cancellation of a task that the block in it takes back, as `asyncio.timeout` does.

Rules: it is sent once at most; who takes it back swallows it only if no other cancellation came to the task since the block began.

Never imports grpc or anything of a run.
"""

import asyncio


class Stop:
    """The cancellation that one block may get from us.

    Args:
        task: the one that runs the block.

    Attributes:
        task: the same.
        sent: it was cancelled by `send`.
    """

    __slots__ = ("_before", "sent", "task")

    def __init__(self, task: "asyncio.Task[object]") -> None:
        self._before = task.cancelling()
        self.task = task
        self.sent = False

    def send(self, message: str) -> None:
        """Cancel the task."""
        self.sent = True
        self.task.cancel(message)

    def take_back(self, exc: BaseException | None) -> bool:
        """The block has ended, by `exc`: True when that is our cancellation, and no other came."""
        return self.sent and self.task.uncancel() <= self._before and isinstance(exc, asyncio.CancelledError)

    async def absorb(self) -> None:
        """The block ended before it met our cancellation, which was taken back: meet it here, where it means nothing any more."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self.task.cancelling() > self._before:
                raise
