"""The envelope: it opens for whom and where it was sealed, and nowhere else, whatever is done to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.bus.sealing.envelope import (
    KEY_BYTES,
    MAGIC,
    NONCE_BYTES,
    NotSealedError,
    derive,
    head_of,
    is_sealed,
    place_of,
    read,
    seal,
    unseal,
)
from runcast.v1.event_pb2 import Batch
from runcast.v1.inbox_pb2 import CancelRequest, InboxMessage, KeptAnswer
from runcast.wire import limits, limits_sealing
from runcast.wire.ids import UserKey

SECRET = bytes(range(KEY_BYTES))
ALICE = UserKey("acme", "alice")
PLACE = "ev.0.acme.alice"
NONCE = bytes(NONCE_BYTES)

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
users = st.builds(UserKey, ids, ids)
key_ids = st.text("abcXYZ019._-", min_size=1, max_size=limits_sealing.KEY_ID_BYTES_MAX)
moments = st.integers(0, 2**32 - 1)
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
secrets = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


def sealed(payload: bytes, *, user: UserKey = ALICE, key_id: str = "k1", at: int = 1_000_000, place: str = PLACE) -> bytes:
    return seal(derive(SECRET, user, at // limits_sealing.USER_KEY_S), head_of(key_id, at), place, NONCE, payload)


def opened(data: bytes, *, secret: bytes = SECRET, user: UserKey = ALICE, place: str = PLACE) -> bytes:
    envelope = read(data)
    return unseal(derive(secret, user, envelope.day), envelope, place)


@given(secrets, users, key_ids, moments, nonces, st.binary(max_size=2000), st.text(max_size=50))
def test_what_was_sealed_opens(secret: bytes, user: UserKey, key_id: str, at: int, nonce: bytes, payload: bytes, place: str) -> None:
    data = seal(derive(secret, user, at // limits_sealing.USER_KEY_S), head_of(key_id, at), place, nonce, payload)
    envelope = read(data)
    assert is_sealed(data)
    assert (envelope.key_id, envelope.sealed_at) == (key_id, at)
    assert unseal(derive(secret, user, envelope.day), envelope, place) == payload
    assert len(data) <= len(payload) + limits_sealing.SEALED_OVERHEAD_BYTES_MAX
    assert len(payload) < 8 or payload not in envelope.rest[NONCE_BYTES:]


@given(st.data())
def test_any_change_is_noticed(data: st.DataObject) -> None:
    whole = sealed(data.draw(st.binary(max_size=64)))
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for other in (bytes(changed), cut, whole + b"\0", b"\0" + whole):
        with pytest.raises(NotSealedError):
            opened(other)


@given(users, users, st.binary(max_size=64))
def test_it_opens_for_nobody_else(user: UserKey, other: UserKey, payload: bytes) -> None:
    """Even at the same place: tenant and user are bound into the key itself."""
    data = sealed(payload, user=user)
    assert opened(data, user=user) == payload
    if other != user:
        with pytest.raises(NotSealedError):
            opened(data, user=other)


@pytest.mark.parametrize("place", ["ev.0.acme.bob", "ev.1.acme.alice", "in.g.0.acme.alice", "", "EV.0.acme.alice"])
def test_it_opens_nowhere_else(place: str) -> None:
    with pytest.raises(NotSealedError):
        opened(sealed(b"secret"), place=place)


def test_neither_by_another_key_nor_on_another_day() -> None:
    data = sealed(b"secret")
    with pytest.raises(NotSealedError):
        opened(data, secret=bytes(KEY_BYTES))
    envelope = read(data)
    with pytest.raises(NotSealedError):
        unseal(derive(SECRET, ALICE, envelope.day + 1), envelope, PLACE)


def test_the_same_twice_looks_different() -> None:
    key = derive(SECRET, ALICE, 0)
    first, second = (seal(key, head_of("k1", 1), PLACE, nonce, b"the same") for nonce in (NONCE, b"x" * NONCE_BYTES))
    assert first[-24:] != second[-24:]
    assert sealed(b"the same", user=UserKey("acme", "bob"))[-24:] != sealed(b"the same")[-24:]


@given(st.binary(max_size=200))
def test_rubbish_is_no_envelope(rubbish: bytes) -> None:
    for data in (rubbish, MAGIC + rubbish):
        with pytest.raises(NotSealedError):
            opened(data)


@given(st.builds(Batch, producer=ids, number=st.integers(0, 2**32 - 1)), st.builds(InboxMessage, id=ids))
def test_nothing_that_runcast_stores_looks_sealed(batch: Batch, message: InboxMessage) -> None:
    """No protobuf message begins with a zero byte: it would be the tag of field 0, which there is not."""
    for kind in (batch, message, KeptAnswer(id=message.id), CancelRequest(run_id=message.id)):
        assert not is_sealed(kind.SerializeToString())


def test_what_is_republished_or_put_aside_keeps_its_place() -> None:
    assert place_of("live.3.acme.alice") == place_of("ev.3.acme.alice") == "ev.3.acme.alice"
    assert place_of("parked.g.3.acme.alice") == place_of("in.g.3.acme.alice") == "in.g.3.acme.alice"
    assert place_of("$KV.RUNCAST_RUNS.cancel.3.acme.alice.r") == "$KV.RUNCAST_RUNS.cancel.3.acme.alice.r"


def test_a_sealed_message_fits_where_the_plain_one_did() -> None:
    largest = sealed(bytes(limits.BATCH_BYTES_MAX), key_id="k" * limits_sealing.KEY_ID_BYTES_MAX)
    assert len(largest) <= limits.BATCH_BYTES_MAX + limits_sealing.SEALED_OVERHEAD_BYTES_MAX < limits.HISTORY_CHUNK_BYTES < limits.MIB + 1


def test_the_bound_of_a_key_is_far_from_what_a_user_s_stream_may_take() -> None:
    """NIST SP 800-38D 8.3: 2^32 messages under a key with random nonces. A key is one user's, for a day."""
    assert 2**32 / limits_sealing.USER_KEY_S > 49_000  # batches a second into one user's stream
