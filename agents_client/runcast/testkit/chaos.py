"""Breaking a cluster on purpose, and having it whole again: async context managers.

Rules: what a block broke is in order again when the block has ended, however it ended, so the next test finds the cluster as it was; a
node that was killed has been started on its port and takes work. Blocks may be nested, but not on the same thing.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, Literal

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runcast.testkit.cluster_tls import ClusterTls
from runcast.testkit.home import Homed
from runcast.testkit.node import Node
from runcast.testkit.processes import Process, ProcessError
from runcast.testkit.proxy import Proxy

Lines = Literal["devices", "agents", "nats", "routes"]
"""Which lines: between devices and edges, agents and routers, nodes and NATS, or nats-servers and one another."""
RECOVER_S: Final = 20.0
"""From the end of a block until the cluster must take work again, on a loaded machine."""
_START_TRIES_MAX: Final = 5
_ASK_S: Final = 2.0
_PAUSE_S: Final = 0.05


class Chaos(Homed):
    """What can be done to a cluster; `Cluster` inherits it.

    Attributes:
        edges: the edge nodes.
        routers: the router nodes.
        nats_servers: the nats-servers.
        proxies: by who connects and to whom.
    """

    edges: list[Node]
    routers: list[Node]
    nats_servers: list[Node]
    proxies: dict[tuple[str, str], Proxy]

    @contextlib.asynccontextmanager
    async def edge_killed(self, which: int | None = 0) -> AsyncIterator[None]:
        """SIGKILL an edge; it is started again at the block's end.

        Args:
            which: its number; None for all edges.

        Raises:
            IndexError: there is no such edge.
            ProcessError: it did not become ready again.
        """
        async with _killed(self.edges if which is None else [self.edges[which]]):
            yield

    @contextlib.asynccontextmanager
    async def router_killed(self, which: int | None = 0) -> AsyncIterator[None]:
        """SIGKILL a router; it is started again at the block's end. Arguments and errors as for `edge_killed`."""
        async with _killed(self.routers if which is None else [self.routers[which]]):
            yield

    @contextlib.asynccontextmanager
    async def nats_restarted(self, which: int = 0, *, killed: bool = False) -> AsyncIterator[None]:
        """Stop a nats-server, with its data kept, and start it at the block's end; then all routers and edges take work again.

        Args:
            which: its number.
            killed: by SIGKILL, instead of SIGTERM.

        Raises:
            IndexError: there is no such server.
            ProcessError: something was not ready within `RECOVER_S`.
        """
        server = self.nats_servers[which]
        await (server.kill() if killed else server.stop())
        try:
            yield
        finally:
            await start_again(server)
            await self.recovered()

    @contextlib.asynccontextmanager
    async def network(
        self,
        *,
        latency: float = 0.0,
        cut: bool = False,
        throttle: int = 0,
        silent: bool = False,
        lines: Lines | Sequence[Lines] = "devices",
    ) -> AsyncIterator[None]:
        """Have lines be bad within the block.

        Args:
            latency: each chunk of bytes is held back so long, in each direction; seconds. What comes meanwhile goes with the next one.
            cut: connections are reset, and new ones too, as when a machine dies.
            throttle: so many bytes a second pass in each direction of a connection; 0 for all.
            silent: connections stay, and nothing comes through, as in a network partition.
            lines: which ones.

        Raises:
            ValueError: nothing to do was given, the cluster has no proxies on these lines, or they are bad already.
        """
        if not (latency or cut or throttle or silent):
            raise ValueError("give at least one of latency=, cut=, throttle= and silent=")
        wanted = {lines} if isinstance(lines, str) else set(lines)
        proxies = [proxy for (who, _), proxy in self.proxies.items() if _kind_of_line(who) in wanted]
        if not proxies:
            raise ValueError(f"there is no proxy on the lines of {', '.join(sorted(wanted))}; start the cluster with proxied=True")
        if not all(proxy.healthy for proxy in proxies):
            raise ValueError("these lines are bad already; end that block first")
        for proxy in proxies:
            proxy.delay_s, proxy.bytes_per_s = latency, throttle
            if silent:
                proxy.half_open()
            if cut:
                proxy.cut(stay=True)
        try:
            yield
        finally:
            for proxy in proxies:
                proxy.heal()

    async def recovered(self, *, within_s: float = RECOVER_S) -> None:
        """Wait until all routers and edges take work.

        Raises:
            ProcessError: one did not within `within_s` seconds; the message names it and says why.
        """
        until = time.monotonic() + within_s
        for edge in self.edges:
            await _until(_edge_ready, edge, until)
        for router in self.routers:
            await _until(_router_ready, router, until)


_LINES: Final = {"device": "devices", "agent": "agents", "nats": "routes"}


def _kind_of_line(who: str) -> str:
    return _LINES.get(who.partition("-")[0], "nats")


@contextlib.asynccontextmanager
async def _killed(nodes: Sequence[Node]) -> AsyncIterator[None]:
    for node in nodes:
        await node.kill()
    try:
        yield
    finally:
        for node in nodes:
            await start_again(node)


async def start_again(node: Process) -> None:
    """Start a process; where it does not become ready (its NATS is gone too), again."""
    for attempt in range(_START_TRIES_MAX):
        try:
            await node.start()
            return
        except ProcessError:
            if attempt == _START_TRIES_MAX - 1:
                raise


async def _until(ready: Callable[[Node], Awaitable[str]], node: Node, until: float) -> None:
    while reason := await ready(node):
        if time.monotonic() >= until:
            raise ProcessError(f"{node.name} did not recover: {reason}; its last words:\n{node.tail() or '(none)'}")
        await asyncio.sleep(_PAUSE_S)


async def _edge_ready(node: Node) -> str:
    """Why an edge takes no devices; "" when it does."""
    timeout = aiohttp.ClientTimeout(total=_ASK_S)
    tls = node.tls.context() if node.tls else True
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{node.http_url}/readyz", ssl=tls) as answer:
            return "" if answer.status == 200 else await answer.text()
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        return str(exc) or type(exc).__name__


async def _router_ready(node: Node) -> str:
    """Why a router takes no agents; "" when it does. Asked on a thread: gRPC's own event loop would be another one in this process."""
    return await asyncio.to_thread(_ask_router, node)


def _secure_channel(address: str, tls: ClusterTls) -> grpc.Channel:
    ca, cert, key = tls.agent().read()
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert))


def _ask_router(node: Node) -> str:
    with grpc.insecure_channel(node.address) if node.tls is None else _secure_channel(node.address, node.tls) as channel:
        try:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_ASK_S)  # type: ignore[attr-defined] # not in the stubs
        except grpc.RpcError as exc:
            return str(exc)
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return "" if serving else "it is not serving yet"
