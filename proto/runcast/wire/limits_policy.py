"""Bounds of the policy file and of the meters that carry it out, as `runcast.wire.limits`."""

from typing import Final

from runcast.wire.limits import KIB, MIB

POLICY_FILE_BYTES_MAX: Final = 1 * MIB
"""The policy file. Larger: a problem of the file."""
POLICY_FILE_CHECK_S: Final = 2.0
"""How often a process looks whether it changed."""
TIERS_MAX: Final = 64
"""Tiers in a policy file. More: a problem of the file."""
TENANTS_MAX: Final = 10_000
"""Tenants in a policy file. More: a problem of the file. The others are of the default tier."""
COUNT_MAX: Final = 1_000_000_000
"""The largest number of anything that a tier can allow: as good as none."""
DEVICES_PER_USER_TOP: Final = 1_024
"""The most connections of one user that a tier can allow: each of them is sent every event."""
BYTES_PER_S_MIN: Final = 1 * KIB
"""The least bytes a second that a tier can allow: one of the largest batches is paid off within minutes."""
EVENT_BYTES_MIN: Final = 4 * KIB
"""The smallest bound of an event that a tier can set: what ends a run (ids, an error's text) always fits."""
RETENTION_MIN_S: Final = 600.0
"""The shortest retention that a tier can set: longer than anything is sent again, or a connection is away without being missed."""
BURST_S: Final = 2.0
"""What a rate lets pass at once is what comes in this time: agents send in gusts, and who has to wait comes again after 0.25 s or more."""
RATES_CACHED_MAX: Final = 512
"""Rates that a process keeps with their bursts: a tier has five. Past it the longest unused is made anew."""
METERED_TENANTS_MAX: Final = 4_096
"""Tenants whose use a process meters. Past it half of them, the longest unused, are forgotten: who used something within `BURST_S` is given
a burst again."""
METERED_USERS_MAX: Final = 16_384
"""Users whose use a process meters; the same. Their tenant's meter bounds them too."""
LIMIT_RETRY_MIN_S: Final = 0.05
"""The least that somebody over a limit is told to wait."""
LIMIT_RETRY_MAX_S: Final = 5.0
"""The most that he is told: a limit may have been raised meanwhile, or others may have gone."""
OPEN_RUNS_RETRY_S: Final = 1.0
"""What an agent is told that wants to begin a run while too many are open."""
INBOX_RETRY_S: Final = 5.0
"""What a device is told whose user has too many messages waiting."""
LIMITED_TENANTS_TOLD_MAX: Final = 64
"""Tenants that statistics name of those who were over a limit. The others are counted together, as "*"."""
REFUSED_BYTES_PER_S: Final = 2 * MIB
"""Bytes of refused batches that a router reads of one caller a second: reading them takes 3 % of a processor. Past it, and a burst, the
caller's streams are read more slowly, and HTTP/2 holds it up."""
REFUSED_BATCH_BYTES_MIN: Final = 4 * KIB
"""What a refused batch counts there at least: the smallest costs as much as so many bytes."""
REFUSED_PAUSE_MAX_S: Final = 2.0
"""The longest that such a stream is not read at a time: below ROUTER_QUIET_S, past which a client would leave."""
REFUSED_CALLERS_MAX: Final = 4_096
"""Callers of whom a router remembers that. Past it half of them, the longest unused, are forgotten, and are given a burst again."""
