"""What is known of a caller before anything of its call is read: its metadata, its address, its certificate.

Rules: exactly one `authorization: Bearer ...` counts. Of a certificate, which gRPC has checked, the subject alternative names count, or, if
it has none, its common name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import grpc.aio

from runcast.bus.identity.jwt import TokenRefusedError

_SCHEME: Final = "bearer "
_NAMES: Final = ("x509_subject_alternative_name", "x509_common_name")


class Caller(NamedTuple):
    """What gRPC knows about a caller before its first message is read.

    Attributes:
        metadata: of the call, as it was sent.
        peer: its address as gRPC writes it, such as "ipv4:127.0.0.1:50123".
        certificate: what its certificate says, as gRPC names it; empty without one.
    """

    metadata: Sequence[tuple[str, str | bytes]]
    peer: str
    certificate: Mapping[str, Sequence[bytes]]

    @property
    def host(self) -> str:
        """Its address without the port, for logs."""
        return self.peer.rpartition(":")[0] or self.peer

    @property
    def certificate_names(self) -> list[str]:
        """The names that its certificate holds; [] without one."""
        found = next((self.certificate[name] for name in _NAMES if self.certificate.get(name)), ())
        return [name.decode("utf-8", "replace") for name in found]

    def bearer(self) -> str:
        """Its token.

        Raises:
            TokenRefusedError: it sent none, or several.
        """
        given = [value for name, value in self.metadata if name == "authorization"]
        if len(given) != 1 or not isinstance(given[0], str) or not given[0].lower().startswith(_SCHEME):
            raise TokenRefusedError("it sent no token, or several")
        return given[0][len(_SCHEME) :]


def read_caller(context: "grpc.aio.ServicerContext[Any, Any]") -> Caller:
    """Who makes an RPC."""
    metadata = tuple((str(key), value) for key, value in context.invocation_metadata() or ())
    return Caller(metadata, context.peer(), {str(name): tuple(values) for name, values in (context.auth_context() or {}).items()})
