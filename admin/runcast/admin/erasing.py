"""Erase: all that is stored of a user is removed, and looked for again (`runcast.bus.erasure`)."""

from typing import Any

from runcast.admin.calls import Calls
from runcast.v1.admin_pb2 import EraseRequest, EraseResponse
from runcast.wire.ids import UserKey, check_id


class EraseCalls(Calls):
    """Role: operate."""

    async def Erase(self, request: EraseRequest, context: Any) -> EraseResponse:  # noqa: N802 # gRPC's
        """Erase a user; answered when nothing of them was found any more, by the leaders of all streams and by every process."""
        response = EraseResponse()
        target = f"user {request.user.tenant}/{request.user.id}"
        async with self._desk.acting(context, "Erase", target=target, reason=request.reason):
            user = UserKey(check_id(request.user.tenant, "tenant id"), check_id(request.user.id, "user id"))
            erased = await self._node.eraser.erase(user, self._node.shard_of(user), self._node.others())
            response.removed.update(erased.removed)
            response.connections = erased.connections
        return response
