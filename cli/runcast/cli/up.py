"""`runcast up`: the whole system on this machine, supervised, until Ctrl-C."""

from pathlib import Path
from typing import Final

import typer

from runcast.cli.failures import NOT_BEGUN, CommandError, guarded, run_until_signal
from runcast.cli.local import LOUD, at_other_ports, check_nats, describe, local_cluster, say
from runcast.cli.supervisor import keep_alive
from runcast.testkit.cluster_tls import ClusterTls

EXAMPLES: Final = """
Examples:

  runcast up
      nats-server, two routers, two edges and an admin; data is gone at the end

  runcast up --data ./runcast-data
      the same, and the data stays

  runcast up --nats-url nats://10.0.0.5:4222
      routers, edges and an admin only, on a NATS that is there

  runcast up --router-port 0 --edge-port 0 --nats-port 0 --logs
      any free ports; every process's log on the terminal

What ends by itself is started again, a few times, and said. Ctrl-C ends all of it within 5 seconds.
"""


@guarded
def up(
    routers: int = typer.Option(2, min=1, max=16, help="Router processes, on one port."),
    edges: int = typer.Option(2, min=1, max=16, help="Edge processes, on one port."),
    admins: int = typer.Option(1, min=0, max=4, help="Admin processes, on one pair of ports."),
    data: Path | None = typer.Option(
        None, file_okay=False, resolve_path=True, help="Keep NATS's data here; without, it is removed at the end."
    ),
    nats_url: str = typer.Option("", envvar="RUNCAST_NATS_URL", help="Use this NATS instead of starting one."),
    router_port: int | None = typer.Option(None, min=0, max=65535, help="Default 7400, or any free one if that is taken; 0: any."),
    edge_port: int | None = typer.Option(None, min=0, max=65535, help="Default 7480, likewise."),
    nats_port: int | None = typer.Option(None, min=0, max=65535, help="Default 4222, likewise."),
    admin_port: int | None = typer.Option(None, min=0, max=65535, help="Default 7402, likewise."),
    admin_http_port: int | None = typer.Option(None, min=0, max=65535, help="Default 7481, likewise."),
    tls_cert: Path | None = typer.Option(None, exists=True, resolve_path=True, help="Certificate for 127.0.0.1 (PEM): TLS on every port."),
    tls_key: Path | None = typer.Option(None, exists=True, resolve_path=True, help="Its private key."),
    tls_ca: Path | None = typer.Option(None, exists=True, resolve_path=True, help="The authority that signed it."),
    logs: bool = typer.Option(False, "--logs", help="Show every process's log."),
) -> int:
    """Start Runcast on this machine: NATS, routers, edges and an admin, each a process of its own."""
    if bool(tls_cert) + bool(tls_key) + bool(tls_ca) not in (0, 3):
        raise CommandError("tls_incomplete", "--tls-cert, --tls-key and --tls-ca belong together", status=NOT_BEGUN)
    tls = ClusterTls(tls_ca, tls_cert, tls_key, nats=not nats_url) if tls_ca and tls_cert and tls_key else None

    async def main() -> int:
        cluster = local_cluster(
            routers=routers,
            edges=edges,
            admins=admins,
            nats_url=nats_url,
            data=data,
            router_port=router_port,
            edge_port=edge_port,
            nats_port=nats_port,
            admin_port=admin_port,
            admin_http_port=admin_http_port,
            logs=logs,
            tls=tls,
        )
        if nats_url:
            await check_nats(nats_url)
        say("Starting Runcast ...")
        async with cluster:
            say("Runcast is up.\n")
            for line in describe(cluster):
                say(line)
            say(f"  page      {cluster.edges[0].http_url}/")
            if data is not None:
                say(f"  data      {data}")
            say(f"\n  Watch a user:      {at_other_ports(cluster, 'tail')} --user alice")
            say(f'  Say something:     echo \'{{"kind":"agent_started"}}\' | {at_other_ports(cluster, "publish")} --user alice')
            say(f"\n{LOUD}\nCtrl-C ends it.")
            try:
                await keep_alive(cluster.processes, say)
            finally:
                say("\nStopping ...")
        return 0

    status = run_until_signal(main())
    say("Stopped: no process and no port is left.")
    return status


up.__doc__ = f"{up.__doc__}\n\n\b{EXAMPLES}"
