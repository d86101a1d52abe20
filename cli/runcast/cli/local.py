"""What `up` and `demo` share: ports, the cluster, and what is said about it.

Ports: 7400 (routers), 7480 (edges), 7402 and 7481 (admin) and 4222 (NATS) when they are free, so that every other command finds the cluster
without being told; otherwise any free ones, and the terminal says so. A port that was asked for by name is taken or it is an error.
"""

import asyncio
import shlex
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from runcast.cli.failures import NOT_BEGUN, CommandError
from runcast.cli.typed import program
from runcast.testkit import Cluster
from runcast.testkit.cluster_tls import ClusterTls
from runcast.testkit.ports import is_free
from runcast.testkit.processes import Echo

ROUTER_PORT: Final = 7400
EDGE_PORT: Final = 7480
ADMIN_PORT: Final = 7402
ADMIN_HTTP_PORT: Final = 7481
NATS_PORT: Final = 4222
NATS_ANSWER_S: Final = 3.0
"""How long a NATS server may take to greet."""

LOUD: Final = "Development mode: everybody is believed to be whoever they say; this machine only."


def say(text: str) -> None:
    """Tell the person at the terminal, on stdout."""
    print(text, flush=True)


def echo_line(name: str, line: str) -> None:
    """Pass a process's log line on, with its name before it."""
    print(f"{name:<9} | {line}", file=sys.stderr, flush=True)


def choose_port(asked: int | None, preferred: int, what: str) -> int:
    """The port to start with: the one asked for, else the preferred one if it is free, else 0 (any)."""
    if asked is not None:
        return asked
    if is_free(preferred):
        return preferred
    say(f"Port {preferred} is taken, so {what} on another one.")
    return 0


def local_cluster(
    *,
    routers: int,
    edges: int,
    nats_url: str,
    data: Path | None,
    router_port: int | None,
    edge_port: int | None,
    nats_port: int | None,
    logs: bool,
    tls: ClusterTls | None = None,
    admin_port: int | None = None,
    admin_http_port: int | None = None,
    admins: int = 0,
) -> Cluster:
    """The cluster that `up` and `demo` start: the processes of a role share its ports."""
    echo: Echo | None = echo_line if logs else None
    return Cluster(
        routers=routers,
        edges=edges,
        admins=admins,
        nats_url=nats_url,
        data=data,
        share_ports=True,
        router_port=choose_port(router_port, ROUTER_PORT, "routers listen"),
        edge_port=choose_port(edge_port, EDGE_PORT, "edges listen"),
        nats_port=0 if nats_url else choose_port(nats_port, NATS_PORT, "NATS listens"),
        admin_port=choose_port(admin_port, ADMIN_PORT, "admin listens") if admins else 0,
        admin_http_port=choose_port(admin_http_port, ADMIN_HTTP_PORT, "admin's pages are") if admins else 0,
        environ={} if logs else {"RUNCAST_LOG_LEVEL": "warning"},
        echo=echo,
        tls=tls,
    )


async def check_nats(urls: str) -> None:
    """Be sure that somebody answers at one of the NATS addresses, before processes are started that would wait for it for ever.

    Raises:
        CommandError: nobody does.
    """
    from runcast.bus.settings import masked_urls  # noqa: PLC0415 # `runcast --help` does without

    for url in urls.split(","):
        parts = urlsplit(url.strip() if "://" in url else f"nats://{url.strip()}")
        try:
            async with asyncio.timeout(NATS_ANSWER_S):
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port or NATS_PORT)
                greeting = await reader.readline()
                writer.close()
        except (OSError, TimeoutError, ValueError):
            continue
        if greeting.startswith(b"INFO "):
            return
    raise CommandError(
        "nats_unreachable", f"no NATS server answers at {masked_urls(urls)}; start one, or leave --nats-url out", status=NOT_BEGUN
    )


def describe(cluster: Cluster) -> list[str]:
    """Where everything is, a line each."""
    from runcast.bus.settings import masked_urls  # noqa: PLC0415 # `runcast --help` does without

    edge, router = cluster.edges[0], cluster.routers[0]
    admins = (
        [f"  operators {cluster.admins[0].address}   ({_several(len(cluster.admins), 'admin')}, pages at {cluster.admins[0].http_url}/)"]
        if cluster.admins
        else []
    )
    return [
        f"  browsers  {edge.url}   ({_several(len(cluster.edges), 'edge')})",
        f"  agents    {'https://' if cluster.tls else ''}{router.address}   ({_several(len(cluster.routers), 'router')})",
        *admins,
        f"  NATS      {masked_urls(cluster.nats_url)}{'' if cluster.nats else '   (not ours)'}",
    ]


def at_other_ports(cluster: Cluster, command: str) -> str:
    """`command`, with the options that it needs to find this cluster when it is not at the usual ports, or has TLS."""
    edge, router = cluster.edges[0], cluster.routers[0]
    options = {
        "tail": "" if edge.port == EDGE_PORT else f" --edge {'wss' if edge.tls else 'ws'}://{edge.address}",
        "admin status": "" if not cluster.admins or cluster.admins[0].port == ADMIN_PORT else f" --url {cluster.admins[0].address}",
        "publish": "" if router.port == ROUTER_PORT else f" --router {'https://' if router.tls else ''}{router.address}",
    }
    authority = f" --tls-ca {shlex.quote(str(cluster.tls.ca))}" if cluster.tls and command in options else ""
    return f"{program()} {command}{options.get(command, '')}{authority}"


def _several(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"
