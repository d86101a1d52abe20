"""`runcast admin`: what can't work is said before anything is sent, and keys are in no message."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from runcast.bus.identity.apikeys import make_key
from runcast.bus.identity.authfile import read_authfile
from runcast.cli.admin.command import make_target, read_duration
from runcast.cli.failures import CommandError
from runcast.cli.main import app

KEY = make_key("k123", bytes(range(32))).text


def run(*args: str, **environ: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(args), env=environ)
    assert KEY not in done.output
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        (("disconnect",), 2, "usage: say whom"),
        (("revoke", "--user", "a", "--agent", "b"), 2, "usage: say whom"),
        (("revoke", "--device", "d"), 2, "usage: say whom"),
        (("revoke", "--user", "a", "--for", "soon"), 2, "write it like 90s, 15m, 12h or 7d"),
        (("erase", "--user", "a"), 2, "usage: it can't be undone; add --yes"),
        (("status", "--url", "ftp://x"), 2, "address_invalid"),
        (("status", "--url", "10.0.0.1:7402", "--key", KEY), 2, "would go to 10.0.0.1 in plain text"),
        (("status", "--key", "a b"), 2, "usage: the key is no key"),
        (("status", "--key", "ключ"), 2, "usage: the key is no key"),
        (("status", "--url", "127.0.0.1:9", "--key", KEY), 1, "unreachable: no admin process answers at 127.0.0.1:9"),
        (("status", "--tls-cert", __file__, "--url", "https://127.0.0.1:9"), 2, "tls_incomplete"),
    ],
)
def test_what_can_not_work_is_said(args: tuple[str, ...], status: int, told: str) -> None:
    found, text = run("admin", *args)
    assert found == status, text
    assert told in text


def test_the_key_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    status, text = run("admin", "status", "--url", "10.0.0.1:7402", "--key-file", str(tmp_path / "key"))
    assert (status, "in plain text" in text) == (2, True)
    status, text = run("admin", "status", "--url", "10.0.0.1:7402", RUNCAST_ADMIN_KEY=KEY)
    assert (status, "in plain text" in text) == (2, True)


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800)])
def test_durations(text: str, seconds: int) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["0s", "1", "-1s", "1.5h", "1w", "1h ", "9999999999s", "\u0661h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(CommandError):
        read_duration(text)


def test_targets() -> None:
    assert make_target("alice", "", "acme", "", "").user.tenant == "acme"
    assert make_target("alice", "phone", "acme", "", "").device.device == "phone"
    assert make_target("", "", "acme", "t", "").token_id == "t"
    assert make_target("", "", "acme", "", "analyst").agent == "analyst"


def test_a_key_for_an_operator_is_believed(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["key", "ops", "--role", "view, operate"])
    assert done.exit_code == 0
    (tmp_path / "auth.toml").write_text(done.stdout)
    key = done.stdout.split("# ")[-1].strip()
    _, ops = read_authfile(tmp_path / "auth.toml").admins.by_key(key)
    assert ops is not None
    assert (ops.name, ops.roles) == ("ops", ("view", "operate"))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [(("--role", "operate"), "who may act may look"), (("--role", "root"), "root"), (("--role", "view", "--tenant", "t"), "usage")],
)
def test_what_is_no_operator(wrong: tuple[str, ...], told: str) -> None:
    status, text = run("key", "ops", *wrong)
    assert status == 2
    assert told in text
