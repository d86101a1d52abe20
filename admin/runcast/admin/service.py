"""`runcast.v1.AdminService`, put together of its groups of RPCs."""

from runcast.admin.status import StatusCalls


class AdminService(StatusCalls):
    """All RPCs of the service."""
