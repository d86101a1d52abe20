"""One producer's Publish stream, as a machine: what to store, what to refuse, when the stream ends (PROTOCOL.md, "Agents: gRPC").

Theory: order is kept by having one batch of a run under way at a time (ARCHITECTURE.md, "Producing"), so a stream is many independent runs,
each either idle or waiting for storage. What is wrong with one batch is a refusal of that batch and costs the other runs
nothing; only a producer that breaks the protocol of the stream itself (no hello, past its window) loses the stream.

Rules:
    - The first request carries hello, no other does.
    - Everything unanswered counts against the window, from the moment it arrives.
    - A run that is first seen with batch 1 is NEW; otherwise another router had it before, and it is checked from the middle
      (MIDWAY).
    - After batch n is stored comes n+1. A batch up to n is a resend and goes to storage, which recognises it by its message
      id.
    - A refused or failed batch changes nothing of its run: another batch may come under the same number.
    - A run that goes on without anything to send (`open_runs`) counts as open, so that it hears of a cancel; at most `runs_max` of them.
    - A question for a receipt (`Await`) is passed on; one that can't be read breaks the protocol. So it is with answers of users
      (`Asked`), at most `limits.ANSWERS_AWAITED_MAX` at once; each is told once. A run whose answer is asked for counts as open here.
    - What the producer's scopes do not grant is refused (`permission_denied`): a batch, or, where there is no answer to a part of a
      request, the stream. Scopes are asked for each time: they may change while the stream is open.
    - What the tenant's tier does not allow is refused (`rate_limited`, `event_too_large`) before anything is looked at that costs more;
      what begins no run is not held up by those that are open (`runcast.router.allowances`, shared by all streams of a router).
    - Who sends much that is refused is read more slowly (`read_at`).
    - An attempt that storage refuses for good, or that its producer gave up, goes on here no more.
    - Nothing follows a run's end, as long as the stream remembers it (`limits.STREAM_ENDED_MAX`).

Invariants: `unanswered` is the number of `Store` effects not yet answered by `stored` or `failed`; an attempt has at most one
of them; after `End` there are no more `Store` effects.

Pure: imports no asyncio, clock, random, logging, grpc, nats. Its driver carries the effects out in order, and answers each
`Store` once.
"""

from collections import OrderedDict
from collections.abc import Callable

from runcast.bus.identity.scopes import EVERYTHING, Scopes
from runcast.bus.policy.tiers import BUILT_IN
from runcast.router.allowances import Allowances
from runcast.router.asks import read_attempt, read_question, read_receipt_ask, read_user
from runcast.router.attempt import Attempt, AttemptKey, check_turn
from runcast.router.effects import (
    Acked,
    Answered,
    Asked,
    BatchKey,
    Cancelled,
    Closed,
    Dropped,
    Effect,
    End,
    GivenUp,
    Greeted,
    Left,
    Opened,
    Refused,
    RequestKey,
    RunKey,
    Settled,
    Store,
)
from runcast.router.validation import check_batch
from runcast.v1.event_pb2 import Batch, User
from runcast.v1.ingest_pb2 import (
    AnswerAsk,
    BatchAck,
    BatchRefusal,
    GoAway,
    OpenRun,
    PublishRequest,
    RunAbandon,
    RunAnswer,
    RunCancel,
)
from runcast.wire import limits
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey, check_id
from runcast.wire.lifecycle import State, ends_run


class _Run:
    """An open run: how many attempts and awaited answers hold it open, and whether the producer was told of a cancel."""

    __slots__ = ("cancelled", "holds")

    def __init__(self) -> None:
        self.holds = 0
        self.cancelled = False


class ProducerStream:
    """The machine of one Publish stream.

    Attributes:
        producer: the id from hello; "" before.
        unanswered: batches that storage has not answered.
        unanswered_bytes: serialized bytes of them.
        read_at: the next request should not be read before, monotonic seconds.
        runs_seen: runs that were opened, for the log.
        refused: refusals given, for the log.
    """

    def __init__(
        self,
        *,
        window_batches: int = limits.STREAM_WINDOW_BATCHES,
        window_bytes: int = limits.STREAM_WINDOW_BYTES,
        runs_max: int = limits.STREAM_RUNS_MAX,
        ended_max: int = limits.STREAM_ENDED_MAX,
        answers_max: int = limits.ANSWERS_AWAITED_MAX,
        scopes: Callable[[], Scopes] = lambda: EVERYTHING,
        allowances: Allowances | None = None,
        caller: str = "",
    ) -> None:
        self.producer = ""
        self.unanswered = 0
        self.unanswered_bytes = 0
        self.read_at = 0.0
        self.runs_seen = 0
        self.refused = 0
        self._window_batches = window_batches
        self._window_bytes = window_bytes
        self._runs_max = runs_max
        self._ended_max = ended_max
        self._answers_max = answers_max
        self._scopes = scopes
        self._allowances = allowances or Allowances(lambda _: BUILT_IN["unlimited"])
        self._caller = caller
        self._effects: list[Effect] = []
        self._open: OrderedDict[AttemptKey, Attempt] = OrderedDict()
        self._ended: OrderedDict[AttemptKey, Attempt] = OrderedDict()
        self._runs: dict[RunKey, _Run] = {}
        self._idle: set[AttemptKey] = set()  # told of, and no batch came since
        self._asked: set[RequestKey] = set()
        self._leaving = False
        self._over = False

    @property
    def over(self) -> bool:
        """Whether the stream takes no more requests."""
        return self._over

    @property
    def open_runs(self) -> list[RunKey]:
        """The runs that go on here."""
        return list(self._runs)

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in order. Each effect is given once."""
        effects, self._effects = self._effects, []
        return effects

    # --- inputs ---

    def receive(self, request: PublishRequest, now: float = 0.0) -> None:
        """Take the next request of the stream; `now`, in monotonic seconds, counts for what a tenant may send."""
        if self._over:
            return
        try:
            self._check_hello(request)
            if self.unanswered + len(request.batches) > self._window_batches:
                raise self._past_window()
            for batch in request.batches:
                self._receive_batch(batch, now)
            for ask in request.receipt_asks:
                self._scopes().check_tenant(ask.user.tenant)
                self._effects.append(read_receipt_ask(ask))
            for question in request.answer_asks:
                self._receive_question(question)
            for abandon in request.abandons:
                self._receive_abandon(abandon)
            for told in request.open_runs:
                self._receive_open(told)
        except RuncastError as exc:
            self.end(exc)

    def stored(self, key: BatchKey, position: str, *, duplicate: bool) -> None:
        """Storage has the batch `key`, at `position`; `duplicate` says that it had it before."""
        attempt = self._answered(key)
        ack = BatchAck(run_id=key.run.run_id, attempt=key.attempt, number=key.number, position=position, duplicate=duplicate)
        self._effects.append(Acked(ack))
        pending, attempt.pending = attempt.pending, None
        if pending is None or pending.lifecycle is None:
            return
        attempt.lifecycle, attempt.number, attempt.seq = pending.lifecycle, pending.number, pending.seq
        if attempt.lifecycle.state is State.ENDED:
            self._close((key.run, key.attempt))

    def failed(self, key: BatchKey, error: RuncastError) -> None:
        """Storage did not take the batch `key`, or can't say."""
        self._answered(key).pending = None
        if not error.code.retry:
            self._forget((key.run, key.attempt))
        self._refuse(key.run.run_id, key.attempt, key.number, error)

    def settled(self, run: RunKey, attempt: int) -> None:
        """What the producer gave up has ended, one way or the other."""
        self._forget((run, attempt))
        if not self._over:
            user = User(tenant=run.user.tenant, id=run.user.user)
            self._effects.append(Settled(RunAbandon(user=user, run_id=run.run_id, attempt=attempt)))

    def cancel(self, run: RunKey, reason: str) -> None:
        """The user wants `run` to stop. The producer is told once while the run is open here."""
        known = self._runs.get(run)
        if known is None or known.cancelled or self._over:
            return
        known.cancelled = True
        user = User(tenant=run.user.tenant, id=run.user.user)
        self._effects.append(Cancelled(RunCancel(user=user, run_id=run.run_id, reason=reason)))

    def answered(self, request: RequestKey, value_json: bytes, device: str) -> None:
        """The user answered what a run asked. The producer is told once, if it waits for that."""
        if request not in self._asked or self._over:
            return
        (user, run_id), request_id = request
        answer = RunAnswer(
            user=User(tenant=user.tenant, id=user.user), run_id=run_id, request_id=request_id, value_json=value_json, device=device
        )
        self._effects.append(Answered(answer))
        self._asked.remove(request)
        self._release(request.run)

    def leave(self, reason: str, grace_ms: int) -> None:
        """The router is about to stop: what comes from now on is refused, what is under way is finished."""
        if self._leaving or self._over:
            return
        self._leaving = True
        self._effects.append(Left(GoAway(reason=reason, grace_ms=grace_ms)))

    def end(self, error: RuncastError) -> None:
        """End the stream with `error`, once what is under way is finished."""
        if not self._over:
            self._over = True
            self._effects.append(End(error))

    def close(self) -> None:
        """The stream is gone, with or without `end`: its runs go on here no more."""
        self._over = True
        for run in self._runs:
            self._allowances.close_run(run.user)
        self._effects = [*(Closed(run) for run in self._runs), *(Dropped(request) for request in self._asked)]
        self._runs.clear()
        self._idle.clear()
        self._asked.clear()

    # --- the stream ---

    def _check_hello(self, request: PublishRequest) -> None:
        if self.producer:
            if request.HasField("hello"):
                raise RuncastError("hello came twice; send it in the first request only", code="hello_expected")
            return
        if not request.HasField("hello"):
            raise RuncastError("the first request carries no hello; say who you are first", code="hello_expected")
        hello = request.hello
        check_id(hello.producer, "producer id")
        for text, what in ((hello.agent, "agent"), (hello.client_version, "client_version")):
            if text:
                check_id(text, what)
        if hello.agent:
            self._scopes().check_agent(hello.agent)
        self.producer = hello.producer
        self._effects.append(Greeted(hello))

    def _past_window(self) -> RuncastError:
        return RuncastError(
            f"more than {self._window_batches} batches or {self._window_bytes} bytes are unanswered; open a new stream and keep"
            " within the window",
            code="flow_control",
        )

    # --- batches ---

    def _receive_batch(self, batch: Batch, now: float) -> None:
        payload = batch.SerializeToString()
        if self.unanswered_bytes + len(payload) > self._window_bytes:
            raise self._past_window()
        try:
            self._take(batch, payload, now)
        except RuncastError as exc:
            self.read_at = max(self.read_at, now + self._allowances.pause_s(now, self._caller, len(payload)))
            self._refuse(batch.run_id, batch.attempt, batch.number, exc)

    def _receive_abandon(self, abandon: RunAbandon) -> None:
        """Pass on what the producer gives up; raises as `read_attempt`."""
        run, attempt = read_attempt(abandon)
        self._scopes().check_tenant(run.user.tenant)
        self._effects.append(GivenUp(run, attempt))

    def _receive_open(self, told: OpenRun) -> None:
        """Hold open what goes on without a batch; raises as `read_attempt`."""
        place = read_attempt(told)
        self._scopes().check_tenant(place[0].user.tenant)
        if place in self._idle or place in self._open or place in self._ended or len(self._idle) >= self._runs_max:
            return
        self._idle.add(place)
        self._hold(place[0])

    def _receive_question(self, question: AnswerAsk) -> None:
        """Wait for a user's answer, or do not wait any more.

        Raises:
            RuncastError: `id_invalid` or `flow_control`: the stream ends.
        """
        request = read_question(question)
        self._scopes().check_tenant(request.run.user.tenant)
        if question.dropped == (request not in self._asked):
            return  # known, or not known, already
        if question.dropped:
            self._asked.remove(request)
            self._effects.append(Dropped(request))
            self._release(request.run)
            return
        if len(self._asked) >= self._answers_max:
            raise RuncastError(f"{self._answers_max} answers are waited for; drop some before you ask for more", code="flow_control")
        self._asked.add(request)
        self._effects.append(Asked(request))
        self._hold(request.run)

    def _take(self, batch: Batch, payload: bytes, now: float) -> None:
        """Pass the batch on to storage, if it may come now."""
        if self._leaving:
            raise RuncastError("this router is about to stop; send it to another one", code="draining")
        user = self._allow(batch, len(payload), now)
        check_batch(batch, len(payload), self.producer)
        self._scopes().check_batch(batch)
        run = RunKey(user, batch.run_id)
        place = (run, batch.attempt)
        attempt = self._ended.get(place) or self._open.get(place) or Attempt(batch)
        pending = check_turn(attempt, batch, len(payload))
        attempt.pending = pending
        if place in self._idle:  # from now on the attempt itself holds the run open
            self._idle.remove(place)
            attempt.announced = True
        ending = pending.lifecycle is not None and pending.lifecycle.state is State.ENDED
        if attempt.lifecycle.state is not State.ENDED:
            self._touch(place, attempt)
            if not attempt.announced and not ending:
                self._announce(run, attempt)
        self.unanswered += 1
        self.unanswered_bytes += len(payload)
        key = BatchKey(run, batch.attempt, batch.number)
        self._effects.append(Store(key, payload, len(batch.events), ending, batch.receipt_deadline_ms))

    def _allow(self, batch: Batch, size: int, now: float) -> UserKey:
        """See whether the tenant may send this just now, which is counted; returns whose stream it is for.

        Raises:
            RuncastError: `permission_denied`, `id_invalid`, `event_too_large` or `rate_limited`.
        """
        user = read_user(batch.user)
        self._scopes().check_tenant(user.tenant)
        begins = (
            batch.number == 1 and bool(batch.events) and not ends_run(batch.events[-1]) and RunKey(user, batch.run_id) not in self._runs
        )
        self._allowances.take_batch(now, user, batch, size, begins=begins)
        return user

    def _refuse(self, run_id: str, attempt: int, number: int, error: RuncastError) -> None:
        self.refused += 1
        refusal = BatchRefusal(
            run_id=run_id[: limits.REFUSAL_CHARS_MAX],
            attempt=attempt,
            number=number,
            code=error.code.name,
            message=error.message[: limits.REFUSAL_CHARS_MAX],
            retry=error.code.retry,
            definite=error.code.definite,
            retry_after_ms=round(error.retry_after_s * 1000),
        )
        self._effects.append(Refused(refusal))

    def _answered(self, key: BatchKey) -> Attempt:
        place = (key.run, key.attempt)
        attempt = self._open.get(place) or self._ended[place]
        assert attempt.pending is not None  # noqa: S101 # the driver answers each Store once
        self.unanswered -= 1
        self.unanswered_bytes -= attempt.pending.size
        return attempt

    # --- runs ---

    def _touch(self, place: AttemptKey, attempt: Attempt) -> None:
        """Make this attempt the newest, and forget the longest untouched one when there are too many."""
        self._open[place] = attempt
        self._open.move_to_end(place)
        if len(self._open) > self._runs_max:
            for old, other in self._open.items():
                if other.pending is None:
                    del self._open[old]
                    self._withdraw(old[0], other)
                    break

    def _announce(self, run: RunKey, attempt: Attempt) -> None:
        attempt.announced = True
        self._hold(run)

    def _withdraw(self, run: RunKey, attempt: Attempt) -> None:
        if attempt.announced:
            attempt.announced = False
            self._release(run)

    def _hold(self, run: RunKey) -> None:
        if run not in self._runs:
            self._runs[run] = _Run()
            self.runs_seen += 1
            self._allowances.open_run(run.user)
            self._effects.append(Opened(run))
        self._runs[run].holds += 1

    def _release(self, run: RunKey) -> None:
        known = self._runs.get(run)
        if known is None:
            return
        known.holds -= 1
        if not known.holds:
            del self._runs[run]
            self._allowances.close_run(run.user)
            self._effects.append(Closed(run))

    def _forget(self, place: AttemptKey) -> None:
        """The attempt goes on elsewhere, or nowhere: it is not open here."""
        attempt = self._open.get(place)
        if attempt is not None and attempt.pending is None:
            del self._open[place]
            self._withdraw(place[0], attempt)
        if place in self._idle:
            self._idle.remove(place)
            self._release(place[0])

    def _close(self, place: AttemptKey) -> None:
        """The attempt ended: remember only that."""
        attempt = self._open.pop(place)
        self._withdraw(place[0], attempt)
        self._ended[place] = attempt
        if len(self._ended) > self._ended_max:
            for old, other in self._ended.items():
                if other.pending is None:
                    del self._ended[old]
                    break
