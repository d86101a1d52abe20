"""A run among the runs that it started: who is to end before it, and whose task is to be cancelled with it.

Theory. Runs form a tree; a child may work in its parent's task or in one of its own. A user who stops a run means all below it; a run that
ends by itself leaves nobody behind. What is below is ended deepest first, each generation stored before the one above it is ended, so
that every device sees it in this order.

Rules.
1. Who is ended from above emits nothing more, and starts no further children, from that moment on.
2. A task is cancelled once, for the uppermost run of those in it that are ended, and its block swallows that: a run further down in the
   same task lets the cancellation pass. The task that does the ending is never cancelled.
3. Waiting between generations is bounded by `limits.RUN_EXIT_S` in all. When it is cancelled, or takes longer, the rest is ended at once.
4. A run whose block was left before its end was stored (it was cancelled again) stays below its parent, whose end then waits for that.
5. A run that outlives its task (hooks of frameworks have tasks of their own) is stopped with the run that started it.

Never imports grpc, the publisher or the events.
"""

import asyncio
import logging
from abc import ABC, abstractmethod

from runcast.client.rim import time_limit
from runcast.client.stopping import Stop
from runcast.wire import limits_client as limits
from runcast.wire.errors import LifecycleError, RuncastError

_log = logging.getLogger("runcast.client")


class Family(ABC):
    """What `Run` has of this.

    Attributes:
        cancelled: it was asked to stop.
        cancel_reason: by what words; "" before.
    """

    def __init__(self, parent: "Family | None") -> None:
        self._parent = parent
        self._children: list[Family] = []  # whose blocks are under way, or whose ends are not stored yet; oldest first
        self._own_cancel: Stop | None = None  # from the block's beginning
        self._doomed = ""  # why it is ended from above
        self._exc: BaseException | None = None  # what its block raised
        self._begun = False  # its start is queued
        self._exiting = False  # its block is left
        self.cancelled = False
        self.cancel_reason = ""

    @property
    @abstractmethod
    def _ending(self) -> bool:
        """Its end was emitted, or its block is being left."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raise LifecycleError unless its block is under way."""

    @abstractmethod
    def _end_now(self) -> None:
        """Queue what ends it, if it has not ended; raises nothing."""

    @abstractmethod
    async def _wait_stored(self) -> None:
        """Wait until all of it is stored; raises RuncastError when that can't be."""

    @abstractmethod
    def _is_stored(self) -> bool:
        """Whether all of it is stored, or nothing more will be."""

    @abstractmethod
    def _release(self) -> None:
        """Nothing more will be emitted, and nobody asks any more whether it is stored."""

    @property
    def _block_task(self) -> "asyncio.Task[object] | None":
        """The one that runs its block; None before."""
        return self._own_cancel.task if self._own_cancel is not None else None

    def _generations(self) -> "list[list[Family]]":
        """All below it: its children, their children, and so on."""
        found: list[list[Family]] = []
        level = list(self._children)
        while level:
            found.append(level)
            level = [child for run in level for child in run._children]
        return found

    def _check_may_start(self) -> None:
        """Raise LifecycleError unless it may have children, and further ones."""
        self._check_open()
        if not self._begun:  # what is below it must not be said before it
            raise LifecycleError("the run is only about to begin; start children within its block")
        if self._ending:
            raise LifecycleError("the run has ended; start children before its end")
        if self.cancelled:
            raise LifecycleError(f"the run was stopped ({self.cancel_reason or 'by the user'}); start nothing more in it")

    def _join(self) -> None:
        """Its block begins: it is its parent's child from now on."""
        if self._parent is not None:
            for sibling in [run for run in self._parent._children if run._exiting and run._is_stored()]:
                sibling._part()
            self._parent._children.append(self)

    def _leave(self) -> None:
        """Its block is left."""
        self._exiting = True
        if self._parent is None or self._parent._exiting or self._is_stored():
            self._part()

    def _part(self) -> None:
        """Nobody waits for its end any more. Who is still below it goes to its parent, if that is under way."""
        above = self._parent if self._parent is not None and not self._parent._exiting else None
        if self._parent is not None:
            self._parent._children.remove(self)
        self._release()
        for run in list(self._children):
            if above is not None:
                run._parent = above
                above._children.append(run)
                self._children.remove(run)
            elif run._exiting:
                run._part()

    def _reason_below(self) -> str:
        """Why those below end when the block does."""
        if self.cancelled:
            return self.cancel_reason or "the run that started it was stopped"
        if self._exc is None:
            return "the run that started it has ended"
        return "the run that started it failed" if isinstance(self._exc, Exception) else "the agent was stopped"

    def _stop(self, reason: str, *, cancel_task: bool) -> None:
        """Take it as cancelled, unless it is ending already; with `cancel_task`, cancel its task, which its block's end swallows."""
        if self.cancelled or self._ending or self._own_cancel is None:
            return
        self.cancelled = True
        self.cancel_reason = reason
        if cancel_task:
            self._own_cancel.send(f"the run was stopped: {reason}")

    def stop(self, reason: str) -> None:
        """Stop it and all below it, as the user does. For adapters, whose frameworks can't stop a part of their work alone."""
        self._stop_all(reason)

    def _stop_all(self, reason: str) -> None:
        """The user stopped it: so are all below it."""
        if self.cancelled or self._ending:
            return
        self._stop(reason, cancel_task=True)
        tasks = {self._block_task}
        for run in [run for generation in self._generations() for run in generation]:
            run._stop(reason, cancel_task=run._block_task not in tasks)
            tasks.add(run._block_task)
        if self._parent is not None and self._block_task is not None and self._block_task.done():
            self._parent._stop_all(reason)

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
