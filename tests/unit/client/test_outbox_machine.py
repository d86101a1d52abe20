"""The outbox against a model of routers and log that store, repeat, refuse and vanish at will."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runcast.client.errors import OutboxFullError, RunIndeterminateError, RunKey
from runcast.client.line import MESSAGE_BYTES_MAX
from runcast.client.outbox import Outbox
from runcast.client.run_queue import Failed, Stored
from runcast.v1.event_pb2 import Batch, Event
from runcast.v1.ingest_pb2 import BatchAck, BatchRefusal, RouterHello, Window
from runcast.wire import limits, limits_client
from runcast.wire.ids import UserKey
from tests.unit.client.events import closing, custom, key, started
from tests.unit.client.outbox_model import Ledger, Log, Said, delta, thought

HORIZON_MS = 100_000
EVENTS_MAX = 40
BYTES_MAX = 700 * limits.KIB
RUNS_MAX = 12
COALESCE_S = 0.04


KINDS = ["critical", "delta", "other", "final", "thinking"]


def make(kind: str, text: str) -> Event:
    match kind:
        case "critical":
            return custom(text)
        case "thinking":
            return thought(text)
        case "other":
            return delta(text, "m2")
        case _:
            return delta(text, final=kind == "final")


@dataclass
class Sending:
    """A batch on its way; `alive` while its stream is open."""

    batch: Batch
    at: float
    alive: bool = True


class OutboxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.now = 1000.0
        self.names = 0
        self.logs: dict[RunKey, Log] = {}
        self.said: dict[RunKey, Said] = {}
        self.parents: dict[RunKey, str] = {}
        self.spoke: dict[tuple[UserKey, str], RunKey] = {}  # the attempt of a run that last said its first word
        self.waits_for: dict[RunKey, RunKey] = {}  # a child's first batch for the first one of its parent
        self.accepted = self.merged = self.dropped = 0
        self.failed: dict[RunKey, list[Failed]] = {}
        self.closings: dict[RunKey, int] = {}
        self.acked: dict[RunKey, int] = {}
        self.way: list[Sending] = []
        self.connected = False
        self.window = (0, 0)

    def key_of(self, batch: Batch) -> RunKey:
        return key(batch.run_id, batch.user.id, batch.attempt)

    def take_results(self) -> None:
        for result in self.outbox.take_results():
            if isinstance(result, Stored):
                assert result.last_seq > self.acked.get(result.key, 0)
                assert result.last_seq <= self.logs[result.key].seq, "told stored, and it is not"
                self.acked[result.key] = result.last_seq
            else:
                self.failed.setdefault(result.key, []).append(result)

    @initialize(coalesce=st.booleans(), drop_progress=st.booleans())
    def start(self, coalesce: bool, drop_progress: bool) -> None:
        self.coalesce_s = COALESCE_S if coalesce else 0.0
        self.outbox = Outbox(
            "p",
            events_max=EVENTS_MAX,
            bytes_max=BYTES_MAX,
            coalesce_s=self.coalesce_s,
            drop_progress=drop_progress,
            journal=self.ledger,
        )
        self.connect(4, 1)
        for user in ("alice", "bob", "alice"):
            self.open_run(user)

    @precondition(lambda self: len(self.failed) == len(self.logs))
    @rule(user=st.sampled_from(["alice", "bob"]))
    def open_run(self, user: str) -> None:
        self.names += 1
        self.open(key(f"r{self.names}", user), "")

    @precondition(lambda self: len(self.logs) < RUNS_MAX)
    @rule(data=st.data(), user=st.sampled_from(["", "alice", "bob"]), begins=st.booleans())
    def open_child(self, data: st.DataObject, user: str, begins: bool) -> None:
        """Below any run, also one that failed, said nothing yet, or (which is no parent) is another user's."""
        parent = data.draw(st.sampled_from(list(self.logs)))
        self.names += 1
        child = key(f"r{self.names}", user or parent.user.user)
        self.open(child, parent.run_id)
        if begins:
            self.append_to(parent, 1, 1, "critical")
            self.append_to(child, 1, 1, "critical")

    @precondition(lambda self: len(self.logs) < RUNS_MAX)
    @rule(data=st.data())
    def try_again(self, data: st.DataObject) -> None:
        """Another attempt, maybe beside the one before, and maybe below itself."""
        run = data.draw(st.sampled_from(list(self.logs)))
        again = run._replace(attempt=run.attempt + 1)
        if again not in self.logs:
            self.open(again, data.draw(st.sampled_from([other.run_id for other in self.logs])))

    def open(self, run: RunKey, parent_run_id: str) -> None:
        self.outbox.open_run(run)
        self.logs[run] = Log()
        self.said[run] = Said()
        self.parents[run] = parent_run_id

    def began(self, run: RunKey) -> None:
        """A run has said its first word."""
        above = self.spoke.get((run.user, self.parents[run]))
        if above is not None:
            self.waits_for[run] = above
        self.spoke[run.user, run.run_id] = run

    @precondition(lambda self: len(self.failed) < len(self.logs))
    @rule(data=st.data(), count=st.integers(1, 6), size=st.sampled_from([1, 50, 100_000, 250_000]), kind=st.sampled_from(KINDS))
    def append(self, data: st.DataObject, count: int, size: int, kind: str) -> None:
        self.append_to(self.pick_run(data), count, size, kind)

    @precondition(lambda self: len(self.failed) < len(self.logs))
    @rule(data=st.data(), kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=8))
    def say(self, data: st.DataObject, kinds: list[str]) -> None:
        """What comes in one breath, so that much of it is merged."""
        run = self.pick_run(data)
        for kind in kinds:
            self.append_to(run, 1, 5, kind)

    @precondition(lambda self: len(self.failed) < len(self.logs))
    @rule(data=st.data())
    def hurry(self, data: st.DataObject) -> None:
        run = self.pick_run(data)
        self.outbox.hurry(self.now, run)
        said = self.said[run]
        said.hurried = said.hurried or said.taken < len(said.events)

    def pick_run(self, data: st.DataObject) -> RunKey:
        return data.draw(st.sampled_from([run for run in self.logs if run not in self.failed]))

    def append_to(self, run: RunKey, count: int, size: int, kind: str) -> None:
        said = self.said[run]
        if run in self.failed:
            return
        for _ in range(count):
            self.names += 1
            event = make(kind, f"{self.names}{'x' * size}") if said.events else started(self.parents[run])
            model = Event.FromString(event.SerializeToString())
            try:
                seq = self.outbox.append(self.now, run, event)
            except OutboxFullError:
                assert self.outbox.events == EVENTS_MAX or self.outbox.bytes + size > BYTES_MAX - 1000
                return
            if seq == 0:
                assert kind == "thinking"
                self.dropped += 1
                continue
            self.accepted += 1
            if seq == 1:
                self.began(run)
            merged = said.take_in(self.now, model, seq)
            assert not merged or self.coalesce_s
            self.merged += merged

    @precondition(lambda self: self.connected and self.outbox.events)
    @rule()
    def take(self) -> None:
        batches = self.outbox.take_batches(self.now)
        self.take_results()
        assert self.connected or not batches
        assert sum(batch.ByteSize() for batch in batches) <= MESSAGE_BYTES_MAX
        for batch in batches:
            assert len(batch.events) <= limits.BATCH_EVENTS_MAX
            assert batch.ByteSize() <= limits.BATCH_BYTES_MAX
            run = self.key_of(batch)
            above = self.waits_for.get(run)
            assert batch.number > 1 or above is None or above in self.acked or above in self.failed, "a child began before its parent"
            assert not any(other.alive and self.key_of(other.batch) == run for other in self.way), "two batches of a run in flight"
            copy = Batch()
            copy.CopyFrom(batch)
            self.way.append(Sending(copy, self.now))
            if run not in self.failed and batch.events[-1].seq > self.said[run].taken:
                self.said[run].check_taken(batch, self.now, self.coalesce_s)

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), answers=st.integers(0, 3))
    def flow(self, data: st.DataObject, answers: int) -> None:
        """The common case, so that the others meet runs in the middle of their life."""
        for run in self.logs:
            if run not in self.failed and self.outbox.events < EVENTS_MAX:
                self.append_to(run, 1, 1, "critical")
        self.take()
        for _ in range(answers):
            self.store_and_answer(data)

    @precondition(lambda self: self.connected and self.window[0] and len(self.failed) < len(self.logs))
    @rule(data=st.data(), kind=st.sampled_from(["delta", "thinking"]), gap_s=st.sampled_from([0.0, 0.015, 0.039]))
    def murmur(self, data: st.DataObject, kind: str, gap_s: float) -> None:
        """Soft events leave when they have rested, not sooner and not later."""
        run = self.pick_run(data)
        self.settle()
        if run in self.failed:
            return
        for _ in range(3):
            said = self.said[run]
            self.append_to(run, 1, 1, kind)
            self.take()
            due = said.due(self.coalesce_s)
            while said.taken < len(said.events) and self.now < due:
                deadline = self.outbox.deadline()
                assert deadline is not None
                assert self.now < deadline <= due
                self.now = deadline
                self.take()
            assert said.taken == len(said.events), "it rested too long"
            self.answer_all()
            self.now += gap_s

    def settle(self) -> None:
        """Everything that waits is stored."""
        for _ in range(500):
            if not self.outbox.leftovers():
                break
            self.take()
            self.answer_all()
            self.now += 0.01
        assert self.outbox.leftovers() == []

    def answer_all(self) -> None:
        for sending in [sending for sending in self.way if sending.alive]:
            self.way.remove(sending)
            self.answer(sending.batch)

    def pick(self, data: st.DataObject, *, alive: bool) -> Sending | None:
        chosen = [sending for sending in self.way if sending.alive or (not alive and self.now - sending.at < limits.PUBLISH_TIMEOUT_S)]
        if not chosen:
            return None
        sending = data.draw(st.sampled_from(chosen))
        self.way.remove(sending)
        return sending

    @precondition(lambda self: any(sending.alive for sending in self.way))
    @rule(data=st.data())
    def store_and_answer(self, data: st.DataObject) -> None:
        sending = self.pick(data, alive=True)
        if sending is not None:
            self.answer(sending.batch)

    def answer(self, batch: Batch) -> None:
        duplicate = self.logs[self.key_of(batch)].store(batch)
        ack = BatchAck(run_id=batch.run_id, attempt=batch.attempt, number=batch.number, position=f"{batch.number}", duplicate=duplicate)
        self.outbox.acked(self.now, ack)
        self.take_results()

    @precondition(lambda self: self.way)
    @rule(data=st.data())
    def store_without_answer(self, data: st.DataObject) -> None:
        """Also batches of a stream that is gone: their publish was under way."""
        sending = self.pick(data, alive=False)
        if sending is not None:
            self.logs[self.key_of(sending.batch)].store(sending.batch)
            if sending.alive:
                self.disconnect()

    @precondition(lambda self: any(sending.alive for sending in self.way))
    @rule(data=st.data(), stored=st.booleans(), after_ms=st.sampled_from([0, 1000]))
    def refuse_for_now(self, data: st.DataObject, stored: bool, after_ms: int) -> None:
        sending = self.pick(data, alive=True)
        if sending is not None:
            if stored:
                self.logs[self.key_of(sending.batch)].store(sending.batch)
            self.refuse(
                sending.batch, code="indeterminate" if stored else "unavailable", retry=True, definite=not stored, after_ms=after_ms
            )

    @precondition(lambda self: any(sending.alive for sending in self.way))
    @rule(data=st.data())
    def refuse_for_good(self, data: st.DataObject) -> None:
        sending = self.pick(data, alive=True)
        if sending is not None:
            self.refuse(sending.batch, code="batch_invalid", retry=False, definite=True, after_ms=0)

    def refuse(self, batch: Batch, *, code: str, retry: bool, definite: bool, after_ms: int) -> None:
        refusal = BatchRefusal(
            run_id=batch.run_id,
            attempt=batch.attempt,
            number=batch.number,
            code=code,
            message="m",
            retry=retry,
            definite=definite,
            retry_after_ms=after_ms,
        )
        self.outbox.refused(self.now, refusal)
        self.take_results()

    @precondition(lambda self: self.failed)
    @rule(data=st.data())
    def close_failed(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(list(self.failed)))
        try:
            before = self.outbox.events
            if self.outbox.close_failed(self.now, run, closing):
                assert run not in self.closings
                assert not isinstance(self.failed[run][0].error, RunIndeterminateError)
                self.closings[run] = self.outbox.events - before
        except OutboxFullError:
            raise AssertionError("the reserve is too small for this test") from None

    @precondition(lambda self: self.connected and self.way)
    @rule()
    def disconnect(self) -> None:
        self.outbox.disconnected()
        self.connected = False
        for sending in self.way:
            sending.alive = False

    @precondition(lambda self: not self.connected)
    @rule(batches=st.integers(1, 5), mebibytes=st.integers(0, 2))
    def connect(self, batches: int, mebibytes: int) -> None:
        self.window = (batches, mebibytes * limits.MIB)
        hello = RouterHello(window=Window(batches=batches, bytes=mebibytes * limits.MIB), resend_horizon_ms=HORIZON_MS)
        self.outbox.connected(self.now, hello)
        self.connected = True

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.outbox.tick(self.now)
        self.take_results()
        deadline = self.outbox.deadline()
        assert deadline is None or deadline > self.now or self.outbox.overdue(self.now)
        if self.outbox.overdue(self.now):
            self.disconnect()

    @invariant()
    def bounds_hold(self) -> None:
        assert 0 <= self.outbox.events <= EVENTS_MAX + limits_client.OUTBOX_RESERVE_EVENTS
        assert 0 <= self.outbox.bytes <= BYTES_MAX + limits_client.OUTBOX_RESERVE_BYTES
        batches, size = self.outbox.unanswered
        assert batches <= max(self.window[0], 0)
        assert size <= max(self.window[1], limits.BATCH_BYTES_MAX) or batches <= 1
        leftovers = self.outbox.leftovers()
        assert sum(len(left.unsure) + len(left.unsent) for left in leftovers) == self.outbox.events
        self.ledger.check(leftovers)
        counts = self.outbox.counts
        assert (counts.merged, counts.dropped) == (self.merged, self.dropped)
        assert counts.accepted == self.accepted + sum(self.closings.values())

    def teardown(self) -> None:
        """When everything works again, everything arrives, and what does not is accounted for."""
        self.way.clear()
        self.disconnect()
        self.connect(3, 1)
        self.settle()
        assert (self.outbox.events, self.outbox.bytes) == (0, 0)
        for run, log in self.logs.items():
            if run not in self.failed:
                assert log.seq == len(self.said[run].events), "an event was lost"
                assert log.texts() == self.said[run].texts, "the text is not what was said"
                continue
            error = self.failed[run][0].error
            if isinstance(error, RunIndeterminateError):
                sure = self.acked.get(run, 0)
                assert sure + len(error.unsure) + len(error.unsent) == len(self.said[run].events)
                assert log.seq in (sure, sure + len(error.unsure))
            else:
                first = error.dropped[0].seq
                assert first + len(error.dropped) - 1 == len(self.said[run].events)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
