"""Storing one message in JetStream, and what its answer means.

A publish is either stored (with its seq), refused for certain, or indeterminate: no answer came, so it may have been stored. The
three are never mixed up: resending an indeterminate message with the same `Nats-Msg-Id` is what makes it certain.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import nats.errors
import nats.js.errors

from runcast.bus.connection import Bus
from runcast.bus.retention import refused
from runcast.wire import limits
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.subjects import HEADER_MSG_ID

_FULL = frozenset({10023, 10047, 10077, 10122})
"""nats-server error codes: insufficient resources, storage limits of the account, message or byte limit of the stream or subject."""
_TOO_LARGE = 10054
"""nats-server's error code for a message above the stream's limit."""
_WRONG_REVISION = frozenset({10070, 10071, 10164})
"""nats-server error codes: the stream's last message id, or the subject's last sequence, is another one."""


_NO_TTL = 10166
"""nats-server's error code: the stream takes no message TTL."""


class RevisionError(Exception):
    """Somebody else wrote the subject in between; nothing was written."""


class Stored(NamedTuple):
    """Where a message is. `duplicate`: it had been stored before."""

    seq: int
    duplicate: bool


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    """JetStream's answer to a publish."""

    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_read_ack: Final = msgspec.json.Decoder(_Ack).decode


async def store(
    bus: Bus,
    subject: str,
    payload: bytes,
    *,
    msg_id: str = "",
    ttl_s: int = 0,
    timeout_s: float = limits.PUBLISH_TIMEOUT_S,
    headers: Mapping[str, str] | None = None,
) -> Stored:
    """Publish to a stream and wait for its answer.

    Args:
        bus: the connection.
        subject: one that a stream listens to.
        payload: at most 1 MiB.
        msg_id: recognises a resend within the dedupe window; "" for none.
        ttl_s: the message leaves the stream after so many seconds; 0 for the stream's own age.
        timeout_s: how long to wait.
        headers: further ones.

    Raises:
        UnavailableError: `unavailable` (nothing stored) or `indeterminate` (maybe stored).
        RuncastError: `storage_full`, `batch_too_large`, or `internal` when the server gives another reason.
        RevisionError: `headers` say what the subject's last message must be, and it is another.
    """
    if not bus.connected:  # nats-py would keep it and send it some time later
        raise UnavailableError("there is no connection to NATS just now; nothing was sent", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)
    all_headers = dict(headers or ())
    if msg_id:
        all_headers[HEADER_MSG_ID] = msg_id
    if ttl_s:
        all_headers["Nats-TTL"] = str(ttl_s)
    try:
        reply = await bus.replies.request(subject, payload, all_headers or None, timeout_s)
        ack = _read_ack(reply.data)
    except (nats.errors.Error, msgspec.DecodeError) as exc:
        raise storage_error(exc) from exc
    if ack.error is not None:
        if ack.error.err_code in _WRONG_REVISION:
            raise RevisionError(subject)
        raise _refusal(ack.error.code, ack.error.err_code, ack.error.description)
    return Stored(ack.seq, ack.duplicate)


def storage_error(exc: Exception) -> Exception:
    """Map what nats-py raises around a publish or request into the error tree; anything else comes back as it is."""
    if isinstance(exc, nats.js.errors.NoStreamResponseError | nats.errors.NoRespondersError):
        return UnavailableError("no stream takes this subject just now", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)
    if isinstance(exc, nats.js.errors.APIError):
        return _refusal(exc.code or 0, exc.err_code or 0, exc.description or "")
    if isinstance(exc, nats.errors.TimeoutError | asyncio.TimeoutError):
        return UnavailableError("storage did not answer in time; it may have stored it", code="indeterminate")
    if isinstance(exc, nats.errors.ConnectionClosedError | nats.errors.OutboundBufferLimitError | nats.errors.ConnectionDrainingError):
        return UnavailableError("the connection to NATS is closed or full; nothing was sent")
    if isinstance(exc, nats.errors.MaxPayloadError):
        return RuncastError("the NATS server takes only smaller messages; set its max_payload to 1 MB or more", code="batch_too_large")
    if isinstance(exc, nats.errors.Error | msgspec.DecodeError):
        return UnavailableError(f"storage did not answer: {exc}", code="indeterminate")
    return exc


def _refusal(code: int, err_code: int, description: str) -> RuncastError:
    """What a JetStream error says."""
    text = f"{description} (nats error {err_code})"
    if err_code in _FULL:
        return RuncastError(f"the stream takes no more: {text}", code="storage_full", retry_after_s=1.0)
    if err_code == _TOO_LARGE:
        return RuncastError(f"the message is larger than the stream takes: {text}", code="batch_too_large")
    if err_code == _NO_TTL:
        return refused()
    if code == 503:
        return UnavailableError(f"storage can't take it now: {text}", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)
    return RuncastError(f"storage refused it: {text}", code="internal")
