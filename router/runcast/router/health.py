"""The standard gRPC health service of a router: SERVING while NATS is connected and the deployment is verified, and not stopping.

Load balancers and probes ask for "" (the process) or for a service by name; all of Runcast's services have the same answer.
"""

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from runcast.v1 import admin_pb2, inbox_pb2, ingest_pb2

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in ((ingest_pb2, "IngestService"), (inbox_pb2, "InboxService"), (admin_pb2, "AdminService"))
)
"""Full names of Runcast's services on a router."""


class Health:
    """What a router tells about its state."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def tell(self, *, serving: bool) -> None:
        """Set the answer for the process and all services; those who watch are told."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICES):
            await self._servicer.set(name, status)
