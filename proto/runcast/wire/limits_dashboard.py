"""Bounds of the dashboard; see `runcast.wire.limits`."""

from typing import Final

from runcast.wire.limits import MIB

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
"""Streams listed in one message to a page. Those after them are left out: `runcast admin status` has them all."""
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
"""Runs shown of a user with what is below them, the newest. Older ones are counted."""
FOUND_ROWS_MAX: Final = 200
"""Attempts of runs shown, sub-agents included. Past it the oldest go, and are counted."""
FOUND_BARS_MAX: Final = 200
"""Tools shown of one attempt, the newest. Those before are counted."""
FOUND_MARKS_MAX: Final = 50
"""Silences, gaps and errors shown of one attempt, of each the newest. Those before are counted."""
FOUND_SAID_MAX: Final = 50
"""Messages of the user of which is told when they came, the newest."""
FOUND_WAITING_MAX: Final = 20
"""Messages that wait for an agent, and as many that were put aside: each costs a question to the leader. More are only said to be there."""
FOUND_DEVICES_MAX: Final = 64
"""Devices listed, those that are connected first. More are counted."""
FOUND_BATCHES_MAX: Final = 10_000
"""Places in the log that are remembered, to say how far a device is behind: as many as the log keeps of a user."""
FOUND_TEXT_CHARS_MAX: Final = 300
"""Of a title or an error's text. The rest is cut off."""
FOUND_READ_S: Final = 10.0
"""For one look at a user's log. What was not read by then is read at the next look, and the page says up to where it is."""
FOUND_EVERY_S: Final = 2.0
"""A page that looks at a user is told what is new so often, if anything is."""
FOUND_VIEWERS_MAX: Final = 8
"""Pages that look at users at once, of one process: each asks NATS again and again. The next is refused (`unavailable`)."""
SILENCE_S: Final = 5.0
"""A run that says nothing for longer has a silence: somebody who waits wonders by then. The page can be told another time."""
SILENCE_MIN_S: Final = 1.0
"""A shorter silence is not even told to the page."""

# --- replays from the dashboard ---
FILMS_MAX: Final = 4
"""Recordings kept in memory to be played on pages. The next takes the place of the one that nobody has asked for longest."""
FILM_BYTES_MAX: Final = 16 * MIB
"""Of one recording. Larger: refused (`request_invalid`): a run is asked for instead, or the command line."""
IMPORT_BYTES_MAX: Final = 32 * MIB
"""Of a file that a page sends to be played: JSON is about twice what is kept of it. Larger: refused (`request_invalid`), by the page
before it sends anything; `runcast replay FILE` plays larger ones."""
IMPORT_S: Final = 60.0
"""For a file to come. Then it is refused (`unavailable`)."""
IMPORTS_AT_ONCE_MAX: Final = 2
"""Files that one process reads at once. The next is refused (`rate_limited`)."""
IMPORT_RETRY_S: Final = 2.0
"""When who was refused so may ask again."""
FILM_S: Final = 30 * 60.0
"""A recording that nobody has asked for is forgotten after this."""
FILM_PAGES_MAX: Final = 16
"""Pages that watch recordings at once, of one process. The next is sent away with 503."""
