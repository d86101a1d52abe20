"""The pytest plugin: fixtures with a real cluster and real devices. pytest loads it by itself (entry point `runcast`).

Rules: nothing is imported or started before a fixture is asked for, since pytest loads this in every project that has Runcast
installed. The shared cluster lives on a thread of its own, with its own event loop, so it does not matter which loops tests use; it is
for tests that leave it as it is. Tests that kill or restart something take a cluster of their own from `runcast_cluster_factory`.
"""

import asyncio
import functools
import re
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

try:
    from pytest_asyncio import fixture as _async_fixture
except ImportError:  # the async fixtures need it; without, pytest itself says so when one is used
    _async_fixture = pytest.fixture  # type: ignore[assignment]

if TYPE_CHECKING:
    from runcast.testkit.cluster import Cluster
    from runcast.testkit.device import Device

ClusterFactory = Callable[..., Awaitable["Cluster"]]
"""Takes the arguments of `Cluster`; the cluster is started, and ended after the test."""
DeviceFactory = Callable[..., Awaitable["Device"]]
"""Takes `user` (default: the test's own), `tenant`, `edge` (an index), `cluster` (default: the shared one), and what `Device` takes."""


class _ClusterThread:
    """Runs a cluster on a thread until told to stop. The thread also is what keeps the cluster's processes alive."""

    def __init__(self, make: "Callable[[], Cluster]") -> None:
        self._make = make
        self._started = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self._failure: BaseException | None = None
        self.cluster: Cluster | None = None
        self._thread = threading.Thread(target=self._main, name="runcast cluster", daemon=True)

    def start(self) -> "Cluster":
        self._thread.start()
        self._started.wait()
        if self._failure is not None or self.cluster is None:
            self._thread.join()
            raise self._failure or RuntimeError("the cluster's thread ended early")
        return self.cluster

    def stop(self) -> None:
        self._stop()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as exc:  # carried over to the thread that waits, and raised there
            self._failure = exc
        finally:
            self._started.set()

    async def _run(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._stop = functools.partial(loop.call_soon_threadsafe, stop.set)
        async with self._make() as cluster:
            self.cluster = cluster
            self._started.set()
            await stop.wait()


@pytest.fixture(scope="session")
def runcast_cluster() -> "Iterator[Cluster]":
    """The shared cluster: 2 routers, 2 edges, started once. Leave it as it is; keep apart by user (fixture `user`)."""
    from runcast.testkit.cluster import Cluster  # noqa: PLC0415 # see the module's rules

    thread = _ClusterThread(lambda: Cluster(routers=2, edges=2))
    cluster = thread.start()
    yield cluster
    thread.stop()


@_async_fixture
async def runcast_cluster_factory() -> AsyncIterator[ClusterFactory]:
    """Starts clusters that are the test's own."""
    from runcast.testkit.cluster import Cluster  # noqa: PLC0415 # see the module's rules

    clusters: list[Cluster] = []

    async def make(**arguments: Any) -> Cluster:
        cluster = Cluster(**arguments)
        clusters.append(cluster)
        await cluster.start()
        return cluster

    yield make
    for cluster in clusters:
        await cluster.stop()


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user that no other test has."""
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', request.node.name)[:40]}-{uuid.uuid4().hex[:8]}"


@_async_fixture
async def device(request: pytest.FixtureRequest, user: str) -> AsyncIterator[DeviceFactory]:
    """Opens devices, of the test's user unless told otherwise; all are closed after the test, which fails if a chain was broken."""
    from runcast.testkit.device import Device  # noqa: PLC0415 # see the module's rules

    devices: list[Device] = []

    async def open_device(
        *, user: str = user, tenant: str = "default", edge: int = 0, cluster: "Cluster | None" = None, **arguments: Any
    ) -> Device:
        where = cluster or request.getfixturevalue("runcast_cluster")
        arguments.setdefault("device", f"d{len(devices) + 1}")
        opened = Device(arguments.pop("urls", where.edges[edge].url), where.token(user, tenant), **arguments)
        devices.append(opened)
        await opened.connect()
        return opened

    yield open_device
    for opened in devices:
        await opened.close()
    for opened in devices:
        opened.check_chain()
