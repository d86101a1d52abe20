"""A run among the runs that it started: who is to end before it, and whose task is to be cancelled with it.

Theory. Runs form a tree; a child may work in its parent's task or in one of its own. A user who stops a run means all below it; a run that
ends by itself leaves nobody behind. What is below is ended deepest first, each generation stored before the one above it is ended, so
that every device sees it in this order.

Rules.
1. Who is ended from above emits nothing more, and starts no further children, from that moment on.
2. A task is cancelled once, for the uppermost run of those in it that are ended, and its block swallows that: a run further down in the
   same task lets the cancellation pass. The task that does the ending is never cancelled.
3. A run that outlives its task (hooks of frameworks have tasks of their own) is stopped with the run that started it.
4. Waiting between generations is bounded by `limits.RUN_EXIT_S` in all. When it is cancelled, or takes longer, the rest is ended at once.

Never imports grpc, the publisher or the events.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Self

from runcast.client.rim import time_limit
from runcast.client.stopping import Stop
from runcast.wire import limits
from runcast.wire.errors import RuncastError

_log = logging.getLogger("runcast.client")


class Family(ABC):
    """What `Run` has of this.

    Attributes:
        cancelled: it was asked to stop.
        cancel_reason: by what words; "" before.
    """

    def __init__(self, above: "Family | None") -> None:
        self._above = above  # what started it
        self._children: list[Self] = []  # whose blocks are under way, oldest first
        self._own_cancel: Stop | None = None  # from the block's beginning
        self._doomed = ""  # why it is ended from above
        self.cancelled = False
        self.cancel_reason = ""

    @property
    @abstractmethod
    def _ending(self) -> bool:
        """Its end was emitted, or its block is being left."""

    @abstractmethod
    def _end_now(self) -> None:
        """Queue what ends it, if it has not ended; raises nothing."""

    @abstractmethod
    async def _wait_stored(self) -> None:
        """Wait until all of it is stored; raises RuncastError when that can't be."""

    @property
    def _block_task(self) -> "asyncio.Task[object] | None":
        """The one that runs its block; None before."""
        return self._own_cancel.task if self._own_cancel is not None else None

    def stop(self, reason: str) -> None:
        """Stop it and all below it, as the user does. For adapters, whose frameworks can't stop a part of their work alone."""
        self._stop_all(reason)

    def _generations(self) -> list[list[Self]]:
        """All below it: its children, their children, and so on."""
        found: list[list[Self]] = []
        level = list(self._children)
        while level:
            found.append(level)
            level = [child for run in level for child in run._children]
        return found

    def _stop(self, reason: str, *, cancel_task: bool) -> None:
        """Take it as cancelled, unless it is ending already; with `cancel_task`, cancel its task, which its block's end swallows."""
        if self.cancelled or self._ending or self._own_cancel is None:
            return
        self.cancelled = True
        self.cancel_reason = reason
        if cancel_task:
            self._own_cancel.send(f"the run was stopped: {reason}")

    def _stop_all(self, reason: str) -> None:
        """The user stopped it: so are all below it."""
        if self.cancelled or self._ending:
            return
        self._stop(reason, cancel_task=True)
        tasks = {self._block_task}
        for run in [run for generation in self._generations() for run in generation]:
            run._stop(reason, cancel_task=run._block_task not in tasks)
            tasks.add(run._block_task)
        if self._above is not None and self._block_task is not None and self._block_task.done():
            self._above._stop_all(reason)

    async def _end_all(self, reason: str) -> None:
        """It ends: end all below it first, deepest first. They are all ended when this returns or raises."""
        generations = self._generations()
        tasks = {self._block_task, asyncio.current_task()}
        for run in [run for generation in generations for run in generation]:
            run._doomed = run._doomed or reason
            run._stop(reason, cancel_task=run._block_task not in tasks)
            tasks.add(run._block_task)
        generations.reverse()
        try:
            async with time_limit(limits.RUN_EXIT_S):
                for generation in generations:
                    for run in generation:
                        run._end_now()
                    for run in generation:
                        await _wait(run)
        except TimeoutError:
            _log.warning("the ends of runs below one that ends are not stored after %g s; they are still being sent", limits.RUN_EXIT_S)
        finally:
            for generation in generations:
                for run in generation:
                    run._end_now()


async def _wait(run: Family) -> None:
    try:
        await run._wait_stored()
    except RuncastError as exc:
        _log.debug("not waiting for a child's end any longer: %s", exc)
