"""The streams and buckets of a deployment: created by the first router, verified by everybody.

Rules: the shard count is fixed when the deployment is created and kept in META; a process configured otherwise refuses to start
and says why. Several routers may start at once: whoever creates a stream first gives it its epoch, the others read it. What
correctness hangs on (subjects, republish, Direct Get) is verified; what an operator may tune (age, messages per user, replicas, dedupe
window) is taken as found: the resend horizon that routers tell producers follows from the window.
"""

import asyncio
import base64
import os
from typing import Any, Final

import msgspec
import nats.errors
import nats.js.errors
from nats.js.api import (
    DiscardPolicy,
    KeyValueConfig,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
)
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError

SCHEMA: Final = 1
"""Version of the names and forms in NATS."""
EPOCH_KEY: Final = "runcast.epoch"
"""Where a stream's metadata keeps its epoch."""


class DeploymentError(Exception):
    """The deployment in NATS is not what this process expects; the message says what to change."""


class Shard(msgspec.Struct, frozen=True):
    """One shard: its stream's epoch, its retention, and how long it recognises a resend, both in seconds."""

    epoch: str
    retention_s: float
    dedupe_window_s: float = limits.DEDUPE_WINDOW_S


class Deployment(msgspec.Struct, frozen=True):
    """What all processes agree on. `shards[n]` describes shard n."""

    shards: tuple[Shard, ...]

    @property
    def resend_horizon_s(self) -> float:
        """How long after its first sending a batch may be sent again, seconds: what its stream remembers, less a margin."""
        window_s = min(shard.dedupe_window_s for shard in self.shards)
        return window_s - max(limits.RESEND_MARGIN_S, window_s * (1 - limits.RESEND_HORIZON_S / limits.DEDUPE_WINDOW_S))


class _Record(msgspec.Struct):
    schema: int
    shards: int


async def provision(bus: Bus, *, shards: int, replicas: int, log: BoundLogger) -> Deployment:
    """Create what is missing, verify what is there.

    Args:
        bus: an open connection.
        shards: wanted shard count; 0 takes what the deployment has, or the default for a new one.
        replicas: of everything that is created, 1 to 5.
        log: told about every creation.

    Raises:
        DeploymentError: the deployment differs from what was asked for, or from what Runcast needs.
    """
    wanted = shards or (limits.SHARDS_CLUSTER if replicas > 1 else limits.SHARDS_EMBEDDED)
    await _create(bus, _bucket(subjects.META_BUCKET, replicas), log)
    record = await _agree(bus, _Record(SCHEMA, wanted))
    if record.schema != SCHEMA:
        raise DeploymentError(f"the deployment has schema {record.schema}, this version needs {SCHEMA}; run a matching version")
    if shards and record.shards != shards:
        raise DeploymentError(
            f"the deployment has {record.shards} shards, RUNCAST_SHARDS says {shards}; the count is fixed when a deployment is"
            f" created: unset RUNCAST_SHARDS or set it to {record.shards}"
        )
    found = []
    for shard in range(record.shards):
        info = await _create(bus, _events(shard, replicas), log)
        found.append(_verify(shard, info))
    await _create(bus, _inbox(replicas), log)
    await _create(bus, _parked(replicas), log)
    await _create(bus, _bucket(subjects.CURSORS_BUCKET, replicas, max_age=limits.RETENTION_S), log)
    await _create(bus, _runs(replicas), log)
    return Deployment(tuple(found))


async def read_deployment(bus: Bus) -> Deployment | None:
    """The deployment as it is; None when no router has created it yet.

    Raises:
        DeploymentError: it is not what Runcast needs.
    """
    try:
        kv = await bus.js.key_value(subjects.META_BUCKET)
        entry = await kv.get(subjects.META_DEPLOYMENT)
        record = msgspec.json.decode(entry.value or b"", type=_Record)
        if record.schema != SCHEMA:
            raise DeploymentError(f"the deployment has schema {record.schema}, this version needs {SCHEMA}; run a matching version")
        infos = [await bus.js.stream_info(subjects.event_stream(shard)) for shard in range(record.shards)]
        for name in (subjects.INBOX_STREAM, f"KV_{subjects.CURSORS_BUCKET}", f"KV_{subjects.RUNS_BUCKET}"):
            await bus.js.stream_info(name)
    except (nats.js.errors.NotFoundError, nats.js.errors.KeyNotFoundError, nats.js.errors.BucketNotFoundError):
        return None
    except (TimeoutError, nats.errors.Error, nats.js.errors.ServiceUnavailableError):
        return None
    return Deployment(tuple(_verify(shard, info) for shard, info in enumerate(infos)))


async def _create(bus: Bus, config: StreamConfig, log: BoundLogger) -> StreamInfo:
    """Create the stream unless it is there; retries while the server is not ready for it."""
    name = str(config.name)
    for _ in range(20):
        try:
            return await bus.js.stream_info(name)
        except nats.js.errors.NotFoundError:
            pass
        except (TimeoutError, nats.js.errors.ServiceUnavailableError, nats.errors.Error):
            await asyncio.sleep(0.5)
            continue
        try:
            info = await bus.js.add_stream(config)
            log.info("stream_created", stream=name, replicas=config.num_replicas)
            return info
        except nats.js.errors.BadRequestError as exc:
            if exc.err_code != 10058:  # "stream name already in use with a different configuration": another router was first
                raise DeploymentError(f"NATS refused to create {name}: {exc.description}") from exc
        except (TimeoutError, nats.js.errors.APIError, nats.errors.Error) as exc:
            log.warning("stream_not_created", stream=name, error=str(exc) or type(exc).__name__)
            await asyncio.sleep(0.5)
    raise DeploymentError(
        f"{name} could not be created in 10 s; is JetStream enabled, with room on disk, on {config.num_replicas} server(s)?"
    )


async def _agree(bus: Bus, record: _Record) -> _Record:
    """Write the deployment's record, or read the one that somebody wrote before."""
    kv = await bus.js.key_value(subjects.META_BUCKET)
    try:
        await kv.create(subjects.META_DEPLOYMENT, msgspec.json.encode(record))
        return record
    except nats.js.errors.KeyWrongLastSequenceError:
        entry = await kv.get(subjects.META_DEPLOYMENT)
        return msgspec.json.decode(entry.value or b"", type=_Record)


def _new_epoch() -> str:
    return base64.b32encode(os.urandom(5)).decode().lower()


def _events(shard: int, replicas: int) -> StreamConfig:
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
        num_replicas=replicas,
        metadata={EPOCH_KEY: _new_epoch()},
    )


def _inbox(replicas: int) -> StreamConfig:
    return StreamConfig(
        name=subjects.INBOX_STREAM,
        subjects=["in.>"],
        storage=StorageType.FILE,
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        max_msgs_per_subject=limits.INBOX_PER_USER_MAX,
        max_age=limits.INBOX_AGE_S,
        duplicate_window=limits.DEDUPE_WINDOW_S,
        num_replicas=replicas,
    )


def _parked(replicas: int) -> StreamConfig:
    return StreamConfig(
        name=subjects.PARKED_STREAM,
        subjects=["parked.>"],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.OLD,
        max_bytes=limits.PARKED_BYTES_MAX,
        max_age=limits.PARKED_AGE_S,
        duplicate_window=limits.DEDUPE_WINDOW_S,
        num_replicas=replicas,
    )


def _bucket(bucket: str, replicas: int, **more: Any) -> StreamConfig:
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


def _runs(replicas: int) -> StreamConfig:
    """The runs' bucket. A key whose time is over is replaced by a marker, and leases are republished, their markers too."""
    src, dest = subjects.lease_subjects()
    return _bucket(
        subjects.RUNS_BUCKET,
        replicas,
        allow_msg_ttl=True,
        subject_delete_marker_ttl=60.0,
        republish=RePublish(src=src, dest=dest, headers_only=True),
    )


def _verify(shard: int, info: StreamInfo) -> Shard:
    config = info.config
    src, dest = subjects.live_subjects(shard)
    name = subjects.event_stream(shard)
    wrong = []
    if config.subjects != [subjects.event_subjects(shard)]:
        wrong.append(f"subjects are {config.subjects}, not {[subjects.event_subjects(shard)]}")
    if config.republish is None or (config.republish.src, config.republish.dest) != (src, dest):
        wrong.append(f"it does not republish {src} to {dest}")
    if not config.allow_direct:
        wrong.append("allow_direct is off")
    if (config.duplicate_window or 0) <= limits.RESEND_MARGIN_S:
        wrong.append(f"the duplicate window is {config.duplicate_window} s, not above {limits.RESEND_MARGIN_S} s")
    epoch = (config.metadata or {}).get(EPOCH_KEY, "")
    if not epoch:
        wrong.append(f"its metadata has no {EPOCH_KEY}")
    if wrong:
        raise DeploymentError(f"stream {name} is not as Runcast needs it: {'; '.join(wrong)}. Correct it, or remove it to start anew")
    return Shard(epoch, float(config.max_age or 0) or float("inf"), float(config.duplicate_window or 0))


class StreamState(msgspec.Struct, frozen=True):
    """How full a stream is. `epoch` is "" for streams without positions."""

    name: str
    epoch: str
    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    replicas: int


async def stream_states(bus: Bus, deployment: Deployment) -> list[StreamState]:
    """The state of every stream and bucket of the deployment, event streams first.

    Raises:
        UnavailableError: NATS did not answer for one of them.
    """
    epochs = {subjects.event_stream(number): shard.epoch for number, shard in enumerate(deployment.shards)}
    buckets = (subjects.CURSORS_BUCKET, subjects.RUNS_BUCKET, subjects.META_BUCKET)
    states = []
    for name in (*epochs, subjects.INBOX_STREAM, subjects.PARKED_STREAM, *(f"KV_{bucket}" for bucket in buckets)):
        try:
            info = await bus.js.stream_info(name)
        except (TimeoutError, nats.errors.Error, nats.js.errors.APIError) as exc:
            raise UnavailableError(f"stream {name} did not answer: {exc}") from exc
        state, config = info.state, info.config
        states.append(
            StreamState(name, epochs.get(name, ""), state.messages, state.bytes, state.first_seq, state.last_seq, config.num_replicas or 1)
        )
    return states
