"""Agents: whose a key is, what is granted, and what is wrong with an entry, without a secret in any message."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.bus.identity.agents import Agents
from runcast.bus.identity.apikeys import find_owner, make_key, read_kept
from runcast.bus.identity.authfile import AuthFileError, read_authfile
from runcast.bus.identity.scopes import EVERYTHING, Scopes
from runcast.v1.event_pb2 import AgentStarted, AgentThinking, Batch, Event, User
from runcast.wire.errors import RuncastError
from tests.unit.bus.identity.issuing import issuer

KEY = make_key("k123", bytes(range(32)))


def write(path: Path, *agents: dict[str, Any]) -> Path:
    tables = [("agents", agent) for agent in agents]
    tables.append(("issuers", issuer(name="machines", peers="agents", tenant="")))
    lines = [line for name, table in tables for line in (f"[[{name}]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()))]
    file = path / "auth.toml"
    file.write_text("\n".join(lines))
    return file


def read(path: Path, *agents: dict[str, Any]) -> Agents:
    return read_authfile(write(path, *agents)).agents


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "analyst", "tenants": ["acme"], "keys": [KEY.kept]} | changes


def test_what_an_entry_grants(tmp_path: Path) -> None:
    agents = read(tmp_path, entry(groups=["support"], certificates=["spiffe://x/a"], issuer="machines"))
    key_id, agent = agents.by_key(KEY.text)
    assert key_id == "k123"
    assert agent is agents.names["analyst"] is agents.by_certificate(["other", "spiffe://x/a"]) is agents.by_token("machines", "analyst")
    assert agent.scopes == Scopes(frozenset({"acme"}), frozenset({"*"}), frozenset({"*"}), frozenset({"support"}))
    assert agents.by_certificate(["other"]) is None
    assert agents.by_token("login", "analyst") is None
    assert agents.by_token("", "analyst") is None


def test_a_certificate_of_two_is_nobodys(tmp_path: Path) -> None:
    agents = read(tmp_path, entry(certificates=["a"]), {"name": "b", "tenants": ["*"], "certificates": ["b"]})
    assert agents.by_certificate(["a", "b"]) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keys": []}, "set keys, issuer or certificates"),
        ({"tenants": []}, "tenants: Expected `array` of length >= 1"),
        ({"tenants": ["acme", "*"]}, "stands alone"),
        ({"agents": ["ana*"]}, "exact names"),
        ({"kinds": ["agent_thought"]}, "there is no 'agent_thought'"),
        ({"keys": [KEY.text]}, "never put a key itself here"),
        ({"keys": [KEY.kept, KEY.kept]}, "'k123' is there twice"),
        ({"issuer": "login"}, "is not the name of an issuer"),
        ({"tenant": ["acme"]}, "did you mean tenants"),
        ({"group": "x"}, "did you mean groups"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(AuthFileError) as caught:
        read(tmp_path, entry(**change))
    assert told in str(caught.value)
    assert KEY.text not in str(caught.value)


def test_names_belong_to_one_agent(tmp_path: Path) -> None:
    with pytest.raises(AuthFileError) as caught:
        read(tmp_path, entry(certificates=["c"]), entry(), entry(name="b", certificates=["c"], keys=[]))
    assert "'analyst' is there twice" in str(caught.value)
    assert "certificate 'c' is another agent's" in str(caught.value)


def test_keys_are_found_by_nothing_but_themselves() -> None:
    kept = read_kept(KEY.kept)
    assert kept is not None
    known = {kept.id: (kept.digest, "owner")}
    assert find_owner(KEY.text, known) == ("k123", "owner")
    other = make_key("k123", bytes(32))
    unknown = make_key("k124", bytes(range(32)))
    assert find_owner(other.text, known) == ("k123", None)
    assert find_owner(unknown.text, known) == ("k124", None)
    for text in (KEY.kept, KEY.text + "x", KEY.text[:-1], KEY.text.upper(), " " + KEY.text, "", "rk_k123_" + kept.digest):
        assert find_owner(text, known)[1] is None
    assert re.fullmatch(r"rk_k123_[A-Za-z0-9_-]{43}", KEY.text)
    assert KEY.text[8:] not in KEY.kept
    for wrong in (("K1", bytes(32)), ("k123", bytes(16))):
        with pytest.raises(ValueError, match="32 random bytes"):
            make_key(*wrong)


@given(st.text(max_size=80))
def test_no_text_is_a_key_by_chance(text: str) -> None:
    kept = read_kept(KEY.kept)
    assert kept is not None
    assert find_owner(text, {kept.id: (kept.digest, 1)})[1] is None


def batch(tenant: str = "acme", agent: str = "analyst") -> Batch:
    events = [Event(agent=agent, agent_started=AgentStarted()), Event(agent=agent, agent_thinking=AgentThinking())]
    return Batch(user=User(tenant=tenant, id="u"), events=events)


NARROW = Scopes(frozenset({"acme"}), frozenset({"analyst"}), frozenset({"agent_started", "agent_thinking"}), frozenset({"support"}))


def test_what_is_granted_passes() -> None:
    for scopes in (NARROW, EVERYTHING):
        scopes.check_batch(batch())
        scopes.check_group("support")


@pytest.mark.parametrize("near", ["Acme", "acme ", "acm", "acme.x", "", "*", "\u0430cme", "acme\x00"])
def test_what_is_not_granted_is_refused_without_its_name(near: str) -> None:
    for check in (
        lambda: NARROW.check_batch(batch(tenant=near)),
        lambda: NARROW._replace(agents=frozenset({"acme"})).check_batch(batch(agent=near)),
        lambda: NARROW._replace(groups=frozenset({"acme"})).check_group(near),
        lambda: NARROW._replace(kinds=frozenset({"agent_started"})).check_batch(batch()),
    ):
        with pytest.raises(RuncastError) as caught:
            check()
        assert caught.value.code.name == "permission_denied"
        assert "acme" not in str(caught.value)


def test_an_event_of_no_known_kind_needs_all_kinds() -> None:
    unknown = Batch(user=User(tenant="acme"), events=[Event(agent="analyst")])
    with pytest.raises(RuncastError):
        NARROW.check_batch(unknown)
