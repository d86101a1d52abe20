"""The ingest machine under any sequence of inputs."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, precondition, rule

from runcast.router.effects import (
    Acked,
    BatchKey,
    Cancelled,
    Closed,
    Effect,
    End,
    Left,
    Opened,
    Refused,
    RunKey,
    Store,
)
from runcast.wire.errors import RuncastError
from tests.unit.router.ingest_stream import END, RUN, START, WORK, Stream, make_batch, of

# --- everything together ---


class StreamModel(RuleBasedStateMachine):
    """Against a model: per run, the batches that are stored (in order), and the one under way."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream(window_batches=8, runs_max=1000)
        self.log: dict[str, list[tuple[int, int, int, bool]]] = {}  # number, first seq, last seq, ends
        self.waiting: dict[str, BatchKey] = {}
        self.content: dict[str, tuple[int, int, int, bool]] = {}
        self.open: set[str] = set()
        self.told: set[str] = set()
        self.leaving = False

    @initialize()
    def begin(self) -> None:
        assert self.stream.machine.producer == "p"

    def expected(self, run: str, number: int, first: int, kinds: list[str]) -> str:
        """The code that this batch must be refused with; "" when it must be stored."""
        stored = self.log.get(run, [])
        if self.leaving:
            return "draining"
        if number < 1 or not kinds or first < number or (number == 1 and first != 1):
            return "batch_invalid"
        if run in self.waiting:
            return "batch_out_of_turn"
        if stored and number <= stored[-1][0]:
            return ""
        if stored and stored[-1][3]:
            return "lifecycle_violation"
        if stored and number != stored[-1][0] + 1:
            return "batch_out_of_turn"
        if stored and first != stored[-1][2] + 1:
            return "batch_invalid"
        begun = bool(stored and stored[-1][0]) or number > 1
        for kind in kinds:
            if (kind == START) == begun:
                return "lifecycle_violation"
            begun = True
        return "lifecycle_violation" if END in kinds[:-1] else ""

    @precondition(lambda self: len(self.waiting) < 8)
    @rule(
        target=under_way,
        run=st.sampled_from("abc"),
        step=st.sampled_from([1, 1, 1, 1, 0, 2, -3]),
        shift=st.sampled_from([0, 0, 0, 0, 1, -1]),
        kinds=st.lists(st.sampled_from([START, WORK, WORK, WORK, END]), max_size=3),
    )
    def send(self, run: str, step: int, shift: int, kinds: list[str]) -> object:
        stored = self.log.get(run, [])
        number = max((stored[-1][0] if stored else 0) + step, 0)
        first = max((stored[-1][2] if stored else 0) + 1 + shift, 0)
        if not (stored and stored[-1][0]) and step == 1 and shift == 0 and kinds:
            kinds = [START, *kinds[1:]]
        code = self.expected(run, number, first, kinds)
        effects = self.stream.send(make_batch(number, first, *kinds, run_id=run))
        assert [refused.refusal.code for refused in of(Refused, effects)] == ([code] if code else [])
        assert not of(End, effects)
        self._note(effects)
        stores = of(Store, effects)
        assert len(stores) == (not code)
        if code:
            return multiple()
        self.waiting[run] = stores[0].key
        self.content[run] = (number, first, first + len(kinds) - 1, kinds[-1] == END)
        return run

    @rule(run=consumes(under_way), duplicate=st.booleans())
    def answer_stored(self, run: str, duplicate: bool) -> None:
        self.stream.machine.stored(self.waiting.pop(run), "pos", duplicate=duplicate)
        effects = self.stream.machine.take_effects()
        content = self.content.pop(run)
        (acked,) = of(Acked, effects)
        assert (acked.ack.run_id, acked.ack.number, acked.ack.duplicate) == (run, content[0], duplicate)
        stored = self.log.setdefault(run, [])
        if not stored or content[0] > stored[-1][0]:
            stored.append(content)
        self._note(effects)

    @rule(run=consumes(under_way), code=st.sampled_from(["unavailable", "indeterminate", "storage_full"]))
    def answer_failed(self, run: str, code: str) -> None:
        self.stream.machine.failed(self.waiting.pop(run), RuncastError("no", code=code))
        (refused,) = of(Refused, self.stream.machine.take_effects())
        content = self.content.pop(run)
        assert (refused.refusal.run_id, refused.refusal.number, refused.refusal.code) == (run, content[0], code)
        if run not in self.log:  # what was seen first stays the place to go on from
            self.log[run] = [(content[0] - 1, 0, content[1] - 1, False)]

    @rule(run=st.sampled_from("abc"))
    def cancel(self, run: str) -> None:
        self.stream.machine.cancel(RunKey(RUN.user, run), "stop")
        cancelled = of(Cancelled, self.stream.machine.take_effects())
        assert len(cancelled) == (run in self.open and run not in self.told)
        if cancelled:
            self.told.add(run)

    @precondition(lambda self: len(self.log) == 3)
    @rule()
    def leave(self) -> None:
        assert len(of(Left, self._leave())) == (not self.leaving)
        self.leaving = True

    def _leave(self) -> list[Effect]:
        self.stream.machine.leave("stop", 1000)
        return self.stream.machine.take_effects()

    def _note(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Opened):
                assert effect.run.run_id not in self.open
                self.open.add(effect.run.run_id)
            elif isinstance(effect, Closed):
                self.open.remove(effect.run.run_id)
                self.told.discard(effect.run.run_id)

    @invariant()
    def counts_what_is_under_way(self) -> None:
        assert self.stream.machine.unanswered == len(self.waiting)
        assert bool(self.stream.machine.unanswered_bytes) == bool(self.waiting)

    @invariant()
    def what_is_stored_has_no_hole(self) -> None:
        for stored in self.log.values():
            for before, after in itertools.pairwise(stored):
                assert (after[0], after[1]) == (before[0] + 1, before[2] + 1)
                assert not before[3]

    @invariant()
    def ended_runs_are_closed(self) -> None:
        assert not any(stored and stored[-1][3] and run in self.open for run, stored in self.log.items())
        assert {run.run_id for run in self.stream.machine.open_runs} == self.open


StreamModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


TestStreamModel = StreamModel.TestCase
