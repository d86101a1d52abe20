"""Issuers for the tests: real keys, real signatures, and a real key set on a real HTTP server."""

import functools
import json
import time
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from runcast.bus.identity.authfile import AuthFile, read_authfile

ISS = "https://login.test/"
SECRET = "s" * 64
SIGNERS = {"RS256": "rsa", "PS384": "rsa", "ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed25519"}


@functools.cache
def private_key(name: str) -> Any:
    """A private key; the part before a dash is its kind, so that `rsa` and `rsa-2` differ."""
    kind = name.partition("-")[0]
    if kind in ("rsa", "rsa1024"):
        return rsa.generate_private_key(public_exponent=65537, key_size=1024 if kind == "rsa1024" else 2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1(), "k256": ec.SECP256K1()}
    return ec.generate_private_key(curves[kind])


def public_pem(name: str) -> str:
    return private_key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(name: str) -> str:
    return private_key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Claims that count; a change to None leaves one out."""
    now = int(time.time())
    whole = {"iss": ISS, "aud": "runcast", "sub": "alice", "iat": now, "exp": now + 600, "jti": "t-1"} | changes
    return {name: value for name, value in whole.items() if value is not None}


def sign(key: Any, algorithm: str, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    key = private_key(key) if key in SIGNERS.values() or "-" in str(key) else key
    return jwt.PyJWS().encode(json.dumps(claims(**changes)).encode(), key, algorithm, headers)


def issuer(**changes: Any) -> dict[str, Any]:
    whole = {"name": "login", "issuer": ISS, "audience": ["runcast"], "algorithms": ["HS256"], "tenant": "default"} | changes
    if not whole.keys() & {"secret", "secret_file", "public_key_file", "jwks_url"}:
        whole["secret"] = SECRET
    return whole


def write(path: Path, *issuers: dict[str, Any], **files: str) -> Path:
    """An auth file; JSON's texts, numbers and lists are TOML's too."""
    for name, text in files.items():
        (path / name.replace("_pem", ".pem")).write_text(text)
    lines = [line for each in issuers for line in ("[[issuers]]", *(f"{name} = {json.dumps(value)}" for name, value in each.items()))]
    file = path / "auth.toml"
    file.write_text("\n".join(lines))
    return file


def read(path: Path, *issuers: dict[str, Any], **files: str) -> AuthFile:
    return read_authfile(write(path, *issuers, **files))


def public_jwk(name: str, **fields: Any) -> dict[str, Any]:
    algorithm = jwt.get_algorithm_by_name(next(alg for alg, kind in SIGNERS.items() if kind == name.partition("-")[0]))
    row: dict[str, Any] = json.loads(algorithm.to_jwk(private_key(name).public_key()))
    row.pop("key_ops", None)
    return row | fields


class KeyServer:
    """An issuer's key set over HTTP; tests change what it answers."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.status = 200
        self.body: bytes | None = None
        self.asked = 0
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/jwks", self._answer)
        app.router.add_get("/elsewhere", self._elsewhere)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.status == 302:
            raise web.HTTPFound("/elsewhere")
        body = self.body if self.body is not None else json.dumps({"keys": self.keys}).encode()
        return web.Response(body=body, status=self.status, content_type="application/json")

    async def _elsewhere(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": self.keys})
