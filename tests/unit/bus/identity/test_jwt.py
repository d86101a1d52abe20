"""Which tokens count: real keys and signatures, and the known ways to get past a verifier."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runcast.bus.identity.authfile import AuthFile
from runcast.bus.identity.jwt import TokenRefusedError, Verifier
from runcast.wire import limits, limits_identity
from runcast.wire.ids import UserKey
from tests.unit.bus.identity.issuing import ISS, SECRET, SIGNERS, claims, issuer, public_pem, read, sign


async def refused(file: AuthFile, token: str, code: str = "unauthenticated") -> str:
    with pytest.raises(TokenRefusedError) as caught:
        (await Verifier(file).verify(token, "users")).identity  # noqa: B018 # the property is what may refuse
    assert caught.value.code.name == code
    assert caught.value.message in {
        "the token is not accepted; get a valid one, then connect again",
        "the token is over; get a new one, then connect again with it",
    }, "the peer is told one thing, whatever is wrong"
    return caught.value.reason


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_shared_secret(tmp_path, algorithm):
    file = read(tmp_path, issuer(algorithms=[algorithm]))
    verified = await Verifier(file).verify(sign(SECRET, algorithm), "users")
    assert verified.identity.user == UserKey("default", "alice")
    assert verified.identity.issuer == "login"
    assert verified.term.token_id == "t-1"
    await refused(file, sign("t" * 64, algorithm))


@pytest.mark.parametrize(("algorithm", "kind"), SIGNERS.items())
async def test_a_public_key(tmp_path, algorithm, kind):
    file = read(tmp_path, issuer(algorithms=[algorithm], public_key_file="login.pem"), login_pem=public_pem(kind))
    assert (await Verifier(file).verify(sign(kind, algorithm), "users")).identity.user.user == "alice"
    await refused(file, sign(f"{kind}-2", algorithm))


async def test_two_public_keys_while_one_follows_the_other(tmp_path):
    pem = public_pem("p256") + "a comment between\n" + public_pem("p256-2")
    file = read(tmp_path, issuer(algorithms=["ES256"], public_key_file="login.pem"), login_pem=pem)
    for key in ("p256", "p256-2"):
        await Verifier(file).verify(sign(key, "ES256"), "users")
    await refused(file, sign("p256-3", "ES256"))


async def test_no_signature_is_no_signature(tmp_path):
    for algorithms, files in ((["HS256"], {}), (["RS256"], {"public_key_file": "login.pem"})):
        file = read(tmp_path, issuer(algorithms=algorithms, **files), login_pem=public_pem("rsa"))
        for alg in ("none", "None", "NONE", "nOnE", "", None, 0, ["none"], ["HS256"], {}):
            unsigned = f"{part({'alg': alg, 'typ': 'JWT'})}.{part(claims())}."
            await refused(file, unsigned)
            await refused(file, unsigned + "AAAA")
        good = sign(SECRET if not files else "rsa", algorithms[0])
        await refused(file, good.rpartition(".")[0] + ".")
        await refused(file, good.rpartition(".")[0])


async def test_a_public_key_is_never_a_secret(tmp_path):
    """The HS/RS confusion: an attacker who knows the public key signs with it as if it were a shared secret."""
    pem = public_pem("rsa")
    file = read(tmp_path, issuer(algorithms=["RS256"], public_key_file="login.pem"), login_pem=pem)
    for secret in (pem.encode(), pem.strip().encode(), pem.replace("\n", "").encode()):
        body = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims())}"
        signature = base64.urlsafe_b64encode(hmac.new(secret, body.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
        assert "not allowed" in await refused(file, f"{body}.{signature}")


async def test_only_algorithms_on_the_list(tmp_path):
    file = read(tmp_path, issuer(algorithms=["RS256"], public_key_file="login.pem"), login_pem=public_pem("rsa"))
    await Verifier(file).verify(sign("rsa", "RS256"), "users")
    for algorithm in ("RS384", "RS512", "PS256"):
        assert "not allowed" in await refused(file, sign("rsa", algorithm))


async def test_keys_that_a_token_brings_along_are_not_looked_at(tmp_path, key_server):
    file = read(tmp_path, issuer(algorithms=["RS256"], public_key_file="login.pem"), login_pem=public_pem("rsa"))
    mine = json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(jwt.get_algorithm_by_name("RS256").prepare_key(public_pem("rsa-2"))))
    for headers in ({"jwk": mine}, {"jku": key_server.url}, {"x5u": key_server.url}, {"kid": key_server.url}, {"kid": "../../etc/passwd"}):
        await refused(file, sign("rsa-2", "RS256", headers))
    assert key_server.asked == 0


async def test_headers_that_ask_for_the_unknown(tmp_path):
    file = read(tmp_path, issuer())
    await refused(file, sign(SECRET, "HS256", {"crit": ["exp"], "exp": 1}))
    for header in ({"crit": []}, {"b64": False, "crit": ["b64"]}, {"kid": 7}, {"kid": ["a"]}, {"kid": None}):
        body = f"{part({'alg': 'HS256'} | header)}.{part(claims())}"
        signature = base64.urlsafe_b64encode(hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
        await refused(file, f"{body}.{signature}")


async def test_claims(tmp_path):
    file = read(tmp_path, issuer(leeway_s=30))
    now = time.time()
    for change in (
        {"iss": "https://login.test"},
        {"iss": None},
        {"iss": [ISS]},
        {"aud": None},
        {"aud": "runcast2"},
        {"aud": ["other"]},
        {"exp": None},
        {"exp": str(int(now + 60))},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": -1},
        {"nbf": now + 60},
        {"iat": now + 60},
        {"jti": 7},
        {"sub": None},
        {"sub": ""},
        {"sub": ["alice"]},
        {"sub": "a" * (limits.ID_BYTES_MAX + 1)},
        {"sub": "\ud800"},
        {"aud": "other", "exp": now - 60},
    ):
        await refused(file, sign(SECRET, "HS256", **change))
    await refused(file, sign(SECRET, "HS256", exp=now - 31), "token_expired")
    within = await Verifier(file).verify(sign(SECRET, "HS256", exp=now - 10, nbf=now + 20, aud=["x", "runcast"]), "users")
    assert within.term.expires_at == pytest.approx(now + 20), "the leeway is part of the term"


async def test_a_lifetime_that_is_too_long(tmp_path):
    file = read(tmp_path, issuer(lifetime_max_s=3600))
    await Verifier(file).verify(sign(SECRET, "HS256"), "users")
    await refused(file, sign(SECRET, "HS256", exp=time.time() + 7200))
    await refused(file, sign(SECRET, "HS256", iat=None))


async def test_an_expired_token_with_another_signature_is_not_called_expired(tmp_path):
    await refused(read(tmp_path, issuer()), sign("t" * 64, "HS256", exp=1), "unauthenticated")


async def test_tenants_by_claim(tmp_path):
    acme = issuer(tenant="", tenant_claim=["org", "id"], tenants=["acme"], user_claim="https://login.test/user.id")
    file = read(tmp_path, acme)
    token = {"org": {"id": "acme"}, "https://login.test/user.id": 42}
    assert (await Verifier(file).verify(sign(SECRET, "HS256", **token), "users")).identity.user == UserKey("acme", "42")
    for change in ({"org": {"id": "globex"}}, {"org": "acme"}, {"org": None}, {"https://login.test/user.id": True}):
        await refused(file, sign(SECRET, "HS256", **(token | change)))


async def test_an_issuer_speaks_for_itself_only(tmp_path):
    other = issuer(name="other", issuer="https://other.test/", secret="o" * 64, tenant="other")
    bots = issuer(name="bots", issuer="https://bots.test/", secret="b" * 64, peers="agents")
    file = read(tmp_path, issuer(), other, bots)
    theirs = await Verifier(file).verify(sign("o" * 64, "HS256", iss="https://other.test/"), "users")
    assert theirs.identity.user == UserKey("other", "alice")
    await refused(file, sign("o" * 64, "HS256"))
    await refused(file, sign("b" * 64, "HS256", iss="https://bots.test/"))
    await Verifier(file).verify(sign("b" * 64, "HS256", iss="https://bots.test/"), "agents")
    with pytest.raises(TokenRefusedError):
        await Verifier(file).verify(sign(SECRET, "HS256"), "agents")


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "é", "\x00", "dev.default.alice", "e30.e30.", "W10.W10.", "e30.bnVsbA.AA", "x" * 9000]
)
async def test_what_is_no_token(tmp_path, token):
    await refused(read(tmp_path, issuer()), token)


async def test_depth_and_size_are_bounded(tmp_path):
    file = read(tmp_path, issuer())
    await refused(file, f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.e30.AA")
    await refused(file, sign(SECRET, "HS256", text="x" * limits_identity.TOKEN_BYTES_MAX))


_FILE: list[AuthFile] = []


@pytest.fixture(scope="module", autouse=True)
def _some_file(tmp_path_factory) -> None:
    _FILE[:] = [read(tmp_path_factory.mktemp("auth"), issuer())]


_json = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), _json | st.just("HS256")),
    payload=_json | st.dictionaries(st.sampled_from(["iss", "aud", "exp", "sub"]), _json | st.just(ISS)),
    signature=st.text("AZaz09-_=", max_size=50),
)
async def test_nothing_but_a_refusal_comes_of_what_was_not_signed(header, payload, signature):
    await refused(_FILE[0], f"{part(header)}.{part(payload)}.{signature}")


@given(where=st.integers(0, 10_000), bit=st.integers(0, 5))
async def test_every_changed_character_breaks_the_token(where, bit):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    good = sign(SECRET, "HS256")
    at = where % (len(good) - 1)  # the last character's low bits are padding
    if good[at] == ".":
        return
    await refused(_FILE[0], good[:at] + alphabet[alphabet.index(good[at]) ^ (1 << bit)] + good[at + 1 :])
