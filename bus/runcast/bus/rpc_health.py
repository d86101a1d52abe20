"""The standard gRPC health service of a service process.

Load balancers and probes ask for "" (the process) or for a service by name: SERVING while NATS is connected and the deployment is verified.
Storage that is full does not change the answer: another process would meet the same. A service that tells what is wrong is SERVING until
the process stops.
"""

from collections.abc import Collection

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection


class Health:
    """What a process tells about its state.

    Args:
        services: full names of its services.
        telling: those of them that tell what is wrong.
    """

    def __init__(self, services: Collection[str], telling: Collection[str] = ()) -> None:
        self._servicer = health.aio.HealthServicer()
        self._services = tuple(services)
        self._telling = frozenset(telling)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it, and reflection."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        reflection.enable_server_reflection([*self._services, "grpc.health.v1.Health", reflection.SERVICE_NAME], server)

    async def tell(self, *, serving: bool, stopping: bool = False) -> None:
        """Set the answers for the process and its services; those who watch are told.

        Args:
            serving: whether work is taken.
            stopping: nothing is taken any more, questions neither.
        """
        answer = health_pb2.HealthCheckResponse
        for name in ("", *self._services):
            yes = not stopping if name in self._telling else serving
            await self._servicer.set(name, answer.SERVING if yes else answer.NOT_SERVING)
