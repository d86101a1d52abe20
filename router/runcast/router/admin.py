"""AdminService: what this router is connected to, what it did, the state of the deployment's streams, and who is there."""

import time
from collections.abc import Callable
from typing import Any

from runcast.bus.deployment import stream_states
from runcast.bus.identity.trust import Trust
from runcast.bus.presence import Presence
from runcast.router.auth import Authenticator, Principal, admit
from runcast.router.node import Node
from runcast.router.status import refuse_call
from runcast.v1 import admin_pb2_grpc
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
from runcast.wire.errors import RuncastError, UnavailableError
from runcast.wire.ids import UserKey, check_id


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """`runcast.v1.AdminService`."""

    def __init__(self, node: Node, authenticator: Authenticator, trust: Trust | None = None) -> None:
        self._node = node
        self._authenticator = authenticator
        self._trust = trust

    async def GetStatus(self, request: GetStatusRequest, context: Any) -> GetStatusResponse:  # noqa: ARG002, N802 # gRPC's
        """Tell the state of this router; without streams and shards while NATS is away."""
        node = self._node
        principal = await admit(self._authenticator, context, node.denials)
        await self._check(context, principal, principal.scopes.check_admin)
        response = GetStatusResponse(
            router=node.id,
            version=VERSION,
            producers=len(node.producers),
            workers=len(node.workers),
            batches_stored=node.batches_stored,
            events_stored=node.events_stored,
            uptime_s=int(time.monotonic() - node.started),
            refusals=node.refusals,
            receipts=node.receipts.outcomes,
        )
        now = time.monotonic()
        response.processes.extend(
            ProcessStatistics(role=heard.role, id=heard.id, age_ms=round((now - heard.at) * 1000), statistics_json=heard.text)
            for heard in node.statistics.newest(now)
        )
        response.dependencies.extend(
            DependencyStatus(
                name=each.name,
                state=each.state.value,
                reason=each.reason,
                for_s=int(time.monotonic() - each.since),
                attempts=each.attempts,
                recoveries=each.recoveries,
            )
            for each in node.bus.health.each
        )
        if self._trust is not None:
            response.dependencies.append(_auth_status(self._trust))
        deployment = node.shards.deployment
        if deployment is None:
            return response
        response.nats_server_version = node.bus.server_version
        response.shards = len(deployment.shards)
        try:
            states = await stream_states(node.bus, deployment)
        except UnavailableError as exc:
            await refuse_call(context, exc)
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
        return response

    async def GetPresence(self, request: GetPresenceRequest, context: Any) -> GetPresenceResponse:  # noqa: N802 # gRPC's
        """Tell which devices of a user are connected, to any edge."""
        principal = await admit(self._authenticator, context, self._node.denials)
        await self._check(context, principal, lambda: principal.scopes.check_tenant(request.user.tenant))
        try:
            user = UserKey(check_id(request.user.tenant, "tenant id"), check_id(request.user.id, "user id"))
            shard = self._node.shard_of(user)
            found = await self._node.receipts.presence.ask(user, shard, first=request.first)
        except RuncastError as exc:
            await refuse_call(context, exc)
        return GetPresenceResponse(edges=[EdgePresence(edge=each.edge, devices=each.devices) for each in sorted(found, key=_by_edge)])

    async def _check(self, context: Any, principal: Principal, granted: Callable[[], None]) -> None:
        """End the RPC when what it asks for is not granted."""
        try:
            granted()
        except RuncastError as exc:
            self._node.denials.note(principal.name, exc.code.name, exc.message)
            await refuse_call(context, exc)


def _auth_status(trust: Trust) -> DependencyStatus:
    told = trust.report()
    return DependencyStatus(name="auth file", state=told["state"], reason=told["reason"])


def _by_edge(presence: Presence) -> str:
    return presence.edge
