"""Operators: whose a key is, what a role allows, and what is wrong with an entry, without a secret in any message."""

import json
from pathlib import Path
from typing import Any

import pytest

from runcast.bus.identity.admins import EVERYBODY, Admins
from runcast.bus.identity.apikeys import make_key
from runcast.bus.identity.authfile import AuthFileError, read_authfile
from runcast.wire.errors import RuncastError

KEY = make_key("k123", bytes(range(32)))
AGENT_KEY = make_key("a123", bytes(range(32)))


def read(path: Path, *admins: dict[str, Any]) -> Admins:
    agent = {"name": "analyst", "tenants": ["*"], "keys": [AGENT_KEY.kept], "certificates": ["agent"]}
    tables = [("agents", agent), *(("admins", admin) for admin in admins)]
    lines = [line for name, table in tables for line in (f"[[{name}]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()))]
    file = path / "auth.toml"
    file.write_text("\n".join(lines))
    return read_authfile(file).admins


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "ops", "keys": [KEY.kept]} | changes


def test_what_an_entry_grants(tmp_path: Path) -> None:
    admins = read(tmp_path, entry(certificates=["spiffe://x/ops"]), {"name": "boss", "certificates": ["b"], "roles": ["view", "operate"]})
    key_id, ops = admins.by_key(KEY.text)
    assert key_id == "k123"
    assert ops is admins.names["ops"] is admins.by_certificate(["other", "spiffe://x/ops"])
    ops.check("view")
    with pytest.raises(RuncastError, match="needs the role 'operate'") as caught:
        ops.check("operate")
    assert caught.value.code.name == "permission_denied"
    for role in ("view", "operate"):
        admins.names["boss"].check(role)
        EVERYBODY.check(role)
    assert admins.by_certificate(["other"]) is None
    assert admins.by_certificate(["spiffe://x/ops", "b"]) is None  # of two: nobody's


def test_an_agent_is_no_operator(tmp_path: Path) -> None:
    admins = read(tmp_path, entry())
    assert admins.by_key(AGENT_KEY.text)[1] is None
    assert admins.by_certificate(["agent"]) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keys": []}, "set keys or certificates"),
        ({"roles": []}, "roles: Expected `array` of length >= 1"),
        ({"roles": ["operate"]}, 'set roles = ["view", "operate"]'),
        ({"roles": ["view", "root"]}, "Invalid enum value 'root'"),
        ({"keys": [KEY.text]}, "never put a key itself here"),
        ({"keys": [KEY.kept, KEY.kept]}, "'k123' is there twice"),
        ({"keys": [AGENT_KEY.kept]}, "'a123' is there twice"),
        ({"certificates": ["agent"]}, "certificate 'agent' is another one's"),
        ({"role": ["view"]}, "did you mean roles"),
        ({"tenants": ["acme"]}, "'tenants' is no setting"),
        ({"name": ""}, "name: Expected `str` of length >= 1"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(AuthFileError) as caught:
        read(tmp_path, entry(**change))
    assert told in str(caught.value)
    assert KEY.text not in str(caught.value)


def test_names_belong_to_one(tmp_path: Path) -> None:
    with pytest.raises(AuthFileError, match="'ops' is there twice"):
        read(tmp_path, entry(), entry(keys=[], certificates=["c"]))
