"""Bounds of what is read and sent over plain HTTP: server-sent events, acknowledgements, sends. Units last, as in `limits`."""

from typing import Final

SSE_RETRY_MS: Final = 1000
"""How long a browser waits before it comes back; it has no backoff of its own."""
SSE_REFUSED_RETRY_MS: Final = 3000
"""The least that a browser waits which may not come in just now, and up to half as much again: it would not come back after a status, and
has no backoff."""
SSE_HEARTBEAT_S: Final = 10.0
"""A stream on which nothing was said for this long says a comment: proxies cut what is silent for 30 s or more."""
SSE_LASTS_S: Final = 600.0
"""A stream ends by itself after this, and the browser comes back: proxies and balancers cut long answers, some after 15 minutes."""
SSE_LASTS_JITTER: Final = 0.1
"""Share of it by which streams differ, so that not all come back at once."""
SSE_UNHEARD_MS: Final = 45_000
"""TCP gives a reader up that confirmed nothing of what was written for this long."""
POSITION_CHARS_MAX: Final = 128
"""Of a position in a header or a URL."""
POST_BYTES_MAX: Final = 64 * 1024
"""Of the body of an acknowledgement or a send."""
POST_READ_S: Final = 10.0
"""Such a body is there within this, or refused: it is read before its sender is known."""
AGUI_WAIT_S: Final = 10.0
"""A run that was not found in the stream is waited for so long: who starts it may be quicker to ask than it is to begin."""
PAGE_BYTES_MAX: Final = 256 * 1024
"""A page of a durable stream that holds so much of JSON takes no further batch: the reader asks for the next one. So a page is at most this
and one batch."""
PAGE_WAIT_S: Final = 25.0
"""How long a long poll waits for something new, and a page for what it is made of: proxies cut what is silent for 30 s or more."""
PAGE_GATHER_S: Final = 0.1
"""A long poll that has waited takes in what else comes within this: a reader of flowing text comes back ten times a second, not forty, and
each time costs a session."""
PAGE_WRITE_S: Final = 30.0
"""A reader that has not taken its page within this is cut off: it holds memory."""
STREAM_SSE_LASTS_S: Final = 60.0
"""A durable stream by server-sent events ends by itself after this; the protocol asks for about so much (Durable Streams, 10.2)."""
STREAM_CURSOR_S: Final = 20.0
"""A cursor of a durable stream counts intervals of this length (Durable Streams, 10.1)."""
STREAM_CURSOR_AHEAD_MAX: Final = 180
"""By how many intervals a cursor may run ahead of the clock at a time: an hour, as there."""
STREAM_CURSOR_DIGITS_MAX: Final = 15
"""Of a cursor in a URL; a longer one is none of ours, and is ignored."""
READERS_MAX: Final = 16_384
"""Devices whose bytes a second an edge counts from one request to the next; past it the longest unused is forgotten."""
