"""Bounds of tokens, keys, and whom an edge or a router asks about them, as `runcast.wire.limits`."""

from typing import Final

from runcast.wire.limits import KIB, MIB

TOKEN_BYTES_MAX: Final = 8 * KIB
"""A peer's token. Longer: refused (`unauthenticated`) unread; HTTP servers take no longer header either."""
AUTH_FILE_BYTES_MAX: Final = 1 * MIB
"""The auth file, and each file that it names. Larger: a problem of the file."""
AUTH_FILE_CHECK_S: Final = 2.0
"""How often a process looks whether they changed."""
ISSUERS_MAX: Final = 64
"""Issuers in an auth file. More: a problem of the file."""
AGENTS_MAX: Final = 4096
"""Agents in an auth file. More: a problem of the file."""
AGENT_TOKEN_RENEW_S: Final = 10.0
"""So long before an agent's token is over its streams are sent away, to come back with a new one."""
PRINCIPALS_CHECK_S: Final = 1.0
"""How often a router looks whose tokens are over."""
REFUSALS_LOGGED_MAX: Final = 1024
"""Refusals, by who and why, that a router remembers to have logged. Past it the longest unused is forgotten, and logged again."""
KEYS_TRIED_MAX: Final = 8
"""Keys that one token is checked against, when it does not say which one signed it: each try costs up to 0.1 ms. The others are not
tried."""
JWT_LEEWAY_S: Final = 30.0
"""How far an issuer's clock may be off, unless the auth file says otherwise."""
CALLOUT_TIMEOUT_S: Final = 3.0
"""Asking the operator's service who a token is, waiting for a place included. Then `unavailable`."""
CALLOUT_AT_ONCE: Final = 64
"""Questions under way at once from one edge. The others wait for a place, within the same time."""
CALLOUT_CACHE_S: Final = 10.0
"""How long a good answer counts for the same token, so that a page that reconnects is not asked about each time."""
CALLOUT_CACHED_MAX: Final = 10_000
"""Good answers that are kept. Past it the oldest is forgotten."""
CALLOUT_BYTES_MAX: Final = 16 * KIB
"""One answer. Larger: `unavailable`."""
JWKS_TIMEOUT_S: Final = 5.0
"""One fetch of a key set. Then it failed."""
JWKS_BYTES_MAX: Final = 512 * KIB
"""One key set. Larger: the fetch failed."""
JWKS_KEYS_MAX: Final = 256
"""Keys of a set that are kept. The rest is left out."""
JWKS_REFRESH_S: Final = 300.0
"""A key set is fetched again this often, so that what an issuer withdrew ends."""
JWKS_REFETCH_S: Final = 10.0
"""Least time between two fetches of a key set, whatever tokens name: peers who invent keys must not storm the issuer."""
JWKS_STALE_S: Final = 86_400.0
"""How long the newest key set that was fetched counts while the issuer can't be reached. Then its tokens get `unavailable`."""
