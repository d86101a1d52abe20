"""A whole Runcast on this machine: the real nats-server, routers, edges and admins, each a process of its own, on loopback, in development
mode.

Invariants: everything that was started is ended when the cluster closes, and dies with this process even if it is killed; a node that is
started again has the port it had; what the cluster wrote is removed, unless a data directory was given.

How it is broken on purpose is in `chaos.py`. A cluster belongs to the loop that started it, and can be used from any (`home.py`).
"""

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from runcast.testkit.chaos import Chaos
from runcast.testkit.cluster_tls import ClusterTls
from runcast.testkit.home import at_home
from runcast.testkit.nats_cluster import stream_leader, wait_formed, write_config
from runcast.testkit.node import Node, find_nats_server
from runcast.testkit.ports import HOST, HeldPort, PortTakenError, is_free, pick_port
from runcast.testkit.processes import Echo, Process, ProcessError
from runcast.testkit.proxy import Proxy
from runcast.wire import limits_client as limits
from runcast.wire.ids import encode_token

if TYPE_CHECKING:
    from runcast.client import Runcast

_ONE_ADDRESS = {"RUNCAST_CONNECTS_PER_S": "0", "RUNCAST_STRANGERS_PER_ADDRESS": "0", "RUNCAST_STRANGERS_MAX": "100000"}
"""All devices of a cluster come from this machine: bounds by address would be bounds of the test."""


class Cluster(Chaos):
    """Nodes that are started together and ended together.

    Args:
        routers: how many router processes.
        edges: how many edge processes.
        admins: how many admin processes.
        nats_url: an existing NATS instead of a nats-server of our own.
        nats_servers: how many nats-servers: 1, or 3 for a cluster with everything replicated on all of them.
        proxied: put a proxy on every line: between each router or edge and each nats-server, from each nats-server to each other, before
            each edge (where devices connect) and before each router (where agents do); "rim": on the lines of devices and agents only.
        data: where nats-server keeps its data; None for a temporary directory that is removed at the end.
        shards: of a new deployment; 0 for the default.
        share_ports: all routers on one port and all edges on one port (the kernel spreads connections), instead of a port each.
        router_port: the (first) router's port; 0 for any free one.
        edge_port: the (first) edge's port; 0 for any free one.
        nats_port: nats-server's port; 0 for any free one.
        admin_port: the (first) admin's gRPC port; 0 for any free one.
        admin_http_port: the (first) admin's HTTP port; 0 for any free one.
        environ: further variables for routers, edges and admins, such as RUNCAST_LOG_LEVEL.
        echo: told about every line on a node's stderr, with the node's name.
        tls: routers, edges, admins and our nats-server have TLS, with these files.

    Attributes:
        nats: our (first) nats-server; None with `nats_url`.
        nats_servers: all of them.
        nats_url: of all nats-servers, past the proxies.
        proxies: by who connects and to whom: ("edge-0", "nats-0"), ("nats-0", "nats-1"), ("device", "edge-0"), ("agent", "router-0").
        routers: the router nodes.
        edges: the edge nodes.
        admins: the admin nodes.
        directory: where logs, and data unless given, are.
        ready_s: how long the start took, seconds.
        tls: as given.
    """

    def __init__(
        self,
        *,
        routers: int = 2,
        edges: int = 2,
        admins: int = 0,
        nats_url: str = "",
        nats_servers: int = 1,
        proxied: bool | Literal["rim"] = False,
        data: Path | None = None,
        shards: int = 0,
        share_ports: bool = False,
        router_port: int = 0,
        edge_port: int = 0,
        nats_port: int = 0,
        admin_port: int = 0,
        admin_http_port: int = 0,
        environ: Mapping[str, str] | None = None,
        echo: Echo | None = None,
        tls: ClusterTls | None = None,
    ) -> None:
        if tls is not None and tls.nats and (nats_servers > 1 or proxied is True):
            raise ValueError("TLS at NATS is for one nats-server without proxies; give ClusterTls(nats=False) for others")
        self._counts = {"router": routers, "edge": edges, "admin": admins}
        self._first_port = {"router": router_port, "edge": edge_port, "admin": admin_port}
        self._admin_http_port = admin_http_port
        self._data = data
        self._share_ports = share_ports
        self._nats_port = nats_port
        self._echo = echo
        self._servers = nats_servers
        self._proxied = proxied
        self.tls = tls
        self._environ = {**_ONE_ADDRESS, "RUNCAST_AUTH": "dev", **(tls.environ() if tls else {}), **(environ or {})}
        if shards:
            self._environ["RUNCAST_SHARDS"] = str(shards)
        self._held: list[HeldPort] = []
        self._others: list[Process] = []
        if nats_servers > 1:
            self._environ.setdefault("RUNCAST_REPLICAS", str(min(nats_servers, 3)))
        self.nats: Node | None = None
        self.nats_servers: list[Node] = []
        self.proxies: dict[tuple[str, str], Proxy] = {}
        self.nats_url = nats_url
        self.routers: list[Node] = []
        self.edges: list[Node] = []
        self.admins: list[Node] = []
        self.directory = Path()
        self.ready_s = 0.0

    async def __aenter__(self) -> Self:
        """Start everything; see `start`."""
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        """End everything."""
        await self.stop()

    @property
    def processes(self) -> list[Process]:
        """All of them, nats-server first."""
        return [*self.nats_servers, *self.services, *self._others]

    @property
    def services(self) -> list[Node]:
        """Routers, edges and admins."""
        return [*self.routers, *self.edges, *self.admins]

    def token(self, user: str, tenant: str = "default") -> str:
        """A development token for a user."""
        return f"dev.{encode_token(tenant)}.{encode_token(user)}"

    def ws_url(self, edge: int) -> str:
        """Where devices connect to an edge, by its number: its proxy, if there is one."""
        node = self.edges[edge]
        proxy = self.proxies.get(("device", node.name))
        return f"{'wss' if node.tls else 'ws'}://{HOST}:{proxy.port}/v1/ws" if proxy else node.url

    def ws_urls(self) -> list[str]:
        """Every edge's WebSocket URL, once each."""
        return list(dict.fromkeys(self.ws_url(number) for number in range(len(self.edges))))

    def router_addresses(self) -> list[str]:
        """Every router's `host:port`, once each."""
        proxies = [self.proxies.get(("agent", node.name)) for node in self.routers]
        return list(
            dict.fromkeys(f"{HOST}:{proxy.port}" if proxy else node.address for node, proxy in zip(self.routers, proxies, strict=True))
        )

    def connect(self, *, agent: str = "agent", **options: Any) -> "Runcast":
        """An agent's client of all routers, for `async with`; `options` are those of `Runcast`, such as `tenant`."""
        from runcast.client import Runcast  # noqa: PLC0415 # who starts servers only need not wait for gRPC

        if self.tls is not None:
            options.setdefault("tls", self.tls.agent())
        return Runcast(",".join(self.router_addresses()), agent=agent, **options)

    @at_home
    async def stream_leader(self, stream: str) -> Node | None:
        """The nats-server that leads a stream; None when there is none just now."""
        name = await stream_leader([node.url for node in self.nats_servers if node.running], stream)
        return next((node for node in self.nats_servers if node.name == name), None)

    @at_home
    async def start(self) -> None:
        """Start nats-server (a cluster of them goes before), all routers, edges and admins at once, and wait until they take work.

        Raises:
            NatsServerMissingError: there is no nats-server, and no `nats_url` was given.
            PortTakenError: a port that was asked for is in use.
            ProcessError: a node did not become ready.
        """
        began = time.monotonic()
        self.directory = Path(tempfile.mkdtemp(prefix="runcast-"))
        try:
            for role in ("router", "edge", "admin"):
                self._plan(role)
            if self._servers > 1 and not self.nats_url:
                await self._start_nats_cluster()
            if self.nats_url:
                await self._start_all(self.services)
            else:
                await self._start_with_nats()
        except BaseException:
            await self.stop()
            raise
        self.ready_s = time.monotonic() - began

    async def _start_with_nats(self) -> None:
        """Start everything with one nats-server, on another port when somebody took its port between the look and the bind."""
        for attempt in range(limits.NATS_PORT_TRIES):
            nats = self._plan_nats()
            try:
                await self._start_all([nats, *self.services])
            except ProcessError:
                if self._nats_port or nats.running or is_free(nats.port) or attempt == limits.NATS_PORT_TRIES - 1:
                    raise
                for process in self.processes:
                    await process.kill()
            else:
                return

    async def _start_all(self, nodes: list[Node]) -> None:
        for node in self.services:
            node.environ["RUNCAST_NATS_URL"] = self.nats_url
        if self._proxied:
            await self._start_proxies()
        await _start_at_once(nodes)

    @at_home
    async def stop(self) -> None:
        """End everything: what uses the cluster, its services, then nats-server. Within 5 s; safe to call twice."""
        try:
            # The last half second of the five is kept for nats-server, which needs milliseconds.
            await _stop_all([*self._others, *self.services], limits.CHILD_STOP_S)
            await _stop_all([*self.nats_servers], 0.5)
        finally:
            for proxy in self.proxies.values():
                await proxy.close()
            for process in self.processes:
                await process.kill()
            for held in self._held:
                held.close()
            self._held.clear()
            if self.directory != Path():
                await asyncio.to_thread(shutil.rmtree, self.directory, ignore_errors=True)

    @at_home
    async def add(self, name: str, args: list[str], *, ready: str, environ: Mapping[str, str] | None = None) -> Process:
        """Start a further process that belongs to the cluster, such as an agent.

        Args:
            name: names it in messages.
            args: arguments of this Python interpreter, such as `["-m", "my_agent"]`.
            ready: what its ready line on stdout matches.
            environ: further variables.

        Raises:
            ProcessError: it did not become ready.
        """
        process = Process(name, [sys.executable, *args], directory=self.directory, ready=ready, environ=environ, echo=self._echo)
        self._others.append(process)
        await process.start()
        return process

    def _plan(self, role: str) -> None:
        nodes = {"router": self.routers, "edge": self.edges, "admin": self.admins}[role]
        shared: HeldPort | None = None
        for index in range(self._counts[role]):
            if shared is None or not self._share_ports:
                shared = HeldPort(self._first_port[role] if index == 0 else 0)
                self._held.append(shared)
            name = f"{role}-{index}"
            environ = {**self._environ, "RUNCAST_BIND": f"{HOST}:{shared.port}", "RUNCAST_ID": name}
            page_port = self._plan_pages(environ, index) if role == "admin" else 0
            node = Node(
                name,
                [sys.executable, "-m", f"runcast.{role}"],
                directory=self.directory,
                ready=rf"^ready {role} ",
                environ=environ,
                echo=self._echo,
            )
            node.role, node.port, node.tls, node.page_port = role, shared.port, self.tls, page_port
            nodes.append(node)

    def _plan_pages(self, environ: dict[str, str], index: int) -> int:
        """Hold a port for an admin's pages; returns it."""
        first = self._admin_http_port if index == 0 else 0
        if self._share_ports and self.admins:
            port = self.admins[0].page_port
        else:
            self._held.append(HeldPort(first))
            port = self._held[-1].port
        environ["RUNCAST_HTTP_BIND"] = f"{HOST}:{port}"
        return port

    def _plan_nats(self) -> Node:
        program = find_nats_server()
        data = self._data or self.directory / "nats"
        data.mkdir(parents=True, exist_ok=True)
        if self._nats_port and not is_free(self._nats_port):
            raise PortTakenError(self._nats_port)
        port = self._nats_port or pick_port(random.Random())  # noqa: S311 # a port, not a secret
        node = Node(
            "nats",
            [program, "-a", HOST, "-p", str(port), "-js", "-sd", str(data), *(self.tls.nats_args() if self.tls else ())],
            directory=self.directory,
            ready=r"Server is ready",
            ready_on="stderr",
            echo=self._echo,
        )
        node.role, node.port, node.tls = "nats", port, self.tls if self.tls and self.tls.nats else None
        self.nats, self.nats_servers, self.nats_url = node, [node], node.url
        return node

    async def _start_nats_cluster(self) -> None:
        """Start several nats-servers, on other ports when somebody took one between the look and the bind."""
        for attempt in range(limits.NATS_PORT_TRIES):
            ports = await self._plan_nats_cluster()
            try:
                await _start_at_once(self.nats_servers)
            except ProcessError:
                await _stop_all(list(self.nats_servers), 0.0)
                if attempt == limits.NATS_PORT_TRIES - 1 or all(is_free(port) for port in ports):
                    raise
            else:
                break
        await wait_formed([node.url for node in self.nats_servers], min(self._servers, 3))

    async def _plan_nats_cluster(self) -> list[int]:
        program = find_nats_server()
        data = self._data or self.directory / "nats"
        rng = random.Random()  # noqa: S311 # ports, not secrets
        ports = [pick_port(rng) for _ in range(2 * self._servers)]
        own, routes = ports[: self._servers], ports[self._servers :]
        self.nats_servers = []
        for index, port in enumerate(own):
            name = f"nats-{index}"
            store = data / name
            store.mkdir(parents=True, exist_ok=True)
            others = [await self._route(name, f"nats-{to}", routes[to]) for to in range(self._servers) if to != index]
            config = write_config(self.directory, name, port, routes[index], others, store)
            node = Node(
                name,
                [program, "-c", str(config)],
                directory=self.directory,
                ready=r"Server is ready",
                ready_on="stderr",
                echo=self._echo,
            )
            node.role, node.port = "nats", port
            self.nats_servers.append(node)
        self.nats = self.nats_servers[0]
        self.nats_url = ",".join(node.url for node in self.nats_servers)
        return ports

    async def _route(self, who: str, target: str, port: int) -> int:
        """The port by which one nats-server reaches another."""
        if self._proxied is not True:
            return port
        return (await self._add_proxy(who, target, port)).port

    async def _start_proxies(self) -> None:
        for node in (*self.routers, *self.edges):
            if self._proxied != "rim":
                urls = []
                for server in self.nats_servers:
                    proxy = await self._add_proxy(node.name, server.name, server.port, nats=True)
                    urls.append(f"nats://{HOST}:{proxy.port}")
                # Each node begins with another server, as nodes that were told the servers in their own order do.
                first = (len(self.proxies) // max(len(urls), 1)) % max(len(urls), 1)
                node.environ["RUNCAST_NATS_URL"] = ",".join(urls[first:] + urls[:first])
            await self._add_proxy("agent" if node.role == "router" else "device", node.name, node.port)

    async def _add_proxy(self, who: str, target: str, port: int, *, nats: bool = False) -> Proxy:
        if (old := self.proxies.pop((who, target), None)) is not None:  # of a start that has to be tried again
            await old.close()
        proxy = self.proxies[who, target] = Proxy(port, nats=nats)
        await proxy.start()
        return proxy


async def _start_at_once(nodes: Sequence[Process]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(node.start())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _stop_all(processes: list[Process], bound_s: float) -> None:
    await asyncio.gather(*(process.stop(bound_s=bound_s) for process in processes))
