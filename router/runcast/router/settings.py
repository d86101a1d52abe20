"""What a router is told by its environment."""

from typing import Annotated, Literal

import msgspec

from runcast.bus.settings import ServiceSettings, is_loopback


class RouterSettings(ServiceSettings, frozen=True, kw_only=True):
    """What a router needs besides.

    Attributes:
        shards: of a deployment that is created, 1 to 256; 0 takes the default, or what the deployment has.
        replicas: of the streams that are created.
        auth: "token": agents have API keys or JWTs; "mtls": certificates that `tls_ca` signed; see `ServiceSettings`.
        plain_text: tokens may come over other networks than loopback without TLS, since something in front of this port does it.
    """

    bind: str = "127.0.0.1:7400"
    auth: Literal["dev", "token", "mtls", ""] = ""  # type: ignore[assignment] # each kind of service has ways of its own
    plain_text: bool = False
    shards: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    replicas: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1

    @property
    def inbox_prefix(self) -> str:
        """See `ServiceSettings`; deploy/nats/permissions.conf."""
        return "_INBOX_ROUTER"

    def problems(self) -> list[str]:
        """See `ServiceSettings`."""
        problems = super().problems()
        if self.auth == "mtls" and not self.tls_ca:
            problems.append(
                "RUNCAST_AUTH=mtls knows agents by their certificates; set RUNCAST_TLS_CERT, RUNCAST_TLS_KEY and RUNCAST_TLS_CA"
            )
        if self.auth == "token" and not (self.tls_cert or self.plain_text or is_loopback(self.host)):
            problems.append(
                f"tokens would come to {self.host} in plain text; set RUNCAST_TLS_CERT and RUNCAST_TLS_KEY, or RUNCAST_PLAIN_TEXT=true if"
                " something in front of this port does TLS"
            )
        return problems
