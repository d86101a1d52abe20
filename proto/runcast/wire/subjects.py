"""Every name in NATS, built and read in this one place (ARCHITECTURE.md, "Names in NATS").

Tenant and user appear as tokens (`runcast.wire.ids`), so no user-given text can reach another subject.
"""

import hashlib
import zlib
from typing import Final, NamedTuple

from runcast.wire.errors import IdInvalidError
from runcast.wire.ids import UserKey, decode_token, encode_token

INBOX_STREAM: Final = "RUNCAST_INBOX"
PARKED_STREAM: Final = "RUNCAST_PARKED"
AUDIT_STREAM: Final = "RUNCAST_AUDIT"
CURSORS_BUCKET: Final = "RUNCAST_CURSORS"
RUNS_BUCKET: Final = "RUNCAST_RUNS"
META_BUCKET: Final = "RUNCAST_META"
META_DEPLOYMENT: Final = "deployment"
"""Key of the deployment's record in META."""
ERASE: Final = "ctl.erase"
"""Where edges and routers hear which user they are to forget."""
REVOKED_BUCKET: Final = "RUNCAST_REVOKED"
"""Who is kept out; keys are those of `runcast.wire.targets`."""
DISCONNECT: Final = "ctl.disconnect"
"""Where edges and routers hear whose connections they are to close."""
LEADER_ADVISORY: Final = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.*"
"""Where NATS tells of new stream leaders; the last token is the stream."""

HEADER_TRIES: Final = "Runcast-Tries"
"""Of a parked message: how often it had been delivered."""
HEADER_REASON: Final = "Runcast-Reason"
"""Of a parked message: why it is there, for people."""
HEADER_PRODUCER: Final = "Runcast-Producer"
"""Of an attempt's first batch: whose it is (`producer_name`), as a token."""
HEADER_MSG_ID: Final = "Nats-Msg-Id"
HEADER_SEQ: Final = "Nats-Sequence"
HEADER_PREV: Final = "Nats-Last-Sequence"
HEADER_PENDING: Final = "Nats-Num-Pending"
HEADER_MARKER: Final = "Nats-Marker-Reason"
"""Why the server itself wrote a marker in a key's place."""
MARKER_EXPIRED: Final = "MaxAge"
"""The key's time to live was over."""

ALL_STATISTICS: Final = "stats.>"
"""Where all processes tell their statistics."""
ALL_ALERTS: Final = "alerts.>"
"""Where edges tell that something critical does not reach a connected user."""

_PARTS_WITH_USER: Final = {"ev": 4, "live": 4, "in": 5}
_USER_KEYS: Final = {"cancel": 5, "answer": 6}


def shard_of(user: UserKey, shards: int) -> int:
    """The shard of a user: crc32 of the user's token, modulo the deployment's shard count."""
    return zlib.crc32(user.token.encode()) % shards


def event_stream(shard: int) -> str:
    """The stream that holds a shard's events."""
    return f"RUNCAST_EV_{shard}"


def stream_of(subject: str) -> str:
    """The stream that takes a subject, or that a request of JetStream's API is about; "" for any other subject."""
    parts = subject.split(".", 2)
    match parts[0]:
        case "ev":
            return f"RUNCAST_EV_{parts[1]}"
        case "in":
            return INBOX_STREAM
        case "parked":
            return PARKED_STREAM
        case "audit":
            return AUDIT_STREAM
        case "$KV":
            return f"KV_{parts[1]}"
        case "$JS" if subject.startswith("$JS.API.STREAM."):
            return subject.rpartition(".")[2]
    return ""


def event_subjects(shard: int) -> str:
    """All event subjects of a shard."""
    return f"ev.{shard}.>"


def live_subjects(shard: int) -> tuple[str, str]:
    """Source and destination of a shard's republish rule."""
    return f"ev.{shard}.>", f"live.{shard}.>"


def event_subject(user: UserKey, shard: int) -> str:
    """Where a user's batches are stored."""
    return f"ev.{shard}.{user.token}"


def live_subject(user: UserKey, shard: int) -> str:
    """Where a user's batches appear right after they were stored."""
    return f"live.{shard}.{user.token}"


def presence_subject(user: UserKey, shard: int) -> str:
    """Where the edges with a device of the user answer; nobody else listens."""
    return f"presence.{shard}.{user.token}"


def alert_subject(user: UserKey, shard: int) -> str:
    """Where it is told that something critical does not reach a connected user."""
    return f"alerts.{shard}.{user.token}"


def statistics_subject(role: str, process_id: str) -> str:
    """Where a process tells its statistics."""
    return f"stats.{role}.{encode_token(process_id)}"


def inbox_subject(group: str, user: UserKey, shard: int) -> str:
    """Where a user's messages to an agent group are stored."""
    return f"in.{encode_token(group)}.{shard}.{user.token}"


def inbox_user_subjects(user: UserKey, shard: int) -> str:
    """All messages of one user, to whatever agent group."""
    return f"in.*.{shard}.{user.token}"


def inbox_group_subjects(group: str) -> str:
    """All messages to one agent group."""
    return f"in.{encode_token(group)}.>"


def inbox_consumer(group: str) -> str:
    """The durable consumer of an agent group. NATS allows names of 255 bytes; a group whose token is longer goes by its digest."""
    token = encode_token(group)
    return f"group_{token}" if len(token) <= 240 else f"groupdigest_{hashlib.sha256(group.encode()).hexdigest()}"


def inbox_offers(group: str) -> str:
    """Where Receive streams of one agent group offer each other what should not be handed out where it is."""
    return f"turn.{encode_token(group)}"


def parked_subject(subject: str) -> str:
    """Where a message of the inbox is put aside, by its subject there."""
    return f"parked.{subject.partition('.')[2]}"


def audit_subject(action: str) -> str:
    """Where it is kept that an operator did, or was refused, something."""
    return f"audit.{encode_token(action)}"


def run_cancels() -> str:
    """All subjects of wishes to cancel a run."""
    return kv_subject(RUNS_BUCKET, "cancel.>")


def run_answers() -> str:
    """All subjects of answers that are kept beside their runs."""
    return kv_subject(RUNS_BUCKET, "answer.>")


def cursor_key(user: UserKey, shard: int, device: str) -> str:
    """Key of a device's cursor in CURSORS."""
    return f"{shard}.{user.token}.{encode_token(device)}"


def cursor_keys(user: UserKey, shard: int) -> str:
    """Keys of the cursors of all of a user's devices, for subscribing."""
    return f"{shard}.{user.token}.*"


def device_of_cursor(subject: str) -> str:
    """The device of a cursor's subject: its last token.

    Raises:
        IdInvalidError: the token was never written by us.
    """
    return decode_token(subject.rpartition(".")[2])


def alert_key(user: UserKey, shard: int, run_id: str) -> str:
    """Key of the note that an alert was given for a run, in RUNS."""
    return f"alert.{shard}.{user.token}.{encode_token(run_id)}"


def cancel_key(user: UserKey, shard: int, run_id: str) -> str:
    """Key of the wish to cancel a run, in RUNS."""
    return f"cancel.{shard}.{user.token}.{encode_token(run_id)}"


def answer_key(user: UserKey, shard: int, run_id: str, request_id: str) -> str:
    """Key of the answer to what a run asked, in RUNS."""
    return f"answer.{shard}.{user.token}.{encode_token(run_id)}.{encode_token(request_id)}"


def answer_keys(user: UserKey, shard: int) -> str:
    """Keys of all answers of a user that are kept."""
    return f"answer.{shard}.{user.token}.>"


def tries_key(seq: int) -> str:
    """Key of how often a message of the inbox was handed out, in RUNS; kept from the second time on."""
    return f"tries.{seq}"


def producer_name(agent: str, producer: str) -> str:
    """The name that a producer's leases, runs and batches go by: its own id, within those of the agent whose process it is.

    So an agent that says another one's producer id means another producer.

    Args:
        agent: as the auth file names it; "" in development mode, where everybody is one.
        producer: the id from hello.
    """
    return f"{encode_token(agent)}.{producer}" if agent else producer


def lease_key(producer: str) -> str:
    """Key that lives while a producer's stream is held, in RUNS."""
    return f"lease.{encode_token(producer)}"


def producer_key(producer: str) -> str:
    """Key that lives while a producer may have open runs, in RUNS."""
    return f"producer.{encode_token(producer)}"


def producer_keys() -> str:
    """The keys of all producers that may have open runs."""
    return "producer.>"


def producer_of(name: str) -> str:
    """The producer of a lease or producer key, or of the subject of one: its last token.

    Raises:
        IdInvalidError: it is no token.
    """
    return decode_token(name.rpartition(".")[2])


def lease_subjects() -> tuple[str, str]:
    """Source and destination of the republish rule by which routers hear of leases and of their end."""
    return kv_subject(RUNS_BUCKET, "lease.>"), "lease.>"


class UserPlace(NamedTuple):
    """Where something of a user is stored: a name for people, the stream, and the subjects in it that are the user's alone."""

    name: str
    stream: str
    subjects: str

    @property
    def in_bucket(self) -> bool:
        """The stream is a bucket's."""
        return self.stream.startswith("KV_")


def user_places(user: UserKey, shard: int) -> tuple[UserPlace, ...]:
    """Everything that is stored under the user's name, in all streams and buckets but those that are about access and audit."""
    whose = f"{shard}.{user.token}"
    kinds = ("run", "cancel", "answer", "alert")
    return (
        UserPlace("stream", event_stream(shard), event_subject(user, shard)),
        UserPlace("cursors", f"KV_{CURSORS_BUCKET}", kv_subject(CURSORS_BUCKET, f"{whose}.*")),
        UserPlace("inbox", INBOX_STREAM, f"in.*.{whose}"),
        UserPlace("parked", PARKED_STREAM, f"parked.*.{whose}"),
        *(UserPlace("runs", f"KV_{RUNS_BUCKET}", kv_subject(RUNS_BUCKET, f"{kind}.{whose}.>")) for kind in kinds),
    )


def is_of_user(subject: str, user: UserKey, shard: int) -> bool:
    """Whether an `in.` or `parked.` subject is the user's."""
    return subject.endswith(f".{shard}.{user.token}")


def revoked_subjects() -> tuple[str, str]:
    """Source and destination of the republish rule by which edges and routers hear of revocations once they are stored."""
    return kv_subject(REVOKED_BUCKET, ">"), "revoked.>"


class RunPlace(NamedTuple):
    """What the key of an attempt of a run says."""

    producer: str
    shard: int
    user: UserKey
    run_id: str
    attempt: int

    @property
    def key(self) -> str:
        """The key, in RUNS."""
        return f"{self._attempt}.{encode_token(self.producer)}"

    @property
    def any_producer(self) -> str:
        """The keys of this attempt, whoever its producer is; there is never more than one."""
        return f"{self._attempt}.*"

    @property
    def _attempt(self) -> str:
        return f"run.{self.shard}.{self.user.token}.{encode_token(self.run_id)}.{self.attempt}"


def run_keys(producer: str) -> str:
    """The keys of a producer's runs."""
    return f"run.*.*.*.*.*.{encode_token(producer)}"


def attempt_keys(user: UserKey, shard: int, run_id: str) -> str:
    """The keys of all attempts of a run, whoever their producers are."""
    return f"run.{shard}.{user.token}.{encode_token(run_id)}.*.*"


def parse_run_key(key: str) -> RunPlace:
    """Read a run's key.

    Raises:
        IdInvalidError: it is not one.
    """
    parts = key.split(".")
    if len(parts) != 7 or parts[0] != "run" or not parts[1].isdecimal() or not parts[5].isdecimal():
        raise IdInvalidError(f"{key!r} is no run's key; expected run.SHARD.TENANT.USER.RUN.ATTEMPT.PRODUCER")
    tenant, user, run_id, producer = (decode_token(parts[index]) for index in (2, 3, 4, 6))
    return RunPlace(producer, int(parts[1]), UserKey(tenant, user), run_id, int(parts[5]))


class SentPlace(NamedTuple):
    """Whose a cancel's or answer's key is, and of which run."""

    user: UserKey
    run_id: str


def parse_user_key(subject: str) -> SentPlace:
    """Read the subject of a cancel's or an answer's key in RUNS.

    Raises:
        IdInvalidError: it is not one.
    """
    parts = subject.removeprefix(kv_subject(RUNS_BUCKET, "")).split(".")
    if _USER_KEYS.get(parts[0]) != len(parts) or not parts[1].isdecimal():
        raise IdInvalidError(f"{subject!r} is no key of a cancel or an answer; expected cancel.SHARD.TENANT.USER.RUN, or answer.*.REQUEST")
    return SentPlace(UserKey(decode_token(parts[2]), decode_token(parts[3])), decode_token(parts[4]))


def kv_subject(bucket: str, key: str) -> str:
    """The subject behind a KV key; `key` may hold wildcards for subscribing."""
    return f"$KV.{bucket}.{key}"


def user_of_subject(subject: str) -> UserKey:
    """The user of an `ev.`, `live.` or `in.` subject: its last two tokens.

    Raises:
        IdInvalidError: the subject is not one of these.
    """
    parts = subject.split(".")
    if _PARTS_WITH_USER.get(parts[0]) != len(parts) or not parts[-3].isdecimal():
        raise IdInvalidError(f"{subject!r} names no user; expected ev.SHARD.TENANT.USER, live.* or in.GROUP.*, likewise")
    return UserKey(decode_token(parts[-2]), decode_token(parts[-1]))


def batch_msg_id(user: UserKey, producer: str, run_id: str, attempt: int, number: int) -> str:
    """`Nats-Msg-Id` of a batch. Deduplication is stream-wide, so the user is part of it.

    Of a first batch the producer is not: of two producers that begin the same attempt storage keeps one's.
    """
    if number == 1:
        return f"first.{user.token}.{encode_token(run_id)}.{attempt}"
    return f"{user.token}.{encode_token(producer)}.{encode_token(run_id)}.{attempt}.{number}"


def send_msg_id(user: UserKey, message_id: str) -> str:
    """`Nats-Msg-Id` of an upstream message, in the inbox and in the user's stream."""
    return f"send.{user.token}.{encode_token(message_id)}"


def lost_msg_id(user: UserKey, run_id: str, attempt: int) -> str:
    """`Nats-Msg-Id` of the batch that ends a lost attempt: the same whoever writes it."""
    return f"lost.{user.token}.{encode_token(run_id)}.{attempt}"
