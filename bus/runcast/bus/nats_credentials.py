"""A NATS credentials file (`nsc generate creds`): a user's JWT, and the seed that signs what a server asks to be signed.

The form is NATS's (docs.nats.io, "Decentralized JWT authentication"): two PEM-like blocks; the seed is base32 of two bytes that say what it
is for, 32 bytes of an Ed25519 key, and two of CRC-16/XMODEM. Errors never hold a part of the seed.
"""

import base64
import binascii
import re
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_BLOCK: Final = r"-+BEGIN NATS {}-+\s+([A-Za-z0-9_.=-]+)\s+-+END"
_JWT: Final = re.compile(_BLOCK.format("USER JWT"))
_SEED: Final = re.compile(r"-+BEGIN USER NKEY SEED-+\s+([A-Z2-7]+)\s+-+END")
_SEED_CHARS: Final = 58
_USER: Final = "SU"


class CredentialsError(Exception):
    """The file is no credentials file; the message says what to do, and no secret."""


def read_jwt(path: str) -> bytes:
    """The user's JWT.

    Raises:
        CredentialsError: there is none.
    """
    return _find(path, _JWT, "NATS USER JWT").encode()


def sign(path: str, nonce: bytes) -> bytes:
    """The signature of `nonce`, 64 bytes.

    Raises:
        CredentialsError: there is no seed of a user.
    """
    seed = _find(path, _SEED, "USER NKEY SEED")
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except binascii.Error:
        raw = b""
    if len(seed) != _SEED_CHARS or not seed.startswith(_USER) or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise CredentialsError(f"the seed in {path} is not one of a NATS user; generate the file again")
    return Ed25519PrivateKey.from_private_bytes(raw[2:34]).sign(nonce)


def _find(path: str, block: re.Pattern[str], name: str) -> str:
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise CredentialsError(f"{path} can't be read: {getattr(exc, 'strerror', None) or 'it is no credentials file'}") from None
    found = block.search(text)
    if found is None:
        raise CredentialsError(f"{path} has no block {name!r}; give a file as `nsc generate creds` writes it")
    return found[1]
