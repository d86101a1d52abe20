"""The streams and buckets of a deployment: created by the first router, verified by everybody.

Rules: the shard count is fixed when the deployment is created and kept in META; a process configured otherwise refuses to start
and says why. Several routers may start at once: whoever creates a stream first gives it its epoch, the others read it. What
correctness hangs on (subjects, republish, Direct Get) is verified; what an operator may tune (age, messages per user, replicas, dedupe
window) is taken as found: the resend horizon that routers tell producers follows from the window. All streams are looked at at once, each
as soon as its leader answers: in a cluster some may be without one for seconds.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import msgspec
import nats.errors
import nats.js.errors
from nats.js.api import StreamConfig, StreamInfo
from structlog.stdlib import BoundLogger

from runcast.bus.connection import Bus
from runcast.bus.keys import Bucket
from runcast.bus.leaders import StreamMissingError
from runcast.bus.storage import RevisionError
from runcast.bus.streams import (
    EPOCH_KEY,
    audit_config,
    bucket_config,
    events_config,
    inbox_config,
    parked_config,
    revoked_config,
    runs_config,
)
from runcast.bus.upgrade import allow_message_ttl
from runcast.wire import limits, subjects
from runcast.wire.errors import RuncastError, UnavailableError

SCHEMA: Final = 1
"""Version of the names and forms in NATS."""
_CREATE_S: Final = 10.0
"""Creating one stream. Then something is wrong that time does not heal."""
_AGAIN_S: Final = 0.25
_IN_USE: Final = 10058
"""nats-server's error code: stream name already in use with a different configuration."""


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


class Found(Protocol):
    """Is told what is found, as it is found; see `runcast.bus.shards`."""

    def begin(self, count: int) -> None:
        """The deployment has so many shards."""
        ...

    def verified(self, number: int, shard: Shard) -> None:
        """A shard is as it should be."""
        ...


async def provision(bus: Bus, *, shards: int, replicas: int, log: BoundLogger, found: Found | None = None) -> Deployment:
    """Create what is missing, verify what is there: all streams at once, for in a cluster some may wait for their leaders.

    Args:
        bus: an open connection.
        shards: wanted shard count; 0 takes what the deployment has, or the default for a new one.
        replicas: of everything that is created, 1 to 5.
        log: told about every creation.
        found: told of each shard as soon as it is verified.

    Raises:
        DeploymentError: the deployment differs from what was asked for, or from what Runcast needs.
        UnavailableError: NATS, or the leader of a stream, did not answer; try again.
    """
    wanted = shards or (limits.SHARDS_CLUSTER if replicas > 1 else limits.SHARDS_EMBEDDED)
    record = await _read_record(bus)
    if record is None:
        await _create(bus, bucket_config(subjects.META_BUCKET, replicas), log)
        record = await _agree(bus, _Record(SCHEMA, wanted))
    _check_schema(record)
    if shards and record.shards != shards:
        raise DeploymentError(
            f"the deployment has {record.shards} shards, RUNCAST_SHARDS says {shards}; the count is fixed when a deployment is"
            f" created: unset RUNCAST_SHARDS or set it to {record.shards}"
        )
    others = (
        bucket_config(subjects.META_BUCKET, replicas),
        inbox_config(replicas),
        parked_config(replicas),
        audit_config(replicas),
        bucket_config(subjects.CURSORS_BUCKET, replicas, max_age=limits.RETENTION_S),
        runs_config(replicas),
        revoked_config(replicas),
    )
    return await _each(
        record.shards,
        found,
        lambda shard: _create(bus, events_config(shard, replicas), log),
        [_create(bus, config, log) for config in others],
    )


async def read_deployment(bus: Bus, found: Found | None = None) -> Deployment | None:
    """The deployment as it is; None when no router has created it (all of it) yet, or not all of it can be read.

    Args:
        bus: an open connection.
        found: told of each shard as soon as it is verified.

    Raises:
        DeploymentError: it is not what Runcast needs.
    """
    buckets = (subjects.CURSORS_BUCKET, subjects.RUNS_BUCKET, subjects.REVOKED_BUCKET)
    others = (subjects.INBOX_STREAM, *(f"KV_{bucket}" for bucket in buckets))
    try:
        record = await _read_record(bus)
        if record is None:
            return None
        _check_schema(record)
        return await _each(
            record.shards,
            found,
            lambda shard: _info(bus, subjects.event_stream(shard), limits.LEADER_WAIT_S),
            [_info(bus, name, limits.LEADER_WAIT_S) for name in others],
        )
    except (StreamMissingError, UnavailableError):
        return None


async def _each(
    count: int, found: Found | None, look: Callable[[int], Awaitable[StreamInfo]], others: Sequence[Coroutine[Any, Any, object]]
) -> Deployment:
    """Look at all streams at once; raises what the first that fails does."""

    async def verify(number: int) -> Shard:
        shard = _verify(number, await look(number))
        if found is not None:
            found.verified(number, shard)
        return shard

    if found is not None:
        found.begin(count)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(verify(number)) for number in range(count)]
            for other in others:
                group.create_task(other)
    except ExceptionGroup as failures:
        wrong = failures.subgroup(DeploymentError)
        raise (wrong or failures).exceptions[0] from None
    return Deployment(tuple(task.result() for task in tasks))


async def _info(bus: Bus, stream: str, within_s: float) -> StreamInfo:
    info: StreamInfo = StreamInfo.from_response(msgspec.json.decode(await bus.leaders.info(stream, within_s)))
    return info


async def _create(bus: Bus, config: StreamConfig, log: BoundLogger) -> StreamInfo:
    """Create the stream unless it is there; retries while the servers are not ready for it.

    Raises:
        DeploymentError: NATS refuses it.
        UnavailableError: it is there, and its leader does not answer; or nobody does.
    """
    name = str(config.name)
    until = asyncio.get_running_loop().time() + _CREATE_S
    while True:
        try:
            info = await _info(bus, name, limits.LEADER_WAIT_S)
            if config.allow_msg_ttl and not info.config.allow_msg_ttl:
                await allow_message_ttl(bus, name, log)
            return info
        except StreamMissingError:
            pass
        except UnavailableError as exc:
            if bus.connected and not await _has_jetstream(bus):
                raise DeploymentError(f"{bus.server} has no JetStream; start nats-server with JetStream enabled (-js)") from exc
            raise
        try:
            info = await bus.js.add_stream(config)
            log.info("stream_created", stream=name, replicas=config.num_replicas)
            return info
        except nats.js.errors.BadRequestError as exc:
            if exc.err_code != _IN_USE:  # another router was first
                raise DeploymentError(f"NATS refused to create {name}: {exc.description}") from exc
        except (TimeoutError, nats.js.errors.APIError, nats.errors.Error) as exc:
            log.warning("stream_not_created", stream=name, error=str(exc) or type(exc).__name__)
        if asyncio.get_running_loop().time() >= until:
            raise DeploymentError(
                f"{name} could not be created in {_CREATE_S:g} s; is JetStream enabled, with room on disk, on"
                f" {config.num_replicas} server(s)?"
            )
        await asyncio.sleep(_AGAIN_S)


async def _has_jetstream(bus: Bus) -> bool:
    """Whether anybody listens to JetStream's API at all; True when that can't be told."""
    try:
        await bus.replies.request("$JS.API.INFO", b"", None, limits.LEADER_ATTEMPT_S)
    except nats.errors.NoRespondersError:
        return False
    except (nats.errors.Error, UnavailableError):
        pass
    return True


async def _read_record(bus: Bus) -> _Record | None:
    """The deployment's record, from any replica: it is written once, so what is there is right, however old. None: it is not there.

    Raises:
        UnavailableError: the connection broke.
    """
    subject = f"$JS.API.DIRECT.GET.KV_{subjects.META_BUCKET}.{subjects.kv_subject(subjects.META_BUCKET, subjects.META_DEPLOYMENT)}"
    try:
        answer = await bus.replies.request(subject, b"", None, limits.LEADER_ATTEMPT_S)
    except nats.errors.Error:
        return None  # no stream, or no answer: its leader knows
    return _parse_record(answer.data) if not (answer.headers or {}).get("Status") else None


async def _agree(bus: Bus, record: _Record) -> _Record:
    """Write the deployment's record, or read the one that somebody wrote before; again as long as that is not certain.

    Raises:
        UnavailableError: it did not become certain.
    """
    bucket = Bucket(bus, subjects.META_BUCKET)
    until = asyncio.get_running_loop().time() + limits.LEADER_WAIT_S
    while True:
        try:
            with contextlib.suppress(RevisionError):
                await bucket.put(subjects.META_DEPLOYMENT, msgspec.json.encode(record), expected=0)
                return record
            value = await bucket.get(subjects.META_DEPLOYMENT)
            if value is not None:
                return _parse_record(value.value)
        except RuncastError as exc:
            if asyncio.get_running_loop().time() >= until:
                raise UnavailableError(f"the deployment's record could not be written: {exc.message}") from exc
        await asyncio.sleep(_AGAIN_S)


def _parse_record(data: bytes) -> _Record:
    try:
        return msgspec.json.decode(data, type=_Record)
    except msgspec.DecodeError as exc:
        raise DeploymentError(f"the record {subjects.META_DEPLOYMENT} in {subjects.META_BUCKET} can't be read: {exc}") from exc


def _check_schema(record: _Record) -> None:
    if record.schema != SCHEMA:
        raise DeploymentError(f"the deployment has schema {record.schema}, this version needs {SCHEMA}; run a matching version")


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
    buckets = (subjects.CURSORS_BUCKET, subjects.RUNS_BUCKET, subjects.REVOKED_BUCKET, subjects.META_BUCKET)
    states = []
    for name in (*epochs, subjects.INBOX_STREAM, subjects.PARKED_STREAM, subjects.AUDIT_STREAM, *(f"KV_{bucket}" for bucket in buckets)):
        try:
            info = await bus.js.stream_info(name)
        except (TimeoutError, nats.errors.Error, nats.js.errors.APIError) as exc:
            raise UnavailableError(f"stream {name} did not answer: {exc}") from exc
        state, config = info.state, info.config
        states.append(
            StreamState(name, epochs.get(name, ""), state.messages, state.bytes, state.first_seq, state.last_seq, config.num_replicas or 1)
        )
    return states
