"""API keys of agents: `rk_<id>_<secret>`. Pure: randomness is an argument.

Rules: what is kept is the SHA-256 of the secret, which has 32 random bytes, so nothing slower is needed; it is compared in constant time,
and an unknown id takes as long as a wrong secret. The id is no secret: it is in logs. `rk_` lets scanners of source code find a key that
leaked.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

SECRET_BYTES: Final = 32
_KEY: Final = re.compile(r"rk_([a-z0-9]{4,32})_([A-Za-z0-9_-]{43})", re.ASCII)
_KEPT: Final = re.compile(r"([a-z0-9]{4,32}):([0-9a-f]{64})", re.ASCII)
_NOBODY: Final = "0" * 64

Owner = TypeVar("Owner")


class KeptKey(NamedTuple):
    """What is kept of a key."""

    id: str
    digest: str


class MadeKey(NamedTuple):
    """A new key: `text` for the agent, shown once; `kept` for the auth file."""

    text: str
    kept: str


def make_key(key_id: str, secret: bytes) -> MadeKey:
    """Make a key.

    Args:
        key_id: 4 to 32 of a-z and 0-9.
        secret: `SECRET_BYTES` random bytes.

    Raises:
        ValueError: an argument is not that.
    """
    text = f"rk_{key_id}_{base64.urlsafe_b64encode(secret).rstrip(b'=').decode()}"
    match = _KEY.fullmatch(text)
    if match is None:
        raise ValueError(f"a key has an id of 4 to 32 of a-z and 0-9, and {SECRET_BYTES} random bytes")
    return MadeKey(text, f"{key_id}:{_digest(match[2])}")


def read_kept(text: str) -> KeptKey | None:
    """`<id>:<SHA-256 of the secret in hex>`; None when it is not that."""
    match = _KEPT.fullmatch(text)
    return KeptKey(match[1], match[2]) if match else None


def looks_like_key(text: str) -> bool:
    """It is no JWT: it begins as a key does."""
    return text.startswith("rk_")


def find_owner(text: str, kept: Mapping[str, tuple[str, Owner]]) -> tuple[str, Owner | None]:
    """Whose key this is.

    Args:
        text: as it was given.
        kept: digests and owners, by id.

    Returns:
        The key's id, "" when it is no key; and the owner, None when there is none.
    """
    match = _KEY.fullmatch(text)
    if match is None:
        return "", None
    digest, owner = kept.get(match[1], (_NOBODY, None))
    good = hmac.compare_digest(_digest(match[2]), digest)
    return match[1], owner if good else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
