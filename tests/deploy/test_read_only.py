"""The services write nothing, and need no privilege: they do all their work where no file system can be written, without capabilities.

Without Docker: a mount namespace in which everything is read-only (`read_only.sh`). nats-server keeps what it stores, and nothing else.
"""

import os
import subprocess
from pathlib import Path

import pytest

from runcast.testkit import Cluster, UserDevice
from runcast.testkit.plugin import ClusterFactory

SCRIPT = Path(__file__).parent / "read_only.sh"
NAMESPACE = ["/usr/bin/unshare", "--mount"] if os.geteuid() == 0 else ["/usr/bin/unshare", "--mount", "--map-root-user"]


def why_not() -> str:
    """Why this kernel, or the container that this runs in, gives nobody a mount namespace; "" when it does."""
    try:
        tried = subprocess.run([*NAMESPACE, "mount", "--make-rprivate", "/"], capture_output=True, text=True, timeout=10, check=False)
    except OSError as exc:
        return str(exc)
    return tried.stderr.strip() if tried.returncode else ""


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    why = why_not()
    if why:
        pytest.skip(f"no mount namespaces here: {why}")


async def test_all_services_work_where_nothing_can_be_written(runcast_cluster_factory: ClusterFactory, user: str) -> None:
    cluster: Cluster = await runcast_cluster_factory(routers=1, edges=1, admins=1)
    assert cluster.nats is not None
    services = [*cluster.routers, *cluster.edges, *cluster.admins]
    for node in (*services, cluster.nats):
        await node.stop()
    store = cluster.nats.args[cluster.nats.args.index("-sd") + 1]
    for node, writable in [(cluster.nats, store), *((node, "-") for node in services)]:
        node.args = [*NAMESPACE, str(SCRIPT), writable, *node.args]
        node.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # as in the images
        node.log_path.write_text("")
        await node.start()
    async with cluster.connect() as agent, UserDevice(cluster, user) as device:
        async with agent.run(user=user) as run:
            assert (await run.respond("hello", receipt=10.0)).outcome == "delivered"
        await device.wait_kind("agent_completed")
    for node in services:
        status = Path(f"/proc/{node.pid}/status").read_text()  # noqa: ASYNC240 # the kernel answers at once
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status, node.name
        assert await node.stop() == 0
        log = node.log_path.read_text()
        assert "Read-only" not in log, log
        assert "Traceback" not in log, log


def test_what_writes_would_be_seen(tmp_path: Path) -> None:
    """The namespace does what it says: a program that writes fails there."""
    for writable, status in (("-", 1), (str(tmp_path), 0)):
        command = [*NAMESPACE, str(SCRIPT), writable, "/bin/sh", "-c", f"echo x > {tmp_path}/x"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd="/")
        assert bool(ended.returncode) == bool(status), ended.stderr
        assert ("Read-only file system" in ended.stderr) == bool(status)
