"""Attempts that this process gave up, until a router has seen to them (PROTOCOL.md, "Agents: gRPC", 7).

Rules: every stream is told of every one of them, once, until a router names it as settled; past `limits.ABANDONS_MAX` the oldest is left
until this process goes, and its lease with it.

Pure: never imports asyncio, a clock, randomness, logging or grpc.
"""

from collections import OrderedDict

from runcast.client.errors import RunKey
from runcast.v1.event_pb2 import User
from runcast.v1.ingest_pb2 import RunAbandon
from runcast.wire import limits
from runcast.wire.ids import UserKey


class Abandons:
    """What is given up, oldest first."""

    def __init__(self) -> None:
        self._told: OrderedDict[RunKey, bool] = OrderedDict()  # on this stream

    def add(self, key: RunKey) -> None:
        """An attempt is given up."""
        self._told[key] = False
        if len(self._told) > limits.ABANDONS_MAX:
            self._told.popitem(last=False)

    def settled(self, abandon: RunAbandon) -> None:
        """A router saw to one."""
        self._told.pop(RunKey(UserKey(abandon.user.tenant, abandon.user.id), abandon.run_id, abandon.attempt), None)

    def disconnected(self) -> None:
        """The stream is gone; the next one knows of none."""
        self._told = OrderedDict.fromkeys(self._told, False)

    def take(self) -> list[RunAbandon]:
        """What this stream was not told of yet; it counts as told."""
        due = [key for key, told in self._told.items() if not told]
        self._told.update(dict.fromkeys(due, True))
        return [RunAbandon(user=User(tenant=key.user.tenant, id=key.user.user), run_id=key.run_id, attempt=key.attempt) for key in due]
