"""What is open: settings, auth files, files' modes, and how findings are counted."""

import os
from pathlib import Path

import pytest

from runcast.bus.identity.authfile import read_authfile
from runcast.bus.sealing.keysfile import read_keysfile
from runcast.cli.failures import CommandError
from runcast.cli.security import authority, environment, files, stored
from runcast.cli.security.examine import _files, read_environ
from runcast.cli.security.findings import Finding, Severity, count, fails, is_development, worst_first
from runcast.cli.security.report import as_json
from tests.unit.bus.sealing.keys import secret, tenant, write

CLOSED = {
    "RUNCAST_AUTH": "jwt",
    "RUNCAST_BIND": "0.0.0.0:7480",
    "RUNCAST_TLS_CERT": "c",
    "RUNCAST_NATS_URL": "tls://edge:pass-word@n:4222",
    "RUNCAST_KEYS_FILE": "k",
    "RUNCAST_POLICY_FILE": "p",
}


def opened(found: list[Finding]) -> dict[str, str]:
    return {finding.id: finding.severity for finding in found if finding.severity != "ok"}


def test_nothing_is_open() -> None:
    assert opened(environment.review(CLOSED, root=False)) == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"RUNCAST_AUTH": "dev"}, {"dev_mode": "high"}),
        ({"RUNCAST_TLS_CERT": ""}, {"port_plain": "medium"}),
        ({"RUNCAST_TLS_CERT": "", "RUNCAST_BIND": "127.0.0.1:1"}, {}),
        ({"RUNCAST_TLS_CERT": "", "RUNCAST_BIND": "127.0.0.1:1", "RUNCAST_HTTP_BIND": "0.0.0.0:2"}, {"port_plain": "medium"}),
        ({"RUNCAST_ORIGINS": "https://a.test, *"}, {"origins_any": "medium"}),
        ({"RUNCAST_COOKIE": "token"}, {"cookie_name": "low"}),
        ({"RUNCAST_COOKIE": "__Host-token"}, {}),
        ({"RUNCAST_NATS_URL": "nats://edge:pass-word@n:4222"}, {"nats_plain": "high"}),
        ({"RUNCAST_NATS_URL": "tls://n, 10.0.0.1"}, {"nats_plain": "high", "nats_nobody": "high"}),
        ({"RUNCAST_NATS_URL": "tls://n", "RUNCAST_NATS_CREDS": "f"}, {}),
        ({"RUNCAST_KEYS_FILE": ""}, {"keys_none": "medium"}),
        ({"RUNCAST_POLICY_FILE": ""}, {"policy_none": "low"}),
        ({"RUNCAST_LOG_LEVEL": "debug"}, {"log_debug": "low"}),
        ({"RUNCAST_CONNECTS_PER_S": "0", "RUNCAST_STRANGERS_PER_ADDRESS": "64"}, {"bounds_off": "medium"}),
        ({"RUNCAST_AUTH": ""}, {"settings": "unknown"}),
    ],
)
def test_what_settings_leave_open(changes: dict[str, str], expected: dict[str, str]) -> None:
    found = environment.review({**CLOSED, **changes}, root=False)
    assert opened(found) == expected
    assert all(finding.advice for finding in found if finding.severity != "ok")
    assert "pass-word" not in repr(found)


def test_root_is_told() -> None:
    assert opened(environment.review(CLOSED, root=True)) == {"root": "medium"}


ISSUER = 'name = "i"\nissuer = "https://i.test/"\naudience = ["a"]\nalgorithms = ["RS256"]\njwks_url = "https://i.test/keys"\n'
AGENT = 'name = "a"\nissuer = "m"\n'
MACHINES = ISSUER.replace("i", "m", 1).replace('"i"', '"m"').replace("//i.", "//m.") + 'peers = "agents"\nlifetime_max_s = 60\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'[[issuers]]\n{ISSUER}tenant = "t"\nlifetime_max_s = 3600', {}),
        (f'[[issuers]]\n{ISSUER}tenant = "t"', {"token_life": "medium"}),
        (f'[[issuers]]\n{ISSUER}tenant = "t"\nlifetime_max_s = 90000', {"token_life": "medium"}),
        (f'[[issuers]]\n{ISSUER}tenant_claim = "org"\nlifetime_max_s = 60', {"tenants_any": "medium"}),
        (f'[[issuers]]\n{ISSUER}tenant = "t"\nlifetime_max_s = 60\nleeway_s = 120', {"leeway": "low"}),
        ('[http]\nurl = "https://h.test/"', {"hook_open": "low"}),
        ('[http]\nurl = "https://h.test/"\nbearer = "s3cret"', {}),
    ],
)
def test_what_an_auth_file_believes_too_widely(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "auth.toml"
    path.write_text(text)
    found = authority.review(read_authfile(path), str(path))
    assert opened(found) == expected
    assert "s3cret" not in repr(found)


def test_scopes_for_all_are_told_once_with_names(tmp_path: Path) -> None:
    digest = "0" * 64
    path = tmp_path / "auth.toml"
    path.write_text(
        "".join(
            f'[[agents]]\nname = "a{n}"\nkeys = ["agent{n}:{digest}"]\ntenants = ["*"]\ngroups = ["g"]\nagents = ["a"]\n' for n in range(7)
        )
        + f'[[agents]]\nname = "good"\nkeys = ["good:{digest}"]\ntenants = ["t"]\ngroups = ["g"]\nagents = ["a"]\n'
    )
    (finding,) = authority.review(read_authfile(path), str(path))
    assert (finding.id, finding.severity) == ("scope_tenants", "medium")
    assert finding.found == "'a0', 'a1', 'a2', 'a3', 'a4' and 2 more may reach the users of every tenant"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([tenant("*", "k", more="plain = false")], {}),
        (['unlisted = "refuse"', tenant("acme", "k", more="plain = false")], {}),
        ([tenant("acme", "k", more="plain = false")], {"keys_unlisted": "low"}),
        ([tenant("*", "k")], {"keys_plain": "low"}),
    ],
)
def test_what_a_keys_file_leaves_in_plain_text(parts: list[str], expected: dict[str, str], tmp_path: Path) -> None:
    path = write(tmp_path, *parts)
    assert opened(stored.review(read_keysfile(path).keyring, str(path))) == expected


def test_files_that_no_service_starts_with_are_told_and_what_they_name_is_looked_at(tmp_path: Path) -> None:
    named = tmp_path / "acme.key"
    named.write_text(secret("k"))
    named.chmod(0o644)
    keys = write(tmp_path, '[tenants.acme]\ncurrent = "k"\nplain = false\nkeys = { k = { file = "acme.key" } }')
    keys.chmod(0o600)
    policy = tmp_path / "policy.toml"
    policy.write_text("[tiers.standard]\nsend_per_s = 1\n")
    policy.chmod(0o600)
    found = _files({"RUNCAST_KEYS_FILE": str(keys), "RUNCAST_POLICY_FILE": str(policy)})
    assert opened(found) == {"file_mode": "high", "policy_file": "unknown", "keys_unlisted": "low"}
    assert [finding.where for finding in found if finding.severity == "high"] == [str(named)]
    keys.write_text(f'[tenants.acme]\ncurrent = "k"\nkeys = {{ k = "{secret("k")[:-8]}" }}\n')
    found = _files({"RUNCAST_KEYS_FILE": str(keys)})
    assert opened(found) == {"keys_file": "unknown"}
    assert secret("k")[:20] not in repr(found)


@pytest.mark.parametrize(
    ("mode", "directory", "severity"),
    [(0o600, 0o700, "ok"), (0o440, 0o755, "ok"), (0o644, 0o755, "high"), (0o602, 0o755, "critical"), (0o600, 0o777, "critical")],
)
def test_who_else_can_read_or_change_secrets(mode: int, directory: int, severity: str, tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "auth.toml"
    secret.parent.mkdir()
    secret.write_text("")
    secret.chmod(mode)
    secret.parent.chmod(directory)
    linked = tmp_path / "auth.toml"
    linked.symlink_to(secret)  # as secrets are mounted
    (finding,) = files.review({"RUNCAST_AUTH_FILE": str(linked)})
    assert (finding.id, finding.severity) == ("file_mode", severity)


def test_what_everybody_may_read_and_what_is_not_there(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text("")
    cert.chmod(0o644)
    found = files.review({"RUNCAST_TLS_CERT": str(cert), "RUNCAST_TLS_KEY": str(tmp_path / "gone")}, [cert])
    assert [finding.severity for finding in found] == ["unknown", "high", "ok"]
    assert os.fspath(tmp_path / "gone") in found[0].where


def test_counting() -> None:
    found = [Finding("a", "ok", "", "", ""), Finding("b", "medium", "", "", ""), Finding("c", "unknown", "", "", "")]
    assert [finding.id for finding in worst_first(found)] == ["b", "c", "a"]
    assert not fails(found, "high")
    assert fails(found, "medium")
    assert not fails(found[:1] + found[2:], "low")  # what was not looked at is told, and fails nothing
    assert count(found)["medium"] == 1
    assert '"secure": false' in as_json(found, fail_on="medium")
    assert '"secure": true' in as_json(found, fail_on="high")


@pytest.mark.parametrize(
    ("id_", "severity", "development"),
    [("edge_dev", "high", True), ("dev_mode", "high", True), ("router_open", "ok", False), ("nats_rights", "high", False)],
)
def test_development_mode_is_told_from_a_deployment_that_is_open(id_: str, severity: Severity, development: bool) -> None:
    found = [Finding("other", "high", "", "", ""), Finding(id_, severity, "", "", "")]
    assert is_development(found) is development
    assert ('"development": true' in as_json(found, fail_on="high")) is development


def test_the_form_of_an_env_file(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("# a note=1\nRUNCAST_AUTH=jwt\nexport RUNCAST_BIND='0.0.0.0:1'\n\nnonsense\n")
    assert read_environ(path) == {"RUNCAST_AUTH": "jwt", "RUNCAST_BIND": "0.0.0.0:1"}
    with pytest.raises(CommandError, match="can't be read"):
        read_environ(tmp_path / "gone")
