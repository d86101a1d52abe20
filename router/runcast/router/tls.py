"""The router's port with TLS: gRPC asks for the certificate at every new connection, and is given the newest."""

import grpc

from runcast.bus.tls import Certificates


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """What gRPC opens a port with; with authorities, who connects has to show a certificate.

    Args:
        certificates: looked after by their owner.
    """
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
