"""What the streams and buckets of a deployment are, as they are created (ARCHITECTURE.md, "Names in NATS").

What correctness hangs on (subjects, republish, Direct Get) is verified by every process (`runcast.bus.deployment`); what an operator may
tune (age, messages per user, replicas, dedupe window) is taken as found.
"""

import base64
import os
from typing import Any, Final

from nats.js.api import DiscardPolicy, KeyValueConfig, RePublish, RetentionPolicy, StorageType, StreamConfig

from runcast.wire import limits, limits_admin, limits_revocation, subjects

EPOCH_KEY: Final = "runcast.epoch"
"""Where a stream's metadata keeps its epoch."""


def _new_epoch() -> str:
    return base64.b32encode(os.urandom(5)).decode().lower()


def events_config(shard: int, replicas: int) -> StreamConfig:
    """The log of one shard, with an epoch of its own."""
    src, dest = subjects.live_subjects(shard)
    return StreamConfig(
        name=subjects.event_stream(shard),
        subjects=[subjects.event_subjects(shard)],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        max_age=limits.RETENTION_S,
        max_msgs_per_subject=limits.MESSAGES_PER_USER_MAX,
        duplicate_window=limits.DEDUPE_WINDOW_S,
        republish=RePublish(src=src, dest=dest),
        allow_direct=True,
        allow_msg_ttl=True,
        num_replicas=replicas,
        metadata={EPOCH_KEY: _new_epoch()},
    )


def inbox_config(replicas: int) -> StreamConfig:
    """What users sent, until an agent handled it."""
    return StreamConfig(
        name=subjects.INBOX_STREAM,
        subjects=["in.>"],
        storage=StorageType.FILE,
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=limits.INBOX_PER_USER_MAX,
        max_age=limits.INBOX_AGE_S,
        allow_msg_ttl=True,
        duplicate_window=limits.DEDUPE_WINDOW_S,
        num_replicas=replicas,
    )


def parked_config(replicas: int) -> StreamConfig:
    """What no agent could handle, for people to look at."""
    return StreamConfig(
        name=subjects.PARKED_STREAM,
        subjects=["parked.>"],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        max_bytes=limits.PARKED_BYTES_MAX,
        max_age=limits.PARKED_AGE_S,
        allow_msg_ttl=True,
        duplicate_window=limits.DEDUPE_WINDOW_S,
        num_replicas=replicas,
    )


def audit_config(replicas: int) -> StreamConfig:
    """What operators did. Nobody may take an entry out, or purge it: what is to go, goes with its age."""
    return StreamConfig(
        name=subjects.AUDIT_STREAM,
        subjects=["audit.>"],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        max_msgs=limits_admin.AUDIT_ENTRIES_MAX,
        max_age=limits_admin.AUDIT_AGE_S,
        duplicate_window=limits.DEDUPE_WINDOW_S,
        deny_delete=True,
        deny_purge=True,
        allow_direct=True,
        num_replicas=replicas,
    )


def bucket_config(bucket: str, replicas: int, **more: Any) -> StreamConfig:
    """A key-value bucket, as the stream that it is: so that key TTLs can be asked for."""
    KeyValueConfig(bucket=bucket)  # checks the name
    return StreamConfig(
        name=f"KV_{bucket}",
        subjects=[subjects.kv_subject(bucket, ">")],
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_msgs_per_subject=1,
        allow_rollup_hdrs=True,
        deny_delete=True,
        allow_direct=True,
        duplicate_window=min(limits.DEDUPE_WINDOW_S, more.get("max_age") or limits.DEDUPE_WINDOW_S),
        num_replicas=replicas,
        **more,
    )


def runs_config(replicas: int) -> StreamConfig:
    """The runs' bucket. A key whose time is over is replaced by a marker, and leases are republished, their markers too."""
    src, dest = subjects.lease_subjects()
    return bucket_config(
        subjects.RUNS_BUCKET,
        replicas,
        allow_msg_ttl=True,
        subject_delete_marker_ttl=60.0,
        republish=RePublish(src=src, dest=dest, headers_only=True),
    )


def revoked_config(replicas: int) -> StreamConfig:
    """The revocations' bucket: each ends by itself, and is republished once it is stored; full, it refuses the next."""
    src, dest = subjects.revoked_subjects()
    return bucket_config(
        subjects.REVOKED_BUCKET,
        replicas,
        allow_msg_ttl=True,
        subject_delete_marker_ttl=limits_revocation.REVOCATION_MARKER_S,
        max_msgs=limits_revocation.REVOCATIONS_MAX,
        max_msg_size=limits_revocation.REVOCATION_VALUE_BYTES_MAX,
        republish=RePublish(src=src, dest=dest),
    )
