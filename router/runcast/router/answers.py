"""Which answers of users this router's streams wait for, and when to look for those that are kept.

Theory. An answer is a key beside its run (ARCHITECTURE.md, "Upstream"). A router hears of new keys by one subscription that is always
there, and looks for the key of what a stream begins to wait for. Two things may hide a key from that look: the replica that answers
lags behind, or the news was lost on its way (core NATS delivers at most once). So every request is looked for again after
`limits.ANSWER_LOOK_S`, and all of them every `limits.ANSWER_ROUND_S`.

Invariants: an owner is told of a request's answer once; what nobody waits for is not looked for.

Pure: `now` is monotonic seconds. Imports no asyncio, clock, random, logging, grpc, nats.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

from runcast.router.effects import RequestKey
from runcast.wire import limits

Owner = TypeVar("Owner")


class AnswerBook(Generic[Owner]):
    """The requests of one router. An owner is who wants to be told."""

    def __init__(self) -> None:
        self._owners: dict[RequestKey, dict[Owner, None]] = {}
        self._due: OrderedDict[RequestKey, None] = OrderedDict()
        self._again: OrderedDict[RequestKey, float] = OrderedDict()  # times rise
        self._round_at: float | None = None

    def __len__(self) -> int:
        """How many answers are waited for."""
        return len(self._owners)

    def ask(self, owner: Owner, request: RequestKey, now: float) -> None:
        """`owner` waits for the answer to `request`."""
        self._owners.setdefault(request, {})[owner] = None
        self._look(request, now)
        if self._round_at is None:
            self._round_at = now + limits.ANSWER_ROUND_S

    def drop(self, owner: Owner, request: RequestKey) -> None:
        """It does not any more."""
        owners = self._owners.get(request)
        if owners is not None:
            owners.pop(owner, None)
            if not owners:
                self._forget(request)

    def heard(self, request: RequestKey) -> list[Owner]:
        """There is an answer; returns who is to be told. Nobody waits for it after that."""
        owners = list(self._owners.get(request, ()))
        self._forget(request)
        return owners

    def look_again(self, now: float) -> None:
        """What was said lately was not heard: look for everything."""
        for request in self._owners:
            self._look(request, now)

    def not_looked(self, requests: list[RequestKey]) -> None:
        """A look did not work out."""
        self._due.update(dict.fromkeys(request for request in requests if request in self._owners))

    def take_due(self, now: float) -> list[RequestKey]:
        """What is to be looked for at once, as much as one look may ask for."""
        while self._again:
            request, at = next(iter(self._again.items()))
            if at > now:
                break
            del self._again[request]
            self._due[request] = None
        if self._round_at is not None and now >= self._round_at:
            self._due.update(dict.fromkeys(self._owners))
            self._round_at = now + limits.ANSWER_ROUND_S if self._owners else None
        return [self._due.popitem(last=False)[0] for _ in range(min(len(self._due), limits.VERIFY_SUBJECTS_MAX))]

    def deadline(self) -> float | None:
        """When `take_due` has something next, monotonic seconds, if nothing happens before; None for never."""
        times = [at for at in (self._round_at, next(iter(self._again.values()), None)) if at is not None]
        return min(times, default=None)

    def _look(self, request: RequestKey, now: float) -> None:
        self._due[request] = None
        self._again[request] = now + limits.ANSWER_LOOK_S
        self._again.move_to_end(request)

    def _forget(self, request: RequestKey) -> None:
        self._owners.pop(request, None)
        self._due.pop(request, None)
        self._again.pop(request, None)
