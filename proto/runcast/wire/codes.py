"""The one table of everything that can be refused: gRPC status, WebSocket close code, whether to retry, whether it is definite.

Rules for close codes: 4000-4499 come back with backoff; 4500-4999 do not come back, something must change first. Of the RFC 6455
codes, 1009 (a frame too large) means do not come back; all others mean come back. Clients branch on the range alone.
PROTOCOL.md's table is compared with this one by a test.
"""

from typing import Final, NamedTuple


class Code(NamedTuple):
    """One row.

    Attributes:
        name: what appears on the wire.
        grpc: name of the gRPC status of the same meaning.
        close: WebSocket close code when the connection ends by it; 0 when it never does.
        retry: the same request may be made again.
        definite: nothing was stored, for certain.
        advice: what the reader of the message does about it.
    """

    name: str
    grpc: str
    close: int
    retry: bool
    definite: bool
    advice: str


_ROWS: Final = (
    # Both doors.
    Code("id_invalid", "INVALID_ARGUMENT", 4500, False, True, "use 1 to 128 bytes of valid UTF-8"),
    Code("unauthenticated", "UNAUTHENTICATED", 4501, False, True, "get a valid token, then connect again"),
    Code("token_expired", "UNAUTHENTICATED", 4012, True, True, "get a new token, then connect again with it"),
    Code("permission_denied", "PERMISSION_DENIED", 0, False, True, "stay within what the token grants, or have more granted"),
    Code("rate_limited", "RESOURCE_EXHAUSTED", 4029, True, True, "wait for retry_after_ms, then send again"),
    Code("unavailable", "UNAVAILABLE", 4003, True, True, "try again with backoff; storage can't be reached just now"),
    Code("indeterminate", "UNAVAILABLE", 4004, True, False, "send the same again, unchanged: it may have been stored"),
    Code("storage_full", "RESOURCE_EXHAUSTED", 4005, True, True, "keep it and try again later; an operator must make room"),
    Code("key_missing", "UNAVAILABLE", 0, True, True, "keep it and try again; an operator must give this server a key for the tenant"),
    Code("draining", "UNAVAILABLE", 4001, True, True, "connect again, to any other server"),
    Code("internal", "INTERNAL", 4000, True, False, "try again with backoff; report it if it stays"),
    # Agents, at the router.
    Code("hello_expected", "FAILED_PRECONDITION", 4502, False, True, "send hello first, once"),
    Code("batch_invalid", "INVALID_ARGUMENT", 0, False, True, "correct the batch as the message says"),
    Code("batch_too_large", "INVALID_ARGUMENT", 0, False, True, "send at most 256 events and 512 KiB in a batch"),
    Code("event_too_large", "INVALID_ARGUMENT", 0, False, True, "keep an event under 256 KiB; send a reference to what is larger"),
    Code("batch_out_of_turn", "FAILED_PRECONDITION", 0, False, True, "send a run's batches in order, one at a time"),
    Code("lifecycle_violation", "FAILED_PRECONDITION", 0, False, True, "emit the run's events in an order that its life allows"),
    Code("flow_control", "RESOURCE_EXHAUSTED", 0, True, True, "keep what is unanswered within the window, on a new stream"),
    Code("run_lost", "FAILED_PRECONDITION", 0, False, True, "begin the next attempt; this one was declared lost while its agent was away"),
    Code("attempt_taken", "FAILED_PRECONDITION", 0, False, True, "begin the next attempt; another producer has this one"),
    # Devices, at the edge.
    Code("frame_invalid", "INVALID_ARGUMENT", 4503, False, True, "send frames as PROTOCOL.md describes them"),
    Code("frame_too_large", "INVALID_ARGUMENT", 1009, False, True, "send frames of at most 64 KiB"),
    Code("protocol_broken", "ABORTED", 1002, True, True, "send WebSocket frames as RFC 6455 describes them"),
    Code("text_invalid", "ABORTED", 1007, True, True, "send text in UTF-8"),
    Code("position_malformed", "INVALID_ARGUMENT", 4504, False, True, "send positions exactly as frames gave them"),
    Code("position_gone", "OUT_OF_RANGE", 0, False, True, "read on from where the answer says; what lay between is not all there"),
    Code("hello_timeout", "DEADLINE_EXCEEDED", 4008, True, True, "send hello within 10 s of connecting"),
    Code("origin_refused", "PERMISSION_DENIED", 4505, False, True, "serve the page from an origin that the edge allows (RUNCAST_ORIGINS)"),
    Code(
        "upgrade_required",
        "UNIMPLEMENTED",
        4507,
        False,
        True,
        "load the page again, or update the client: it and the server share no version of the protocol",
    ),
    Code("disconnected", "ABORTED", 4013, True, True, "connect again; an operator closed this connection"),
    Code("revoked", "PERMISSION_DENIED", 4506, False, True, "log in again; an operator has ended this access"),
    Code("unreadable", "UNAVAILABLE", 4014, True, True, "connect again; something of the stream can't be opened here"),
    Code("silent", "DEADLINE_EXCEEDED", 4009, True, True, "connect again; nothing was heard for 45 s"),
    Code("slow", "RESOURCE_EXHAUSTED", 4010, True, True, "connect again and acknowledge what is handled"),
    Code("too_many_devices", "RESOURCE_EXHAUSTED", 4011, True, True, "close other connections of this user, then connect again"),
    Code("send_invalid", "INVALID_ARGUMENT", 0, False, True, "correct the send as the message says"),
    Code("send_too_large", "INVALID_ARGUMENT", 0, False, True, "keep text and data under 32 KiB"),
    Code("request_closed", "FAILED_PRECONDITION", 0, False, True, "drop the question: another answer came first, or the run asks no more"),
    # Operators, at the admin service.
    Code("request_invalid", "INVALID_ARGUMENT", 0, False, True, "correct the request as the message says"),
    Code("run_unknown", "NOT_FOUND", 0, False, True, "check the run's id, and whose token this is; runs leave the log with age"),
    # Agents, in the client library.
    Code("outbox_closed", "FAILED_PRECONDITION", 0, False, True, "open a new Runcast; this one was closed"),
    Code("spill_unusable", "FAILED_PRECONDITION", 0, False, True, "give each process a spill file of its own, or move the file away"),
    Code("run_ended", "FAILED_PRECONDITION", 0, False, True, "start another run; nothing can follow a run's end"),
    Code("no_answer", "DEADLINE_EXCEEDED", 0, True, True, "ask again, or give a default to go on with"),
)

CODES: Final[dict[str, Code]] = {row.name: row for row in _ROWS}
"""Rows by name."""


def comes_back(close_code: int) -> bool:
    """Whether a client reconnects by itself after this close code (PROTOCOL.md, "Close codes")."""
    return not (close_code == 1009 or 4500 <= close_code <= 4999)
