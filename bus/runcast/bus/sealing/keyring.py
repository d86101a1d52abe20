"""Which keys there are, and which of them seals: a keys file that was read, as a value.

Rules: a tenant has its own keys, or those of "*"; what was sealed under a key of "*" is still opened after the tenant got keys of its own.
A tenant without either is stored in plain text (`unlisted = "plain"`) or not at all ("refuse").

Pure: imports no asyncio, clock, random, logging, grpc, nats.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runcast.bus.sealing.envelope import derive
from runcast.wire import limits_sealing
from runcast.wire.ids import UserKey

EVERYBODY: Final = "*"
"""In place of a tenant: those that have no keys of their own."""
Unlisted = Literal["plain", "refuse"]


class TenantKeys(NamedTuple):
    """Keys of one tenant.

    Attributes:
        current: id of the one that seals.
        secrets: by id, 32 bytes each.
        plain: whether what is stored in plain text is read too: true until all of it has left with age.
    """

    current: str
    secrets: Mapping[str, bytes]
    plain: bool = True

    def __repr__(self) -> str:
        """Without its secrets."""
        return f"TenantKeys({self.current!r}, {list(self.secrets)})"


class Keyring:
    """All keys. Secrets never leave it but as derived keys.

    Args:
        tenants: by tenant id, or `EVERYBODY`.
        unlisted: what becomes of a tenant without keys.
    """

    def __init__(self, tenants: Mapping[str, TenantKeys], unlisted: Unlisted = "plain") -> None:
        self._tenants = dict(tenants)
        self.unlisted = unlisted
        self._derive = lru_cache(maxsize=limits_sealing.USER_KEYS_MAX)(derive)

    def __eq__(self, other: object) -> bool:
        """Whether both say the same."""
        return isinstance(other, Keyring) and (self._tenants, self.unlisted) == (other._tenants, other.unlisted)

    __hash__ = None  # type: ignore[assignment] # it is compared, never looked up

    def keys_of(self, tenant: str) -> TenantKeys | None:
        """What seals for a tenant; None when nothing does."""
        return self._tenants.get(tenant) or self._tenants.get(EVERYBODY)

    def sealing_key(self, user: UserKey, day: int) -> tuple[str, AESGCM] | None:
        """The id of the key that seals for a user's tenant, and the user's key of that day; None when the tenant has no keys."""
        keys = self.keys_of(user.tenant) if self._tenants else None
        return (keys.current, self._derive(keys.secrets[keys.current], user, day)) if keys is not None else None

    def opening_key(self, user: UserKey, key_id: str, day: int) -> AESGCM | None:
        """The user's key of that day under a tenant's key; None when there is no such key."""
        secret = self._secret(user.tenant, key_id)
        return self._derive(secret, user, day) if secret is not None else None

    def knows(self, tenant: str, key_id: str) -> bool:
        """Whether there is such a key."""
        return self._secret(tenant, key_id) is not None

    def missing_from(self, other: "Keyring") -> list[str]:
        """`tenant/id` of the keys that are here and not there."""
        return sorted(
            f"{tenant}/{key_id}" for tenant, keys in self._tenants.items() for key_id in keys.secrets if not other.knows(tenant, key_id)
        )

    def currents(self) -> dict[str, str]:
        """The id of the key that seals, by tenant."""
        return {tenant: keys.current for tenant, keys in self._tenants.items()}

    def _secret(self, tenant: str, key_id: str) -> bytes | None:
        for name in (tenant, EVERYBODY):
            keys = self._tenants.get(name)
            if keys is not None and key_id in keys.secrets:
                return keys.secrets[key_id]
        return None


NO_KEYS: Final = Keyring({})
"""Everything is plain text."""
