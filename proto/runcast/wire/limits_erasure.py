"""Bounds of erasing a user, as `runcast.wire.limits`."""

from typing import Final

ERASE_HOLD_S: Final = 20.0
"""A user who is being erased is kept out of every process at most this long, should nobody say that it is over."""
ERASE_SETTLE_S: Final = 6.0
"""For a process to finish what it stores of the user: longer than one store may take. Then it answers that it did not."""
ERASE_ANSWERS_S: Final = 7.0
"""For all processes to answer. Then those that did not are named, and the erasing has to be done again."""
ERASE_LISTEN_S: Final = 0.25
"""So long answers of processes that nobody had heard of before are waited for, too."""
ERASE_PURGE_S: Final = 5.0
"""One purge."""
ERASE_ROUNDS_MAX: Final = 3
"""How often what is stored of the user is removed, and looked for again. Then it has to be done again: somebody goes on writing."""
ERASE_READS_MAX: Final = 2_000
"""Messages of the user in the inbox, or put aside, whose counts of tries are removed with them. The counts of others, which say nothing of
anybody, leave by their age."""
ERASE_AT_ONCE_MAX: Final = 64
"""Users that are erased at once. The next one is refused (`rate_limited`)."""
