"""`runcast token`: what it makes is believed, and what can't be made is said."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from runcast.bus.identity.authfile import read_authfile
from runcast.bus.identity.jwt import TokenRefusedError, Verifier
from runcast.cli.main import app
from runcast.edge.auth import DevAuthenticator
from runcast.wire.ids import UserKey
from tests.unit.bus.identity.issuing import SECRET, issuer, public_pem, write


def run(*args: str) -> str:
    done = CliRunner().invoke(app, ["token", *args])
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("\n")
    assert len(done.stdout.splitlines()) == 1, "it can be passed on by a shell"
    return done.stdout.strip()


def refused(*args: str) -> str:
    done = CliRunner().invoke(app, ["token", *args])
    assert done.exit_code == 2
    assert SECRET not in done.output
    return " ".join(done.output.split())


async def test_a_development_token() -> None:
    assert run("--user", "alice") == "dev.default.alice"
    odd = run("--user", "a.b c", "--tenant", "\u00e9")
    assert (await DevAuthenticator().authenticate(odd, {})).user == UserKey("\u00e9", "a.b c")
    assert "128 bytes" in refused("--user", "u" * 129)


async def believed(file: Path, *args: str) -> UserKey:
    made = run("--auth-file", str(file), *args)
    return (await Verifier(read_authfile(file)).verify(made, "users")).identity.user


async def test_a_jwt_counts_where_its_file_counts(tmp_path: Path) -> None:
    assert await believed(write(tmp_path, issuer()), "--user", "alice") == UserKey("default", "alice")
    by_claim = issuer(tenant="", tenant_claim=["org", "id"], tenants=["acme", "globex"], user_claim=["who", "id"], lifetime_max_s=3600)
    file = write(tmp_path, by_claim)
    assert await believed(file, "--user", "bob", "--tenant", "globex") == UserKey("globex", "bob")
    assert await believed(file, "--user", "bob") == UserKey("acme", "bob")
    assert "not one of the issuer's" in refused("--auth-file", str(file), "--user", "bob", "--tenant", "initech")
    assert "too long" in refused("--auth-file", str(file), "--user", "bob", "--lifetime", "7200")


async def test_one_that_is_over(tmp_path: Path) -> None:
    with pytest.raises(TokenRefusedError) as caught:
        await believed(write(tmp_path, issuer(leeway_s=30)), "--user", "alice", "--lifetime", "-31")
    assert caught.value.code.name == "token_expired"


async def test_the_issuer_is_named_when_there_are_several(tmp_path: Path) -> None:
    keyed = issuer(name="keyed", issuer="https://keyed.test/", algorithms=["RS256"], public_key_file="keyed.pem")
    file = write(tmp_path, issuer(), keyed, keyed_pem=public_pem("rsa"))
    assert await believed(file, "--user", "alice") == UserKey("default", "alice")
    assert "login" in refused("--auth-file", str(file), "--user", "alice", "--issuer", "keyed")
    file = write(tmp_path, keyed)
    assert "no issuer in the auth file has a secret" in refused("--auth-file", str(file), "--user", "alice")
    file = write(tmp_path, issuer(), issuer(name="two", issuer="https://two.test/", tenant="two", secret="z" * 64))
    assert "login, two" in refused("--auth-file", str(file), "--user", "alice")
    assert await believed(file, "--user", "alice", "--issuer", "two") == UserKey("two", "alice")
    assert "tenant 'two' alone" in refused("--auth-file", str(file), "--user", "alice", "--issuer", "two", "--tenant", "default")


def test_a_file_that_can_not_be_used_says_why(tmp_path: Path) -> None:
    assert "can't be read" in refused("--auth-file", str(tmp_path / "gone.toml"), "--user", "alice")
