"""The error tree.

    RuncastError                 code, retry, definite, message that says what to do
    ├── IdInvalidError           id_invalid
    ├── PositionMalformedError   position_malformed
    ├── FrameInvalidError        frame_invalid
    ├── LifecycleError           lifecycle_violation
    ├── RefusedError             any code: what the other side answered
    └── UnavailableError         unavailable, indeterminate: a dependency did not answer

Foreign exceptions (grpc, nats, aiohttp) are mapped into this tree once, at the adapter that meets them, `from` the original.
"""

from runcast.wire.codes import CODES, Code


class RuncastError(Exception):
    """Base of all. `str(error)` says what is wrong and what to do.

    Attributes:
        code: the row of the code table.
        message: what is wrong, for people.
        retry_after_s: do not retry sooner, seconds; 0.0 when it does not matter.
    """

    default_code = "internal"

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: float = 0.0) -> None:
        self.code: Code = CODES[code or self.default_code]
        self.message = message
        self.retry_after_s = retry_after_s
        super().__init__(f"{self.code.name}: {message}")


class IdInvalidError(RuncastError):
    """An id is empty, too long, or not UTF-8; or a token was never written by us."""

    default_code = "id_invalid"


class PositionMalformedError(RuncastError):
    """A text is not a position."""

    default_code = "position_malformed"


class FrameInvalidError(RuncastError):
    """A WebSocket frame is not what PROTOCOL.md describes."""

    default_code = "frame_invalid"


class LifecycleError(RuncastError):
    """An event can't follow what came before in its run."""

    default_code = "lifecycle_violation"


class RefusedError(RuncastError):
    """The other side did not accept something; `code` is its answer."""


class UnavailableError(RuncastError):
    """A dependency did not answer; `code` tells whether something may have happened (`indeterminate`) or not."""

    default_code = "unavailable"
