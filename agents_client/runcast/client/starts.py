"""Runs whose start is not stored yet, and the runs below them that wait for it (PROTOCOL.md, "Runs below runs").

Theory. Batches of different runs are stored concurrently, so the user's stream has them in the order in which they happen to arrive, and a
page would be told of a run before it is told of the run that started it. So a child's *first* batch stays in the outbox until its parent's
first one is answered. The agent's code waits for nothing: what the child says piles up behind its start, and goes with it.

Rules.
1. A child waits for the newest attempt of its parent that had said something in this outbox, for the same user, when the child said its
   first word; if that attempt's first batch is not stored. Otherwise nobody waits: the parent is elsewhere, on the screen already, or over.
2. Who waits stands in no line and has nothing in flight: no window, pause or horizon counts it. Its events count in the outbox.
3. It goes at once when that start is stored. It goes, too, when the parent failed before: it is then shown without one.
4. Nobody waits for a run that spoke later. So nobody waits in a circle, and what is waited for was let in before who waits for it: an
   outbox that is full of waiting children still has the batch that they wait for.

Invariant: every run that is `held` waits for one run that is in `_pending`, or was until a newer attempt took its place. Both tables are
bounded by the outbox, for each run in them has an event there.

Pure: never imports asyncio, a clock, randomness, logging or grpc.
"""

from runcast.client.run_queue import RunQueue
from runcast.wire.ids import UserKey


class Starts:
    """Starts that are on their way."""

    def __init__(self) -> None:
        self._pending: dict[tuple[UserKey, str], RunQueue] = {}
        self._below: dict[tuple[str, int], list[RunQueue]] = {}

    def begin(self, run: RunQueue, parent_run_id: str) -> None:
        """A run has its first event, below another or ("") below none: it is `held` if it has to wait.

        A run that another process left, and whose first batch may have been sent, waits for nobody.
        """
        user = run.key.user
        parent = self._pending.get((user, parent_run_id)) if parent_run_id else None
        if parent is not None and run.flight is None:
            run.held = True
            self._below.setdefault(parent.name, []).append(run)
        self._pending[user, run.key.run_id] = run

    def settle(self, run: RunQueue) -> list[RunQueue]:
        """A run's first batch is stored, or never will be: who waited for it, and does no more, oldest first."""
        name = (run.key.user, run.key.run_id)
        if self._pending.get(name) is run:  # else a newer attempt has its place
            del self._pending[name]
        below = self._below.pop(run.name, [])
        for child in below:
            child.held = False
        return below
