"""What was put aside: read from NATS itself, as an operator would (PROTOCOL.md, "What users send")."""

import time
from typing import Final

import nats.errors
import nats.js.errors
from google.protobuf.message import DecodeError
from nats.aio.client import Client

from runcast.testkit.history import Parked
from runcast.v1.inbox_pb2 import InboxMessage
from runcast.wire import subjects

_ASK_S: Final = 2.0


class ParkedReader:
    """Reads messages that were put aside, each once.

    Args:
        client: connected to NATS.
    """

    def __init__(self, client: Client) -> None:
        self._js = client.jetstream(timeout=_ASK_S)
        self._next = 1

    async def read(self) -> list[Parked]:
        """Those that came since the last time; none while NATS does not answer."""
        found: list[Parked] = []
        try:
            last = (await self._js.stream_info(subjects.PARKED_STREAM)).state.last_seq
            while self._next <= last:
                raw = await self._js.get_msg(subjects.PARKED_STREAM, self._next)
                message = InboxMessage.FromString(raw.data or b"")
                tries = int((raw.headers or {}).get(subjects.HEADER_TRIES, "0"))
                found.append(Parked(t=time.monotonic(), id=message.id, user=message.user.id, tries=tries))
                self._next += 1
        except (TimeoutError, nats.errors.Error, nats.js.errors.Error, DecodeError):
            pass  # asked again
        return found
