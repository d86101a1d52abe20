"""Key sets over real HTTP: rotation, outage, and issuers that answer nonsense."""

import asyncio
import json

import pytest

from runcast.bus.identity.jwks import KeySet
from runcast.bus.identity.jwt import TokenRefusedError, Verifier
from runcast.wire import limits_identity as limits
from runcast.wire.errors import UnavailableError
from tests.unit.bus.identity.issuing import SECRET, KeyServer, issuer, public_jwk, read, sign


def verifier(tmp_path, server: KeyServer, *, refetch_s: float = 0.0, **changes: object) -> Verifier:
    made = Verifier(read(tmp_path, issuer(algorithms=["RS256", "ES256"], jwks_url=server.url, **changes)))
    for key_set in made.sets.values():
        key_set.refetch_s = refetch_s
    return made


async def accepted(verifier: Verifier, key: str, algorithm: str, key_id: str = "") -> None:
    token = sign(key, algorithm, {"kid": key_id} if key_id else None)
    assert (await verifier.verify(token, "users")).identity.user.user == "alice"


async def refused(verifier: Verifier, key: str, algorithm: str, key_id: str = "") -> None:
    with pytest.raises(TokenRefusedError):
        await verifier.verify(sign(key, algorithm, {"kid": key_id} if key_id else None), "users")


async def test_a_set_is_fetched_once_for_many(tmp_path, key_server):
    key_server.keys = [public_jwk("rsa", kid="a"), public_jwk("p256", kid="b")]
    made = verifier(tmp_path, key_server)
    await asyncio.gather(*(accepted(made, "rsa", "RS256", "a") for _ in range(20)), accepted(made, "p256", "ES256", "b"))
    await accepted(made, "rsa", "RS256")
    assert key_server.asked == 1
    await refused(made, "p256", "ES256", "a")
    await refused(made, "rsa-2", "RS256", "a")


async def test_rotation_a_new_key_is_found_and_a_withdrawn_one_ends(tmp_path, key_server):
    key_server.keys = [public_jwk("rsa", kid="old")]
    made = verifier(tmp_path, key_server)
    await accepted(made, "rsa", "RS256", "old")
    key_server.keys = [public_jwk("rsa-2", kid="new")]
    await accepted(made, "rsa", "RS256", "old")  # not looked at again yet
    await accepted(made, "rsa-2", "RS256", "new")
    await refused(made, "rsa", "RS256", "old")


async def test_invented_keys_do_not_storm_the_issuer(tmp_path, key_server):
    key_server.keys = [public_jwk("rsa", kid="a")]
    made = verifier(tmp_path, key_server, refetch_s=60.0)
    await accepted(made, "rsa", "RS256", "a")
    for number in range(50):
        with pytest.raises(UnavailableError) as caught:  # it may be new: a person is to come back, not to go away
            await made.verify(sign("rsa-2", "RS256", {"kid": f"invented-{number}"}), "users")
        assert 0 < caught.value.retry_after_s <= 60
    assert key_server.asked == 1
    await accepted(made, "rsa", "RS256", "a")


async def test_peers_who_leave_do_not_stop_a_fetch(key_server):
    key_server.keys = [public_jwk("rsa", kid="a")]
    key_set = KeySet(key_server.url, refetch_s=60.0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(key_set.choose("b", "RS256"), 0.0005)
    assert await key_set.choose("a", "RS256")
    assert key_server.asked == 1


async def test_an_outage_is_survived_with_the_keys_at_hand(tmp_path, key_server):
    key_server.keys = [public_jwk("rsa", kid="a")]
    made = verifier(tmp_path, key_server)
    await accepted(made, "rsa", "RS256", "a")
    await key_server.stop()
    (key_set,) = made.sets.values()
    await key_set.refresh()
    assert "can't be reached" in key_set.problem
    await accepted(made, "rsa", "RS256", "a")
    with pytest.raises(UnavailableError):
        await made.verify(sign("rsa-2", "RS256", {"kid": "b"}), "users")
    key_server.keys.append(public_jwk("rsa-2", kid="b"))
    await key_server.start()
    await accepted(made, "rsa-2", "RS256", "b")
    assert key_set.problem == ""


async def test_keys_that_are_too_old_do_not_count(key_server):
    key_server.keys = [public_jwk("rsa", kid="a")]
    key_set = KeySet(key_server.url, stale_s=0.05, refetch_s=0.0)
    assert await key_set.choose("a", "RS256")
    await key_server.stop()
    await asyncio.sleep(0.06)  # what is tested is that time passes
    with pytest.raises(UnavailableError):
        await key_set.choose("a", "RS256")


async def test_without_any_keys_the_answer_is_to_come_back(tmp_path, key_server):
    key_server.status = 503
    made = verifier(tmp_path, key_server)
    with pytest.raises(UnavailableError) as caught:
        await made.verify(sign("rsa", "RS256", {"kid": "a"}), "users")
    assert caught.value.code.name == "unavailable"
    assert key_server.url not in caught.value.message
    key_server.status, key_server.keys = 200, [public_jwk("rsa", kid="a")]
    await accepted(made, "rsa", "RS256", "a")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [1, null, {}]}',
        b'{"keys": ' + b"[" * 100_000,
        b"\xff\xfe",
        b" " * (limits.JWKS_BYTES_MAX + 1),
        json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}).encode(),
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_nonsense_changes_nothing(key_server, body):
    key_server.keys = [public_jwk("rsa", kid="a")]
    key_set = KeySet(key_server.url, refetch_s=0.0)
    assert await key_set.choose("a", "RS256")
    key_server.body = body
    await key_set.refresh()
    assert key_set.problem
    assert await key_set.choose("a", "RS256")


async def test_redirects_are_not_followed(key_server):
    key_server.keys, key_server.status = [public_jwk("rsa", kid="a")], 302
    key_set = KeySet(key_server.url)
    await key_set.refresh()
    assert "302" in key_set.problem
    assert not key_set.keys


@pytest.mark.parametrize(
    "fields",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "ES256"},
        {"alg": 7},
        {"kid": 7},
        {"kty": "EC"},
        {"n": ""},
        {"n": 5},
        {"e": "!"},
        {"d": "AQAB"},
    ],
    ids=str,
)
async def test_keys_of_a_set_that_can_not_check_a_signature_are_left_out(key_server, fields):
    key_server.keys = [public_jwk("rsa", kid="a") | fields, public_jwk("p256", kid="a")]
    key_set = KeySet(key_server.url)
    await key_set.refresh()
    assert [key.kind for key in key_set.keys] == ["P-256"]


async def test_short_rsa_keys_and_strange_curves_are_left_out(key_server):
    key_server.keys = [public_jwk("rsa-short", kid="a") | {"n": "3q2-7w"}, public_jwk("p256") | {"crv": "P-384"}, public_jwk("p384")]
    key_set = KeySet(key_server.url)
    await key_set.refresh()
    assert [key.kind for key in key_set.keys] == ["P-384"]


async def test_a_key_for_one_algorithm_serves_no_other(tmp_path, key_server):
    key_server.keys = [public_jwk("rsa", kid="a", alg="PS256")]
    await refused(verifier(tmp_path, key_server), "rsa", "RS256", "a")


async def test_a_secret_never_passes_at_an_issuer_with_a_key_set(tmp_path, key_server):
    key_server.keys = [
        {"kty": "oct", "k": "c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nz", "kid": "a", "alg": "HS256"},
        public_jwk("rsa", kid="b"),
    ]
    with pytest.raises(TokenRefusedError):
        await verifier(tmp_path, key_server).verify(sign(SECRET, "HS256", {"kid": "a"}), "users")
