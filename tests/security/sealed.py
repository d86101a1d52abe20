"""What tests of encryption at rest share: keys that they know, envelopes of their own, and looking at NATS's disks."""

import base64
import os
import time
from pathlib import Path
from typing import Any

import nats

from runcast.bus.sealing import envelope
from runcast.testkit import Cluster
from runcast.testkit.plugin import ClusterFactory
from runcast.wire.ids import UserKey
from tests.unit.bus.sealing.keys import secret, write

SEALED, PLAIN = "default", "globex"
"""Tenants: with keys, and without."""


async def start(factory: ClusterFactory, keys: Path | None, **options: Any) -> Cluster:
    """A router and an edge with one shard, so that names are known."""
    environ = {"RUNCAST_KEYS_FILE": str(keys)} if keys else {}
    return await factory(**{"routers": 1, "edges": 1, "shards": 1, "environ": environ, **options})


async def put(cluster: Cluster, subject: str, data: bytes, **headers: str) -> None:
    """Write to a stream beside Runcast."""
    connection = await nats.connect(cluster.nats_url)
    try:
        await connection.jetstream().publish(subject, data, headers=headers or None)
    finally:
        await connection.close()


async def stored(cluster: Cluster, stream: str, subject: str) -> list[bytes]:
    """All that a stream holds at a subject, as it is."""
    connection = await nats.connect(cluster.nats_url)
    try:
        subscription = await connection.jetstream().subscribe(subject, stream=stream, ordered_consumer=True)
        found: list[bytes] = []
        while True:
            message = await subscription.next_msg(5)
            found.append(message.data)
            if not message.metadata.num_pending:
                return found
    finally:
        await connection.close()


def make_envelope(user: UserKey, subject: str, payload: bytes, key_id: str, *, age_s: float = 0.0) -> bytes:
    """What a process with the sealed tenant's key `key_id` stored so long ago."""
    at = int(time.time() - age_s)
    key = envelope.derive(base64.b64decode(secret(f"{SEALED}/{key_id}")), user, at // 86_400)
    return envelope.seal(key, envelope.head_of(key_id, at), subject, os.urandom(envelope.NONCE_BYTES), payload)


def on_disk(cluster: Cluster, *texts: str) -> set[str]:
    """Which of these texts are anywhere in what nats-server keeps. It should be stopped, so that all of it is written."""
    found: set[str] = set()
    files = [path for path in (cluster.directory / "nats").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) > 10_000
    for path in files:
        data = path.read_bytes()
        found |= {text for text in texts if text.encode() in data or text in str(path)}
    return found


__all__ = ["PLAIN", "SEALED", "make_envelope", "on_disk", "put", "secret", "start", "stored", "write"]
