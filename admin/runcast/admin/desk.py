"""What every call goes through: who is it, and may it?

A call is either `viewing` or `acting`. A RuncastError that its block raises is what the caller is told.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from runcast.admin.auth import Doorman, Operator
from runcast.admin.node import Node
from runcast.bus.identity.admins import Role
from runcast.bus.identity.callers import Caller, read_caller
from runcast.bus.identity.jwt import TokenRefusedError
from runcast.bus.rpc_status import refuse_call
from runcast.wire.errors import RuncastError

Context = grpc.aio.ServicerContext[Any, Any]


class Desk:
    """Lets calls in.

    Args:
        node: of this process.
        doorman: knows the operators.
    """

    def __init__(self, node: Node, doorman: Doorman) -> None:
        self._node = node
        self._doorman = doorman

    def report(self) -> dict[str, Any] | None:
        """How the auth file is doing; see `Trust.report`. None in development mode."""
        return self._doorman.report()

    @asynccontextmanager
    async def viewing(self, context: Context, action: str) -> AsyncIterator[Operator]:
        """A call that looks; role: view. `action` is the call's name."""
        try:
            yield await self._admit(read_caller(context), "view", action)
        except RuncastError as exc:
            await refuse_call(context, exc)

    @asynccontextmanager
    async def acting(self, context: Context, action: str, *, target: str, reason: str) -> AsyncIterator[Operator]:  # noqa: ARG002 # for the audit log
        """A call that acts; role: operate.

        Args:
            context: of the call.
            action: the call's name.
            target: what it is about, for people.
            reason: as the operator gave it.
        """
        try:
            yield await self._admit(read_caller(context), "operate", action)
        except RuncastError as exc:
            await refuse_call(context, exc)

    async def _admit(self, caller: Caller, role: Role, action: str) -> Operator:
        """Who calls, and has the role.

        Raises:
            RuncastError: `unauthenticated` or `permission_denied`.
        """
        try:
            operator = self._doorman.know(caller)
        except TokenRefusedError as exc:
            self._node.denials.note(caller.host, exc.code.name, exc.reason)
            raise
        try:
            operator.admin.check(role)
        except RuncastError as exc:
            self._node.denials.note(operator.name, exc.code.name, f"{action}: {exc.message}")
            raise
        self._node.calls[action] += 1
        return operator
