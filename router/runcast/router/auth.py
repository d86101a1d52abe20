"""Who is calling: the one place where real authentication of agents goes.

An `Authenticator` sees what gRPC knows about a caller before its first message is read, and says who it is. In this version
there is development mode alone: everybody is believed, and settings see to it that the port is on loopback. Real
authentication is another class with this method, chosen in `runcast.router.app` by `settings.auth`; the services need no
change.
"""

from typing import Any, NamedTuple, Protocol

import grpc
import grpc.aio

from runcast.router.status import refuse_call
from runcast.wire.errors import RuncastError


class Principal(NamedTuple):
    """Who a caller was found to be.

    Attributes:
        name: for logs; never a secret.
    """

    name: str


class Authenticator(Protocol):
    """Decides who a caller is."""

    async def authenticate(self, metadata: tuple[tuple[str, str | bytes], ...], peer: str) -> Principal:
        """Say who is calling.

        Args:
            metadata: of the call, as it was sent.
            peer: the caller's address as gRPC writes it, such as "ipv4:127.0.0.1:50123".

        Raises:
            RuncastError: `unauthenticated`; the message says what is missing.
        """
        ...


class DevAuthenticator:
    """Development mode: believes everybody."""

    async def authenticate(self, metadata: tuple[tuple[str, str | bytes], ...], peer: str) -> Principal:  # noqa: ARG002 # the protocol's
        """Name the caller by its address."""
        return Principal(peer)


async def admit(authenticator: Authenticator, context: "grpc.aio.ServicerContext[Any, Any]") -> Principal:
    """Authenticate the caller of an RPC, or end the RPC with UNAUTHENTICATED."""
    metadata = tuple((str(key), value) for key, value in context.invocation_metadata() or ())
    try:
        return await authenticator.authenticate(metadata, context.peer())
    except RuncastError as exc:
        await refuse_call(context, exc)
