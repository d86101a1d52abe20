"""What every call goes through: who is it, may it, and is it written down?

A call is *viewing* (role: view), *looking* at what users and agents said (role: view), or *acting* (role: operate). The latter two are
written to the audit log before they begin and before they are answered (`runcast.admin.audit`). A RuncastError that its block raises is
what the caller is told. Refusals are counted, logged once for each caller and reason, and written to the audit log.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from runcast.admin.audit import OK, make_entry
from runcast.admin.auth import Doorman, Operator
from runcast.admin.node import Node
from runcast.bus.identity.admins import Role
from runcast.bus.identity.callers import Caller, read_caller
from runcast.bus.identity.jwt import TokenRefusedError
from runcast.bus.rpc_status import refuse_call
from runcast.wire import limits_admin
from runcast.wire.errors import RuncastError

Context = grpc.aio.ServicerContext[Any, Any]


class Desk:
    """Lets calls in.

    Args:
        node: of this process.
        doorman: knows the operators.

    Attributes:
        doorman: as given.
    """

    def __init__(self, node: Node, doorman: Doorman) -> None:
        self._node = node
        self.doorman = doorman

    @asynccontextmanager
    async def viewing(self, context: Context, action: str) -> AsyncIterator[Operator]:
        """An RPC that looks; `action` is its name."""
        try:
            operator = await self._know(read_caller(context), action)
            await self.check(operator, "view", action)
            yield operator
        except RuncastError as exc:
            await refuse_call(context, exc)

    @asynccontextmanager
    async def acting(self, context: Context, action: str, *, target: str, reason: str) -> AsyncIterator[Operator]:
        """An RPC that acts.

        Args:
            context: of the RPC.
            action: its name.
            target: what it is about, for people, as in `user acme/alice`.
            reason: as the operator gave it.
        """
        try:
            operator = await self._know(read_caller(context), action, target)
            async with self.doing(operator, action, target=target, reason=reason):
                yield operator
        except RuncastError as exc:
            await refuse_call(context, exc)

    @asynccontextmanager
    async def looking(self, context: Context, action: str, *, target: str, reason: str) -> AsyncIterator[Operator]:
        """An RPC that looks at content; arguments as of `acting`."""
        try:
            operator = await self._know(read_caller(context), action, target)
            async with self.doing(operator, action, target=target, reason=reason, role="view"):
                yield operator
        except RuncastError as exc:
            await refuse_call(context, exc)

    @asynccontextmanager
    async def doing(self, operator: Operator, action: str, *, target: str, reason: str, role: Role = "operate") -> AsyncIterator[None]:
        """What an operator does, or looks at, by whatever way it was asked for; see `acting` and `looking`.

        Raises:
            RuncastError: `permission_denied`; `request_invalid`; `unavailable`: it can't be written down, so nothing was done;
                `indeterminate`: it was done, and how it ended could not be written.
        """
        await self.check(operator, role, action, target)
        if len(reason.encode(errors="replace")) > limits_admin.REASON_BYTES_MAX:
            raise RuncastError(f"the reason is longer than {limits_admin.REASON_BYTES_MAX} bytes", code="request_invalid")
        audit = self._node.audit
        entry = make_entry(action, by=operator.name, address=operator.address, target=target, reason=reason)
        await audit.begin(entry)
        try:
            yield
        except RuncastError as exc:
            await audit.end(entry, exc.code.name)
            raise
        except Exception:
            await audit.end(entry, "internal")
            raise
        await audit.end(entry, OK)
        self._node.log.info("operator_acted", by=operator.name, action=action, target=target, id=entry.id)

    async def check(self, operator: Operator, role: Role, action: str, target: str = "") -> None:
        """See that an operator has a role.

        Raises:
            RuncastError: `permission_denied`.
        """
        try:
            operator.admin.check(role)
        except RuncastError as exc:
            self._node.denials.note(operator.name, exc.code.name, f"{action}: {exc.message}")
            await self._audit_refusal(operator.name, operator.address, action, exc.code.name, target)
            raise
        self._node.calls[action] += 1

    async def refused(self, address: str, action: str, refusal: TokenRefusedError, target: str = "") -> None:
        """Somebody whom nobody knows was refused."""
        self._node.denials.note(address, refusal.code.name, refusal.reason)
        await self._audit_refusal("", address, action, refusal.code.name, target)

    async def noted(self, operator: Operator, action: str) -> None:
        """Write down what is no act, as a login, if it can be written."""
        self._node.calls[action] += 1
        await self._node.audit.note(make_entry(action, by=operator.name, address=operator.address, outcome=OK))

    async def _know(self, caller: Caller, action: str, target: str = "") -> Operator:
        try:
            return self.doorman.know(caller)
        except TokenRefusedError as exc:
            await self.refused(caller.host, action, exc, target)
            raise

    async def _audit_refusal(self, by: str, address: str, action: str, code: str, target: str) -> None:
        await self._node.audit.refused(make_entry(action, by=by, address=address, target=target, outcome=code))
