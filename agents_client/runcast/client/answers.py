"""The answers of users that this process waits for: from the question to what a router says of it (PROTOCOL.md, "Questions"). Pure.

    WAITING ── told on the stream (AnswerAsk) ──► ── a RunAnswer ──► answered
       └────── drop: a stream that was told is told again, as dropped ──► forgotten

Rules
1. A router knows what is waited for from the stream that it was told on; so on every new stream all is told again.
2. An answer is for the run and the question, whichever attempt asked; who waits for it in this process is told, and it is not waited
   for any more.
3. A run that fails, or is over, fails what it waits for.

Invariant: every ticket that is not dropped gets exactly one result.

Synchronous. Never imports asyncio, a clock, randomness, logging or grpc.
"""

from typing import NamedTuple

from runcast.client.errors import RunKey
from runcast.v1.event_pb2 import User
from runcast.v1.ingest_pb2 import AnswerAsk, RunAnswer
from runcast.wire import limits
from runcast.wire.errors import LifecycleError, RuncastError
from runcast.wire.ids import UserKey


class GivenAnswer(NamedTuple):
    """What a user answered.

    Attributes:
        value_json: the answer, JSON.
        device: where.
    """

    value_json: bytes
    device: str


class AnsweredAsk(NamedTuple):
    """What is to be told to the owner of a ticket."""

    ticket: object
    result: GivenAnswer | RuncastError


class _Request(NamedTuple):
    user: UserKey
    run_id: str
    request_id: str


class AnswerBook:
    """The answers that one process waits for.

    Args:
        awaited_max: how many at once.
    """

    def __init__(self, *, awaited_max: int = limits.ANSWERS_AWAITED_MAX) -> None:
        self._awaited_max = awaited_max
        self._waiting: dict[_Request, dict[RunKey, object]] = {}  # tickets
        self._to_tell: dict[_Request, bool] = {}  # True: that it is dropped
        self._results: list[AnsweredAsk] = []

    def __len__(self) -> int:
        """How many questions are open."""
        return len(self._waiting)

    def take_results(self) -> list[AnsweredAsk]:
        """What is known since the last call."""
        results, self._results = self._results, []
        return results

    # --- inputs ---

    def ask(self, ticket: object, key: RunKey, request_id: str) -> None:
        """A run's attempt waits for the answer to one of its questions.

        Raises:
            LifecycleError: it does already.
            RuncastError: `rate_limited`: this process waits for too many.
        """
        request = _Request(key.user, key.run_id, request_id)
        tickets = self._waiting.get(request)
        if tickets is None:
            if len(self._waiting) >= self._awaited_max:
                raise RuncastError(f"{self._awaited_max} questions are open in this process; wait for some answers", code="rate_limited")
            tickets = self._waiting[request] = {}
            self._to_tell[request] = False
        elif key in tickets:
            raise LifecycleError(f"run {key.run_id!r} waits for the answer to {request_id!r} already; ask under another id")
        tickets[key] = ticket

    def drop(self, key: RunKey, request_id: str) -> None:
        """It does not wait any more; does nothing when it was answered."""
        request = _Request(key.user, key.run_id, request_id)
        tickets = self._waiting.get(request)
        if tickets is None or tickets.pop(key, None) is None or tickets:
            return
        del self._waiting[request]
        if self._to_tell.get(request) is False:
            del self._to_tell[request]  # the router was never told
        else:
            self._to_tell[request] = True

    def disconnected(self) -> None:
        """The stream is gone, and with it what its router knew of us."""
        self._to_tell = dict.fromkeys(self._waiting, False)

    def take_asks(self) -> list[AnswerAsk]:
        """What to tell the router on the stream that is open now."""
        asks = [
            AnswerAsk(user=User(tenant=user.tenant, id=user.user), run_id=run_id, request_id=request_id, dropped=dropped)
            for (user, run_id, request_id), dropped in self._to_tell.items()
        ]
        self._to_tell = {}
        return asks

    def received(self, answer: RunAnswer) -> None:
        """The router's word. One that nobody waits for was dropped, or answered on the stream before."""
        request = _Request(UserKey(answer.user.tenant, answer.user.id), answer.run_id, answer.request_id)
        self._to_tell.pop(request, None)
        for ticket in self._waiting.pop(request, {}).values():
            self._results.append(AnsweredAsk(ticket, GivenAnswer(answer.value_json, answer.device)))

    def failed(self, key: RunKey, error: RuncastError) -> None:
        """An attempt failed, or is over."""
        for request, tickets in list(self._waiting.items()):
            ticket = tickets.get(key)
            if ticket is not None:
                self._results.append(AnsweredAsk(ticket, error))
                self.drop(key, request.request_id)

    def close(self, error: RuncastError) -> None:
        """Nothing will be heard any more."""
        for tickets in self._waiting.values():
            self._results.extend(AnsweredAsk(ticket, error) for ticket in tickets.values())
        self._waiting.clear()
        self._to_tell.clear()
