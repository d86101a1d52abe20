"""What tests of the plain transports share."""

import asyncio
import json

import nats
import nats.errors

from runcast.testkit import Cluster
from runcast.wire import limits, subjects
from runcast.wire.ids import UserKey

BOUND_S = 10.0


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
