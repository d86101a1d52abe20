"""Development tokens: what is a user, and what is not."""

import pytest

from runcast.edge.auth import DevAuthenticator, authenticator
from runcast.wire import limits
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey, encode_token


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
    assert await DevAuthenticator().authenticate(token) == user
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
        await DevAuthenticator().authenticate(token)
    assert caught.value.code.name == "unauthenticated"
    assert "dev.default.alice" in caught.value.message
    assert len(caught.value.message) < 200, "the token is not repeated"


def test_modes() -> None:
    assert isinstance(authenticator("dev"), DevAuthenticator)
    with pytest.raises(KeyError):
        authenticator("")
