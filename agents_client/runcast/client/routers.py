"""Which router to go to, and how long to wait before it.

Rules: targets are tried in turn, from one chosen at random, so that agents spread; the wait after the n-th failure in a row is drawn from
0 to `BACKOFF_FIRST_S * 2^n`, at most `BACKOFF_MAX_S` ("full jitter": agents that lost the same router do not come back together). A router
has little time to let us in at first, for it may stand still while the next one does not, and twice as long after each failure, for it may
be just slow. One success, a stored batch or a delivered message, starts both anew.

Pure: draws (0.0 to 1.0) are arguments. Never imports asyncio, a clock, randomness, logging or grpc.
"""

from runcast.client.arguments import check_text
from runcast.wire import limits_client as limits


def parse_targets(text: str) -> list[str]:
    """Read "host:port,host:port".

    Raises:
        TypeError: it is no text.
        ValueError: a part is not host:port.
    """
    targets = [part.strip() for part in check_text(text, "target").split(",") if part.strip()]
    for target in targets:
        host, colon, port = target.rpartition(":")
        if not (host and "/" not in host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{target!r} is not a router's address; write host:port, several with commas between them")
    if not targets:
        raise ValueError("no router's address was given; write host:port, several with commas between them")
    return targets


class Routers:
    """The routers in turn.

    Args:
        targets: at least one.
        draw: chooses the first, 0.0 to 1.0.
    """

    def __init__(self, targets: list[str], draw: float) -> None:
        self._targets = targets
        self._next = min(int(draw * len(targets)), len(targets) - 1)
        self._failures = 0

    def take(self) -> str:
        """The router to try now."""
        target = self._targets[self._next]
        self._next = (self._next + 1) % len(self._targets)
        return target

    @property
    def patience_s(self) -> float:
        """How long the router to try now has to connect, and as long again to say hello, seconds."""
        return min(limits.CONNECT_TIMEOUT_S, limits.CONNECT_FIRST_S * 2.0 ** min(self._failures, 30))

    def failed(self, draw: float) -> float:
        """Count a failure; return how long to wait before the next try, seconds."""
        wait_s = min(limits.BACKOFF_MAX_S, limits.BACKOFF_FIRST_S * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return draw * wait_s

    @property
    def worth_telling(self) -> bool:
        """Whether the newest failure is the 1st, 2nd, 4th, 8th, ... in a row: a long outage fills no log. True when there was none."""
        return self._failures & (self._failures - 1) == 0

    def worked(self) -> None:
        """A router did what it is for."""
        self._failures = 0
