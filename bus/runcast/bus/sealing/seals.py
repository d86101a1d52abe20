"""Seals what this process stores, opens what it reads, and follows the keys file.

Rules.
1. A file that can't be used never replaces one that can: the old one stays, health says so, and the log says it once.
2. What does not open is an `UnreadableError`, never nothing: who reads decides what its reader is told. Health is degraded from then on,
   until the key is back or nothing of the kind was met for `limits_sealing.UNREADABLE_REMEMBERED_S`; the log says it once for each key.
3. An unknown key may be one that has not come here yet: the file is looked at again at once (`limits_sealing.KEY_LOOK_S`), and for
   `limits_sealing.KEY_WAIT_S` after the message was sealed the error says that waiting may help (`waits`).
4. Nothing of a message, and no key, is ever logged or told.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple

from structlog.stdlib import BoundLogger

from runcast.bus.health import Dependency
from runcast.bus.sealing import envelope
from runcast.bus.sealing.keyring import NO_KEYS, Keyring
from runcast.bus.sealing.keysfile import KeysFile, KeysFileError, read_keysfile
from runcast.wire import limits_sealing
from runcast.wire.errors import RuncastError
from runcast.wire.ids import UserKey

Why = Literal["key", "changed", "plain"]
_REASONS: Final[dict[Why, str]] = {
    "key": "its key is not in the keys file here",
    "changed": "it was changed or moved, or its key is another one here",
    "plain": "it is in plain text, which the keys file refuses for this tenant",
}
_ADVICE: Final[dict[Why, str]] = {
    "key": "put the key back, and leave it for as long as what was sealed under it is kept",
    "changed": "somebody wrote to NATS beside Runcast, or two keys files have different keys under one id",
    "plain": "a process without RUNCAST_KEYS_FILE stored it, or somebody wrote to NATS beside Runcast",
}


class KeyMissingError(RuncastError):
    """Nothing may be stored of this tenant: it has no key here."""

    default_code = "key_missing"


class UnreadableError(RuncastError):
    """What is stored does not open.

    Attributes:
        why: "key": it is not known here; "changed": it is not what was sealed; "plain": it was not sealed, and should have been.
        waits: the key may be on its way: ask again.
    """

    default_code = "unreadable"

    def __init__(self, why: Why, *, waits: bool = False) -> None:
        self.why: Why = why
        self.waits = waits
        wait_s = limits_sealing.KEYS_FILE_CHECK_S if waits else 0.0  # sooner its key can't be here; what never opens needs no waiting
        super().__init__(f"what is stored can't be opened here: {_REASONS[why]}", retry_after_s=wait_s)


class _Trouble(NamedTuple):
    """What could not be opened."""

    tenant: str
    key_id: str
    why: Why


class Seals:
    """Of one process. Without a file everything is plain text.

    Args:
        log: for what happens to the file, and what can't be opened.
        health: is told how it is.
        clock: monotonic seconds.
        wall: Unix seconds.
        random: gives so many random bytes.
    """

    def __init__(
        self,
        log: BoundLogger,
        health: Dependency,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._log = log
        self._health = health
        self._clock = clock
        self._wall = wall
        self._random = random
        self._keyring: Keyring = NO_KEYS
        self._file: KeysFile | None = None
        self._path: Path | None = None
        self._problem = ""
        self._looked = float("-inf")
        self._troubles: OrderedDict[_Trouble, float] = OrderedDict()
        self._told = ""
        health.verified(clock())

    def load(self, path: str) -> None:
        """Use a keys file; "" for none.

        Raises:
            KeysFileError: it can't be used.
        """
        if path:
            self._path = Path(path)
            self._file = read_keysfile(self._path)
            self._keyring = self._file.keyring
            self._log.info("keys_file_read", current=self._keyring.currents(), unlisted=self._keyring.unlisted)

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(limits_sealing.KEYS_FILE_CHECK_S)
            self.look()

    def seal(self, user: UserKey, subject: str, payload: bytes) -> bytes:
        """What is to be stored of a user at `subject`: sealed, or as it is when the tenant has no keys.

        Raises:
            KeyMissingError: the tenant has no keys, and the keys file wants everybody to have some.
        """
        keyring = self._keyring
        now = int(self._wall())
        found = keyring.sealing_key(user, now // limits_sealing.USER_KEY_S)
        if found is None:
            if keyring.unlisted == "plain":
                return payload
            raise KeyMissingError(
                "the tenant has no key here, and nothing is stored without; an operator adds one to the keys file",
                retry_after_s=limits_sealing.KEYS_FILE_CHECK_S,
            )
        key_id, key = found
        nonce = self._random(envelope.NONCE_BYTES)
        return envelope.seal(key, envelope.head_of(key_id, now), envelope.place_of(subject), nonce, payload)

    def open(self, user: UserKey, subject: str, data: bytes) -> bytes:
        """What was stored of a user at `subject`; what is in plain text, and the empty value of a marker, comes back as it is.

        Raises:
            UnreadableError: it does not open.
        """
        if not envelope.is_sealed(data):
            keys = self._keyring.keys_of(user.tenant)
            if keys is None or keys.plain or not data:
                return data
            raise self._unreadable(_Trouble(user.tenant, "", "plain"))
        key_id = ""
        try:
            found = envelope.read(data)
            key_id = found.key_id
            key = self._keyring.opening_key(user, key_id, found.day)
            if key is None and self._look_for_key():
                key = self._keyring.opening_key(user, key_id, found.day)
            if key is not None:
                return envelope.unseal(key, found, envelope.place_of(subject))
        except envelope.NotSealedError as exc:
            raise self._unreadable(_Trouble(user.tenant, key_id, "changed")) from exc
        waits = abs(self._wall() - found.sealed_at) < limits_sealing.KEY_WAIT_S
        raise self._unreadable(_Trouble(user.tenant, key_id, "key"), waits=waits)

    def look(self) -> None:
        """Read the file again if it changed; forget what has not been met for long."""
        self._looked = self._clock()
        if self._file is not None and self._path is not None and (self._file.changed or self._problem):
            self._read(self._path)
        for trouble, at in list(self._troubles.items()):
            back = trouble.why == "key" and self._keyring.knows(trouble.tenant, trouble.key_id)
            if back or self._looked - at >= limits_sealing.UNREADABLE_REMEMBERED_S:
                del self._troubles[trouble]
        self._tell()

    def _look_for_key(self) -> bool:
        """Look at the file now, unless that was done just now; returns whether it was."""
        if self._file is None or self._clock() - self._looked < limits_sealing.KEY_LOOK_S:
            return False
        self.look()
        return True

    def _read(self, path: Path) -> None:
        try:
            file = read_keysfile(path)
        except KeysFileError as exc:
            if str(exc) != self._problem:
                self._problem = str(exc)
                self._log.error("keys_file_refused", problems=self._problem.splitlines(), advice="the one before stays in force")
            return
        before, self._keyring = self._keyring, file.keyring
        self._file, self._problem = file, ""
        if before != self._keyring:
            self._log.info("keys_file_read", current=self._keyring.currents(), unlisted=self._keyring.unlisted)
            removed = before.missing_from(self._keyring)
            if removed:
                self._log.warning("keys_removed", keys=removed, advice="what is still stored under them can't be read any more")

    def _unreadable(self, trouble: _Trouble, *, waits: bool = False) -> UnreadableError:
        if trouble not in self._troubles:
            advice = _ADVICE[trouble.why]
            self._log.error("unreadable", tenant=trouble.tenant, key=trouble.key_id, reason=_REASONS[trouble.why], advice=advice)
        self._troubles[trouble] = self._clock()
        self._troubles.move_to_end(trouble)
        if len(self._troubles) > limits_sealing.UNREADABLE_KEYS_MAX:
            self._troubles.popitem(last=False)
        self._tell()
        return UnreadableError(trouble.why, waits=waits)

    def _tell(self) -> None:
        """Let health know what changed."""
        reason = "the keys file changed and can't be used; see the log" if self._problem else ""
        if not reason and self._troubles:
            tenant, key_id, why = next(reversed(self._troubles))
            reason = f"something of tenant {tenant!r} can't be opened: {_REASONS[why]}" + (f" ({key_id})" if key_id else "")
        if reason != self._told:
            self._told = reason
            if reason:
                self._health.failed(self._clock(), reason)
            else:
                self._health.verified(self._clock())
