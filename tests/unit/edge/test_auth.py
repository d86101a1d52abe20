"""Development tokens: what is a user, and what is not."""

import math

import pytest
import structlog

from runcast.bus.identity.authfile import AuthFileError
from runcast.edge.auth import DevAuthenticator, JwtAuthenticator, authenticator
from runcast.wire import limits
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey, encode_token
from tests.unit.bus.identity.issuing import issuer, write


@pytest.mark.parametrize(
    ("token", "user"),
    [
        ("dev.default.alice", UserKey("default", "alice")),
        ("dev.a_2Eb.c_20d", UserKey("a.b", "c d")),
        ("dev._C3_A9.x", UserKey("\u00e9", "x")),
        ("dev.dev.dev", UserKey("dev", "dev")),
        (f"dev.{'t' * limits.ID_BYTES_MAX}.u", UserKey("t" * limits.ID_BYTES_MAX, "u")),
        (f"dev.{encode_token('*.>')}.{encode_token(chr(0))}", UserKey("*.>", "\x00")),
    ],
)
async def test_good_tokens(token: str, user: UserKey) -> None:
    identity = await DevAuthenticator().authenticate(token, {})
    assert identity.user == user
    assert identity.term.expires_at == math.inf
    assert token == f"dev.{user.token}"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "dev",
        "dev.",
        "dev..",
        "dev.default.",
        "dev..alice",
        "dev.default",
        "dev.default.alice.more",
        "DEV.default.alice",
        "prod.default.alice",
        " dev.default.alice",
        "dev.default.alice ",
        "dev.default.al ice",
        "dev.default.*",
        "dev.default.>",
        "dev.default.a_b",
        "dev.default._41",
        "dev.default._2e",
        "dev.default._FF",
        "dev.default.\u00e9",
        "dev.default.\ud800",
        "dev.default.a\x00",
        f"dev.default.{'u' * (limits.ID_BYTES_MAX + 1)}",
        f"dev.{'_C3_A9' * 65}.u",
        "x" * 100_000,
    ],
)
async def test_bad_tokens_get_one_answer(token: str) -> None:
    with pytest.raises(RuncastError) as caught:
        await DevAuthenticator().authenticate(token, {})
    assert caught.value.code.name == "unauthenticated"
    assert "dev.default.alice" in caught.value.message
    assert len(caught.value.message) < 200, "the token is not repeated"


def test_modes(tmp_path) -> None:
    log = structlog.get_logger()
    assert isinstance(authenticator("dev", "", log), DevAuthenticator)
    assert isinstance(authenticator("jwt", str(write(tmp_path, issuer())), log), JwtAuthenticator)
    with pytest.raises(AuthFileError):
        authenticator("jwt", str(tmp_path / "gone.toml"), log)
    with pytest.raises(KeyError):
        authenticator("", str(tmp_path / "auth.toml"), log)
