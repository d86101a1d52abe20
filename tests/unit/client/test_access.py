"""Tokens: asked for anew, never in plain text to another machine, never in a message."""

import asyncio
from pathlib import Path

import pytest

from runcast.client import Runcast, Tls
from runcast.client.access import Access, Token
from runcast.wire.errors import UnavailableError


@pytest.mark.parametrize("target", ["127.0.0.1:7400", "localhost:7400", "[::1]:7400", "127.0.0.9:1,localhost:2"])
def test_loopback_may_hear_the_token(target: str) -> None:
    Runcast(target, agent="a", token="t")


@pytest.mark.parametrize("target", ["router:7400", "10.0.0.1:7400", "127.0.0.1:1,router:2", "localhost.evil.com:1", "[::]:1"])
@pytest.mark.parametrize("token", ["rk_1_secret", lambda: "rk_1_secret"])
def test_others_may_not_without_tls(target: str, token: Token) -> None:
    with pytest.raises(ValueError, match="plain text") as caught:
        Runcast(target, agent="a", token=token)
    assert "secret" not in str(caught.value)
    Runcast(target, agent="a", token=token, insecure_token=True)
    Runcast(target, agent="a", token=token, tls=True)
    Runcast(target, agent="a", token=token, tls=Tls())


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "\u00e4", "x" * 9000])
async def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="no token"):
        Access(["localhost:1"], token=token)
    with pytest.raises(UnavailableError, match="no token"):
        await Access(["localhost:1"], token=lambda: token).metadata()


async def test_a_token_is_asked_for_anew() -> None:
    count = iter(range(9))

    async def slow() -> str:
        await asyncio.sleep(0)
        return f"t{next(count)}"

    for source in (slow, lambda: f"t{next(count)}"):
        access = Access(["localhost:1"], token=source)
        first = await access.metadata()
        assert first[0][0] == "authorization"
        assert (await access.metadata()) != first
        assert access.renewable
    assert await Access().metadata() == ()
    assert await Access(["localhost:1"], token="t").metadata() == (("authorization", "Bearer t"),)


async def test_a_source_that_fails_says_no_secret() -> None:
    def broken() -> str:
        raise RuntimeError("rk_1_secret")

    with pytest.raises(UnavailableError, match="RuntimeError") as caught:
        await Access(["localhost:1"], token=broken).metadata()
    assert "secret" not in str(caught.value)


def test_tls_needs_both_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="together"):
        Tls(cert=tmp_path)
    assert Tls().read() == (None, None, None)
