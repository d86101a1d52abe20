"""Bounds of the agents' client, its adapters, the testkit and the command line, as `runcast.wire.limits`."""

from typing import Final

from runcast.wire.limits import KIB, MIB, RETENTION_S

# --- agents' client ---
OUTBOX_EVENTS_MAX: Final = 10_000
"""Events of one process waiting or unanswered. When full, the caller waits."""
OUTBOX_BYTES_MAX: Final = 32 * MIB
"""Bytes of them; the same."""
COALESCE_S: Final = 0.04
"""A run that has only text deltas and thinking to send sends at most this often; what comes meanwhile is merged. The first goes at once,
and so does everything when anything else comes. Long enough to spare most of a model's tokens a message of their own, short enough not to
be seen."""
COALESCE_MAX_S: Final = 1.0
"""Longest that a client may be told to let text and thinking rest. It refuses to be told more."""
MERGED_TEXT_BYTES_MAX: Final = 8 * KIB
"""A waiting event that grew to this takes in no further text: the next text is an event of its own. Adding text copies what is there."""
LATENCIES_KEPT_MAX: Final = 1_000
"""Newest acknowledged batches whose latency a client remembers for its statistics."""
CONNECT_TIMEOUT_S: Final = 5.0
"""One attempt to reach a server."""
CONNECT_FIRST_S: Final = 1.5
"""An agent's first attempt to reach a router, and to hear its hello: it may stand still, and another may not. Doubles with each failure in
a row, up to CONNECT_TIMEOUT_S: it may be slow."""
TOKEN_TIMEOUT_S: Final = 10.0
"""For an agent's own code to give a token. Then it is asked again, with backoff."""
BACKOFF_FIRST_S: Final = 0.1
"""First wait before a reconnect; doubles, with full jitter."""
BACKOFF_MAX_S: Final = 2.0
"""Longest such wait: below the 3 s in which everything is to flow again."""
CLOSE_TIMEOUT_S: Final = 5.0
"""`Runcast.close()`: how long it tries to get rid of what is left."""
OUTBOX_RESERVE_EVENTS: Final = 1_000
"""Kept free beside OUTBOX_EVENTS_MAX for events that close tool calls and runs, so that cleaning up never waits for room."""
OUTBOX_RESERVE_BYTES: Final = 1 * MIB
"""Bytes of them; the same."""
RUNS_REMEMBERED_MAX: Final = 10_000
"""Ended runs whose id and attempt an outbox refuses to use again. Past it the oldest is forgotten."""
ROUTER_QUIET_S: Final = 2.5
"""Nothing heard from a router while batches are unanswered, or it takes no more bytes: the stream is opened elsewhere."""
ACK_TIMEOUT_S: Final = 10.0
"""One batch's answer, from a router that answers others. Above PUBLISH_TIMEOUT_S. Then the stream is opened elsewhere."""
KEEPALIVE_INTERVAL_S: Final = 1.5
"""A silent gRPC connection is pinged this often, so that an agent with nothing to send leaves a router that stands still before its lease
ends."""
KEEPALIVE_TIMEOUT_S: Final = 1.5
"""From such a ping until the connection counts as dead."""
RUN_EXIT_S: Final = 2.0
"""How long a run that was cancelled or failed waits for its closing events to be stored. They are sent on after it."""
GOODBYE_S: Final = 1.0
"""How long a client that closes waits for the router to end the stream. Then it drops the stream."""
SPILL_BYTES_MAX: Final = 256 * MIB
"""Events in a spill file, bytes: several outboxes. At it the stored part of the longest runs is forgotten; then the outbox is full."""
SPILL_FREE_BYTES: Final = 32 * MIB
"""So much of it is made free at once (of a smaller one: an eighth), so that it is not done event by event."""
SPILL_BUSY_S: Final = 1.0
"""How long a write waits for somebody else (a person with a SQLite shell). Then the spill is given up."""
RETELLS_MAX: Final = 3
"""How often in a process's life what a dead one left of a run is told again as another attempt. Then it is left out, and logged."""
LOOP_END_S: Final = 0.25
"""How long what is left on the loop of a blocking client may take to end once it is cancelled. Then it is cancelled again."""
LOOP_END_CANCELS_MAX: Final = 3
"""How often: the second time cuts short what the first one began to send. Then the thread is left to end with the process."""
TURN_APPENDS_MAX: Final = 32
"""Events appended in a row before the caller yields to the event loop, so that a busy agent's events leave at once."""
ERROR_TEXT_CHARS_MAX: Final = 2_000
"""Text of an exception in `agent_error` and `tool_completed`, characters. Longer: cut, with an ellipsis."""
EVENT_NAMES_BYTES: Final = 2 * KIB
"""Of EVENT_BYTES_MAX, what an event's ids and attributes may take. What is cut is cut to the rest."""
INSTRUMENT_BYTES_MAX: Final = 64 * KIB
"""Arguments, and result, of a call of an instrumented function, as JSON. Larger ones are cut: no function is to fail by being watched."""
PURPOSE_CHARS_MAX: Final = 200
"""What an instrumented function's docstring gives as purpose. The rest is left out."""
THREAD_WAIT_S: Final = 0.25
"""A thread that waits for its run's event loop looks so often whether the loop is still there."""
ESTIMATE_TOOLS_MAX: Final = 256
"""Tools whose durations a client remembers. Past it the longest unused is forgotten."""
ESTIMATE_CALLS_MAX: Final = 15
"""Newest calls of a tool that its estimate comes from."""
CAUSES_MAX: Final = 8
"""How far an exception's causes, and the groups within groups, are followed to find out what happened."""
ASK_WAIT_MAX_S: Final = RETENTION_S
"""Longest that a run waits for an answer: after that the question has left the log, and no device shows it."""
ASK_OPTIONS_MAX: Final = 64
"""Options of one question. More: refused to the caller: nobody reads them."""
ASK_TRIES_MAX: Final = 5
"""How often a question is asked, when the answers do not fit it. Then it counts as unanswered."""
DONE_MESSAGES_MAX: Final = 1_000
"""Settled upstream messages that an inbox remembers by id, so that a redelivery is answered and not handled again."""

# --- adapters of frameworks ---
THOUGHT_CHARS_AT_ONCE: Final = 120
"""A framework's reasoning is told when a sentence ends, or when it has grown by so many characters."""
THOUGHT_CHARS_MAX: Final = 600
"""Characters of its newest passage that are told. The beginning of a longer one is left out."""
TITLE_CHARS_MAX: Final = 120
"""Of what an agent was asked, the title of its child run. The rest is left out."""
ADAPTER_LOOP_S: Final = 2.0
"""How long an adapter's callback on another thread waits until the run's event loop turns. Then it is an error: the loop is blocked, most
likely by the very call that the callback belongs to."""
ADAPTER_AGAIN_S: Final = 0.05
"""The same for the callbacks after it, until the loop turns again: a blocked answer must not take 2 s a token."""

# --- testkit and command line ---
CHILD_READY_S: Final = 20.0
"""From starting a child process to its ready line, on a loaded machine. Then it is killed, and its stderr is shown."""
CHILD_STOP_S: Final = 4.0
"""From SIGTERM to SIGKILL: with what else there is to end, below the 5 s that Ctrl-C may take."""
CHILD_LOG_BYTES_MAX: Final = 4 * MIB
"""One child's log file. At it the file becomes `<name>.1` (replacing an older one) and a new one begins."""
CHILD_LINE_BYTES_MAX: Final = 8 * KIB
"""An output line of a child process. Longer ones are cut in pieces."""
CHILD_TAIL_LINES: Final = 30
"""Newest stderr lines of a child kept for error messages."""
CHILD_RESTARTS_MAX: Final = 5
"""A supervised child is restarted so often, with backoff; its count begins anew after `CHILD_STABLE_S`. Then all ends."""
CHILD_STABLE_S: Final = 30.0
"""A child that lived this long is taken as healthy."""
CHILD_BACKOFF_S: Final = 0.25
"""First wait before a child is restarted; doubles."""
NATS_PORT_TRIES: Final = 20
"""Ports tried for a nats-server before giving up."""
DEVICE_FRAME_BYTES_MAX: Final = 16 * MIB
"""One frame from an edge to a device: the largest conflated range, as JSON, with room. Larger: the connection ends."""
DEVICE_ACK_EVENTS: Final = 64
"""A device acknowledges at once when so many events are handled; an eighth of the edge's window."""
DEVICE_ACK_DELAY_S: Final = 0.025
"""It acknowledges fewer after this."""
DEVICE_CLOSE_S: Final = 2.0
"""How long a device waits for the edge to answer its close."""
