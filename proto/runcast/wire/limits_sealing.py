"""The bounds of encryption at rest (`runcast.bus.sealing`), each with its unit and reason; see `runcast.wire.limits`."""

from typing import Final

KEYS_FILE_BYTES_MAX: Final[int] = 1024 * 1024
"""Of the keys file, and of each file that it names, bytes: a thousand tenants with ten keys each. A larger one is refused."""

KEYS_FILE_CHECK_S: Final[float] = 2.0
"""How often the keys file is looked at, seconds: one `stat` for each file that it names."""

KEY_ID_BYTES_MAX: Final[int] = 32
"""Of a key's id: it stands in every sealed message."""

TENANT_KEYS_MAX: Final[int] = 32
"""Keys of one tenant: with a rotation a day, those of a month. More are refused when the file is read."""

USER_KEYS_MAX: Final[int] = 2048
"""Keys of users that a process keeps derived, 2.7 KiB each. The ones used longest ago go first, and are derived again, 5 us each."""

USER_KEY_S: Final[int] = 86_400
"""For how long a user's key is used, seconds. NIST SP 800-38D 8.3 allows 2^32 messages under one key with random nonces: a day of one
user's stream may hold that many only at 49,710 batches a second, a hundred times what the policy lets in."""

SEALED_OVERHEAD_BYTES_MAX: Final[int] = 128
"""By how much a sealed message may be longer than it was, bytes."""

KEY_WAIT_S: Final[float] = 120.0
"""How long after it was sealed a message under an unknown key is waited for, seconds, rather than given up as unreadable: a keys file
reaches one machine later than another, and a Kubernetes secret takes up to 90 s."""

KEY_LOOK_S: Final[float] = 0.5
"""How often the keys file is looked at because of unknown keys, seconds, at most: who invents keys costs no more than this."""

UNREADABLE_REMEMBERED_S: Final[float] = 600.0
"""How long health stays degraded after something could not be opened, seconds, unless its key comes back."""

UNREADABLE_KEYS_MAX: Final[int] = 64
"""Of how many (tenant, key) pairs that could not be opened a process remembers when. Past it the oldest is forgotten."""
