"""The auth file in force follows the file on disk, but never into a file that can't be used."""

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from runcast.bus.identity.authfile import AuthFileError
from runcast.bus.identity.jwt import TokenRefusedError
from runcast.bus.identity.trust import Trust
from tests.unit.bus.identity.issuing import SECRET, issuer, public_jwk, sign, write


def trust(path) -> Trust:
    return Trust(path, structlog.get_logger())


async def counts(made: Trust, token: str) -> bool:
    try:
        await made.verify(token, "users")
    except TokenRefusedError:
        return False
    return True


async def test_a_changed_file_comes_into_force(tmp_path):
    made = trust(write(tmp_path, issuer()))
    replaced = []
    made.replaced.append(lambda: replaced.append(made.file))
    assert await counts(made, sign(SECRET, "HS256"))
    write(tmp_path, issuer(secret=["t" * 32, SECRET]))
    made.look()
    assert await counts(made, sign(SECRET, "HS256"))
    assert await counts(made, sign("t" * 32, "HS256"))
    write(tmp_path, issuer(secret="t" * 32))
    made.look()
    assert not await counts(made, sign(SECRET, "HS256"))
    made.look()
    assert len(replaced) == 2


async def test_a_changed_key_file_comes_into_force(tmp_path):
    made = trust(write(tmp_path, issuer(secret_file="s"), s=SECRET))
    (tmp_path / "s").unlink()
    made.look()
    assert made.report()["state"] == "degraded"
    (tmp_path / "s").write_text("t" * 32)
    made.look()
    assert made.report() == {"state": "ok", "reason": ""}
    assert await counts(made, sign("t" * 32, "HS256"))


async def test_a_file_that_can_not_be_used_does_not(tmp_path):
    made = trust(write(tmp_path, issuer()))
    with capture_logs() as logs:
        for _ in range(3):
            write(tmp_path, issuer(algorithms=["none"]))
            made.look()
    assert [log["event"] for log in logs] == ["auth_file_refused"], "said once"
    assert await counts(made, sign(SECRET, "HS256"))
    assert made.report() == {"state": "degraded", "reason": "the auth file changed and can't be used; see the log"}
    write(tmp_path, issuer())
    made.look()
    assert made.report()["state"] == "ok"


async def test_it_follows_by_itself(tmp_path, key_server):
    key_server.keys = [public_jwk("rsa", kid="a")]
    made = trust(write(tmp_path, issuer(algorithms=["RS256"], jwks_url=key_server.url)))
    assert made.report()["state"] == "degraded", "not fetched yet"
    replaced = asyncio.Event()
    made.replaced.append(replaced.set)
    running = asyncio.ensure_future(made.run(every_s=0.01))
    try:
        assert await counts(made, sign("rsa", "RS256", {"kid": "a"}))
        write(tmp_path, issuer(algorithms=["RS256"], jwks_url=key_server.url, leeway_s=5))
        await asyncio.wait_for(replaced.wait(), 5)
        assert await counts(made, sign("rsa", "RS256", {"kid": "a"}))
        assert key_server.asked == 1, "the key set stays when the file changes"
        assert made.report()["state"] == "ok"
    finally:
        running.cancel()


def test_there_is_no_start_without_a_file(tmp_path):
    with pytest.raises(AuthFileError):
        trust(tmp_path / "auth.toml")
