"""Who is kept out: the book of revocations that every edge and router keeps. Pure.

Theory. The bucket RUNCAST_REVOKED holds one message per target; its stream numbers every change. A process reads it whole (`replace`), then
hears each change as it is stored (`hear`). Numbers that follow each other prove that none was missed; a hole makes the book not `whole`,
until it is read again. So nothing hangs on a message that may be lost.

Rules
1. One revocation per target; the newest counts, also when it is milder than the one before.
2. It hits every connection that its target means (`runcast.wire.targets`), until it ends (`ends_at_ms`), by itself, or is lifted (an empty
   value).
3. `until_new_token`: a token that says that it was issued after `at_ms` is not hit. One that does not say is.
4. What can't be read keeps its target out: its hand was not ours, or newer than this program.
5. At most `REVOCATIONS_MAX`; past it those that end soonest are left out, and `left_out` counts them.

Invariant: `known <= newest`; the book is `whole` when they are equal and it was read.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from runcast.wire.errors import IdInvalidError, RuncastError
from runcast.wire.limits_revocation import REVOCATIONS_MAX
from runcast.wire.targets import Target, parse_target

_NO_END_MS: Final = 2**53
"""Milliseconds: the end of one that can't be read."""


class Revocation(NamedTuple):
    """One of them.

    Attributes:
        target: whom it keeps out.
        at_ms: since when, Unix milliseconds.
        ends_at_ms: until when, likewise.
        by: the name of the credentials that it was done with.
        reason: for people; they are told it.
        until_new_token: tokens that are issued after `at_ms` are good.
    """

    target: Target
    at_ms: int
    ends_at_ms: int
    by: str
    reason: str = ""
    until_new_token: bool = False

    @property
    def error(self) -> RuncastError:
        """What who is hit by it is told."""
        return RuncastError(_told("an operator has ended this access", self.reason), code="revoked")


class _Value(msgspec.Struct, frozen=True, omit_defaults=True):
    at_ms: int
    ends_at_ms: int
    by: str
    reason: str = ""
    until_new_token: bool = False


class Change(NamedTuple):
    """A message of the bucket: its number, its key, its value; b"" when the key's revocation was lifted, or is over."""

    seq: int
    key: str
    value: bytes


class Entry(NamedTuple):
    """A revocation, and the number of the change that made it."""

    revocation: Revocation
    seq: int


class Peer(NamedTuple):
    """Whose connection it is.

    Attributes:
        targets: by which it can be meant.
        issued_at: of its token, Unix seconds; 0.0 when it does not say.
    """

    targets: tuple[Target, ...]
    issued_at: float


def disconnected(reason: str) -> RuncastError:
    """What who is disconnected is told."""
    return RuncastError(_told("an operator has closed this connection", reason), code="disconnected")


def write_revocation(revocation: Revocation) -> bytes:
    """The value of its key."""
    return msgspec.json.encode(_Value(*revocation[1:]))


def read_revocation(target: Target, value: bytes) -> Revocation:
    """Read a value; see rule 4."""
    try:
        return Revocation(target, *msgspec.structs.astuple(msgspec.json.decode(value, type=_Value)))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Revocation(target, 0, _NO_END_MS, "", "it can't be read")


class Book:
    """What is known of the bucket. `now_ms` is Unix milliseconds.

    Attributes:
        known: everything up to this number is in it.
        newest: the highest number that was heard of.
        left_out: revocations that did not fit.
    """

    def __init__(self, size: int = REVOCATIONS_MAX) -> None:
        self.known = 0
        self.newest = 0
        self.left_out = 0
        self._size = size
        self._read = False
        self._entries: dict[Target, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def whole(self) -> bool:
        """Nothing is missing, as far as anybody here has heard."""
        return self._read and self.known == self.newest

    def entries(self, now_ms: int) -> list[Entry]:
        """Those in force, the oldest first."""
        return sorted((entry for entry in self._entries.values() if now_ms < entry.revocation.ends_at_ms), key=lambda entry: entry.seq)

    def hear(self, change: Change, now_ms: int) -> bool:
        """A change was stored; False when it was known already."""
        if change.seq <= self.newest:
            return False
        if self._read and self.known == self.newest == change.seq - 1:
            self.known = change.seq
        self.newest = change.seq
        self._take(change, now_ms)
        return True

    def replace(self, found: Iterable[Change], upto: int, now_ms: int) -> None:
        """The bucket was read.

        Args:
            found: all that it holds, in order.
            upto: the number up to which that is all.
            now_ms: the time.
        """
        self._entries.clear()
        self.left_out = 0
        for change in found:
            self._take(change, now_ms)
        self.known = self.newest = upto
        self._read = True

    def find(self, peer: Peer, now_ms: int) -> Entry | None:
        """The revocation that keeps the peer out; None when there is none."""
        for target in peer.targets:
            entry = self._entries.get(target)
            if entry is None or now_ms >= entry.revocation.ends_at_ms:
                continue
            if entry.revocation.until_new_token and peer.issued_at * 1000 > entry.revocation.at_ms:
                continue
            return entry
        return None

    def prune(self, now_ms: int) -> None:
        """Forget what has ended."""
        for target in [target for target, entry in self._entries.items() if now_ms >= entry.revocation.ends_at_ms]:
            del self._entries[target]

    def _take(self, change: Change, now_ms: int) -> None:
        try:
            target = parse_target(change.key)
        except IdInvalidError:
            return  # nobody is meant
        revocation = read_revocation(target, change.value) if change.value else None
        if revocation is None or now_ms >= revocation.ends_at_ms:
            self._entries.pop(target, None)
            return
        if target not in self._entries and len(self._entries) >= self._size:
            self.prune(now_ms)
        self._entries[target] = Entry(revocation, change.seq)
        if len(self._entries) > self._size:
            del self._entries[min(self._entries, key=lambda each: self._entries[each].revocation.ends_at_ms)]
            self.left_out += 1


def _told(what: str, reason: str) -> str:
    return f"{what}: {reason}" if reason else what


def in_force(found: Sequence[Change], now_ms: int) -> list[Entry]:
    """Those that a reading of the whole bucket shows to be in force, the oldest first."""
    book = Book()
    book.replace(found, found[-1].seq if found else 0, now_ms)
    return book.entries(now_ms)
