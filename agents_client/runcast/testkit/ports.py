"""Ports on loopback for child processes.

A *held* port is bound by this process with SO_REUSEPORT and never listened on: routers and edges, which bind with SO_REUSEPORT too, may
come and go on it, and nobody else can take it meanwhile. nats-server binds plainly, so for it a port is only picked, below the range from
which the kernel takes the ports of outgoing connections: a client that keeps trying an ephemeral port on loopback may connect to itself.
"""

import errno
import random
import socket
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
_LOWEST: Final = 12_000


class PortTakenError(Exception):
    """Somebody listens on the port that was asked for.

    Attributes:
        port: which one.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(f"port {port} of {HOST} is taken by another program; stop it, or choose another port (0 takes any free one)")


def is_free(port: int) -> bool:
    """Whether nobody listens on `port` of loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as exc:
            if exc.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


class HeldPort:
    """A port kept for our own children until `close`.

    Args:
        port: which one; 0 takes any free one.

    Raises:
        PortTakenError: somebody else has it.
    """

    def __init__(self, port: int = 0) -> None:
        # SO_REUSEPORT would let us share the port with another cluster of the same user, so ask without it first.
        if port and not is_free(port):
            raise PortTakenError(port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError as exc:
            self._socket.close()
            raise PortTakenError(port) from exc
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def pick_port(rng: random.Random) -> int:
    """A port that is free now, below the ephemeral range."""
    below = _ephemeral_first()
    for _ in range(200):
        port = rng.randrange(_LOWEST, below)
        if is_free(port):
            return port
    with socket.socket() as anything:
        anything.bind((HOST, 0))
        return int(anything.getsockname()[1])


def _ephemeral_first() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
    return first if first > _LOWEST + 1000 else 32_768
