"""GetStatus and GetPresence: the state of the deployment, and who is there."""

import time
from typing import Any

from runcast.admin.calls import Calls
from runcast.bus.deployment import stream_states
from runcast.bus.presence import Presence
from runcast.v1.admin_pb2 import (
    DependencyStatus,
    EdgePresence,
    GetPresenceRequest,
    GetPresenceResponse,
    GetStatusRequest,
    GetStatusResponse,
    ProcessStatistics,
    StreamStatus,
)
from runcast.wire import VERSION, subjects
from runcast.wire.ids import UserKey, check_id


class StatusCalls(Calls):
    """Role: view."""

    async def GetStatus(self, request: GetStatusRequest, context: Any) -> GetStatusResponse:  # noqa: ARG002, N802 # gRPC's
        """Tell the state of the deployment; without streams and shards while NATS is away."""
        response = GetStatusResponse()
        async with self._desk.viewing(context, "GetStatus"):
            await self._describe(response)
        return response

    async def GetPresence(self, request: GetPresenceRequest, context: Any) -> GetPresenceResponse:  # noqa: N802 # gRPC's
        """Tell which devices of a user are connected, to any edge."""
        async with self._desk.viewing(context, "GetPresence"):
            user = UserKey(check_id(request.user.tenant, "tenant id"), check_id(request.user.id, "user id"))
            found = await self._node.presence.ask(user, self._node.shard_of(user), first=request.first)
        return GetPresenceResponse(edges=[EdgePresence(edge=each.edge, devices=each.devices) for each in sorted(found, key=_by_edge)])

    async def _describe(self, response: GetStatusResponse) -> None:
        """Say how everything is.

        Raises:
            UnavailableError: NATS did not answer for a stream.
        """
        node = self._node
        now = time.monotonic()
        response.id, response.version, response.uptime_s = node.id, VERSION, int(now - node.started)
        response.processes.extend(
            ProcessStatistics(role=heard.role, id=heard.id, age_ms=round((now - heard.at) * 1000), statistics_json=heard.text)
            for heard in node.board.newest(now)
        )
        response.dependencies.extend(
            DependencyStatus(
                name=each.name,
                state=each.state.value,
                reason=each.reason,
                for_s=int(now - each.since),
                attempts=each.attempts,
                recoveries=each.recoveries,
            )
            for each in node.bus.health.each
        )
        told = self._desk.doorman.report()
        if told is not None:
            response.dependencies.append(DependencyStatus(name="auth file", state=told["state"], reason=told["reason"]))
        deployment = node.shards.deployment
        if deployment is None:
            return
        response.nats_server_version = node.bus.server_version
        response.shards = len(deployment.shards)
        states = await stream_states(node.bus, deployment)
        response.parked = sum(state.messages for state in states if state.name == subjects.PARKED_STREAM)
        response.streams.extend(
            StreamStatus(
                name=state.name,
                epoch=state.epoch,
                messages=state.messages,
                bytes=state.bytes,
                first_seq=state.first_seq,
                last_seq=state.last_seq,
                replicas=state.replicas,
            )
            for state in states
        )


def _by_edge(presence: Presence) -> str:
    return presence.edge
