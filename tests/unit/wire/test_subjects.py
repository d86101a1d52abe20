"""Names in NATS: stable (stored data hangs on them), without wildcards, and never the same for different things."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.wire import subjects
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import UserKey

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
