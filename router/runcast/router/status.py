"""What a stream ends with whose first request does not come."""

from runcast.wire import limits
from runcast.wire.errors import RuncastError


def hello_late() -> RuncastError:
    """The first request did not come in time."""
    return RuncastError(f"no hello came within {limits.HELLO_TIMEOUT_S:g} s; send it at once", code="hello_timeout")
