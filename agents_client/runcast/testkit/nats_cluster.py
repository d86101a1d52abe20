"""Several nats-servers that form one cluster on loopback: their configuration, and what is asked of them.

Nobody tells of addresses that lead past a proxy: servers do not tell clients of each other (`no_advertise`), and what they tell one another
as their own address is a port where nobody listens, so each reaches the others by the routes that it was given.

Never imports routers or edges.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import StreamConfig

from runcast.testkit.ports import HOST
from runcast.testkit.processes import ProcessError

FORMED_S: Final = 20.0
"""From the start of a cluster until it stores what is replicated, on a loaded machine."""
_ASK_S: Final = 2.0
_NOBODY_PORT: Final = 1
_PROBE: Final = "RUNCAST_TESTKIT_PROBE"


def write_config(directory: Path, name: str, port: int, route_port: int, others: Sequence[int], data: Path) -> Path:
    """Write the configuration of one server.

    Args:
        directory: where to.
        name: the server's.
        port: for clients.
        route_port: for other servers.
        others: ports by which it reaches the other servers.
        data: where it keeps its data.

    Returns:
        The file.
    """
    routes = ", ".join(f'"nats://{HOST}:{other}"' for other in others)
    path = directory / f"{name}.conf"
    path.write_text(
        f'server_name: {name}\nlisten: "{HOST}:{port}"\njetstream {{ store_dir: "{data}" }}\n'
        f'cluster {{ name: runcast, listen: "{HOST}:{route_port}", advertise: "{HOST}:{_NOBODY_PORT}",'
        f" no_advertise: true, routes: [{routes}] }}\n"
    )
    return path


async def wait_formed(urls: Sequence[str], replicas: int, *, within_s: float = FORMED_S) -> None:
    """Wait until the cluster stores a stream with so many replicas.

    Raises:
        ProcessError: it did not within `within_s` seconds.
    """
    until = time.monotonic() + within_s
    why = "no server answered"
    while time.monotonic() < until:
        client = await _connect(urls)
        if client is None:
            await asyncio.sleep(0.1)
            continue
        try:
            js = client.jetstream(timeout=_ASK_S)
            await js.add_stream(StreamConfig(name=_PROBE, subjects=["runcast.testkit.probe"], num_replicas=replicas))
            await js.publish("runcast.testkit.probe", b"")
            await js.delete_stream(_PROBE)
            return
        except (TimeoutError, nats.errors.Error, nats.js.errors.Error) as exc:
            why = str(exc) or type(exc).__name__
            await asyncio.sleep(0.2)
        finally:
            await client.close()
    raise ProcessError(f"the NATS cluster did not form within {within_s:g} s: {why}")


async def stream_leader(urls: Sequence[str], stream: str) -> str:
    """Name of the server that leads a stream; "" when there is none just now, or nobody says."""
    client = await _connect(urls)
    if client is None:
        return ""
    try:
        info = await client.jetstream(timeout=_ASK_S).stream_info(stream)
        return (info.cluster.leader or "") if info.cluster else ""
    except (TimeoutError, nats.errors.Error, nats.js.errors.Error):
        return ""
    finally:
        await client.close()


async def _connect(urls: Sequence[str]) -> Client | None:
    async def quiet(_: Exception) -> None:
        """The caller tries again, or says that nobody answered."""

    try:
        return await nats.connect(servers=list(urls), allow_reconnect=False, connect_timeout=1, error_cb=quiet)
    except (TimeoutError, nats.errors.Error, OSError):
        return None
