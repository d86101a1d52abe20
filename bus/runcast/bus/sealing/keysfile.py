"""The keys file: what is stored of which tenant is sealed, and by which key. TOML, named by RUNCAST_KEYS_FILE.

    unlisted = "plain"                    # tenants without keys: stored in plain text; or "refuse": not stored at all

    [tenants.acme]
    current = "k2"                        # seals; the others only open
    plain = false                         # nothing of it is in plain text any more: refuse what is
    [tenants.acme.keys]
    k1 = "…"                              # 32 random bytes, base64: `runcast key --at-rest k1 --tenant acme`
    k2 = { file = "acme-k2.key" }         # the same, in a file of its own, relative to this one

    [tenants."*"]                         # all that have no keys of their own
    current = "all-1"
    keys = { all-1 = "…" }

Rules: it is read whole, with every file that it names, or not at all; all problems are told at once, each saying where it is and what to
set; no message repeats a key.
"""

import base64
import binascii
import re
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from runcast.bus.followed import Followed, Watched, changed
from runcast.bus.sealing.envelope import KEY_BYTES
from runcast.bus.sealing.keyring import EVERYBODY, Keyring, TenantKeys, Unlisted
from runcast.wire import limits_sealing
from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import check_id

_KEY_ID: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{limits_sealing.KEY_ID_BYTES_MAX}}}", re.ASCII)
_DISTINCT_MIN: Final = 12
"""Different bytes in a key: 32 random ones have fewer once in 10^24 keys; what was typed or left blank, mostly."""
_SETTINGS: Final = ("current", "plain", "keys")


class KeysFileError(Exception):
    """The keys file can't be used. `str(error)` lists every problem, a line each."""


class KeysFile(NamedTuple):
    """A keys file that can be used.

    Attributes:
        keyring: what it says.
        watched: this file and those that it names, as they were.
    """

    keyring: Keyring
    watched: list[Watched]

    @property
    def changed(self) -> bool:
        """Any of the files is not as it was."""
        return changed(self.watched)


def read_keysfile(path: Path) -> KeysFile:
    """Read the keys file, and the files that it names.

    Raises:
        KeysFileError: it can't be used; all its problems.
    """
    reader = _Reader(path)
    found = reader.read()
    if reader.problems:
        raise KeysFileError("\n".join(f"{path}: {problem}" for problem in reader.problems))
    return found


class _Reader:
    def __init__(self, path: Path) -> None:
        self._file = Followed(path, limits_sealing.KEYS_FILE_BYTES_MAX)
        self.problems = self._file.problems

    def read(self) -> KeysFile:
        document = self._file.document("the keys file")
        for name in sorted(document.keys() - {"unlisted", "tenants"}):
            self.problems.append(f"{name!r} is no setting; there are unlisted and [tenants.NAME]")
        unlisted = document.get("unlisted", "plain")
        if unlisted not in get_args(Unlisted):
            self.problems.append(f"unlisted: {unlisted!r}; use one of {', '.join(get_args(Unlisted))}")
        tables = document.get("tenants", {})
        if not isinstance(tables, dict):
            self.problems.append("tenants: expected tables, [tenants.NAME]")
            tables = {}
        if not tables and not self.problems:
            self.problems.append("it names no tenant; add [tenants.NAME], or leave RUNCAST_KEYS_FILE out")
        tenants = {tenant: keys for tenant, table in tables.items() if (keys := self._tenant(tenant, table)) is not None}
        self._check_shared(tenants)
        return KeysFile(Keyring(tenants, unlisted), self._file.watched)

    def _tenant(self, tenant: str, table: Any) -> TenantKeys | None:
        where = f"[tenants.{tenant}]"
        before = len(self.problems)
        try:
            check_id(tenant, "tenant")
        except IdInvalidError as exc:
            self.problems.append(f"{where}: {exc.message}")
        if not isinstance(table, dict):
            self.problems.append(f"{where}: expected a table with {', '.join(_SETTINGS)}")
            return None
        for name in sorted(table.keys() - set(_SETTINGS)):
            self.problems.append(f"{where}: {name!r} is no setting; there are {', '.join(_SETTINGS)}")
        plain = table.get("plain", True)
        if not isinstance(plain, bool):
            self.problems.append(f"{where}: plain: use true or false")
        keys = table.get("keys", {})
        if not isinstance(keys, dict) or not 1 <= len(keys) <= limits_sealing.TENANT_KEYS_MAX:
            self.problems.append(f"{where}: keys: expected a table of 1 to {limits_sealing.TENANT_KEYS_MAX} keys, by id")
            return None
        secrets = {key_id: secret for key_id, value in keys.items() if (secret := self._key(f"{where}: key {key_id!r}", key_id, value))}
        current = table.get("current", "")
        if not isinstance(current, str) or current not in keys:
            self.problems.append(f"{where}: current: expected the id of one of its keys: {', '.join(keys)}")
        return TenantKeys(current, secrets, plain) if len(self.problems) == before else None

    def _key(self, where: str, key_id: str, value: Any) -> bytes:
        if not _KEY_ID.fullmatch(key_id):
            self.problems.append(f"{where}: use 1 to {limits_sealing.KEY_ID_BYTES_MAX} of A-Z, a-z, 0-9, '.', '_' and '-' for an id")
        if isinstance(value, dict) and value.keys() == {"file"} and isinstance(value["file"], str):
            before = len(self.problems)
            value = self._file.named(value["file"], f"{where}: file").decode("ascii", "replace")
            if len(self.problems) != before:
                return b""
        if not isinstance(value, str):
            self.problems.append(f'{where}: expected base64 of {KEY_BYTES} random bytes, or {{ file = "NAME" }}')
            return b""
        try:
            secret = base64.b64decode(value.strip(), validate=True)
        except (binascii.Error, ValueError):
            self.problems.append(f"{where}: it is no base64; `runcast key --at-rest` makes a key")
            return b""
        if len(secret) != KEY_BYTES:
            self.problems.append(f"{where}: it has {len(secret)} bytes; use {KEY_BYTES} random ones: `runcast key --at-rest` makes a key")
        elif len(set(secret)) < _DISTINCT_MIN:
            self.problems.append(f"{where}: its bytes are not random; `runcast key --at-rest` makes a key")
        return secret

    def _check_shared(self, tenants: dict[str, TenantKeys]) -> None:
        """What was sealed for a tenant by a key of "*" is still to be opened when the tenant has keys of its own."""
        everybody = tenants.get(EVERYBODY)
        for tenant, keys in tenants.items():
            for key_id in keys.secrets.keys() & (everybody.secrets.keys() if everybody is not None and keys is not everybody else set()):
                if everybody is not None and keys.secrets[key_id] != everybody.secrets[key_id]:
                    self.problems.append(f'[tenants.{tenant}]: key {key_id!r} is another one in [tenants."*"]; use another id')
