"""Names given by people and programs, and how they are written where only some characters are allowed.

An *id* (tenant, user, device, group, run, ...) is any UTF-8 text of 1 to 128 bytes. A *token* is its form in NATS subjects, KV keys
and WebSocket subprotocol entries: it keeps `[A-Za-z0-9-]` and writes every other byte as `_XX` (upper-case hex).

Invariants: `decode_token(encode_token(id)) == id`; different ids have different tokens (bytes are compared, so ids that only look
alike stay apart); a token never holds a dot, star, greater-than sign, space or control character.
"""

from functools import lru_cache
from typing import NamedTuple

from runcast.wire import limits
from runcast.wire.errors import IdInvalidError

_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")
_WRITTEN = tuple(chr(byte) if byte in _KEPT else f"_{byte:02X}" for byte in range(256))


class UserKey(NamedTuple):
    """The owner of one stream."""

    tenant: str
    user: str

    @property
    def token(self) -> str:
        """`<tenant token>.<user token>`: the user's part of every subject and key."""
        return f"{encode_token(self.tenant)}.{encode_token(self.user)}"


def check_id(value: str, what: str) -> str:
    """Return `value` when it is an id.

    Args:
        value: the text.
        what: the word for it in the error, e.g. "user id".

    Raises:
        IdInvalidError: it is empty, over 128 bytes of UTF-8, or can't be written as UTF-8.
        TypeError: it is no text.
    """
    try:
        size = len(value.encode())
    except AttributeError as exc:
        raise TypeError(f"{what} is of type {type(value).__name__}; give a text (str)") from exc
    except UnicodeEncodeError as exc:
        raise IdInvalidError(f"{what} holds a lone surrogate, which UTF-8 can't carry; send valid Unicode text") from exc
    if not 1 <= size <= limits.ID_BYTES_MAX:
        raise IdInvalidError(f"{what} has {size} bytes; use 1 to {limits.ID_BYTES_MAX} bytes of UTF-8")
    return value


@lru_cache(maxsize=limits.TOKENS_CACHED_MAX)
def encode_token(value: str) -> str:
    """Write an id as a token: 1 to 3 characters a byte."""
    return "".join([_WRITTEN[byte] for byte in value.encode()])


def decode_token(token: str) -> str:
    """Read a token back.

    Raises:
        IdInvalidError: `encode_token` never wrote this for an id; no id is empty.
    """
    if not token:
        raise IdInvalidError(f"{token!r} is not a token; an id has at least one byte")
    raw = bytearray()
    index = 0
    try:
        while index < len(token):
            if token[index] == "_":
                raw.append(int(token[index + 1 : index + 3], 16))
                index += 3
            else:
                raw.append(ord(token[index]))
                index += 1
        value = raw.decode()
    except ValueError as exc:
        raise IdInvalidError(f"{token!r} is not a token; write every byte outside [A-Za-z0-9-] as _XX") from exc
    if encode_token(value) != token:
        raise IdInvalidError(f"{token!r} is not a token; write every byte outside [A-Za-z0-9-] as _XX, in upper-case hex")
    return value


def event_id(run_id: str, attempt: int, seq: int) -> str:
    """The id of a run's event: `<run_id>.<attempt>.<seq>`."""
    return f"{run_id}.{attempt}.{seq}"
