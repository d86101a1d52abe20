"""The images' health check: `healthcheck.py router|edge` exits 0 when the service beside it takes work, 1 with a reason when not.

It asks what a balancer would ask: gRPC's health service on a router, `/readyz` on an edge, at the address of RUNCAST_BIND. So a
service that waits for NATS is unhealthy, and is not to be restarted for it. Kubernetes does not use this: it has probes of its own.
"""

import os
import sys
import urllib.error
import urllib.request
from typing import Final

DEFAULT_PORT: Final = {"router": 7400, "edge": 7480}
TIMEOUT_S: Final = 3.0


def check_router(address: str) -> str:
    """Why the router at `address` takes no work; "" when it does."""
    import grpc  # noqa: PLC0415 # the edge's check does without its start-up time
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    try:
        with grpc.insecure_channel(address) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    except grpc.RpcError as exc:
        return f"{exc.code().name}: {exc.details()}"
    return (
        "" if answer.status == health_pb2.HealthCheckResponse.SERVING else health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    )


def check_edge(address: str) -> str:
    """Why the edge at `address` takes no work; "" when it does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/readyz", timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as exc:
        return exc.read(500).decode(errors="replace")
    except OSError as exc:
        return str(exc)


def main(role: str) -> int:
    """Check the service of `role` in this container; returns the exit status."""
    host, _, port = os.environ.get("RUNCAST_BIND", f"127.0.0.1:{DEFAULT_PORT[role]}").rpartition(":")
    if host in ("0.0.0.0", "[::]"):  # noqa: S104 # nosec B104 # nothing is bound here: every address includes loopback
        host = "127.0.0.1"
    address = f"{host}:{port}"
    reason = check_router(address) if role == "router" else check_edge(address)
    if reason:
        print(f"{role} at {address} takes no work: {reason}")  # noqa: T201 # Docker shows it in `docker inspect`
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
