"""How many messages of a user wait in the inbox, and whether one of them is known there already.

Counting asks the stream's leader, for all agent groups together: a device chooses the group, so a bound by group alone bounds nothing.
Counting and storing are two steps: what a user's devices send at the same moment may pass the bound by as many.
"""

from typing import Final

import msgspec

from runcast.bus.connection import Bus
from runcast.bus.leaders import StreamMissingError
from runcast.bus.storage import RevisionError, store
from runcast.wire import limits, subjects
from runcast.wire.errors import UnavailableError
from runcast.wire.ids import UserKey

_NEVER: Final = {"Nats-Expected-Last-Msg-Id": "*"}
"""No message has that id, so nothing is stored; but a message that storage has is recognised before that is looked at (verified on 2.15;
not so with the expected sequences)."""


class _State(msgspec.Struct):
    subjects: dict[str, int] | None = None


class _Info(msgspec.Struct):
    state: _State


_read_info: Final = msgspec.json.Decoder(_Info).decode


async def count_waiting(bus: Bus, user: UserKey, shard: int) -> int:
    """How many messages of a user wait, or are with a worker that has not settled them.

    Raises:
        UnavailableError: no answer; ask again.
    """
    try:
        answer = await bus.leaders.info(subjects.INBOX_STREAM, 0.0, subjects_filter=subjects.inbox_user_subjects(user, shard))
    except StreamMissingError as exc:
        raise UnavailableError("the inbox is not there just now", retry_after_s=limits.PUBLISH_RETRY_AFTER_S) from exc
    return sum((_read_info(answer).state.subjects or {}).values())


async def is_stored(bus: Bus, subject: str, msg_id: str) -> bool:
    """Whether a message of this id was stored within the dedupe window. Stores nothing.

    Raises:
        RuncastError: as `store`.
    """
    try:
        return (await store(bus, subject, b"", msg_id=msg_id, timeout_s=limits.SEND_TIMEOUT_S, headers=_NEVER)).duplicate
    except RevisionError:
        return False
