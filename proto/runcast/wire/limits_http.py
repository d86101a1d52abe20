"""Bounds of what is read and sent over plain HTTP: server-sent events, acknowledgements, sends. Units last, as in `limits`."""

from typing import Final

SSE_RETRY_MS: Final = 1000
"""How long a browser waits before it comes back; it has no backoff of its own."""
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
AGUI_WAIT_S: Final = 10.0
"""A run that was not found in the stream is waited for so long: who starts it may be quicker to ask than it is to begin."""
