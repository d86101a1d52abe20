"""The keys that tokens are checked with, and which algorithm goes with which kind of key.

Theory. The classic attacks on JWT make a verifier use a key for what it was not made for: an RSA public key as HMAC secret, `none`, a curve
that does not fit. So a key here knows its kind, an algorithm belongs to exactly one kind, and a key is offered only for an algorithm of its
own kind; the token's header chooses among what is left, never beyond.

Rules: RSA keys have 2048 bits or more; secrets are as long as the hash they are used with; private keys are refused where public ones are
expected; `none` has no kind, so nothing matches it. RFC 7518, RFC 8725.
"""

import contextlib
import itertools
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from runcast.wire import limits_identity as limits

PUBLISHED: Final = frozenset({"replace-me-with-32-random-bytes-or-more", "proves to it that an edge asks"})
"""What stood in docs/users.md in a secret's place, and worked: whoever has read it could say to be anybody."""
SECRET: Final = "secret"  # noqa: S105 # a kind of key, not one
KINDS: Final[dict[str, str]] = {
    **{f"HS{size}": SECRET for size in (256, 384, 512)},
    **{f"{padding}{size}": "RSA" for padding in ("RS", "PS") for size in (256, 384, 512)},
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
}
"""The kind of key of each algorithm that can be allowed."""
RSA_BITS_MIN: Final = 2048
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_PEM_END: Final = b"-----END "


class KeyUnusableError(ValueError):
    """Something is no key that tokens can be checked with; the message says why."""


class Key(NamedTuple):
    """One key.

    Attributes:
        kind: a value of `KINDS`.
        value: what PyJWT takes: bytes of a secret, or a public key.
        id: `kid` in a key set; "" elsewhere.
        algorithm: the only one that it is for; "" for all of its kind.
    """

    kind: str
    value: Any
    id: str = ""
    algorithm: str = ""

    def fits(self, algorithm: str) -> bool:
        """Whether it may be used so."""
        return KINDS.get(algorithm) == self.kind and self.algorithm in ("", algorithm)


def choose(keys: Iterable[Key], key_id: str, algorithm: str) -> list[Key]:
    """The keys to check a token with: that of its `kid`, if it names one; at most `limits.KEYS_TRIED_MAX`."""
    fitting = [key for key in keys if key.fits(algorithm) and (not key_id or key.id in ("", key_id))]
    return fitting[: limits.KEYS_TRIED_MAX]


def secret_key(secret: str, algorithms: Iterable[str]) -> Key:
    """A shared secret.

    Raises:
        KeyUnusableError: it is shorter than the hash of one of the algorithms, or was published.
    """
    if secret in PUBLISHED:
        raise KeyUnusableError("the secret is an example's, which everybody knows; make one: openssl rand -base64 48")
    value = secret.encode()
    needed = max((int(algorithm[2:]) // 8 for algorithm in algorithms if KINDS.get(algorithm) == SECRET), default=32)
    if len(value) < needed:
        raise KeyUnusableError(f"the secret has {len(value)} bytes; use {needed} random ones or more")
    return Key(SECRET, value)


def pem_keys(text: bytes) -> list[Key]:
    """The public keys and certificates of a PEM file, in its order.

    Raises:
        KeyUnusableError: it holds none, a private one, or one that can't be used.
    """
    blocks = [part + _PEM_END + rest for part, rest in _blocks(text)]
    if not blocks:
        raise KeyUnusableError("it holds no PEM block; expected -----BEGIN PUBLIC KEY-----")
    return [_pem_key(block) for block in blocks]


def set_keys(document: Any) -> list[Key]:
    """The usable keys of a JSON Web Key Set; those for other purposes, of other kinds, and secrets are left out.

    Raises:
        KeyUnusableError: it is no key set, or nothing in it can be used.
    """
    rows = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise KeyUnusableError('it is no key set; expected {"keys": [...]}')
    keys = []
    for row in rows[: limits.JWKS_KEYS_MAX]:
        with contextlib.suppress(KeyUnusableError):
            keys.append(_set_key(row))
    if not keys:
        raise KeyUnusableError("no key in it can check a signature")
    return keys


def _blocks(text: bytes) -> list[tuple[bytes, bytes]]:
    parts = text.split(_PEM_END)
    found = []
    for body, tail in itertools.pairwise(parts):
        begin = body.rfind(b"-----BEGIN ")
        if begin >= 0:
            found.append((body[begin:], tail.split(b"\n", 1)[0] + b"\n"))
    return found


def _pem_key(block: bytes) -> Key:
    if b"PRIVATE KEY-----" in block:
        raise KeyUnusableError("it holds a private key; give the public one, and keep the private one where tokens are made")
    try:
        if block.startswith(b"-----BEGIN CERTIFICATE"):
            return _public_key(x509.load_pem_x509_certificate(block).public_key())
        return _public_key(load_pem_public_key(block))
    except KeyUnusableError:
        raise
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise KeyUnusableError("it holds a PEM block that is no public key and no certificate") from exc


def _public_key(value: object, key_id: str = "", algorithm: str = "") -> Key:
    if isinstance(value, RSAPublicKey):
        if value.key_size < RSA_BITS_MIN:
            raise KeyUnusableError(f"the RSA key has {value.key_size} bits; use {RSA_BITS_MIN} or more")
        kind = "RSA"
    elif isinstance(value, EllipticCurvePublicKey):
        kind = _CURVES.get(value.curve.name, "")
    else:
        kind = "Ed25519" if isinstance(value, Ed25519PublicKey) else ""
    if not kind:
        raise KeyUnusableError("its kind is none of RSA, P-256, P-384, P-521, Ed25519")
    if algorithm and KINDS.get(algorithm) != kind:
        raise KeyUnusableError(f"it is a {kind} key, and says that it is for {algorithm}")
    return Key(kind, value, key_id, algorithm)


def _set_key(row: Any) -> Key:
    if not isinstance(row, dict) or row.get("kty") not in ("RSA", "EC", "OKP") or row.get("use", "sig") != "sig" or "d" in row:
        raise KeyUnusableError("it is no public key for signatures")
    operations = row.get("key_ops", ["verify"])
    key_id, algorithm = row.get("kid", ""), row.get("alg", "")
    if not (isinstance(operations, list) and "verify" in operations and isinstance(key_id, str)) or algorithm not in ("", *KINDS):
        raise KeyUnusableError("it is no public key for signatures")
    try:
        value = jwt.PyJWK({name: part for name, part in row.items() if name != "alg"}).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError, UnsupportedAlgorithm) as exc:
        raise KeyUnusableError("it can't be read") from exc
    return _public_key(value, key_id, algorithm)
