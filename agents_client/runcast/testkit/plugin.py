"""The pytest plugin: fixtures with a real cluster, an agent's client and devices. pytest loads it by itself (entry point `runcast`).

Rules:
- Nothing is imported or started before a fixture is asked for, since pytest loads this in every project that has Runcast installed.
- No fixture here is async. The cluster lives on a thread of its own, with its own event loop, and can be used from any (`home.py`). Agent
  and devices live in the test's own task: an async test that asks for them is wrapped in `async with scope` (`scope.py`). So
  it does not matter which plugin runs async tests, pytest-asyncio or anyio, nor which scope its loops have.
- Every test has a tenant of its own. Every process of pytest-xdist has a cluster of its own. So tests can't meet, and a test may
  break its cluster, by the context managers that put it in order again (`chaos.py`).
"""

import functools
import inspect
import re
import uuid
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from runcast.client import Runcast
    from runcast.testkit.cluster import Cluster
    from runcast.testkit.home import HomeThread
    from runcast.testkit.scope import Scope
    from runcast.testkit.stress import StressOutcome
    from runcast.testkit.user_device import UserDevice

ClusterFactory = Callable[..., Awaitable["Cluster"]]
"""Takes the arguments of `Cluster`; the cluster is started, and ended after the test."""
DeviceFactory = Callable[..., Awaitable["UserDevice"]]
"""Takes a user (default "alice") and what `UserDevice` takes; the device is connected, and closed with the test."""
Stress = Callable[..., Awaitable["StressOutcome"]]
"""Takes the arguments of `stress` but for cluster and tenant."""

_SCOPE: "pytest.StashKey[Scope]" = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """The plugin's marker."""
    config.addinivalue_line("markers", "runcast_agent(**options): options of the test's runcast_agent, such as agent='analyst'.")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How large the shared cluster is."""
    parser.addini("runcast_routers", "Router processes of runcast_cluster.", default="1")
    parser.addini("runcast_edges", "Edge processes of runcast_cluster.", default="1")


@pytest.fixture(scope="session")
def _runcast_home() -> "Iterator[HomeThread]":
    """The thread on which clusters live. It also is what keeps their processes alive."""
    from runcast.testkit.home import HomeThread  # noqa: PLC0415 # see the module's rules

    thread = HomeThread()
    yield thread
    thread.stop()


@pytest.fixture(scope="session")
def runcast_cluster(_runcast_home: "HomeThread", pytestconfig: pytest.Config) -> "Iterator[Cluster]":
    """The shared cluster: nats-server, routers and edges, started once; how many, the configuration says.

    Leave it as it is, or break it within `edge_killed()`, `router_killed()`, `nats_restarted()` and `network()`.
    """
    from runcast.testkit.cluster import Cluster  # noqa: PLC0415 # see the module's rules

    routers, edges = int(pytestconfig.getini("runcast_routers")), int(pytestconfig.getini("runcast_edges"))
    cluster = Cluster(routers=routers, edges=edges, proxied="rim")
    _runcast_home.run(cluster.start)
    yield cluster
    _runcast_home.run(cluster.stop)


@pytest.fixture
def runcast_cluster_factory(_runcast_home: "HomeThread") -> Iterator[ClusterFactory]:
    """Starts clusters that are the test's own, of any shape."""
    from runcast.testkit.cluster import Cluster  # noqa: PLC0415 # see the module's rules
    from runcast.testkit.home import elsewhere  # noqa: PLC0415

    clusters: list[Cluster] = []

    async def make(**arguments: Any) -> Cluster:
        cluster = Cluster(**arguments)
        clusters.append(cluster)
        await elsewhere(_runcast_home.loop, cluster.start)
        return cluster

    yield make
    for cluster in clusters:
        _runcast_home.run(cluster.stop)


@pytest.fixture
def runcast_tenant(request: pytest.FixtureRequest) -> str:
    """A tenant that no other test has; users in it can have any ids."""
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', request.node.name)[:40]}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def _runcast_scope(request: pytest.FixtureRequest, runcast_tenant: str) -> "Scope":
    from runcast.testkit.scope import Scope  # noqa: PLC0415 # see the module's rules

    if not inspect.iscoroutinefunction(request.node.obj):
        pytest.fail(
            "devices and agents of Runcast live on the test's event loop: make the test `async def`, and run what blocks in it by"
            " `await asyncio.to_thread(...)`. (runcast_cluster alone can be used by any test.)",
            pytrace=False,
        )
    scope = request.node.stash[_SCOPE] = Scope(lambda: request.getfixturevalue("runcast_cluster"), runcast_tenant)
    return scope


@pytest.fixture
def runcast_device(_runcast_scope: "Scope") -> DeviceFactory:
    """Opens devices of users of the test's tenant; all are closed with the test, which fails if a chain of positions was broken."""
    return _runcast_scope.open_device


@pytest.fixture
def runcast_user(_runcast_scope: "Scope", runcast_cluster: "Cluster") -> "UserDevice":  # noqa: ARG001 # started before the test's clock runs
    """A connected device of the user "alice" of the test's tenant, which comes back by itself. `runcast_user.user` is the user's id."""
    return _runcast_scope.plan_device("alice")


@pytest.fixture
def runcast_agent(request: pytest.FixtureRequest, _runcast_scope: "Scope", runcast_cluster: "Cluster") -> "Runcast":  # noqa: ARG001 # as above
    """A connected `Runcast` for the test's tenant; with the options that the marker `runcast_agent` names."""
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers("runcast_agent"):
        options = {**marker.kwargs, **options}  # the closest one counts
    return _runcast_scope.plan_agent(**options)


@pytest.fixture
def runcast_stress(runcast_cluster: "Cluster", runcast_tenant: str) -> Stress:
    """An agent that does runs for many users at once.

    `outcome = await runcast_stress(users=25, runs=4)`, then `outcome.verify()`; see `stress`.
    """
    from runcast.testkit.stress import stress  # noqa: PLC0415 # see the module's rules

    return functools.partial(stress, runcast_cluster, tenant=runcast_tenant)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Run an async test that has a scope within it: before any plugin has made a plain function of the test."""
    scope = item.stash.get(_SCOPE, None)
    if scope is None or not isinstance(item, pytest.Function):
        return (yield)
    test = item.obj

    @functools.wraps(test)
    async def within(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        async with scope:
            await test(*args, **kwargs)

    item.obj = within
    try:
        return (yield)
    finally:
        item.obj = test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show with a failed test what its devices had received."""
    report: Any = yield
    scope = item.stash.get(_SCOPE, None)
    if scope is None or not report.failed or call.when != "call" or call.excinfo is None:
        return report
    shown = getattr(call.excinfo.value, "violations", {})  # a VerificationError has drawn these itself
    for device in scope.devices:
        if f"{device.user}/{device.device}" not in shown:
            report.sections.append((f"what {device.user}/{device.device} received", device.timeline()))
    return report
