"""The images' health check: `healthcheck.py ROLE` exits 0 when the service beside it takes work, 1 with a reason when not.

It asks what a balancer would ask, at the address of RUNCAST_BIND: gRPC's health service of a router or an admin service, `/readyz` of an
edge. So a service that waits for NATS is unhealthy, and is not to be restarted for it.

Where RUNCAST_TLS_CERT says that the port has TLS, so has the question. Whose the certificate is, is not checked: it is for the name that
others use, nothing secret is asked or told, and who could answer instead is in this container. Where the port wants certificates
(RUNCAST_TLS_CA) it is shown RUNCAST_HEALTH_CERT with RUNCAST_HEALTH_KEY; without these the service's own, should that authority have signed
it for clients, too.
"""

import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

DEFAULT_PORT: Final = {"router": 7400, "edge": 7480, "admin": 7402}
TIMEOUT_S: Final = 3.0


def check_grpc(host: str, port: int, tls: ssl.SSLContext | None, own: tuple[str, str] | None) -> str:
    """Why the gRPC service there takes no work; "" when it does."""
    import grpc  # noqa: PLC0415 # the edge's check does without its start-up time
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    try:
        with _channel(grpc, host, port, tls, own) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    except grpc.RpcError as exc:
        return f"{exc.code().name}: {exc.details()}"
    except OSError as exc:
        return str(exc)
    return (
        "" if answer.status == health_pb2.HealthCheckResponse.SERVING else health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    )


def check_http(host: str, port: int, tls: ssl.SSLContext | None) -> str:
    """Why the edge there takes no work; "" when it does."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if tls is not None:
        handlers.append(urllib.request.HTTPSHandler(context=tls))
    try:
        with urllib.request.build_opener(*handlers).open(f"{'https' if tls else 'http'}://{host}:{port}/readyz", timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as exc:
        return exc.read(500).decode(errors="replace")
    except OSError as exc:
        return str(exc)


def main(role: str, environ: Mapping[str, str] = os.environ) -> int:
    """Check the service of `role` in this container; returns the exit status."""
    host, _, port = environ.get("RUNCAST_BIND", f"127.0.0.1:{DEFAULT_PORT[role]}").rpartition(":")
    if host in ("0.0.0.0", "[::]"):  # noqa: S104 # nosec B104 # nothing is bound here: every address includes loopback
        host = "127.0.0.1"
    own = _own_certificate(environ)
    try:
        tls = _context(own) if environ.get("RUNCAST_TLS_CERT") else None
        reason = check_http(host, int(port), tls) if role == "edge" else check_grpc(host, int(port), tls, own)
    except OSError as exc:  # files
        reason = str(exc)
    if reason:
        print(f"{role} at {host}:{port} takes no work: {reason}")  # noqa: T201 # Docker shows it in `docker inspect`
    return 1 if reason else 0


def _own_certificate(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """What is shown to a port that wants a certificate: files of it, and of its key."""
    if not environ.get("RUNCAST_TLS_CA"):
        return None
    if environ.get("RUNCAST_HEALTH_CERT"):
        return environ["RUNCAST_HEALTH_CERT"], environ.get("RUNCAST_HEALTH_KEY", "")
    return environ["RUNCAST_TLS_CERT"], environ.get("RUNCAST_TLS_KEY", "")


def _context(own: tuple[str, str] | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if own:
        context.load_cert_chain(*own)
    return context


def _channel(grpc: Any, host: str, port: int, tls: ssl.SSLContext | None, own: tuple[str, str] | None) -> Any:
    """A channel. gRPC knows no TLS without checks, so it is told to believe what the port shows, by a name that is in it."""
    if tls is None:
        return grpc.insecure_channel(f"{host}:{port}")
    shown, name = _shown(host, port, tls)
    files = [_read(path) for path in own] if own else [None, None]
    credentials = grpc.ssl_channel_credentials(ssl.DER_cert_to_PEM_cert(shown).encode(), files[1], files[0])
    return grpc.secure_channel(f"{host}:{port}", credentials, [("grpc.ssl_target_name_override", name)] if name else None)


def _shown(host: str, port: int, tls: ssl.SSLContext) -> tuple[bytes, str]:
    """The certificate that the port shows, and a name that it is for; "" when it is for none."""
    import socket  # noqa: PLC0415 # as above

    from cryptography import x509  # noqa: PLC0415

    tls.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host.strip("[]"), port), TIMEOUT_S) as plain,
        tls.wrap_socket(plain, server_hostname=host.strip("[]")) as secure,
    ):
        der = secure.getpeercert(binary_form=True) or b""
    try:
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return der, ""
    found = [name.replace("*", "any", 1) for name in names.get_values_for_type(x509.DNSName)]
    found += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return der, found[0] if found else ""


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 # one of a few imports less
        return file.read()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
