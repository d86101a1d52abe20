"""Every bound of the system: its value, its unit, why, and what happens when it is reached. Those of one subject alone stand in the
`limits_*` modules beside this one.

Names end in what they count: `_bytes_max`, `_max`, `_s`. A bound that operators may set appears in a service's settings with
the value here as its default.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- names ---
ID_BYTES_MAX: Final = 128
"""Tenant, user, device, run, thread, group, producer, message ids: UTF-8 bytes. Longer: refused (`id_invalid`)."""

TOKENS_CACHED_MAX: Final = 16_384
"""Ids whose tokens a process remembers: a router needs eight tokens a batch, mostly the same. Past it the longest unused is forgotten."""

# --- events and batches ---
EVENT_BYTES_MAX: Final = 256 * KIB
"""One serialized event. Larger: refused (`event_too_large`). With its frame around it, one of the largest still fits a batch."""
BATCH_BYTES_MAX: Final = 512 * KIB
"""One serialized batch. An outbox never builds a larger one; a router refuses it (`batch_too_large`). Half of NATS's 1 MiB message."""
BATCH_EVENTS_MAX: Final = 256
"""Events in a batch, so that one frame never stalls a page. An outbox starts another batch; a router refuses it."""
GRPC_MESSAGE_BYTES_MAX: Final = 4 * MIB
"""One gRPC message, both ways: gRPC's own default. An outbox packs batches up to half of it."""
GRPC_KEEPALIVE_S: Final = 1.5
"""A gRPC connection that was silent this long is pinged by the router."""
GRPC_KEEPALIVE_TIMEOUT_S: Final = 2.5
"""How long it waits for the answer. Then the connection is given up: what its worker held goes to another one, and its producer's lease
is refreshed no more."""
MESSAGE_PACE_S: Final = 0.002
"""Least time between two messages of one side of a Publish stream. The first goes at once; under load they grow instead of multiplying,
since a message costs 150 us on each side, whatever is in it."""
TLS_LOOK_S: Final = 2.0
"""How often a service looks whether the files of its certificate changed. A new one is used for new connections."""
OPEN_TOOLS_MAX: Final = 256
"""Tool calls open at once in one run. The next is refused (`lifecycle_violation`)."""

JSON_DEPTH_MAX: Final = 100
"""Containers within containers in an event's JSON. Deeper: refused (`batch_invalid`): readers with small stacks must manage it."""

# --- router ---
STREAMS_MAX: Final = 4096
"""Publish streams, and as many Receive streams, open on one router. The next is refused (`rate_limited`)."""
STREAM_WINDOW_BATCHES: Final = 1024
"""Unanswered batches on one Publish stream. A producer that goes past it breaks the protocol: the stream ends (`flow_control`)."""
STREAM_WINDOW_BYTES: Final = 8 * MIB
"""Bytes of them; the same."""
STREAM_RUNS_MAX: Final = 10_000
"""Runs whose life one Publish stream tracks. Past it the longest untouched one is forgotten, and is checked less strictly."""
OPEN_RUNS_TOLD_MAX: Final = 1_000
"""Idle runs that a producer names in one message to a new router. The rest follows in the next."""
STREAM_ENDED_MAX: Final = 10_000
"""Ended attempts that one Publish stream remembers, to refuse what comes after their end. Past it the oldest is forgotten."""
REFUSAL_CHARS_MAX: Final = 512
"""Characters of a refusal's text, and of the run id that it repeats. The rest is cut off."""
ANSWERS_MAX: Final = 512
"""Acks and refusals in one response. The others follow in the next."""
PUBLISH_TIMEOUT_S: Final = 5.0
"""One JetStream publish until its answer. Then the batch is refused with `indeterminate` and `retry`."""
PUBLISH_RETRY_AFTER_S: Final = 0.25
"""What a router advises when storage did not answer."""
DEDUPE_WINDOW_S: Final = 120.0
"""JetStream remembers a `Nats-Msg-Id` this long."""
RESEND_HORIZON_S: Final = 100.0
"""An outbox resends this long after a batch's first sending; then it can't be sure any more (`indeterminate`). Below the
dedupe window by more than one publish timeout and clock drift."""
RESEND_MARGIN_S: Final = 7.5
"""At least so much shorter than a shorter dedupe window is the horizon that follows from it: one publish timeout, and half of it again."""
INBOX_IN_FLIGHT_MAX: Final = 1000
"""Unacknowledged messages of one worker. Asked for more: reduced to it."""
INBOX_DELIVERIES_MAX: Final = 64
"""Messages in one response: with the largest texts still below GRPC_MESSAGE_BYTES_MAX."""
INBOX_ACK_WAIT_S: Final = 5.0
"""A message whose router neither extends nor acknowledges it for this long is delivered again: the router is gone."""
INBOX_ACK_MARGIN_S: Final = 0.5
"""So long before it the router itself gives the message up: the server's clock started before the router had the message."""
INBOX_EXTEND_S: Final = 2.0
"""A router extends the messages that its workers hold this often: two extensions may be lost before INBOX_ACK_WAIT_S is over."""
INBOX_PULL_S: Final = 2.0
"""How long one request for messages waits at the server. A request that was lost (a server died) is repeated after it."""
INBOX_GROUP_IN_FLIGHT_MAX: Final = 20_000
"""Unacknowledged messages of all workers of a group. At it the group gets no more until some are acknowledged."""
INBOX_RETRY_DELAY_S: Final = 1.0
"""A message that a worker can't take now is delivered again after this, doubled with each further try."""
INBOX_TRIES_MAX: Final = 5
"""Times that one message is handed to a worker. After that it is parked: put aside, for people to look at."""
INBOX_BLOCKED_MAX: Final = 256
"""Messages that one Receive stream keeps because one before them is elsewhere, or its worker is full. At it no more are asked for."""
INBOX_REFER_S: Final = 0.1
"""A message that came to a worker which may not serve its tenant waits so long for a stream that may to ask for it. Then it goes back."""
INBOX_BLOCKED_WAIT_S: Final = 0.5
"""At most this long until such a message is looked at, and offered to other streams, again."""
PARKED_AGE_S: Final = 7 * 24 * 3600.0
"""How long a parked message is kept."""
PARKED_BYTES_MAX: Final = 64 * MIB
"""Bytes of all that are parked. Past it the oldest go."""
INBOX_SETTLE_TRIES_MAX: Final = 8
"""Tries to have a disposition confirmed, with backoff, 1 s each. Then the message is left to be delivered again."""
INBOX_SETTLE_S: Final = 1.0
"""One such try."""
INBOX_PER_USER_MAX: Final = 100
"""Messages of one user waiting for one agent group. The next is refused (`storage_full`)."""
INBOX_AGE_S: Final = 24 * 3600.0
"""An upstream message nobody took is dropped after this."""
CANCELS_RECENT_MAX: Final = 1024
"""Cancels that a router remembers, for runs that it first sees just after. Past it the oldest is forgotten (the bucket has it)."""
CANCEL_AGE_S: Final = 3600.0
"""How long a cancel waits for its run to appear."""
ANSWER_AGE_S: Final = 3600.0
"""How long an answer is kept for the process that asked, or the one that comes in its place."""
ANSWERS_PER_USER_MAX: Final = 1_000
"""Answers of one user that are kept. The next is refused (`storage_full`)."""
ANSWERS_AWAITED_MAX: Final = 1024
"""Answers that one Publish stream, and one agent process, waits for. A client refuses to ask for more (`rate_limited`); a stream that goes
past it ends (`flow_control`)."""
ANSWER_LOOK_S: Final = 0.5
"""How soon a kept answer is looked for again after it was first asked for: the replica that answered may have lagged."""
ANSWER_ROUND_S: Final = 15.0
"""All answers that are waited for are looked for this often, should the news of one have been lost."""

RECEIPTS_PER_STREAM_MAX: Final = 1024
"""Receipts that one Publish stream awaits at a router, and one agent process at its client. The next is answered `stored` at once: the
event goes its way, nobody watches it."""
RECEIPT_DEADLINE_MAX_S: Final = 600.0
"""Longest that a receipt is awaited. A client refuses to ask for longer; a router answers after this."""
RECEIPT_LOOK_S: Final = 0.5
"""How soon cursors are read again after a watch began: its subscription may have reached a cluster's other servers only after the
first reading."""
RECEIPT_LINGER_S: Final = 5.0
"""A user's cursors are watched so much longer than anything is awaited: agents ask for receipts one after the other."""
RECEIPT_DEVICES_MAX: Final = 64
"""Devices of a watched user whose newest cursor a router remembers. Past it the longest unheard is forgotten."""
RECEIPT_CHECK_S: Final = 1.0
"""Reading the cursors of one user once. Then it counts as unanswered."""
RECEIPT_SLACK_S: Final = 3.0
"""So long past its deadline a client waits for a router's word on a receipt. Then the answer is `stored`."""
VOID_AWAITED_MAX: Final = 64
"""Batches of a connected user that await a receipt, and of which an edge left something out (their attempt was superseded). Past it the
oldest is forgotten."""
PRESENCE_WAIT_S: Final = 0.25
"""How long edges may take to say which devices of a user they have. An edge that says nothing until then has none."""
STATISTICS_INTERVAL_S: Final = 2.0
"""Every process tells its statistics so often."""
STATISTICS_AGE_S: Final = 10.0
"""Statistics older than this are of a process that is gone; a router forgets them."""
STATISTICS_PROCESSES_MAX: Final = 1024
"""Processes whose statistics a router keeps. Past it the longest unheard is forgotten."""
# --- leaders ---
LEADER_WAIT_S: Final = 12.0
"""For a question that only a stream's leader answers: an election takes up to 9 s, and at times another second. Then who asked is told to
come back."""
LEADER_ATTEMPT_S: Final = 1.0
"""One such question, until it is asked again."""
LEADER_PAUSE_FIRST_S: Final = 0.05
"""First wait until it is asked again when the answer was that there is no leader; doubles. Less when a leader is elected meanwhile."""
LEADER_PAUSE_MAX_S: Final = 0.5
"""Longest such wait."""
LEADER_ASKS_MAX: Final = 32
"""Questions about one stream under way at once in one process. Further ones wait."""
NATS_PING_S: Final = 2.0
"""A connection to NATS is pinged this often."""
NATS_PINGS_MAX: Final = 2
"""So many pings unanswered, and at the next one the connection is given up: a server that stands still is left within 6 s."""
# --- run leases ---
LEASE_S: Final = 6.0
"""A producer's runs are declared lost when no router refreshed its lease for this long. Whole seconds: NATS counts no finer."""
LEASE_REFRESH_S: Final = 2.0
"""A router refreshes the leases of its streams this often: two refreshes may be lost."""
LEASE_MARGIN_S: Final = 1.0
"""So long before a lease may end its router takes no batch under it any more without refreshing it."""
LEASE_PUT_S: Final = 1.5
"""One refresh, claim or declaration, until its answer."""
LEASES_AT_ONCE: Final = 64
"""Such requests under way at once on one router. Further ones wait."""
CLAIM_TRIES_MAX: Final = 5
"""Tries to claim a run whose key others change at the same time, or to keep an answer. Then it is refused with `unavailable`."""
SWEEP_S: Final = 10.0
"""Every router looks for producers without a lease this often (give or take a quarter), for those whose end nobody heard of."""
SWEEP_RETRY_S: Final = 1.0
"""When that, or settling what was found, did not work out: again after this."""
LOST_JITTER_S: Final = 0.25
"""Routers that hear of a lease's end wait for a random part of this, so that mostly one of them does the work."""
LEASES_DUE_MAX: Final = 4096
"""Ended leases that a router keeps in mind. Past it they are left to the sweep."""
RUN_TOMBSTONE_S: Final = 150.0
"""A run's key outlives the run by this, to answer what is sent again: longer than DEDUPE_WINDOW_S. Whole seconds."""
RUNS_ENDING_MAX: Final = 10_000
"""Ended runs whose keys a router has still to close. Past it the oldest is left until its producer goes."""
ABANDONS_MAX: Final = 1_000
"""Given up runs that a router, or a client, has still to tell of. Past it the oldest is left until its producer goes."""
FENCE_RUNS_MAX: Final = 256
"""Runs with a superseded or lost attempt that a reader of a user's stream remembers. Past it the longest untouched one is forgotten."""
FENCE_ATTEMPTS_MAX: Final = 16
"""Attempts remembered of one of them. Past it the lowest is forgotten."""

HEALTH_COUNT_MAX: Final = 1_000_000
"""Attempts and recoveries of a dependency are counted up to this."""

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
"""From the open socket, or stream, to `hello`. Then closed with `hello_timeout`."""
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
SOCKET_BYTES_MAX: Final = 64 * KIB
"""Bytes waiting for a device's socket. At it the device is BEHIND. Devices of a user share these bytes, but not those of the next bound."""
SOCKET_BUFFER_BYTES_MAX: Final = 8 * KIB
"""Bytes that a connection writes ahead of its socket. At it the writer waits."""
ANSWERS_WAITING_MAX: Final = 256
"""Answers (pong, sent, error) for a device whose socket is full. One more, and it is closed with `slow`: it asks without reading."""
STALL_S: Final = 30.0
"""A device that something waits for acknowledges nothing for this long, with its window too full to be fed: closed with `slow`."""
MERGE_BACKLOG_BATCHES: Final = 32
"""A read of the log that gives at least so many batches to one device is merged. Fewer go out as they are: that costs little, and devices
share the frames."""
MERGED_EVENTS_MAX: Final = 256
"""Events of a merged frame, as of a batch: at it the next frame begins. The batch that fills it may pass the bound."""
MERGED_BYTES_MAX: Final = 64 * KIB
"""Their serialized size; the same."""
SNAPSHOT_BACKLOG_BATCHES: Final = 2_000
"""A device that missed more than this gets a snapshot, unless its hello forbids it."""
SNAPSHOT_BYTES_MAX: Final = 4 * MIB
"""What one snapshot holds, while it is made and until it is delivered. One that would be larger is not made: the stream is given instead,
merged."""
SNAPSHOTS_BYTES_MAX: Final = 64 * MIB
"""What all snapshots of an edge hold together; the same."""
SNAPSHOT_OVERHEAD_BYTES: Final = 512
"""What holding an event takes besides its serialized size, estimated."""
REQUESTS_KNOWN_MAX: Final = 64
"""What a connected user was asked, of which an edge knows how it may be answered, and whether it still may. Past it the oldest is
forgotten, and answers to it are checked by the agent alone."""
REQUEST_OPTIONS_BYTES_MAX: Final = 4 * KIB
"""Options that are remembered of one of them, bytes. Of more none are, and any text is let through."""
RING_ENTRIES_MAX: Final = 256
"""Newest batches of a connected user that an edge keeps, so that short gaps are filled without asking NATS."""
RING_BYTES_MAX: Final = 256 * KIB
"""What they hold in memory, decoded and encoded, about; past it the oldest go. 300-byte events, one a batch: 74 of them."""
PENDING_ENTRIES_MAX: Final = 1024
"""Live batches held while a user's gap is filled from the log. Past it they are dropped and read from the log too."""
HISTORY_CHUNK: Final = 128
"""Batches asked for in one Direct Get."""
HISTORY_CHUNK_BYTES: Final = 1 * MIB
"""Bytes asked for in one Direct Get."""
HISTORY_READS_MAX: Final = 32
"""Direct Gets under way at once on one edge. Further ones wait."""
HISTORY_QUIET_S: Final = 1.5
"""A Direct Get of whose answer nothing (more) comes for this long is given up: the server that was asked may be gone. Then it is tried
again."""
HISTORY_TIMEOUT_S: Final = 5.0
"""One Direct Get in all; the same."""
HISTORY_TRIES_MAX: Final = 6
"""Tries of one read, with backoff. Then the device is closed with `unavailable` and comes back."""
PLACE_TRIES_MAX: Final = 4
"""Times that the leader is asked for a place that nobody here knows, with backoff (0.7 s in all), before it is one that never was."""
VERIFY_INTERVAL_S: Final = 15.0
"""Slow round: every connected user's tip is compared with what was delivered."""
VERIFY_SUBJECTS_MAX: Final = 1024
"""Subjects in one `multi_last` request; NATS's own bound."""
CURSOR_INTERVAL_S: Final = 5.0
"""A device's cursor is written at most this often, and when it closes."""
VERIFY_FIRST_S: Final = 1.0
"""A new feed is verified this soon: its subscription may have reached a cluster's other servers only after the tip was read."""
CURSORS_AT_ONCE: Final = 256
"""Cursor writes under way at once. An urgent one beyond them goes with the next round."""
ALERT_AFTER_S: Final = 10.0
"""A critical event that no device acknowledged this long after it came, while a device is connected, raises an alert."""
ALERT_AGE_S: Final = 3600.0
"""How long it is remembered that a run raised its alert."""
VIGIL_EVENTS_MAX: Final = 256
"""Unacknowledged batches with critical events that an edge watches per user. While full, newer ones are not watched: the older ones
raise the alert."""
VIGIL_RUNS_MAX: Final = 256
"""Runs of a connected user of which an edge remembers that they raised their alert. Past it the oldest is forgotten; the key in RUNS is
not."""
CLOSE_WAIT_S: Final = 2.0
"""For a WebSocket's close to be answered. Then the socket is cut."""
DRAIN_DEVICES_PER_S: Final = 500.0
"""Devices that a stopping edge sends away per second, so that the others are not stormed."""
DRAIN_S: Final = 5.0
"""From SIGTERM until an edge or router has sent everybody away."""
CURSORS_FLUSH_S: Final = 1.5
"""For a stopping edge to write the cursors that are left. Then it ends without."""
DRAIN_GRACE_S: Final = 3.5
"""The part of it in which agents leave by themselves. Then their streams are ended."""
SEND_TIMEOUT_S: Final = 5.0
"""Storing one upstream message. Then it is answered `indeterminate`; the client may resend."""
