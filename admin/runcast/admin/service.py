"""`runcast.v1.AdminService`, put together of its groups of RPCs."""

from runcast.admin.revocations import RevocationCalls
from runcast.admin.status import StatusCalls


class AdminService(StatusCalls, RevocationCalls):
    """All RPCs of the service."""
