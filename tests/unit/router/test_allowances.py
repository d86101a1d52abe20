"""What a tenant and a user may take of a router, and that it costs others nothing."""

from collections import Counter

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runcast.bus.policy.tiers import BUILT_IN, Tier
from runcast.router import allowances as module
from runcast.router.allowances import OTHERS, Allowances
from runcast.v1.event_pb2 import Batch, Event
from runcast.wire import limits_policy
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey

SMALL = Tier(
    name="small", events_per_s=100.0, bytes_per_s=10_000.0, user_events_per_s=40.0, open_runs=3, open_runs_per_user=2, event_bytes_max=4096
)
ALICE, BOB, CAROL = (UserKey("acme", name) for name in ("alice", "bob", "carol"))
OTHER = UserKey("globex", "alice")


def made() -> Allowances:
    return Allowances(lambda _: SMALL)


def begin(mine: Allowances, user: UserKey) -> tuple[str, float]:
    return code(lambda: mine.take_batch(0.0, user, events(1), 1, begins=True))


def events(count: int) -> Batch:
    return Batch(events=[Event()] * count)


def code(work, *args) -> tuple[str, float]:
    try:
        work(*args)
    except RuncastError as exc:
        return exc.code.name, exc.retry_after_s
    return "", 0.0


def test_a_user_over_the_limit_costs_nobody_else():
    mine = made()
    mine.take_batch(0.0, ALICE, events(80), 100)
    assert code(mine.take_batch, 0.0, ALICE, events(20), 100) == ("rate_limited", 0.5)
    assert code(mine.take_batch, 0.0, BOB, events(20), 100) == ("", 0.0)
    assert code(mine.take_batch, 0.5, ALICE, events(20), 100) == ("", 0.0), "as it was told"
    assert mine.limited_by == {"user_events_per_s": 1}


def test_a_tenant_over_the_limit_costs_no_other_tenant():
    mine = made()
    for user in (ALICE, BOB, CAROL):
        code(mine.take_batch, 0.0, user, events(80), 100)
    assert code(mine.take_batch, 0.0, UserKey("acme", "dan"), events(70), 100) == ("rate_limited", 1.1), "behind carol, of 200 at once"
    assert code(mine.take_batch, 0.0, OTHER, events(80), 100) == ("", 0.0)
    assert mine.limited == {"acme": 2}


def test_bytes_count_for_themselves():
    mine = made()
    assert code(mine.take_batch, 0.0, ALICE, events(1), 20_000) == ("", 0.0)
    assert code(mine.take_batch, 0.0, BOB, events(1), 10_000) == ("rate_limited", 1.0)
    assert mine.limited_by == {"bytes_per_s": 1}


def test_what_is_refused_takes_of_nothing():
    mine = made()
    mine.take_batch(0.0, ALICE, events(1), 20_000)
    for _ in range(100):
        code(mine.take_batch, 0.0, ALICE, events(70), 10_000)
    assert code(mine.take_batch, 1.0, ALICE, events(70), 10_000) == ("", 0.0), "its events were not counted while its bytes had no room"


def test_a_batch_without_events_counts():
    mine = made()
    assert [code(mine.take_batch, 0.0, ALICE, events(0), 1)[0] for _ in range(81)].count("rate_limited") == 1


def test_another_policy_counts_at_once():
    tiers = {"acme": SMALL}
    mine = Allowances(tiers.__getitem__)
    mine.take_batch(0.0, ALICE, events(80), 100)
    assert code(mine.take_batch, 0.0, ALICE, events(80), 100)[0] == "rate_limited"
    tiers["acme"] = BUILT_IN["unlimited"]
    assert code(mine.take_batch, 0.0, ALICE, events(10_000), 100_000_000) == ("", 0.0)
    tiers["acme"] = SMALL
    assert code(mine.take_batch, 0.0, ALICE, events(80), 100)[0] == "rate_limited"


def test_events_have_the_tier_s_size():
    mine = made()
    batch = Batch(events=[Event(seq=1, id="x" * 3000), Event(seq=2, id="x" * 3000)])
    assert code(mine.take_batch, 0.0, ALICE, batch, batch.ByteSize()) == ("", 0.0), "each of them fits"
    batch.events[1].id = "x" * 4096
    with pytest.raises(
        RuncastError, match=r"event seq 2 has 4\d+ bytes; the most that this tenant's tier \(small\) allows is 4096"
    ) as caught:
        mine.take_batch(0.0, ALICE, batch, batch.ByteSize())
    assert (caught.value.code.name, caught.value.code.retry, caught.value.code.definite) == ("event_too_large", False, True)


def test_open_runs_of_a_user_and_of_a_tenant():
    mine = made()
    for _ in range(2):
        assert begin(mine, ALICE) == ("", 0.0)
        mine.open_run(ALICE)
    assert begin(mine, ALICE) == ("rate_limited", limits_policy.OPEN_RUNS_RETRY_S)
    assert begin(mine, BOB) == ("", 0.0)
    mine.open_run(BOB)
    assert begin(mine, CAROL)[0] == "rate_limited"
    assert begin(mine, OTHER)[0] == ""
    assert mine.limited_by == {"open_runs_per_user": 1, "open_runs": 1}
    mine.close_run(ALICE)
    assert begin(mine, CAROL) == begin(mine, ALICE) == ("", 0.0)


def test_who_heeds_no_answer_is_read_more_slowly_and_no_other():
    mine = made()
    pauses = [mine.pause_s(0.0, "deaf", 100) for _ in range(3_000)]
    burst = 4 * 1024 // 4
    assert pauses[:burst] == [0.0] * burst, "who waits for his turn is refused now and then"
    assert pauses[burst] > 0.0
    assert max(pauses) == limits_policy.REFUSED_PAUSE_MAX_S
    assert mine.pause_s(0.0, "another", 100) == 0.0
    assert mine.pause_s(60.0, "deaf", 100) == 0.0


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(module.limits_policy, "METERED_TENANTS_MAX", 10)
    monkeypatch.setattr(module.limits_policy, "METERED_USERS_MAX", 20)
    monkeypatch.setattr(module.limits_policy, "LIMITED_TENANTS_TOLD_MAX", 5)
    monkeypatch.setattr(module.limits_policy, "REFUSED_CALLERS_MAX", 7)
    mine = made()
    for number in range(100):
        mine.pause_s(0.0, f"c{number}", 1)
        for _ in range(3):
            code(mine.take_batch, 0.0, UserKey(f"t{number}", "alice"), events(50), 1)
    assert len(mine._tenants) <= 10
    assert len(mine._users) <= 20
    assert len(mine._callers) <= 7
    assert len(mine.limited) == 6
    assert mine.limited[OTHERS] == 2 * 95
    assert mine.limited.total() == mine.limited_by.total() == 200


def test_who_is_busy_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(module.limits_policy, "METERED_USERS_MAX", 4)
    mine = made()
    mine.take_batch(0.0, ALICE, events(80), 1)
    for number in range(50):
        code(mine.take_batch, 0.0, UserKey("globex", f"u{number}"), events(1), 1)
        assert code(mine.take_batch, 0.0, ALICE, events(40), 1)[0] == "rate_limited"


class Runs(RuleBasedStateMachine):
    """Counts of open runs are what a model says, and nothing is kept of who has none."""

    def __init__(self) -> None:
        super().__init__()
        limitless = msgspec.structs.replace(BUILT_IN["unlimited"], open_runs_per_user=2, open_runs=3)
        self.mine = Allowances(lambda tenant: msgspec.structs.replace(limitless, open_runs=4) if tenant == "acme" else limitless)
        self.open: list[UserKey] = []

    users = st.builds(UserKey, st.sampled_from(["acme", "globex"]), st.sampled_from(["a", "b", "c"]))

    @rule(user=users)
    def begin(self, user):
        tenant, own = sum(1 for each in self.open if each.tenant == user.tenant), self.open.count(user)
        refused = begin(self.mine, user)[0] == "rate_limited"
        assert refused == (own >= 2 or tenant >= (4 if user.tenant == "acme" else 3))
        if not refused:
            self.mine.open_run(user)
            self.open.append(user)

    @rule(user=users)
    def go_on(self, user):
        self.mine.open_run(user)
        self.open.append(user)

    @rule(data=st.data())
    def end(self, data):
        if self.open:
            self.mine.close_run(self.open.pop(data.draw(st.integers(0, len(self.open) - 1))))

    @invariant()
    def counts(self):
        assert self.mine._user_runs == Counter(self.open)
        assert self.mine._tenant_runs == Counter(user.tenant for user in self.open)
        assert len(self.mine._user_runs) == len(set(self.open))


TestRuns = Runs.TestCase
