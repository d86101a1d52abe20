"""ListAudit: the newest entries of the audit log."""

from typing import Any

from runcast.admin.calls import Calls
from runcast.v1.admin_pb2 import AuditEntry, ListAuditRequest, ListAuditResponse
from runcast.wire import limits_admin

_DEFAULT = 100


class AuditCalls(Calls):
    """Role: view."""

    async def ListAudit(self, request: ListAuditRequest, context: Any) -> ListAuditResponse:  # noqa: N802 # gRPC's
        """Tell the newest entries, the newest last."""
        async with self._desk.viewing(context, "ListAudit"):
            entries = await self._node.audit.newest(min(request.count or _DEFAULT, limits_admin.AUDIT_LIST_MAX))
        return ListAuditResponse(
            entries=[
                AuditEntry(
                    id=each.id,
                    at_ms=each.at_ms,
                    by=each.by,
                    address=each.address,
                    action=each.action,
                    target=each.target,
                    reason=each.reason,
                    outcome=each.outcome,
                )
                for each in entries
            ]
        )
