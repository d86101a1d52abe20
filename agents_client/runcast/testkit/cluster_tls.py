"""A cluster's TLS: which files its nodes use, and how to connect to them.

Rule: the files are the test's; nothing is written here. The certificate has to hold the address 127.0.0.1.
"""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runcast.bus.tls import client_context

if TYPE_CHECKING:
    from runcast.client import Tls


class ClusterTls(NamedTuple):
    """Files, PEM. All nodes share one certificate.

    Attributes:
        ca: the authority that signed the certificates.
        cert: of the nodes.
        key: the private key of that.
        client_cert: of agents and devices, and of routers and edges at NATS; given, everybody has to show one that `ca` signed.
        client_key: the private key of that.
        nats: nats-server has TLS, too.
    """

    ca: Path
    cert: Path
    key: Path
    client_cert: Path | None = None
    client_key: Path | None = None
    nats: bool = True

    def environ(self) -> dict[str, str]:
        """Settings of routers and edges."""
        set_ = {"RUNCAST_TLS_CERT": self.cert, "RUNCAST_TLS_KEY": self.key}
        if self.client_cert and self.client_key:
            set_["RUNCAST_TLS_CA"] = self.ca
        if self.nats:
            set_["RUNCAST_NATS_CA"] = self.ca
            if self.client_cert and self.client_key:
                set_ |= {"RUNCAST_NATS_CERT": self.client_cert, "RUNCAST_NATS_KEY": self.client_key}
        return {name: str(path) for name, path in set_.items()}

    def nats_args(self) -> list[str]:
        """Arguments of nats-server."""
        if not self.nats:
            return []
        given = ["--tls", "--tlscert", str(self.cert), "--tlskey", str(self.key), "--tlscacert", str(self.ca)]
        return [*given, "--tlsverify"] if self.client_cert else given

    def agent(self) -> "Tls":
        """For `Runcast(…, tls=…)`."""
        from runcast.client import Tls  # noqa: PLC0415 # who starts servers only need not wait for gRPC

        return Tls(ca=self.ca, cert=self.client_cert, key=self.client_key)

    def context(self) -> ssl.SSLContext:
        """For devices."""
        return client_context(str(self.client_cert or ""), str(self.client_key or ""), str(self.ca))
