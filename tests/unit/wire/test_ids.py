"""Ids and tokens: nothing that a person types reaches a subject as it is, and no two ids meet in one token."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runcast.wire import limits
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import UserKey, check_id, decode_token, encode_token, event_id
from tests import hostile

TOKEN = re.compile(r"(?:[A-Za-z0-9-]|_[0-9A-F]{2})+", re.ASCII)

# Ids that a careless comparison takes for each other: one that is hostile, or any, and what folding, trimming or escaping makes of it.
pairs = st.one_of(st.sampled_from(hostile.IDS), st.text(min_size=1, max_size=8)).flatmap(
    lambda one: st.tuples(st.just(one), st.sampled_from([one, *hostile.relatives(one)]))
)


@given(st.text(min_size=1))
@example("_41")
@example("\x00.*>")
def test_decoding_reverses_encoding(value: str) -> None:
    token = encode_token(value)
    assert TOKEN.fullmatch(token)
    assert decode_token(token) == value
    assert len(token) <= 3 * len(value.encode())


@given(st.text(min_size=1), st.text(min_size=1))
@example("a", "A")
@example("\u00e9", "e\u0301")
def test_different_ids_have_different_tokens(one: str, other: str) -> None:
    assert (encode_token(one) == encode_token(other)) == (one == other)


@given(pairs)
def test_look_alikes_have_tokens_of_their_own(pair: tuple[str, str]) -> None:
    one, other = pair
    assert (encode_token(one) == encode_token(other)) == (one == other)


@given(pairs, pairs)
def test_look_alike_users_never_share_a_token(tenants: tuple[str, str], users: tuple[str, str]) -> None:
    keys = {UserKey(tenant, user) for tenant in tenants for user in users}
    assert len({key.token for key in keys}) == len(keys)


@given(st.tuples(st.text(min_size=1), st.text(min_size=1)), st.tuples(st.text(min_size=1), st.text(min_size=1)))
@example(("a.b", "c"), ("a", "b.c"))
@example(("a", ".c"), ("a.", "c"))
def test_users_never_share_a_token(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (UserKey(*one).token == UserKey(*other).token) == (one == other)
    assert UserKey(*one).token.count(".") == 1


def test_hostile_ids_stay_apart_and_harmless() -> None:
    tokens = {value: encode_token(value) for value in hostile.IDS}
    assert len(set(tokens.values())) == len(hostile.IDS) > 50
    for value, token in tokens.items():
        assert TOKEN.fullmatch(token), value
        assert decode_token(token) == value
        # A WebSocket subprotocol entry may hold it (RFC 7230 token), and NATS takes it as one token.
        assert not set(token) & set(" .*>\t,;=\"'()/\\@\x00")


def test_normal_forms_are_not_folded() -> None:
    composed, decomposed = unicodedata.normalize("NFC", "\u00e9"), unicodedata.normalize("NFD", "\u00e9")
    assert composed != decomposed
    assert encode_token(composed) == "_C3_A9"
    assert encode_token(decomposed) == "e_CC_81"


def test_encoding_is_pinned() -> None:
    assert encode_token("alice") == "alice"
    assert encode_token("Alice-9") == "Alice-9"
    assert encode_token("a_b@c.d") == "a_5Fb_40c_2Ed"
    assert UserKey("default", "alice").token == "default.alice"


@pytest.mark.parametrize(
    "token",
    [
        "",  # no id is empty
        ".",
        "a.b",
        "a b",
        "*",
        ">",
        "_",
        "_4",
        "_G0",
        "_+1",
        "_ 1",
        "_1_",
        "a_",
        "_41",  # "A" is kept, never written
        "_2d",  # lower-case hex
        "_2D",  # "-" is kept
        "_c3_a9",
        "_C3",  # not UTF-8
        "_FF",
        "_ED_A0_80",  # a surrogate
        "_C0_AE",  # an overlong dot
        "é",
        "Ā",
        "\x00",
        "_\u0664\u0661",  # digits, but not ASCII ones
    ],
)
def test_what_encoding_never_writes_is_refused(token: str) -> None:
    with pytest.raises(IdInvalidError) as caught:
        decode_token(token)
    assert repr(token) in str(caught.value)


@given(st.text(alphabet="_0123456789ABCDEFabcdef-.é\x00", max_size=12))
def test_decoding_accepts_only_what_encoding_writes(token: str) -> None:
    try:
        value = decode_token(token)
    except IdInvalidError:
        return
    assert encode_token(value) == token


@pytest.mark.parametrize(
    "value", ["a", "a" * limits.ID_BYTES_MAX, "é" * (limits.ID_BYTES_MAX // 2), "😀" * (limits.ID_BYTES_MAX // 4), "\x00"]
)
def test_ids_within_bounds_are_returned(value: str) -> None:
    assert check_id(value, "user") is value


@pytest.mark.parametrize("value", ["", "a" * (limits.ID_BYTES_MAX + 1), "é" * (limits.ID_BYTES_MAX // 2) + "a", "😀" * 33])
def test_ids_out_of_bounds_are_refused_by_bytes(value: str) -> None:
    with pytest.raises(IdInvalidError, match=f"user id has {len(value.encode())} bytes") as caught:
        check_id(value, "user id")
    assert caught.value.code.name == "id_invalid"


@pytest.mark.parametrize("value", ["\ud800", "a\udfff"])
def test_lone_surrogates_are_refused(value: str) -> None:
    with pytest.raises(IdInvalidError, match="lone surrogate"):
        check_id(value, "device")


@given(
    st.tuples(st.text(min_size=1), st.integers(1, 99), st.integers(1, 999)),
    st.tuples(st.text(min_size=1), st.integers(1, 99), st.integers(1, 999)),
)
@example(("a", 1, 2), ("a.1", 2, 3))
@example(("a.1", 2, 3), ("a", 1, 2))
def test_event_ids_are_injective(one: tuple[str, int, int], other: tuple[str, int, int]) -> None:
    assert (event_id(*one) == event_id(*other)) == (one == other)
