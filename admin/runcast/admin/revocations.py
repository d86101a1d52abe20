"""Disconnect, Revoke, Lift and ListRevocations: whose connections are closed, and who is kept out."""

from typing import Any

from runcast.admin.calls import Calls
from runcast.admin.node import Node
from runcast.bus.revocations import Revocation
from runcast.v1 import admin_pb2 as pb
from runcast.v1.event_pb2 import User
from runcast.wire.errors import RuncastError
from runcast.wire.targets import Target, make_target, parse_target


class RevocationCalls(Calls):
    """Role: operate; view to list."""

    async def Disconnect(self, request: pb.DisconnectRequest, context: Any) -> pb.DisconnectResponse:  # noqa: N802 # gRPC's name
        """Close connections, which may come back at once."""
        async with self._desk.acting(context, "Disconnect", target=_shown(request.target), reason=request.reason):
            node = self._node
            target = _read(request.target)
            done = await node.revoking.disconnect(target, reason=request.reason, expected=_ids(node))
        return pb.DisconnectResponse(processes=done.processes, connections=done.connections)

    async def Revoke(self, request: pb.RevokeRequest, context: Any) -> pb.RevokeResponse:  # noqa: N802 # gRPC's name
        """Close connections, and keep out."""
        async with self._desk.acting(context, "Revoke", target=_shown(request.target), reason=request.reason) as operator:
            node = self._node
            revocation, done = await node.revoking.revoke(
                _read(request.target),
                by=operator.name,
                reason=request.reason,
                lasts_s=float(request.lasts_s),
                until_new_token=request.until_new_token,
                expected=_ids(node),
            )
        return pb.RevokeResponse(revocation=_written(revocation), connections=done.connections)

    async def Lift(self, request: pb.LiftRequest, context: Any) -> pb.LiftResponse:  # noqa: N802 # gRPC's name
        """Let in again."""
        async with self._desk.acting(context, "Lift", target=_named(request.id), reason=request.reason):
            node = self._node
            found = await node.revoking.lift(request.id, expected=_ids(node))
        return pb.LiftResponse(found=found)

    async def ListRevocations(self, request: pb.ListRevocationsRequest, context: Any) -> pb.ListRevocationsResponse:  # noqa: ARG002, N802 # gRPC's
        """Tell who is kept out."""
        async with self._desk.viewing(context, "ListRevocations"):
            entries = await self._node.revoking.all()
        return pb.ListRevocationsResponse(revocations=[_written(entry.revocation) for entry in entries])


def _read(target: pb.Target) -> Target:
    """Who is meant.

    Raises:
        RuncastError: nobody (`id_invalid`, `request_invalid`).
    """
    match target.WhichOneof("target"):
        case "user":
            return make_target("user", target.user.tenant, target.user.id)
        case "device":
            return make_target("device", target.device.user.tenant, target.device.user.id, target.device.device)
        case "token_id":
            return make_target("token", target.token_id)
        case "agent":
            return make_target("agent", target.agent)
    raise RuncastError("the request has no target; name a user, a device, a token id or an agent", code="request_invalid")


def _shown(target: pb.Target) -> str:
    """The same, for people."""
    try:
        return _said(_read(target))
    except RuncastError as exc:
        return f"({exc.code.name})"


def _named(key: str) -> str:
    """Whom a revocation's id is about, for people."""
    try:
        return _said(parse_target(key))
    except RuncastError as exc:
        return f"({exc.code.name})"


def _said(target: Target) -> str:
    return f"{target.kind} {'/'.join(target.names)}"


def _ids(node: Node) -> list[str]:
    """Of the edges and routers that are there."""
    return [process for _, process in node.others()]


def _written(revocation: Revocation) -> pb.Revocation:
    kind, names = revocation.target
    target = pb.Target()
    if kind == "token":
        target.token_id = names[0]
    elif kind == "agent":
        target.agent = names[0]
    else:
        user = User(tenant=names[0], id=names[1])
        target = pb.Target(user=user) if kind == "user" else pb.Target(device=pb.UserDevice(user=user, device=names[2]))
    return pb.Revocation(
        id=revocation.target.key,
        target=target,
        reason=revocation.reason,
        by=revocation.by,
        at_ms=revocation.at_ms,
        ends_at_ms=revocation.ends_at_ms,
        until_new_token=revocation.until_new_token,
    )
