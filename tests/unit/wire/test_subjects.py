"""Names in NATS: stable (stored data hangs on them), without wildcards, and never the same for different things."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runcast.wire import subjects
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import UserKey
from tests import hostile

ids = st.text(min_size=1, max_size=20)
users = st.builds(UserKey, ids, ids)
shards = st.integers(0, 63)
CONCRETE = re.compile(r"[A-Za-z0-9_$-]+(?:\.[A-Za-z0-9_-]+)*", re.ASCII)


@pytest.mark.parametrize(
    ("user", "of_4", "of_16", "of_64"),
    [
        (UserKey("default", "alice"), 1, 13, 45),
        (UserKey("default", "bob"), 0, 4, 20),
        (UserKey("default", "é"), 2, 10, 26),
        (UserKey("acme", "a.b"), 0, 4, 52),
        (UserKey("t", "😀"), 2, 6, 6),
    ],
)
def test_shards_are_pinned(user: UserKey, of_4: int, of_16: int, of_64: int) -> None:
    """Stored streams are found by these numbers: a change here loses every user's stream."""
    assert [subjects.shard_of(user, count) for count in (4, 16, 64)] == [of_4, of_16, of_64]
    assert subjects.shard_of(user, 1) == 0


@given(users, st.integers(1, 64))
def test_shards_are_in_range(user: UserKey, count: int) -> None:
    assert 0 <= subjects.shard_of(user, count) < count


def test_shards_spread() -> None:
    counts = [0] * 16
    for number in range(1600):
        counts[subjects.shard_of(UserKey("default", f"user-{number}"), 16)] += 1
    assert min(counts) > 50
    assert max(counts) < 200


def test_names_are_pinned() -> None:
    user = UserKey("acme", "a.b")
    assert subjects.event_stream(3) == "RUNCAST_EV_3"
    assert subjects.event_subjects(3) == "ev.3.>"
    assert subjects.live_subjects(3) == ("ev.3.>", "live.3.>")
    assert subjects.event_subject(user, 3) == "ev.3.acme.a_2Eb"
    assert subjects.live_subject(user, 3) == "live.3.acme.a_2Eb"
    assert subjects.inbox_subject("my group", user, 3) == "in.my_20group.3.acme.a_2Eb"
    assert subjects.inbox_user_subjects(user, 3) == "in.*.3.acme.a_2Eb"
    assert subjects.inbox_group_subjects("my group") == "in.my_20group.>"
    assert subjects.inbox_consumer("my group") == "group_my_20group"
    assert subjects.cursor_key(user, 3, "tab 1") == "3.acme.a_2Eb.tab_201"
    assert subjects.cancel_key(user, 3, "run.1") == "cancel.3.acme.a_2Eb.run_2E1"
    assert subjects.answer_key(user, 3, "run.1", "q 1") == "answer.3.acme.a_2Eb.run_2E1.q_201"
    assert subjects.answer_keys(user, 3) == "answer.3.acme.a_2Eb.>"
    assert subjects.kv_subject("B", "k.>") == "$KV.B.k.>"
    assert subjects.batch_msg_id(user, "p.1", "r", 2, 7) == "acme.a_2Eb.p_2E1.r.2.7"
    assert subjects.send_msg_id(user, "m") == "send.acme.a_2Eb.m"
    assert subjects.lost_msg_id(user, "r.1", 2) == "lost.acme.a_2Eb.r_2E1.2"
    assert subjects.lease_key("p.1") == "lease.p_2E1"
    assert subjects.producer_key("p.1") == "producer.p_2E1"
    assert subjects.batch_msg_id(user, "p.1", "r", 2, 1) == "first.acme.a_2Eb.r.2"
    assert subjects.run_keys("p.1") == "run.*.*.*.*.*.p_2E1"
    assert subjects.RunPlace("p.1", 3, user, "r.1", 2).key == "run.3.acme.a_2Eb.r_2E1.2.p_2E1"
    assert subjects.RunPlace("p.1", 3, user, "r.1", 2).any_producer == "run.3.acme.a_2Eb.r_2E1.2.*"
    assert subjects.lease_subjects() == ("$KV.RUNCAST_RUNS.lease.>", "lease.>")


@given(users, shards, ids)
def test_names_hold_no_wildcard_and_stay_in_their_own_tree(user: UserKey, shard: int, other: str) -> None:
    for name, first, tokens in (
        (subjects.event_subject(user, shard), "ev", 4),
        (subjects.live_subject(user, shard), "live", 4),
        (subjects.inbox_subject(other, user, shard), "in", 5),
        (subjects.cursor_key(user, shard, other), str(shard), 4),
        (subjects.cancel_key(user, shard, other), "cancel", 5),
        (subjects.answer_key(user, shard, other, other), "answer", 6),
        (subjects.inbox_consumer(other), subjects.inbox_consumer(other), 1),
    ):
        assert CONCRETE.fullmatch(name)
        assert name.split(".")[0] == first
        assert name.count(".") == tokens - 1


@given(users, shards, ids)
def test_the_user_is_read_back_from_subjects(user: UserKey, shard: int, group: str) -> None:
    assert subjects.user_of_subject(subjects.event_subject(user, shard)) == user
    assert subjects.user_of_subject(subjects.live_subject(user, shard)) == user
    assert subjects.user_of_subject(subjects.inbox_subject(group, user, shard)) == user


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "ev",
        "ev.0.t",
        "ev.0.t.",
        "ev.0..u",
        "ev.0.t.u.more",
        "ev.x.t.u",
        "live.0.t.u_",
        "in.g.0.t",
        "in.g.0.t.u.more",
        "other.0.t.u",
        "$KV.RUNCAST_CURSORS.0.t.u.device",
        "ev.0.t.*",
        "ev.0.>",
    ],
)
def test_other_subjects_name_no_user(subject: str) -> None:
    with pytest.raises(IdInvalidError):
        subjects.user_of_subject(subject)


identities = st.tuples(users, ids, ids, st.integers(1, 30), st.integers(1, 300))


@given(identities, identities)
def test_batches_of_different_users_producers_and_runs_have_different_msg_ids(one: tuple, other: tuple) -> None:  # type: ignore[type-arg]
    assert (subjects.batch_msg_id(*one) == subjects.batch_msg_id(*other)) == (one == other)


@given(identities, users, ids)
def test_sends_and_batches_never_share_a_msg_id(batch: tuple, user: UserKey, message_id: str) -> None:  # type: ignore[type-arg]
    assert subjects.batch_msg_id(*batch) != subjects.send_msg_id(user, message_id)


@given(st.tuples(users, ids), st.tuples(users, ids))
def test_sends_of_different_users_have_different_msg_ids(one: tuple[UserKey, str], other: tuple[UserKey, str]) -> None:
    assert (subjects.send_msg_id(*one) == subjects.send_msg_id(*other)) == (one == other)


@given(ids, shards, users, ids, st.integers(1, 2**32 - 1))
def test_run_keys_are_read_as_written(producer: str, shard: int, user: UserKey, run_id: str, attempt: int) -> None:
    place = subjects.RunPlace(producer, shard, user, run_id, attempt)
    assert CONCRETE.fullmatch(place.key)
    assert subjects.parse_run_key(place.key) == place
    for pattern in (subjects.run_keys(producer), place.any_producer):
        wanted = pattern.split(".")
        assert all(token in ("*", here) for token, here in zip(wanted, place.key.split("."), strict=True))
    assert subjects.producer_of(subjects.lease_key(producer)) == subjects.producer_of(subjects.producer_key(producer)) == producer


@pytest.mark.parametrize(
    "key", ["", "run", "cancel.3.a.b.c", "run.x.a.b.c.1.p", "run.1.a.b.c.x.p", "run.1.a.b..1.p", "lease.1.a.b.c.1.p", "run.p.1.a.b.c.1"]
)
def test_what_is_no_run_key_is_refused(key: str) -> None:
    with pytest.raises(IdInvalidError):
        subjects.parse_run_key(key)


@given(st.tuples(users, ids, ids, st.integers(1, 9), st.integers(1, 9)), st.tuples(users, ids, st.integers(1, 9)), users, ids)
def test_a_lost_run_s_message_id_is_no_other_message_s(
    batch: tuple[UserKey, str, str, int, int], lost: tuple[UserKey, str, int], user: UserKey, message_id: str
) -> None:
    assert subjects.lost_msg_id(*lost) not in (subjects.batch_msg_id(*batch), subjects.send_msg_id(user, message_id))


@given(users, shards, ids, ids)
def test_the_stream_of_a_subject(user: UserKey, shard: int, group: str, name: str) -> None:
    stream = subjects.event_stream(shard)
    assert subjects.stream_of(subjects.event_subject(user, shard)) == stream
    assert subjects.stream_of(f"$JS.API.STREAM.MSG.GET.{stream}") == stream
    assert subjects.stream_of(subjects.inbox_subject(group, user, shard)) == subjects.INBOX_STREAM
    assert subjects.stream_of(subjects.parked_subject(subjects.inbox_subject(group, user, shard))) == subjects.PARKED_STREAM
    key = subjects.kv_subject(subjects.RUNS_BUCKET, subjects.lease_key(name))
    assert subjects.stream_of(key) == f"KV_{subjects.RUNS_BUCKET}"
    for other in (subjects.live_subject(user, shard), subjects.presence_subject(user, shard), "$JS.ACK.RUNCAST_INBOX.c.1.1.1.1.0", ""):
        assert subjects.stream_of(other) == ""


# --- all names together ---

# Few ids, all of a kind that goes wrong, so that two draws often differ in one place only.
risky = st.one_of(st.sampled_from(hostile.IDS), st.sampled_from(["a", "A", "a.b", "b", "first", "lost", "send", "1", "0", "run", "cancel"]))
owners = st.builds(UserKey, risky, risky)
few = st.integers(0, 2)
counts = st.integers(1, 3)
SUBJECTS = {
    subjects.event_subject: (owners, few),
    subjects.live_subject: (owners, few),
    subjects.presence_subject: (owners, few),
    subjects.alert_subject: (owners, few),
    subjects.statistics_subject: (st.sampled_from(["router", "edge"]), risky),
    subjects.inbox_subject: (risky, owners, few),
    subjects.inbox_offers: (risky,),
}
RUNS_KEYS = {
    subjects.alert_key: (owners, few, risky),
    subjects.cancel_key: (owners, few, risky),
    subjects.answer_key: (owners, few, risky, risky),
    subjects.tries_key: (counts,),
    subjects.lease_key: (risky,),
    subjects.producer_key: (risky,),
    subjects.RunPlace: (risky, few, owners, risky, counts),
}
MSG_IDS = {
    subjects.batch_msg_id: (owners, risky, risky, counts, counts),
    subjects.send_msg_id: (owners, risky),
    subjects.lost_msg_id: (owners, risky, counts),
}
OTHERS = {
    subjects.cursor_key: (owners, few, risky),
    subjects.inbox_consumer: (risky,),
    subjects.producer_name: (risky, risky),
}


def named(table: dict[Callable[..., Any], tuple[st.SearchStrategy[Any], ...]]) -> st.SearchStrategy[tuple[Any, tuple[Any, ...], str]]:
    """A function of the table, its arguments, and the name that it makes of them."""
    return st.one_of(
        *(
            st.tuples(*arguments).map(lambda values, make=make: (make, values, str(getattr(made := make(*values), "key", made))))
            for make, arguments in table.items()
        )
    )


def meaning(make: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a name stands for. A first batch's message id does not say whose it is, on purpose: storage keeps one of two producers'."""
    return (make, values[0], *values[2:]) if make is subjects.batch_msg_id and values[-1] == 1 else (make, *values)


@pytest.mark.parametrize("table", [SUBJECTS, RUNS_KEYS, MSG_IDS, OTHERS], ids=["subjects", "keys in RUNS", "message ids", "others"])
@given(data=st.data())
@settings(max_examples=400)
def test_no_two_things_share_a_name(table: Any, data: st.DataObject) -> None:
    """Of all functions that make names for one place, with all arguments."""
    name = named(table)
    (make, values, text), (other_make, other_values, other_text) = data.draw(name), data.draw(name)
    if data.draw(st.booleans()):  # the same, but for one argument: what random pairs seldom are
        at = data.draw(st.integers(0, len(values) - 1))
        other_make, other_values = make, (*values[:at], data.draw(table[make][at]), *values[at + 1 :])
        other_text = str(getattr(made := make(*other_values), "key", made))
    same = meaning(make, values) == meaning(other_make, other_values)
    if table is not OTHERS or make is other_make:
        assert (text == other_text) == same


def matches(pattern: str, subject: str) -> bool:
    """Whether NATS gives who asked for `pattern` what is said to `subject`."""
    wanted, said = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(said) >= len(wanted) and all(w in ("*", s) for w, s in zip(wanted[:-1], said, strict=False))
    return len(wanted) == len(said) and all(w in ("*", s) for w, s in zip(wanted, said, strict=True))


@given(owners, owners, few, few, risky, risky, risky)
def test_patterns_match_what_is_meant_alone(
    user: UserKey, other: UserKey, shard: int, other_shard: int, run_id: str, other_run: str, device: str
) -> None:
    mine = (user, shard) == (other, other_shard)
    assert matches(subjects.cursor_keys(user, shard), subjects.cursor_key(other, other_shard, device)) == mine
    assert matches(subjects.answer_keys(user, shard), subjects.answer_key(other, other_shard, run_id, device)) == mine
    place = subjects.RunPlace(device, other_shard, other, other_run, 1)
    assert matches(subjects.attempt_keys(user, shard, run_id), place.key) == (mine and run_id == other_run)
    assert matches(subjects.run_keys(run_id), place.key) == (run_id == device)
    assert matches(subjects.RunPlace(run_id, shard, user, run_id, 1).any_producer, place.key) == (mine and run_id == other_run)
    assert matches(subjects.inbox_group_subjects(run_id), subjects.inbox_subject(other_run, other, other_shard)) == (run_id == other_run)
    assert matches(subjects.event_subjects(shard), subjects.event_subject(other, other_shard)) == (shard == other_shard)
    assert matches(subjects.producer_keys(), subjects.producer_key(device))
    for pattern in (subjects.run_cancels(), subjects.run_answers()):
        for make in (subjects.cancel_key, subjects.alert_key):
            key = subjects.kv_subject(subjects.RUNS_BUCKET, make(other, other_shard, other_run))
            assert matches(pattern, key) == (pattern == subjects.run_cancels() and make is subjects.cancel_key)
