"""The envelope: how a message looks that is sealed for one user and one place.

    00 'R' 'C' 01 | length of key id, 1 | key id | sealed at, 4 | nonce, 12 | AES-256-GCM of the payload, tag included

Theory. All that Runcast stores is a protobuf message, and none begins with a zero byte (its first byte is a field's tag, and no field
has number 0). So a message says by itself whether it is sealed, in whatever way it comes: live, read from the log, from a key, or handed
on between routers.

Rules.
1. Everything before the ciphertext, and the place, is authenticated: an envelope opens where it was sealed for, and nowhere else.
2. A key of a tenant seals nothing itself. The key of each user and day is derived from it (HKDF-SHA256, RFC 5869), with tenant, user and
   day as its context. So what is one user's does not open as another's, whatever is done to it, and nonces may be random: see
   `limits_sealing.USER_KEY_S` for the bound that this keeps.
3. The place is the subject where the message was first stored. A message that is put aside keeps its envelope.

Not hidden: ids (they are in subjects and keys), sizes, times, and which key. Whoever may write to NATS can leave a sealed message out, or
say it twice; the log is not a chain.

Pure: nonce and time are arguments; imports no asyncio, clock, random, logging, grpc, nats.
"""

import struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from runcast.wire import limits_sealing
from runcast.wire.ids import UserKey

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
MAGIC: Final = b"\x00RC\x01"
"""Version 1 of the envelope."""
_CONTEXT: Final = b"runcast at rest 1\x00"
_AT: Final = struct.Struct(">I")


class NotSealedError(Exception):
    """It does not open: it was changed, cut, moved from elsewhere, or sealed by another key of the same id."""


class Envelope(NamedTuple):
    """A sealed message, taken apart; nothing of it is believed yet.

    Attributes:
        key_id: of the tenant's key.
        sealed_at: Unix seconds.
        head: everything before the nonce.
        rest: nonce and ciphertext.
    """

    key_id: str
    sealed_at: int
    head: bytes
    rest: bytes

    @property
    def day(self) -> int:
        """Which of the user's keys it is."""
        return self.sealed_at // limits_sealing.USER_KEY_S


def is_sealed(data: bytes) -> bool:
    """Whether a stored message says of itself that it is an envelope, of this or a later version."""
    return data[:3] == MAGIC[:3]


def derive(secret: bytes, user: UserKey, day: int) -> AESGCM:
    """A user's key for one day.

    Args:
        secret: of the tenant, 32 random bytes.
        user: whose.
        day: days since the Unix epoch.
    """
    info = _CONTEXT + _AT.pack(day) + user.token.encode()
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(secret))


def head_of(key_id: str, sealed_at: int) -> bytes:
    """What an envelope begins with: which key, and when."""
    name = key_id.encode()
    return MAGIC + bytes((len(name),)) + name + _AT.pack(sealed_at)


def seal(key: AESGCM, head: bytes, place: str, nonce: bytes, payload: bytes) -> bytes:
    """Seal a message.

    Args:
        key: the user's, of the day in `head`.
        head: of `head_of`.
        place: the subject where it is stored; see `place_of`.
        nonce: 12 random bytes, never twice.
        payload: what.
    """
    return b"".join((head, nonce, key.encrypt(nonce, payload, head + place.encode())))


def read(data: bytes) -> Envelope:
    """Take an envelope apart.

    Raises:
        NotSealedError: it is none, or one of another version.
    """
    length = data[4] if len(data) > 4 else 0
    start = 5 + length + _AT.size
    if data[:4] != MAGIC or not length or len(data) < start + NONCE_BYTES + TAG_BYTES:
        raise NotSealedError("it is no envelope that this version knows")
    try:
        key_id = data[5 : 5 + length].decode("ascii")
    except UnicodeDecodeError as exc:
        raise NotSealedError("its key id is no text") from exc
    return Envelope(key_id, _AT.unpack_from(data, 5 + length)[0], data[:start], data[start:])


def unseal(key: AESGCM, envelope: Envelope, place: str) -> bytes:
    """Open an envelope.

    Args:
        key: the user's, of the envelope's day.
        envelope: of `read`.
        place: the subject where it was found; see `place_of`.

    Raises:
        NotSealedError: it was not sealed like this, by this key, for this place.
    """
    try:
        return key.decrypt(envelope.rest[:NONCE_BYTES], envelope.rest[NONCE_BYTES:], envelope.head + place.encode())
    except InvalidTag as exc:
        raise NotSealedError("it was changed, moved from elsewhere, or sealed by another key of this id") from exc


def place_of(subject: str) -> str:
    """The subject for which a message that is found at `subject` was sealed: what is republished or put aside keeps its envelope."""
    if subject.startswith("parked."):
        return f"in.{subject[7:]}"
    if subject.startswith("live."):
        return f"ev.{subject[5:]}"
    return subject
