"""What tests of the plain transports share."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import nats
import nats.errors

from runcast.testkit import Cluster
from runcast.wire import limits, subjects
from runcast.wire.ids import UserKey
from tests.unit.bus.identity.issuing import issuer, write

BOUND_S = 10.0
_SHORT: Final = """
from runcast.wire import limits_http
limits_http.SSE_LASTS_S, limits_http.SSE_HEARTBEAT_S, limits_http.POST_READ_S = 1.5, 0.1, 0.5
import runcast.edge.__main__
"""


@asynccontextmanager
async def start_short_edge(cluster: Cluster, directory: Path, **environ: str) -> AsyncIterator[str]:
    """One more edge of the cluster, which takes JWTs, and whose streams end and show life sooner than others'; its base URL."""
    environ = {
        "RUNCAST_AUTH": "jwt",
        "RUNCAST_AUTH_FILE": str(write(directory, issuer())),
        "RUNCAST_BIND": "127.0.0.1:0",
        "RUNCAST_NATS_URL": cluster.nats_url,
        **environ,
    }
    edge = await cluster.add(f"edge-{directory.name}", ["-c", _SHORT], ready=r"^ready edge ", environ=environ)
    try:
        port = edge.log_path.read_text().split("ready edge 127.0.0.1:")[1].split()[0]
        yield f"http://127.0.0.1:{port}"
    finally:
        await edge.stop()


async def wait_devices(cluster: Cluster, user: str, count: int) -> None:
    """Until so many devices of the user are connected."""
    key = UserKey("default", user)
    subject = subjects.presence_subject(key, subjects.shard_of(key, limits.SHARDS_EMBEDDED))
    connection = await nats.connect(cluster.nats_url)
    try:
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    found = json.loads((await connection.request(subject, b"", timeout=0.5)).data)["devices"]
                except nats.errors.NoRespondersError:
                    found = []
                except nats.errors.TimeoutError:  # the last one was just leaving
                    continue
                if len(found) == count:
                    return
                await asyncio.sleep(0.02)  # nobody tells when they come
    finally:
        await connection.close()
