"""The bounds hold together: what one allows, the next can carry."""

import ast
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from runcast.v1.event_pb2 import AgentResponse, Event
from runcast.wire import limits, limits_client
from runcast.wire.frames import CODECS, JSON_SUBPROTOCOL, PROTO_SUBPROTOCOL, Batch
from runcast.wire.position import Position
from runcast.wire.window import AckWindow

NATS_PAYLOAD_BYTES = limits.MIB
MODULES = [importlib.import_module(f"runcast.wire.{path.stem}") for path in sorted(Path(str(limits.__file__)).parent.glob("limits*.py"))]
UNITS = re.compile(
    r"_(S|MS|BYTES|MAX|MIN|TOP|BURST|EVENTS|BATCHES|FRAMES|POINTS|LINES|TRIES|CHUNK|AT_ONCE|PER_TURN|WAKE|COST|SHARE|AGAIN|JITTER"
    r"|EMBEDDED|CLUSTER)$"
)


@pytest.mark.parametrize("limits", MODULES)
def test_every_bound_says_what_it_is(limits: ModuleType) -> None:
    body = ast.parse(Path(str(limits.__file__)).read_text()).body
    names, others = [], {"KIB", "MIB"}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom):
            others |= {alias.name for alias in node.names}
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.target.id in ("KIB", "MIB"):
            continue
        names.append(node.target.id)
        assert isinstance(after, ast.Expr), f"{node.target.id} has no docstring"
        assert isinstance(after.value, ast.Constant), f"{node.target.id} has no docstring"
        assert isinstance(after.value.value, str)
        assert len(after.value.value) > 10, f"{node.target.id} says too little"
    assert set(names) == {name for name in vars(limits) if name.isupper()} - others


@pytest.mark.parametrize(
    ("limits", "name"), [(module, name) for module in MODULES for name in vars(module) if name.isupper() and name not in ("KIB", "MIB")]
)
def test_every_bound_is_positive_and_named_by_its_unit(limits: ModuleType, name: str) -> None:
    value = getattr(limits, name)
    assert value > 0
    if name.endswith("_S") and not name.endswith(("_PER_S", "_KEY_S")):  # a key's seconds divide the clock's, whole
        assert isinstance(value, float)
    elif name.endswith(("_BYTES", "_BYTES_MAX", "_EVENTS", "_BATCHES", "_TRIES_MAX")):
        assert isinstance(value, int)
    assert UNITS.search(name)


def test_a_silent_device_is_called_slow_only_after_it_was_pinged() -> None:
    assert limits.PING_INTERVAL_S < limits.STALL_S < limits.DEAD_AFTER_S


def test_a_resend_is_always_within_the_dedupe_window() -> None:
    assert limits.RESEND_HORIZON_S < limits.DEDUPE_WINDOW_S - limits.PUBLISH_TIMEOUT_S
    assert limits.PUBLISH_TIMEOUT_S < limits.RESEND_MARGIN_S <= limits.DEDUPE_WINDOW_S - limits.RESEND_HORIZON_S


def test_a_lease_outlives_lost_refreshes_and_a_tombstone_every_resend() -> None:
    assert 2 * limits.LEASE_REFRESH_S < limits.LEASE_S - limits.LEASE_MARGIN_S
    assert limits.LEASE_PUT_S < limits.LEASE_REFRESH_S
    assert limits.LEASE_S + limits.LOST_JITTER_S < 10.0 - limits.LEASE_PUT_S  # what P7 promises of a killed agent
    # An idle agent is on another router before the lease ends that a router refreshed just before it stood still.
    assert limits_client.KEEPALIVE_INTERVAL_S + limits_client.KEEPALIVE_TIMEOUT_S < limits.LEASE_S - limits.LEASE_REFRESH_S
    assert limits_client.KEEPALIVE_INTERVAL_S > 1.0  # routers allow a ping each second
    assert limits.LEASE_S.is_integer()
    assert limits.RUN_TOMBSTONE_S.is_integer()
    assert limits.RUN_TOMBSTONE_S > limits.DEDUPE_WINDOW_S > limits.RESEND_HORIZON_S


def test_sizes_fit_into_each_other() -> None:
    assert limits.ID_BYTES_MAX < limits.EVENT_BYTES_MAX
    assert limits.EVENT_BYTES_MAX < limits.BATCH_BYTES_MAX
    assert limits.BATCH_BYTES_MAX < NATS_PAYLOAD_BYTES
    assert limits.BATCH_BYTES_MAX <= limits.GRPC_MESSAGE_BYTES_MAX // 2
    assert limits.TEXT_BYTES_MAX < limits.FRAME_BYTES_MAX
    assert limits.TEXT_BYTES_MAX < limits.EVENT_BYTES_MAX
    assert limits_client.OUTBOX_BYTES_MAX >= limits.STREAM_WINDOW_BYTES >= limits.BATCH_BYTES_MAX
    assert limits_client.OUTBOX_EVENTS_MAX >= limits.BATCH_EVENTS_MAX
    assert limits.HISTORY_CHUNK_BYTES > limits.BATCH_BYTES_MAX
    assert limits.SOCKET_BYTES_MAX <= limits.WINDOW_BYTES
    assert limits.INBOX_DELIVERIES_MAX * limits.FRAME_BYTES_MAX <= limits.GRPC_MESSAGE_BYTES_MAX
    assert limits_client.DEVICE_FRAME_BYTES_MAX > 6 * limits.BATCH_BYTES_MAX
    assert limits_client.DEVICE_ACK_EVENTS * 2 < limits.WINDOW_EVENTS
    assert limits.MERGE_BACKLOG_BATCHES < limits.HISTORY_CHUNK
    assert 6 * (limits.MERGED_BYTES_MAX + limits.BATCH_BYTES_MAX) < limits_client.DEVICE_FRAME_BYTES_MAX
    assert limits.HISTORY_CHUNK_BYTES < limits.SNAPSHOT_BYTES_MAX < limits.SNAPSHOTS_BYTES_MAX
    assert limits.SNAPSHOT_BACKLOG_BATCHES < limits.MESSAGES_PER_USER_MAX


def test_the_largest_batch_fits_an_empty_window() -> None:
    assert limits.WINDOW_EVENTS >= limits.BATCH_EVENTS_MAX
    overhead = len(CODECS[PROTO_SUBPROTOCOL].encode(Batch(str(Position("abcdefgh", 1)), str(Position("abcdefgh", 2)), [])))
    assert limits.BATCH_BYTES_MAX + overhead < limits.WINDOW_BYTES


def test_a_frame_larger_than_the_window_exists_and_goes_out_alone() -> None:
    """Why the window lets the frame pass that fills it: control characters make JSON six times as long."""
    event = Event(id="e", agent_response=AgentResponse(text="\x01" * (limits.EVENT_BYTES_MAX - 100)))
    assert event.ByteSize() <= limits.EVENT_BYTES_MAX
    frame = CODECS[JSON_SUBPROTOCOL].encode(Batch("", "", [event, event]))
    assert len(frame) > limits.WINDOW_BYTES
    window = AckWindow(limits.WINDOW_EVENTS, limits.WINDOW_BYTES)
    assert not window.full
    window.add(1, 2, len(frame))
    assert window.full


def test_times_fit_into_each_other() -> None:
    assert limits.PING_INTERVAL_S * 2 < limits.DEAD_AFTER_S
    assert limits.DEDUPE_WINDOW_S < limits.RETENTION_S
    assert limits.VERIFY_FIRST_S < limits.VERIFY_INTERVAL_S
    assert limits.VERIFY_INTERVAL_S * 4 < limits.RETENTION_S
    assert limits_client.BACKOFF_FIRST_S < limits_client.BACKOFF_MAX_S < 3
    assert limits.CLOSE_WAIT_S <= limits.DRAIN_S
    assert limits.CANCEL_AGE_S <= limits.INBOX_AGE_S
    assert limits.DRAIN_GRACE_S < limits.DRAIN_S
    assert limits.PUBLISH_TIMEOUT_S < limits_client.ACK_TIMEOUT_S < limits.RESEND_HORIZON_S
    assert limits.INBOX_EXTEND_S * 2 < limits.INBOX_ACK_WAIT_S


def test_counts_fit_into_each_other() -> None:
    assert limits.VERIFY_SUBJECTS_MAX <= 1024  # nats-server's own bound for multi_last
    assert limits.HISTORY_CHUNK <= limits.RING_ENTRIES_MAX <= limits.PENDING_ENTRIES_MAX
    assert limits.SHARDS_EMBEDDED < limits.SHARDS_CLUSTER
