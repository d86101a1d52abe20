"""Keys with revisions and times to live, in one bucket (NATS ADR-8, ADR-43, ADR-48).

Rules: a key is written only if its revision is the expected one, where that matters (compare and set); reads ask the leader, which has
seen every write that was confirmed. A key is closed by a purge marker that keeps a value and has its own time to live: until then it can
still be asked for, afterwards nothing of it is left, no marker either.

Foreign exceptions are mapped here and in `runcast.bus.storage`.
"""

from typing import NamedTuple

import msgspec

from runcast.bus.connection import Bus
from runcast.bus.leaders import StreamMissingError
from runcast.bus.storage import RevisionError, store
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError

__all__ = ["Bucket", "RevisionError", "Value"]


class Value(NamedTuple):
    """What is at a key. `value` is b"" where the server left a marker."""

    value: bytes
    revision: int
    key: str = ""


class _State(msgspec.Struct):
    subjects: dict[str, int] | None = None


class _Info(msgspec.Struct):
    state: _State


_read_info = msgspec.json.Decoder(_Info).decode


class Bucket:
    """One bucket.

    Args:
        bus: the connection.
        name: of the bucket.
    """

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._name = name
        self._prefix = subjects.kv_subject(name, "")

    @property
    def stream(self) -> str:
        """The stream behind it."""
        return f"KV_{self._name}"

    async def get(self, key: str) -> Value | None:
        """What the leader has at `key`; None when there is nothing, not even a marker.

        Args:
            key: which; with wildcards, the one of those that match that was written last.

        Raises:
            UnavailableError: no answer.
        """
        found = await self._bus.leaders.message(self.stream, {"last_by_subj": self._prefix + key}, 0.0)
        return Value(found.data, found.seq, found.subject.removeprefix(self._prefix)) if found is not None else None

    async def names(self, pattern: str) -> list[str]:
        """The keys that match, markers included, from the leader; at most 100,000 of them (NATS's own bound).

        Raises:
            UnavailableError: no answer.
        """
        try:
            answer = await self._bus.leaders.info(self.stream, 0.0, subjects_filter=self._prefix + pattern)
        except StreamMissingError as exc:
            raise UnavailableError(f"there is no bucket {self._name} just now") from exc
        return [subject.removeprefix(self._prefix) for subject in _read_info(answer).state.subjects or {}]

    async def put(
        self, key: str, value: bytes, *, expected: int | None = None, of: str = "", ttl_s: float = 0.0, closing: bool = False
    ) -> int:
        """Write a key.

        Args:
            key: which.
            value: what.
            expected: only if this is the revision of what is there now; 0: only if nothing is. None: in any case.
            of: with `expected`: look at this key instead, which may have wildcards: then at the one written last of those that match.
            ttl_s: it expires after so many whole seconds; 0.0: never.
            closing: write a purge marker: for other readers of the bucket the key is deleted.

        Returns:
            Its new revision.

        Raises:
            RevisionError: another revision is there.
            UnavailableError: `unavailable` (not written) or `indeterminate` (maybe written).
            RuncastError: `storage_full` or `internal`.
        """
        headers = {}
        if expected is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(expected)
            if of:
                headers["Nats-Expected-Last-Subject-Sequence-Subject"] = self._prefix + of
        if closing:
            headers["KV-Operation"] = "PURGE"
        stored = await store(self._bus, self._prefix + key, value, ttl_s=int(ttl_s), timeout_s=limits.LEASE_PUT_S, headers=headers)
        return stored.seq
