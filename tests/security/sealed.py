"""What tests of encryption at rest share: keys that they know, envelopes of their own, and looking at NATS's disks."""

import asyncio
import base64
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import nats

from runcast.bus.sealing import envelope
from runcast.testkit import Cluster
from runcast.wire.ids import UserKey
from tests.unit.bus.sealing.keys import secret, tenant, write

SEALED, PLAIN = "default", "globex"
"""Tenants: with keys, and without."""


USUAL = tenant(SEALED, "k1", more="plain = false")
"""Of a keys file: one key, which all that tests store is sealed by unless they say otherwise."""


class Vault:
    """A router and an edge with one shard, so that names are known, and a keys file.

    Attributes:
        cluster: they.
        health_before: how keys were when the test began. What did not open in a test before is remembered for long.
    """

    def __init__(self, start: Callable[..., Cluster], path: Path) -> None:
        self._path = path
        self._parts: tuple[str, ...] = (USUAL,)
        self._begins = {"router": 0, "edge": 0}
        self.health_before: dict[str, Any] = {}
        self.cluster = start(routers=1, edges=1, shards=1, environ={"RUNCAST_KEYS_FILE": str(write(path, USUAL))})

    async def begin(self) -> None:
        """Have the usual keys; what was said before is another test's."""
        await self.use(USUAL)
        self._begins = {role: len(self.whole_log(role)) for role in self._begins}
        self.health_before = await self.health()

    async def use(self, *parts: str) -> None:
        """Put another keys file in place, and wait until both processes have read it."""
        if parts == self._parts:
            return
        before = {role: self.whole_log(role).count("keys_file_read") for role in self._begins}
        write(self._path, *parts)
        self._parts = parts
        async with asyncio.timeout(20):
            while any(self.whole_log(role).count("keys_file_read") <= count for role, count in before.items()):  # noqa: ASYNC110 # their logs
                await asyncio.sleep(0.05)

    def whole_log(self, role: str) -> str:
        return (self.cluster.routers if role == "router" else self.cluster.edges)[0].log_path.read_text()

    def log(self, role: str = "router") -> str:
        """What it said since the test began."""
        return self.whole_log(role)[self._begins[role] :]

    async def said(self, event: str, *, role: str = "router") -> None:
        """Wait until it says so."""
        async with asyncio.timeout(20):
            while event not in self.log(role):  # noqa: ASYNC110 # the log of another process
                await asyncio.sleep(0.05)

    async def health(self) -> dict[str, Any]:
        """How the edge's keys are."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.cluster.edges[0].http_url}/healthz") as answer:
            found = (await answer.json())["dependencies"]["keys"]
            return {name: found.get(name) for name in ("state", "reason")}


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


__all__ = ["PLAIN", "SEALED", "USUAL", "Vault", "make_envelope", "on_disk", "put", "secret", "stored"]
