"""Whom operators mean: written and read back, and never somebody else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.wire import limits
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import UserKey
from runcast.wire.targets import Target, make_target, parse_target, targets_of_agent, targets_of_device

ids = st.text(min_size=1, max_size=20).filter(lambda text: len(text.encode(errors="replace")) <= limits.ID_BYTES_MAX)
ids = ids.filter(lambda text: not re.search("[\ud800-\udfff]", text))
targets = st.one_of(
    st.builds(lambda *names: make_target("user", *names), ids, ids),
    st.builds(lambda *names: make_target("device", *names), ids, ids, ids),
    st.builds(lambda name: make_target("token", name), ids),
    st.builds(lambda name: make_target("agent", name), ids),
)


def test_keys_are_pinned() -> None:
    """Stored revocations are found by these."""
    assert make_target("user", "acme", "a.b").key == "user.acme.a_2Eb"
    assert make_target("device", "acme", "alice", "tab 1").key == "device.acme.alice.tab_201"
    assert make_target("token", "j/1").key == "token.j_2F1"
    assert make_target("agent", "analyst").key == "agent.analyst"


@given(targets, targets)
def test_each_has_a_key_of_its_own_that_leads_back(one: Target, other: Target) -> None:
    assert parse_target(one.key) == one
    assert (one.key == other.key) is (one == other)
    assert re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+", one.key, re.ASCII)


@pytest.mark.parametrize(
    "key", ["", "user", "user.", "user.acme", "user.acme.alice.tab", "everybody.x", "token.a b", "agent.>", "user.*.*"]
)
def test_what_is_nobody(key: str) -> None:
    with pytest.raises(IdInvalidError):
        parse_target(key)


@pytest.mark.parametrize(("kind", "names"), [("user", ("acme", "")), ("agent", ()), ("token", ("x" * 129,)), ("all", ("x",))])
def test_what_can_not_be_said(kind: str, names: tuple[str, ...]) -> None:
    with pytest.raises(IdInvalidError):
        make_target(kind, *names)


def test_by_what_a_connection_is_meant() -> None:
    alice = UserKey("acme", "alice")
    assert targets_of_device(alice, "tab", "j1") == (
        make_target("user", "acme", "alice"),
        make_target("device", "acme", "alice", "tab"),
        make_target("token", "j1"),
    )
    assert len(targets_of_device(alice, "tab", "")) == 2, "a token without an id is not meant by the id that is none"
    assert targets_of_agent("analyst", "k1") == (make_target("agent", "analyst"), make_target("token", "k1"))
    assert len(targets_of_agent("analyst", "")) == 1
