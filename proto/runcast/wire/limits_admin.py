"""Bounds of the admin service; see `runcast.wire.limits`."""

from typing import Final

ADMINS_MAX: Final = 1024
"""Operators in an auth file. More: the file is refused."""
ADMIN_STOP_S: Final = 1.0
"""For calls that an admin process has under way when it stops. Then they are cut off."""

# --- audit log ---
AUDIT_AGE_S: Final = 90 * 24 * 3600.0
"""How long what operators did is kept. Then it leaves; who has to keep it longer copies it."""
AUDIT_ENTRIES_MAX: Final = 1_000_000
"""Entries kept. Past it the oldest leave: refusing to write would keep operators from acting when they must."""
AUDIT_LIST_MAX: Final = 1_000
"""Entries in one answer. Who asks for more is given so many."""
REASON_BYTES_MAX: Final = 100
"""An operator's reason, UTF-8: it is kept, and told to whom it concerns. Longer: refused (`request_invalid`)."""
AUDIT_TARGET_BYTES_MAX: Final = 512
"""What an entry is about, in words. The rest is cut off."""
AUDIT_TRIES_MAX: Final = 3
"""How often an entry is sent, under one message id, when nobody can say whether it was stored. Then the action is refused."""
AUDIT_TIMEOUT_S: Final = 2.0
"""For storage to answer each time."""
REFUSALS_AUDITED_EVERY_S: Final = 10.0
"""Refused calls are written to the audit log so often by a process, after a first burst: a flood of them must not drive out, within the age
above, what operators did. Those between are counted, and the next entry says how many they were."""
REFUSALS_AUDITED_BURST_MAX: Final = 20
"""That burst."""

# --- pages ---
SESSION_S: Final = 8 * 3600.0
"""A login, at most: a working day. Then the operator logs in again."""
SESSION_IDLE_S: Final = 15 * 60.0
"""A login that is not used: somebody left their desk. Then it is over."""
SESSIONS_MAX: Final = 256
"""Logins of one process at once. The next takes the place of the longest unused."""
LOGIN_BURST_MAX: Final = 10
"""Wrong logins from one address (IPv6: one /64 network) at once. Then it waits, also with what is right (`rate_limited`): keys can't be
guessed, but logs can be filled."""
LOGIN_EVERY_S: Final = 30.0
"""Until that address may be wrong once more."""
LOGIN_ADDRESSES_MAX: Final = 4096
"""Addresses whose wrong logins are remembered. Past it the longest unused is forgotten."""
PAGE_BODY_BYTES: Final = 4096
"""What a page may send in one request: a key, an action. More: refused with 413."""
PAGE_KEEPALIVE_S: Final = 15.0
"""A silent HTTP connection is closed after this."""
