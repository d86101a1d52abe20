"""Keys with revisions and times to live, in one bucket (NATS ADR-8, ADR-43, ADR-48).

Rules: a key is written only if its revision is the expected one, where that matters (compare and set); reads ask the leader, which has
seen every write that was confirmed. A key is closed by a purge marker that keeps a value and has its own time to live: until then it can
still be asked for, afterwards nothing of it is left, no marker either.

Foreign exceptions are mapped here and in `runcast.bus.storage`.
"""

from typing import NamedTuple

import nats.errors
import nats.js.errors

from runcast.bus.connection import Bus
from runcast.bus.storage import storage_error
from runcast.wire import limits, subjects
from runcast.wire.errors import RuncastError, UnavailableError

_WRONG_REVISION = frozenset({10071, 10164})
"""nats-server error codes: the subject's last sequence is another one."""


class RevisionError(Exception):
    """Somebody else wrote the key in between; nothing was written."""


class Value(NamedTuple):
    """What is at a key. `value` is b"" where the server left a marker."""

    value: bytes
    revision: int


class Bucket:
    """One bucket.

    Args:
        bus: the connection.
        name: of the bucket.
    """

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._name = name

    @property
    def stream(self) -> str:
        """The stream behind it."""
        return f"KV_{self._name}"

    async def get(self, key: str) -> Value | None:
        """What the leader has at `key`; None when there is nothing, not even a marker.

        Raises:
            UnavailableError: no answer.
        """
        try:
            message = await self._bus.js.get_last_msg(self.stream, subjects.kv_subject(self._name, key))
        except nats.js.errors.NotFoundError:
            return None
        except Exception as exc:
            raise self._unread(exc) from exc
        return Value(message.data or b"", int(message.seq or 0))

    async def names(self, pattern: str) -> list[str]:
        """The keys that match, markers included, from the leader; at most 100,000 of them (NATS's own bound).

        Raises:
            UnavailableError: no answer.
        """
        try:
            info = await self._bus.js.stream_info(self.stream, subjects_filter=subjects.kv_subject(self._name, pattern))
        except Exception as exc:
            raise self._unread(exc) from exc
        prefix = len(subjects.kv_subject(self._name, ""))
        return [subject[prefix:] for subject in info.state.subjects or {}]

    async def put(self, key: str, value: bytes, *, expected: int | None = None, ttl_s: float = 0.0, closing: bool = False) -> int:
        """Write a key.

        Args:
            key: which.
            value: what.
            expected: only if this is the revision of what is there now; 0: only if nothing is. None: in any case.
            ttl_s: it expires after so many whole seconds; 0.0: never.
            closing: write a purge marker: for other readers of the bucket the key is deleted.

        Returns:
            Its new revision.

        Raises:
            RevisionError: another revision is there.
            UnavailableError: `unavailable` (not written) or `indeterminate` (maybe written).
            RuncastError: `storage_full` or `internal`.
        """
        if not self._bus.connected:
            raise UnavailableError("there is no connection to NATS just now; nothing was sent", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)
        headers = {}
        if expected is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(expected)
        if ttl_s:
            headers["Nats-TTL"] = str(int(ttl_s))
        if closing:
            headers["KV-Operation"] = "PURGE"
        try:
            subject = subjects.kv_subject(self._name, key)
            ack = await self._bus.js.publish(subject, value, timeout=limits.LEASE_PUT_S, headers=headers or None)
        except Exception as exc:
            if isinstance(exc, nats.js.errors.APIError) and exc.err_code in _WRONG_REVISION:
                raise RevisionError(key) from exc
            raise storage_error(exc) from exc
        return int(ack.seq)

    def _unread(self, exc: Exception) -> Exception:
        mapped = storage_error(exc)
        if isinstance(mapped, RuncastError):
            return UnavailableError(f"the bucket {self._name} could not be read: {mapped.message}")
        return mapped
