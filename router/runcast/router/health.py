"""The standard gRPC health service of a router.

Load balancers and probes ask for "" (the process) or for a service by name. The process, IngestService and InboxService are SERVING
while NATS is connected and the deployment is verified; AdminService, which tells what is wrong, until the router stops. Storage that is
full does not change the answer: another router would meet the same.
"""

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from runcast.v1 import admin_pb2, inbox_pb2, ingest_pb2

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in ((ingest_pb2, "IngestService"), (inbox_pb2, "InboxService"), (admin_pb2, "AdminService"))
)
"""Full names of Runcast's services on a router."""
_ADMIN = SERVICES[-1]


class Health:
    """What a router tells about its state."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def tell(self, *, serving: bool, stopping: bool = False) -> None:
        """Set the answers for the process and its services; those who watch are told.

        Args:
            serving: whether work is taken.
            stopping: nothing is taken any more, questions neither.
        """
        answer = health_pb2.HealthCheckResponse
        for name in ("", *SERVICES):
            yes = not stopping if name == _ADMIN else serving
            await self._servicer.set(name, answer.SERVING if yes else answer.NOT_SERVING)
