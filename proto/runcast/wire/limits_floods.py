"""Bounds of what strangers and devices may do to an edge, as `runcast.wire.limits`. Bounds by tenant are the policy file's."""

from typing import Final

from runcast.wire.limits import KIB, MIB

# --- before authentication ---
CONNECTS_PER_S: Final = 50.0
"""Connections, and further HTTP requests, of one address in a second, on one edge. Past it they are refused with 429 before anything is
read. An office behind one address reloads its pages at once, now and then; a handshake costs the edge about a millisecond."""
CONNECTS_BURST_S: Final = 4.0
"""At once, after a rest, what the rate gives in so many seconds: 200."""
STRANGERS_PER_ADDRESS_MAX: Final = 64
"""Connections of one address that have not proved yet who they are. The next is refused with 429."""
STRANGERS_MAX: Final = 1024
"""All of them on one edge, 60 KiB each at most. At it the longest waiting is cut for each that comes: an honest handshake takes a moment,
so it gets through."""
STRANGER_S: Final = 15.0
"""From the accepted connection, or the last answer on it, until its peer has proved who it is, or has its next answer. Then it is cut.
Above HELLO_TIMEOUT_S, which has a close code."""
TLS_HANDSHAKE_S: Final = 8.0
"""One TLS handshake. Then the connection is cut."""
STRANGERS_LOOK_S: Final = 0.5
"""How often an edge looks who has been a stranger for too long."""
ADDRESSES_MAX: Final = 16_384
"""Addresses whose connects an edge counts, 200 B each. Past it the longest unseen is forgotten: as good as one that has rested."""
ACCEPTS_AT_ONCE: Final = 64
"""Connections accepted in one turn of the loop. The next turn takes the next."""
ACCEPT_PAUSE_S: Final = 0.5
"""After a connection could not be accepted for want of files or memory."""
PROXIES_MAX: Final = 64
"""Networks of trusted proxies in the settings. More: a problem of the settings."""
FORWARDED_HOPS_MAX: Final = 16
"""Entries of X-Forwarded-For, from the last on, that are looked at. An address that lies further back is not found: the last one counts."""
HEAD_BYTES_MAX: Final = 32 * KIB
"""Request line and headers together. More: 431, and the end of the connection. A token, a page's cookies, and room."""
HEADERS_MAX: Final = 100
"""Header lines of a request. More: 400, by aiohttp."""
HEADER_BYTES_MAX: Final = 12 * KIB
"""One of them. Longer: 400, by aiohttp. TOKEN_BYTES_MAX and what stands beside it."""
SUBPROTOCOLS_MAX: Final = 16
"""Subprotocols that a device offers. More: 400. There are two, and the token."""
HELLO_BYTES_MAX: Final = 16 * KIB
"""One message before the device is known: a token, and room. Larger: closed with 1009."""

# --- frames ---
FRAMES_PER_S: Final = 100.0
"""WebSocket frames that one device may send, in a second; ping, pong and close count CONTROL_FRAME_COST. More wait in its socket. A device
acknowledges 40 times a second, or every 64 events."""
FRAMES_BURST: Final = 400.0
"""So many at once after a rest."""
STRANGER_FRAMES: Final = 32
"""Frames that are taken before the device is known, of one message. More wait until it is."""
CONTROL_FRAME_COST: Final = 8
"""Frames that a ping, pong or close counts for: 12 a second, where one in 20 s is of use."""
FRAMES_PER_TURN: Final = 32
"""Frames of one device that pass in one turn of the loop, half a millisecond: then it is the others' turn."""
FRAMES_WAKE: Final = 16.0
"""A device over its rate goes on when so many are allowed again, so that it does not cost a timer each."""
INGRESS_BYTES_PER_S: Final = 512 * KIB
"""Bytes that one device may send in a second: 16 of the largest sends. More wait in its socket."""
INGRESS_BURST_BYTES: Final = 1 * MIB
"""So many at once after a rest."""
RECEIVE_BUFFER_BYTES: Final = 128 * KIB
"""The kernel's buffer of what a connection sent and the edge has not read; Linux doubles it, and would let it grow to 6 MiB otherwise. What
is over a device's rate waits there: a thousand floods are then a quarter of a GiB, and not six."""
FLOOD_S: Final = 10.0
"""A device that has sent more than FLOOD_BYTES too much, all this long: closed with `rate_limited`."""
FLOOD_BYTES: Final = 4 * KIB
"""What waits of a device over its rate, bytes. Acknowledgements never reach it: a window allows for eight of them."""
FLOOD_RETRY_S: Final = 5.0
"""When it may come back."""
DROPPED_BYTES_MAX: Final = 64 * KIB
"""What is still read, and dropped, of a device that is closed for breaking a rule. Then its socket is left alone until it is closed."""
FRAGMENTS_MAX: Final = 64
"""Frames of one message. More: closed with `frame_invalid`. Nobody cuts 64 KiB into smaller pieces than 1 KiB."""
MESSAGE_S: Final = 30.0
"""From the first byte of a message to its last. Then closed with `silent`."""
REFRESHES_PER_S: Final = 0.2
"""New tokens of one device that are checked, in a second: each costs up to 1 ms, or a question to the operator's service. More are refused
(`rate_limited`), and the token before goes on."""
REFRESHES_BURST: Final = 3.0
"""So many at once after a rest."""

# --- after authentication ---
SENDERS_MAX: Final = 16_384
"""Users whose sends an edge counts. Past it the longest unheard is forgotten."""
CONNECTIONS_RETRY_S: Final = 5.0
"""When a device of a tenant with too many connections may try again."""
EGRESS_WAKE_S: Final = 0.05
"""A device over its bytes per second goes on no sooner than this: mouthfuls, not crumbs."""

# --- memory ---
MEMORY_SHARE: Final = 0.8
"""Of the container's memory, what an edge uses before it takes no new session, unless it is told otherwise. The rest is for those that
there are."""
MEMORY_AGAIN: Final = 0.95
"""Of that bound: below it new sessions are taken again."""
MEMORY_RETRY_S: Final = 5.0
"""What a device is told then: try again after this."""
MEMORY_TRIM_S: Final = 5.0
"""At the bound, memory that was given back to the allocator is returned to the system so often."""
