"""Bounds of reading a user's stream for operators, of its redaction, and of replays; see `runcast.wire.limits`."""

from typing import Final

from runcast.wire.limits import MIB

# --- redaction ---
REDACTION_RULES_MAX: Final = 256
"""Paths in a redaction file. Each costs a walk of every event. More: the file is refused."""
REDACTION_FILE_BYTES_MAX: Final = 64 * 1024
"""A redaction file. Larger: refused."""
REDACTION_STEPS_MAX: Final = 16
"""Steps of one path. More: the file is refused."""
REDACTION_PATH_CHARS_MAX: Final = 256
"""Characters of one path. More: the file is refused."""

# --- reading ---
READS_AT_ONCE_MAX: Final = 4
"""Streams that one admin process reads out at once: each holds a page of the log. The next is refused (`rate_limited`)."""
READ_RETRY_S: Final = 1.0
"""When who was refused so may ask again."""
READ_WRITE_S: Final = 30.0
"""For an operator to take one page. Then the call ends (`unavailable`): who doesn't read must not hold one of the few places."""
READ_LAG_TRIES: Final = 6
"""How often a replica that does not have yet what the leader has is asked again, with backoff. Then the call ends (`unavailable`)."""
READ_CALL_S: Final = 600.0
"""How long the command line waits for a whole stream: 10,000 batches through a slow line."""

# --- replays ---
EXPORT_BYTES_MAX: Final = 256 * MIB
"""An export that is held in memory to be played. Larger: refused; a run, or a span of time, is asked for instead."""
EXPORT_LINE_BYTES_MAX: Final = 2 * MIB
"""A line of an export: the largest event, whose every byte may take six in JSON. Longer: it is none."""
SPEED_MIN: Final = 0.01
"""Slower is no replay any more. Refused."""
SPEED_MAX: Final = 10_000.0
"""Faster is `max`. Refused."""
MAX_GAP_S: Final = 3.0
"""No wait of a replay is longer, unless told otherwise: nobody watches a silence to find out how long it was."""
PAGES_MAX: Final = 16
"""Pages that watch one `runcast replay --into http://...` at once. The next is sent away with 503."""
PAGE_SEND_S: Final = 30.0
"""For a page to take one frame. Then its connection is closed, and it comes back."""
