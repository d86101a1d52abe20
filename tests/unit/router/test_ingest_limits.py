"""What a tenant's tier does to a Publish stream: a batch waits, its run goes on after it, and open runs are counted rightly."""

import msgspec
import pytest

from runcast.bus.identity.scopes import Scopes
from runcast.bus.policy.tiers import BUILT_IN, Tier
from runcast.router.allowances import Allowances
from runcast.router.effects import Acked, BatchKey, Refused, RunKey, Store
from runcast.v1.event_pb2 import Batch, User
from runcast.v1.ingest_pb2 import AnswerAsk, OpenRun, PublishRequest, RunAbandon
from runcast.wire import limits_policy
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey
from tests.unit.router.test_ingest import END, START, WORK, Stream, make_batch, of

ALICE = UserKey("default", "alice")
TIER = msgspec.structs.replace(BUILT_IN["standard"], user_events_per_s=5.0, open_runs_per_user=2, event_bytes_max=4096)


class Limited(Stream):
    """A stream of a router that has `allowances`."""

    def __init__(self, tier: Tier = TIER, **others) -> None:
        self.allowances = others.pop("allowances", None) or Allowances(lambda _: tier)
        super().__init__(allowances=self.allowances, **others)

    def at(self, now: float, *batches: Batch) -> list[tuple[str, int]]:
        """Send at `now`, and have stored what is to be stored; what it comes to, by code, and how long to wait."""
        self.machine.receive(PublishRequest(batches=batches), now)
        effects = self.machine.take_effects()
        for effect in of(Store, effects):
            self.machine.stored(effect.key, "pos", duplicate=False)
        effects = [*effects, *self.machine.take_effects()]
        refusals = [effect.refusal for effect in of(Refused, effects)]
        assert all(refusal.definite for refusal in refusals)
        return [("", 0) for _ in of(Acked, effects)] + [(refusal.code, refusal.retry_after_ms) for refusal in refusals]

    @property
    def open(self) -> int:
        own, tenant = self.allowances.open_runs(ALICE)
        assert own == tenant
        return own


def test_a_batch_over_the_rate_is_sent_again_and_its_run_goes_on():
    stream = Limited()
    assert stream.at(0.0, make_batch(1, 1, START, *[WORK] * 9)) == [("", 0)]
    second = make_batch(2, 11, *[WORK] * 5)
    assert stream.at(0.0, second) == [("rate_limited", 1000)]
    assert stream.at(0.2, second) == [("rate_limited", 1600)], "before its time, and behind itself"
    assert stream.at(2.0, second) == [("", 0)]
    assert stream.at(9.0, make_batch(3, 16, END)) == [("", 0)]
    assert stream.open == 0


def test_a_limited_user_s_runs_do_not_hold_up_another_s_on_the_same_stream():
    stream = Limited()
    assert stream.at(0.0, make_batch(1, 1, START, *[WORK] * 9)) == [("", 0)]
    told = stream.at(0.0, make_batch(2, 11, WORK), make_batch(1, 1, START, *[WORK] * 9, run_id="r2", user="bob"))
    assert sorted(told) == [("", 0), ("rate_limited", 200)]


def test_a_new_run_waits_for_room_and_open_ones_go_on():
    stream = Limited(msgspec.structs.replace(TIER, user_events_per_s=1000.0))
    for name in ("a", "b"):
        assert stream.at(0.0, make_batch(1, 1, START, run_id=name)) == [("", 0)]
    third = make_batch(1, 1, START, run_id="c")
    assert stream.at(0.0, third) == [("rate_limited", 1000)]
    assert stream.at(0.0, make_batch(1, 1, START, END, run_id="whole")) == [("", 0)], "a run that is one batch is never open"
    assert stream.at(0.0, make_batch(2, 2, WORK, run_id="a")) == [("", 0)]
    assert stream.at(0.0, make_batch(1, 1, START, run_id="a", attempt=2)) == [("", 0)], "another attempt is no other run"
    assert stream.at(0.0, make_batch(2, 2, END, run_id="b")) == [("", 0)]
    assert stream.at(0.0, third) == [("", 0)]
    assert stream.open == 2


def test_who_waits_for_room_uses_up_nothing():
    stream = Limited(msgspec.structs.replace(TIER, open_runs_per_user=1))
    assert stream.at(0.0, make_batch(1, 1, START)) == [("", 0)]
    for _ in range(100):
        assert stream.at(0.0, make_batch(1, 1, START, *[WORK] * 4, run_id="b")) == [("rate_limited", 1000)]
    assert stream.at(0.0, make_batch(2, 2, *[WORK] * 8, END)) == [("", 0)], "the open run has room to end"


def test_runs_from_another_router_are_taken_whatever_is_open():
    stream = Limited(msgspec.structs.replace(TIER, user_events_per_s=1000.0))
    for number in range(5):
        assert stream.at(0.0, make_batch(7, 9, WORK, run_id=f"r{number}")) == [("", 0)]
    assert stream.open == 5
    assert stream.at(0.0, make_batch(1, 1, START, run_id="new"))[0][0] == "rate_limited"


def test_open_runs_count_over_all_streams_and_end_with_their_stream():
    allowances = Allowances(lambda _: TIER)
    one, other = Limited(allowances=allowances), Limited(allowances=allowances)
    assert one.at(0.0, make_batch(1, 1, START, run_id="a")) == [("", 0)]
    assert other.at(0.0, make_batch(1, 1, START, run_id="b")) == [("", 0)]
    assert other.at(0.0, make_batch(1, 1, START, run_id="c"))[0][0] == "rate_limited"
    one.machine.close()
    assert other.open == 1
    assert other.at(0.0, make_batch(1, 1, START, run_id="c")) == [("", 0)]
    other.machine.close()
    assert other.open == 0


@pytest.mark.parametrize("code", ["run_lost", "attempt_taken", "lifecycle_violation"])
def test_what_storage_refuses_for_good_is_not_open_here(code):
    stream = Limited()
    stream.send(make_batch(1, 1, START))
    assert stream.open == 1
    stream.machine.failed(BatchKey(RunKey(ALICE, "r"), 1, 1), RuncastError("no", code=code))
    assert stream.open == 0
    assert stream.machine.open_runs == []


@pytest.mark.parametrize("code", ["unavailable", "indeterminate", "storage_full"])
def test_what_storage_could_not_take_is_open_still(code):
    stream = Limited()
    stream.send(make_batch(1, 1, START))
    stream.machine.failed(BatchKey(RunKey(ALICE, "r"), 1, 1), RuncastError("not now", code=code))
    assert of(Refused, stream.machine.take_effects())
    assert stream.open == 1
    assert stream.at(0.0, make_batch(1, 1, START)) == [("", 0)]
    assert stream.open == 1


def test_a_run_that_was_given_up_is_not_open():
    stream = Limited()
    user = User(tenant="default", id="alice")
    assert stream.at(0.0, make_batch(1, 1, START)) == [("", 0)]
    stream.machine.receive(PublishRequest(open_runs=[OpenRun(user=user, run_id="idle", attempt=1)]))
    stream.machine.receive(PublishRequest(abandons=[RunAbandon(user=user, run_id=name, attempt=1) for name in ("r", "idle")]))
    assert stream.open == 2
    for name in ("r", "idle"):
        stream.machine.settled(RunKey(ALICE, name), 1)
    assert stream.open == 0


def test_a_question_holds_its_run_open_once():
    stream = Limited()
    assert stream.at(0.0, make_batch(1, 1, START)) == [("", 0)]
    ask = AnswerAsk(user=User(tenant="default", id="alice"), run_id="r", request_id="q")
    stream.machine.receive(PublishRequest(answer_asks=[ask]))
    assert stream.open == 1
    assert stream.at(1.0, make_batch(2, 2, END)) == [("", 0)]
    assert stream.open == 1, "its answer is waited for"
    ask.dropped = True
    stream.machine.receive(PublishRequest(answer_asks=[ask]))
    assert stream.open == 0


def test_an_event_of_more_than_the_tier_s_size_fails_its_run_alone():
    stream = Limited()
    big = make_batch(1, 1, START)
    big.events[0].agent_started.title = "x" * 5000
    assert stream.at(0.0, big) == [("event_too_large", 0)]
    assert stream.at(0.0, make_batch(1, 1, START, run_id="r2")) == [("", 0)]


def test_what_is_not_granted_costs_the_tenant_nothing():
    allowances = Allowances(lambda _: TIER)
    stranger = Limited(
        allowances=allowances,
        scopes=lambda: Scopes(frozenset({"globex"}), frozenset({"*"}), frozenset({"*"}), frozenset()),
    )
    for _ in range(100):
        assert stranger.at(0.0, make_batch(1, 1, START, *[WORK] * 9)) == [("permission_denied", 0)]
    assert Limited(allowances=allowances).at(0.0, make_batch(1, 1, START, *[WORK] * 9)) == [("", 0)]


def test_a_stream_of_refusals_is_read_more_slowly():
    stream = Limited()
    assert stream.at(0.0, make_batch(1, 1, START, *[WORK] * 9)) == [("", 0)]
    second = make_batch(2, 11, *[WORK] * 9)
    while not stream.machine.read_at:
        assert stream.at(0.0, second)[0][0] == "rate_limited"
    assert 0.0 < stream.machine.read_at < 0.01, "just over"
    for _ in range(10_000):
        stream.at(0.0, second)
    assert stream.machine.read_at == limits_policy.REFUSED_PAUSE_MAX_S
