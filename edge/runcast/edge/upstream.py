"""What devices send: checked, stored, and only then confirmed (ARCHITECTURE.md, "Upstream").

A message is first echoed into the user's own stream, so that every device sees it in the one order and before any answer to it,
then stored in the inbox. Both carry a `Nats-Msg-Id` made from the sender's own id, so a resend repeats nothing. A cancel is kept
beside the run in the RUNS bucket. So is an answer that names no group: for the process that asked. The first one stays: its key is made
only where there is none. All of it is sealed, for a tenant that has keys; a resend is recognised by its id, not by its bytes.
"""

from collections.abc import Callable

import msgspec
from google.protobuf.message import DecodeError

from runcast.bus.connection import Bus
from runcast.bus.keys import Bucket, RevisionError
from runcast.bus.policy.tiers import Tier
from runcast.bus.retention import RetentionOf, shorter, ttl_s
from runcast.bus.storage import store
from runcast.bus.waiting import count_waiting, is_stored
from runcast.edge.open_requests import OpenRequests
from runcast.v1.event_pb2 import Batch, Event, User, UserMessage
from runcast.v1.inbox_pb2 import Answer, CancelRequest, InboxMessage, KeptAnswer, TextMessage
from runcast.wire import limits, limits_policy, subjects
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.frames import Send
from runcast.wire.ids import UserKey, check_id


class Upstream:
    """Stores what devices send.

    Args:
        bus: an open connection.
        wall_ms: the time of day, milliseconds since the Unix epoch.
        tier_of: the tier of a tenant, by its id.
        retention: of tenants.
        age_s: of a shard's stream, by its number, seconds.
    """

    def __init__(
        self, bus: Bus, wall_ms: Callable[[], int], tier_of: Callable[[str], Tier], retention: RetentionOf, age_s: Callable[[int], float]
    ) -> None:
        self._bus = bus
        self._tier_of = tier_of
        self._retention = retention
        self._age_s = age_s
        self._runs = Bucket(bus, subjects.RUNS_BUCKET)
        self._wall_ms = wall_ms

    async def store(self, user: UserKey, shard: int, device: str, send: Send, requests: OpenRequests) -> bool:
        """Store one send; return whether it had been stored before.

        Args:
            user: who sent it.
            shard: the user's.
            device: which one sent it.
            send: what it sent.
            requests: what the user is asked, as far as it is known here.

        Raises:
            RuncastError: `id_invalid`, `send_invalid`, `send_too_large`, `storage_full`, `rate_limited`, `request_closed`, `key_missing`,
                `unreadable`.
            UnavailableError: `unavailable` or `indeterminate`; the same may be sent again.
        """
        if send.kind == "cancel":
            return await self._store_cancel(user, shard, device, send)
        if send.kind == "answer" and not send.group:
            return await self._store_answer(user, shard, device, send, requests)
        check_id(send.group, "group")
        if send.thread:
            check_id(send.thread, "thread")
        data = _checked_json(send, self._tier_of(user.tenant).send_bytes_max)
        now_ms = self._wall_ms()
        message = InboxMessage(
            id=send.id,
            user=User(tenant=user.tenant, id=user.user),
            group=send.group,
            thread=send.thread,
            device=device,
            time_unix_ms=now_ms,
        )
        msg_id = subjects.send_msg_id(user, send.id)
        subject = subjects.inbox_subject(send.group, user, shard)
        if send.kind == "message" and not send.text and not data:
            raise RuncastError("the message is empty; give text or data", code="send_invalid")
        if await self._is_full(user, shard):
            if await is_stored(self._bus, subject, msg_id):
                return True
            raise RuncastError(
                f"{self._tier_of(user.tenant).inbox_per_user} messages of this user wait for agents; send it again after retry_after_ms",
                code="rate_limited",
                retry_after_s=limits_policy.INBOX_RETRY_S,
            )
        lives_s = ttl_s(self._retention(user.tenant), self._age_s(shard))
        if send.kind == "message":
            message.text.CopyFrom(TextMessage(text=send.text, data_json=data))
            echo = UserMessage(text=send.text, data_json=data, device=device, group=send.group)
            event = Event(id=send.id, thread=send.thread, time_unix_ms=now_ms, user_message=echo)
            batch = Batch(user=message.user, producer=f"device.{device}", events=[event])
            await self._put(user, subjects.event_subject(user, shard), batch.SerializeToString(), msg_id, lives_s)
        else:
            check_id(send.run_id, "run_id")
            check_id(send.request_id, "request_id")
            message.answer.CopyFrom(Answer(run_id=send.run_id, request_id=send.request_id, value_json=data))
        return await self._put(user, subject, message.SerializeToString(), msg_id, lives_s)

    async def _is_full(self, user: UserKey, shard: int) -> bool:
        """Whether the user's tier lets no more messages wait."""
        most = self._tier_of(user.tenant).inbox_per_user
        return most < limits_policy.COUNT_MAX and await count_waiting(self._bus, user, shard) >= most

    async def _store_cancel(self, user: UserKey, shard: int, device: str, send: Send) -> bool:
        check_id(send.run_id, "run_id")
        request = CancelRequest(
            user=User(tenant=user.tenant, id=user.user),
            run_id=send.run_id,
            device=device,
            reason=send.reason[: limits.ID_BYTES_MAX],
            time_unix_ms=self._wall_ms(),
        )
        subject = subjects.kv_subject(subjects.RUNS_BUCKET, subjects.cancel_key(user, shard, send.run_id))
        await store(
            self._bus,
            subject,
            self._bus.seals.seal(user, subject, request.SerializeToString()),
            ttl_s=shorter(limits.CANCEL_AGE_S, self._retention(user.tenant)),
            timeout_s=limits.SEND_TIMEOUT_S,
        )
        return False

    async def _store_answer(self, user: UserKey, shard: int, device: str, send: Send, requests: OpenRequests) -> bool:
        check_id(send.run_id, "run_id")
        check_id(send.request_id, "request_id")
        value = _checked_json(send, self._tier_of(user.tenant).send_bytes_max)
        if not value:
            raise RuncastError("the answer has no value; give one as data", code="send_invalid")
        key = subjects.answer_key(user, shard, send.run_id, send.request_id)
        try:
            requests.check(send.run_id, send.request_id, value)
        except RuncastError:
            kept = await self._runs.get(key)
            if kept is not None and self._sent_by(user, key, kept.value) == send.id:
                return True  # a resend of what settled it
            raise
        if len(await self._runs.names(subjects.answer_keys(user, shard))) >= limits.ANSWERS_PER_USER_MAX:
            raise RuncastError(f"{limits.ANSWERS_PER_USER_MAX} answers of this user are kept; try again later", code="storage_full")
        answer = KeptAnswer(
            user=User(tenant=user.tenant, id=user.user),
            run_id=send.run_id,
            request_id=send.request_id,
            value_json=value,
            device=device,
            id=send.id,
            time_unix_ms=self._wall_ms(),
        )
        kept_s = shorter(limits.ANSWER_AGE_S, self._retention(user.tenant))
        for _ in range(limits.CLAIM_TRIES_MAX):
            found = await self._runs.get(key)
            if found is not None and found.value:
                if self._sent_by(user, key, found.value) == send.id:
                    return True
                raise RuncastError("another answer came first; drop the question", code="request_closed")
            try:
                expected = 0 if found is None else found.revision  # a marker, where an old answer's time was over
                sealed = self._bus.seals.seal(user, subjects.kv_subject(subjects.RUNS_BUCKET, key), answer.SerializeToString())
                await self._runs.put(key, sealed, expected=expected, ttl_s=kept_s)
            except RevisionError:
                continue
            return False
        raise UnavailableError("others answer this at the same time; send it again", retry_after_s=limits.PUBLISH_RETRY_AFTER_S)

    async def _put(self, user: UserKey, subject: str, payload: bytes, msg_id: str, ttl_s: int) -> bool:
        sealed = self._bus.seals.seal(user, subject, payload)
        stored = await store(self._bus, subject, sealed, msg_id=msg_id, ttl_s=ttl_s, timeout_s=limits.SEND_TIMEOUT_S)
        return stored.duplicate

    def _sent_by(self, user: UserKey, key: str, value: bytes) -> str:
        """The id of the send that a kept answer came by; "" when it is none.

        Raises:
            UnreadableError: it does not open here.
        """
        try:
            return KeptAnswer.FromString(self._bus.seals.open(user, subjects.kv_subject(subjects.RUNS_BUCKET, key), value)).id
        except DecodeError:
            return ""


def _checked_json(send: Send, bytes_max: int) -> bytes:
    data = bytes(send.data)
    if len(send.text.encode()) + len(data) > bytes_max:
        raise RuncastError(f"text and data are over {bytes_max} bytes; send a reference instead", code="send_too_large")
    if data:
        try:
            msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise RuncastError(f"data is not JSON: {exc}", code="send_invalid") from exc
    return data
