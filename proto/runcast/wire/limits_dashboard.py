"""Bounds of the dashboard; see `runcast.wire.limits`."""

from typing import Final

# --- figures ---
BOARD_POINT_S: Final = 2.0
"""From one point of a chart to the next: as often as processes tell their statistics."""
BOARD_SPAN_S: Final = 15 * 60.0
"""How far back figures are kept. What is older is dropped: this is for looking, not for keeping."""
BOARD_QUANTILES_S: Final = 20.0
"""Percentiles are of what was delivered in these last seconds. Shorter and a single slow event would make a peak, longer and an outage
would show late."""
BOARD_PROCESSES_MAX: Final = 256
"""Processes whose figures are kept (about 8 KiB each). Past it the longest unheard is dropped."""
BOARD_ROWS_MAX: Final = 64
"""Processes listed in one message to a page, the worst first; the others are counted. Sums are of all that are kept."""
BOARD_SHARDS_MAX: Final = 64
"""Streams listed in one message to a page. Those after them are left out, and counted."""
BOARD_ALERTS_MAX: Final = 50
"""Alerts kept, the newest. All are counted."""
BOARD_TRAIL_POINTS: Final = 90
"""Points of a process's own small chart: three minutes."""
BOARD_WORD_CHARS_MAX: Final = 200
"""Of a text that a process told (an id, a reason). The rest is cut off."""
BOARD_DEPENDENCIES_MAX: Final = 16
"""Of one process. Further ones are passed over."""

# --- pages that look on ---
PUSH_S: Final = 1.0
"""Pages are sent the newest figures so often."""
VIEWERS_MAX: Final = 32
"""Pages that one admin process sends figures to at once. The next is refused (`unavailable`), and asks again."""
VIEWER_WRITE_S: Final = 10.0
"""For a page to take what it was sent. Then it is cut off, and comes back by itself."""
STREAMS_EVERY_S: Final = 5.0
"""The streams' states are asked for so often, while a page looks on: it is a request for each stream."""

# --- looking at a user ---
FOUND_RUNS_MAX: Final = 30
"""Runs shown of a user, the newest."""
FOUND_BARS_MAX: Final = 200
"""Tools shown of a run. Further ones are counted."""
FOUND_MARKS_MAX: Final = 50
"""Silences, gaps and errors shown of a run, of each. Further ones are counted."""
FOUND_TEXT_CHARS_MAX: Final = 300
"""Of a title or an error's text. The rest is cut off."""
FOUND_READ_S: Final = 10.0
"""For reading a user's log. What was not read by then is left out, and the page says so."""
SILENCE_S: Final = 5.0
"""A run that says nothing for longer has a silence: somebody who waits wonders by then."""
