"""Fuzz targets: tokens, keys, and the files that an operator writes."""

import base64
import contextlib
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import jwt

from runcast.bus.identity.apikeys import find_owner, looks_like_key, make_key, read_kept
from runcast.bus.identity.authfile import AuthFileError, read_authfile
from runcast.bus.identity.callers import Caller
from runcast.bus.identity.jwt import TokenRefusedError, Verified, Verifier
from runcast.bus.policy.policyfile import PolicyFileError, parse_policy
from runcast.wire import limits
from tests.fuzz.reading import Reader

NOW = 1_700_000_000.0
ISS = "https://login.test/"
SECRET = "fuzz" * 16
_AUTH = f"""
[[issuers]]
name = "login"
issuer = "{ISS}"
audience = ["runcast"]
algorithms = ["HS256"]
secret = "{SECRET}"
user_claim = ["who", "id"]
tenant_claim = "org"
tenants = ["acme", "acme.x"]

[[agents]]
name = "a"
tenants = ["acme"]
keys = ["k7f3:{"9f86d081884c7d65" * 4}"]
certificates = ["spiffe://x/a"]
"""
_POLICY = """
default = "standard"
[tenants]
acme = "enterprise"
[tiers.standard]
sends_per_s = 10
[tiers.own]
events_per_s = inf
retention_s = 3600
"""
CLAIMS = {"iss": ISS, "aud": ["runcast"], "who": {"id": "alice"}, "org": "acme", "iat": NOW, "exp": NOW + 600, "jti": "t"}


@functools.cache
def _directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="runcast-fuzz-"))


@functools.cache
def _verifier() -> Verifier:
    path = _directory() / "good.toml"
    path.write_text(_AUTH)
    return Verifier(read_authfile(path), clock=lambda: NOW)


def token(data: bytes) -> None:
    """A token: as it comes, or with a good signature over hostile claims or a hostile header."""
    reader = Reader(data)
    how = reader.byte() % 3
    if how == 0:
        text = reader.rest().decode("utf-8", "replace")
    else:
        header = json.dumps({"alg": "HS256", "typ": "JWT"}).encode() if how == 1 else reader.piece()
        payload = reader.rest()
        signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
        signature = jwt.get_algorithm_by_name("HS256").sign(signed, SECRET.encode())
        text = (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
    for peers in ("users", "agents"):
        try:
            verified = _verify(text, peers)
            user = verified.identity.user
        except TokenRefusedError:
            continue
        assert how != 0 or text.count(".") == 2
        assert user.tenant in ("acme", "acme.x")
        assert 1 <= len(user.user.encode()) <= limits.ID_BYTES_MAX
        assert verified.term.expires_at > NOW


def _verify(text: str, peers: Any) -> Verified:
    """Where the keys are at hand, nothing is waited for."""
    work = _verifier().verify(text, peers)
    try:
        work.send(None)
    except StopIteration as done:
        verified: Verified = done.value
        return verified
    raise AssertionError("it waits for something")


def key(data: bytes) -> None:
    """An API key, what is kept of one, and the call that brings it."""
    text = data.decode("utf-8", "replace")
    agents = _verifier()._file.agents
    assert agents.by_key(text)[1] is None, "nobody knows a key of that digest"
    looks_like_key(text)
    kept = read_kept(text)
    assert kept is None or f"{kept.id}:{kept.digest}" == text
    try:
        made = make_key(text[:8], data[:32].ljust(32, b"\0"))
    except ValueError:
        pass
    else:
        own = read_kept(made.kept)
        assert own is not None
        assert find_owner(made.text, {own.id: (own.digest, "me")}) == (own.id, "me")
    agents.by_certificate(text.split("\n"))
    lines = [line.partition("=") for line in text.split("\n")]
    with contextlib.suppress(TokenRefusedError):
        Caller([(name, value) for name, _, value in lines], text, {}).bearer()


def authfile(data: bytes) -> None:
    """An auth file."""
    path = _directory() / "auth.toml"
    path.write_bytes(data)
    try:
        file = read_authfile(path)
    except AuthFileError:
        return
    Verifier(file, clock=lambda: NOW)
    assert not file.changed
    repr(file)


def policy(data: bytes) -> None:
    """A policy file."""
    try:
        read = parse_policy(data.decode("utf-8", "surrogateescape"))
    except PolicyFileError:
        return
    for tenant in ("acme", "", "\x00"):
        assert read.of(tenant)


def seeds() -> dict[str, list[bytes]]:
    """Inputs to begin with, by target."""
    whole = json.dumps(CLAIMS).encode()
    header = json.dumps({"alg": "HS256", "kid": "a"}).encode()
    good = jwt.PyJWS().encode(whole, SECRET, "HS256").encode()
    claims = [json.dumps(CLAIMS | change).encode() for change in ({"exp": 1}, {"aud": "x"}, {"who": "u"}, {"org": ["acme"]})]
    return {
        "token": [
            b"\0" + good,
            b"\0a.b.c",
            b"\1" + whole,
            *(b"\1" + each for each in claims),
            b"\2" + len(header).to_bytes(2, "big") + header + whole,
        ],
        "key": [b"rk_k7f3_" + b"A" * 43, b"k7f3:" + b"9f86d081884c7d65" * 4, b"authorization=Bearer x\nx=y", b"spiffe://x/a\ny", b"abcd"],
        "authfile": [
            _AUTH.encode(),
            _AUTH.split("[[agents]]", maxsplit=1)[0].encode(),
            b'[http]\nurl = "https://a.test/who"\nheaders = ["X-User"]\n',
            b"[[agents]]\n",
        ],
        "policy": [_POLICY.encode(), b"[tiers.free]\nopen_runs = 1\n", b'default = "none"\n'],
    }
