"""Every bound of the system: its value, its unit, why, and what happens when it is reached.

Names end in what they count: `_bytes_max`, `_max`, `_s`. A bound that operators may set appears in a service's settings with
the value here as its default.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- names ---
ID_BYTES_MAX: Final = 128
"""Tenant, user, device, run, thread, group, producer, message ids: UTF-8 bytes. Longer: refused (`id_invalid`)."""

# --- events and batches ---
EVENT_BYTES_MAX: Final = 256 * KIB
"""One serialized event. Larger: refused (`event_too_large`). With its frame around it, one of the largest still fits a batch."""
BATCH_BYTES_MAX: Final = 512 * KIB
"""One serialized batch. An outbox never builds a larger one; a router refuses it (`batch_too_large`). Half of NATS's 1 MiB message."""
BATCH_EVENTS_MAX: Final = 256
"""Events in a batch, so that one frame never stalls a page. An outbox starts another batch; a router refuses it."""
GRPC_MESSAGE_BYTES_MAX: Final = 4 * MIB
"""One gRPC message, both ways: gRPC's own default. An outbox packs batches up to half of it."""
OPEN_TOOLS_MAX: Final = 256
"""Tool calls open at once in one run. The next is refused (`lifecycle_violation`)."""

# --- router ---
STREAM_WINDOW_BATCHES: Final = 1024
"""Unanswered batches on one Publish stream. A producer that goes past it breaks the protocol: the stream ends (`flow_control`)."""
STREAM_WINDOW_BYTES: Final = 8 * MIB
"""Bytes of them; the same."""
STREAM_RUNS_MAX: Final = 10_000
"""Runs whose life one Publish stream tracks. Past it the longest untouched one is forgotten, and is checked less strictly."""
PUBLISH_TIMEOUT_S: Final = 5.0
"""One JetStream publish until its answer. Then the batch is refused with `indeterminate` and `retry`."""
PUBLISH_RETRY_AFTER_S: Final = 0.25
"""What a router advises when storage did not answer."""
DEDUPE_WINDOW_S: Final = 120.0
"""JetStream remembers a `Nats-Msg-Id` this long."""
RESEND_HORIZON_S: Final = 100.0
"""An outbox resends this long after a batch's first sending; then it can't be sure any more (`indeterminate`). Below the
dedupe window by more than one publish timeout and clock drift."""
INBOX_IN_FLIGHT_MAX: Final = 1000
"""Unacknowledged messages of one worker. Asked for more: reduced to it."""
INBOX_ACK_WAIT_S: Final = 30.0
"""A message not acknowledged in this time is delivered again."""
INBOX_PER_USER_MAX: Final = 100
"""Messages of one user waiting for one agent group. The next is refused (`storage_full`)."""
INBOX_AGE_S: Final = 24 * 3600.0
"""An upstream message nobody took is dropped after this."""
CANCEL_AGE_S: Final = 3600.0
"""How long a cancel waits for its run to appear."""

# --- storage ---
RETENTION_S: Final = 24 * 3600.0
"""Age at which events leave the log. A device that comes back later gets `reset(expired)`."""
MESSAGES_PER_USER_MAX: Final = 10_000
"""Batches kept per user; the oldest go first. A device behind them gets `reset(expired)`."""
SHARDS_EMBEDDED: Final = 4
"""Shards on one NATS server."""
SHARDS_CLUSTER: Final = 16
"""Shards on a NATS cluster."""

# --- edge: what a client may do ---
FRAME_BYTES_MAX: Final = 64 * KIB
"""One WebSocket message from a client. Larger: closed with 1009."""
TEXT_BYTES_MAX: Final = 32 * KIB
"""Text and data of one upstream message together. Larger: refused (`send_too_large`)."""
HELLO_TIMEOUT_S: Final = 10.0
"""From the open socket to `hello`. Then closed with `hello_timeout`."""
DEVICES_PER_USER_MAX: Final = 32
"""Connections of one user on one edge. The next is closed with `too_many_devices`."""
SENDS_IN_FLIGHT_MAX: Final = 16
"""Upstream sends of one connection not yet answered. The next is refused (`rate_limited`)."""
PING_INTERVAL_S: Final = 20.0
"""A peer that was silent this long is pinged."""
DEAD_AFTER_S: Final = 45.0
"""A peer that was silent this long, pings included, is closed with `silent`."""

# --- edge: delivery ---
WINDOW_EVENTS: Final = 512
"""Events sent to a device and not acknowledged. At it the device is BEHIND: it is fed again, from the log, as acks arrive."""
WINDOW_BYTES: Final = 2 * MIB
"""Bytes of their frames; the same. A batch's JSON may be six times its stored size (control characters), so a single frame can be larger
than this: it goes out alone, into an empty window. The frame that fills the window may pass the bound, none follows it."""
SOCKET_BYTES_MAX: Final = 256 * KIB
"""Bytes waiting for a device's socket. At it the device is BEHIND."""
RING_ENTRIES_MAX: Final = 256
"""Newest batches of a connected user that an edge keeps, so that short gaps are filled without asking NATS."""
RING_BYTES_MAX: Final = 256 * KIB
"""Bytes of them."""
PENDING_ENTRIES_MAX: Final = 1024
"""Live batches held while a user's gap is filled from the log. Past it they are dropped and read from the log too."""
HISTORY_CHUNK: Final = 128
"""Batches asked for in one Direct Get."""
HISTORY_CHUNK_BYTES: Final = 1 * MIB
"""Bytes asked for in one Direct Get."""
HISTORY_READS_MAX: Final = 32
"""Direct Gets under way at once on one edge. Further ones wait."""
HISTORY_TIMEOUT_S: Final = 5.0
"""One Direct Get. Then it is tried again."""
HISTORY_TRIES_MAX: Final = 6
"""Tries of one read, with backoff. Then the device is closed with `unavailable` and comes back."""
VERIFY_INTERVAL_S: Final = 15.0
"""Slow round: every connected user's tip is compared with what was delivered."""
VERIFY_SUBJECTS_MAX: Final = 1024
"""Subjects in one `multi_last` request; NATS's own bound."""
CURSOR_INTERVAL_S: Final = 2.0
"""A device's cursor is written at most this often, and when it closes."""
VERIFY_FIRST_S: Final = 1.0
"""A new feed is verified this soon: its subscription may have reached a cluster's other servers only after the tip was read."""
CURSORS_AT_ONCE: Final = 256
"""Cursor writes under way at once."""
CLOSE_WAIT_S: Final = 2.0
"""For a WebSocket's close to be answered. Then the socket is cut."""
DRAIN_S: Final = 5.0
"""From SIGTERM until an edge or router has sent everybody away."""
SEND_TIMEOUT_S: Final = 5.0
"""Storing one upstream message. Then it is answered `indeterminate`; the client may resend."""

# --- client ---
OUTBOX_EVENTS_MAX: Final = 10_000
"""Events of one process waiting or unanswered. When full, the caller waits."""
OUTBOX_BYTES_MAX: Final = 32 * MIB
"""Bytes of them; the same."""
CONNECT_TIMEOUT_S: Final = 5.0
"""One attempt to reach a router."""
BACKOFF_FIRST_S: Final = 0.1
"""First wait before a reconnect; doubles, with full jitter."""
BACKOFF_MAX_S: Final = 2.0
"""Longest such wait: below the 3 s in which everything is to flow again."""
CLOSE_TIMEOUT_S: Final = 5.0
"""`Runcast.close()`: how long it tries to get rid of what is left."""
