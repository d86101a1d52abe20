"""The gRPC port of a service: opened, with or without TLS.

With TLS gRPC asks for the certificate at every new connection, and is given the newest. Whatever keeps the port from opening is told in the
operating system's words; gRPC keeps them to itself.
"""

import socket
from typing import Final

import grpc
import grpc.aio

from runcast.bus.process import PortInUseError
from runcast.bus.settings import ServiceSettings
from runcast.bus.tls import Certificates
from runcast.wire import limits

OPTIONS: Final = (
    ("grpc.so_reuseport", 1),
    ("grpc.max_receive_message_length", limits.GRPC_MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", limits.GRPC_MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", int(limits.GRPC_KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(limits.GRPC_KEEPALIVE_TIMEOUT_S * 1000)),
    ("grpc.http2.ping_timeout_ms", int(limits.GRPC_KEEPALIVE_TIMEOUT_S * 1000)),  # else gRPC waits a minute, whatever keepalive says
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
)
"""Of the server."""


def open_port(server: grpc.aio.Server, settings: ServiceSettings, certificates: Certificates | None) -> int:
    """Open the port; returns its number.

    Raises:
        PortInUseError: it can't be opened; the message says why. Another process of the role may share it, another program not.
    """
    try:
        if certificates is not None:
            return server.add_secure_port(settings.bind, _credentials(certificates))
        return server.add_insecure_port(settings.bind)
    except RuntimeError as exc:
        raise PortInUseError(_why_not(settings)) from exc


def _why_not(settings: ServiceSettings) -> str:
    reason = "it can't be listened on"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(address)
    except OSError as exc:
        reason = exc.strerror or str(exc)
    return f"can't listen on {settings.bind}: {reason}; end the program that uses it, or set RUNCAST_BIND to another HOST:PORT"


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """What gRPC opens a port with; with authorities, who connects has to show a certificate."""
    given = certificates.pem

    def fetch() -> grpc.ServerCertificateConfiguration | None:  # on a thread of gRPC's
        nonlocal given
        newest = certificates.pem
        if newest is given:
            return None
        given = newest
        return _configuration(certificates)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(certificates),
        fetch,  # type: ignore[arg-type] # None means: as before (grpc's documentation)
        require_client_authentication=bool(given.ca),
    )


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    cert, key, ca = certificates.pem
    return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=ca or None)
