"""`runcast.v1.AdminService`, put together of its groups of RPCs."""

from runcast.admin.audit_calls import AuditCalls
from runcast.admin.erasing import EraseCalls
from runcast.admin.read_calls import ReadCalls
from runcast.admin.revocations import RevocationCalls
from runcast.admin.status import StatusCalls


class AdminService(StatusCalls, RevocationCalls, EraseCalls, AuditCalls, ReadCalls):
    """All RPCs of the service."""
