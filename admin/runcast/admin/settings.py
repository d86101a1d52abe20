"""What an admin process is told by its environment."""

from pathlib import Path
from typing import Literal

from runcast.admin.redacting import read_redaction
from runcast.bus.identity.authfile import AuthFile
from runcast.bus.settings import ServiceSettings, bind_problems, host_of, is_loopback
from runcast.wire.redaction import RedactionError


class AdminSettings(ServiceSettings, frozen=True, kw_only=True):
    """What an admin process needs besides.

    Attributes:
        http_bind: `host:port` of the pages for operators; port 0 takes any free one.
        auth: "token": operators have API keys; "mtls": certificates that `tls_ca` signed; see `ServiceSettings`.
        plain_text: keys may come over other networks than loopback without TLS, since something in front of these ports does it.
        redaction_file: path of the redaction file: what is taken out of users' content before an operator sees it; "" for nothing.
    """

    bind: str = "127.0.0.1:7402"
    http_bind: str = "127.0.0.1:7481"
    auth: Literal["dev", "token", "mtls", ""] = ""  # type: ignore[assignment] # each kind of service has ways of its own
    plain_text: bool = False
    redaction_file: str = ""

    @property
    def inbox_prefix(self) -> str:
        """See `ServiceSettings`; deploy/nats/permissions.conf."""
        return "_INBOX_ADMIN"

    def problems(self) -> list[str]:
        """See `ServiceSettings`."""
        problems = [*super().problems(), *bind_problems("RUNCAST_HTTP_BIND", self.http_bind, self.auth)]
        if self.auth == "mtls" and not self.tls_ca:
            problems.append(
                "RUNCAST_AUTH=mtls knows operators by their certificates; set RUNCAST_TLS_CERT, RUNCAST_TLS_KEY and RUNCAST_TLS_CA"
            )
        open_hosts = [host for host in map(host_of, (self.bind, self.http_bind)) if not is_loopback(host)]
        if self.auth == "token" and open_hosts and not (self.tls_cert or self.plain_text):
            problems.append(
                f"keys would come to {open_hosts[0]} in plain text; set RUNCAST_TLS_CERT and RUNCAST_TLS_KEY, or RUNCAST_PLAIN_TEXT=true"
                " if something in front of these ports does TLS"
            )
        if self.redaction_file:
            try:
                read_redaction(Path(self.redaction_file))
            except RedactionError as exc:
                problems += [f"RUNCAST_REDACTION_FILE: {problem}" for problem in str(exc).splitlines()]
        return problems

    def auth_file_problems(self, file: AuthFile) -> list[str]:
        """See `ServiceSettings.auth_file_problems`."""
        if not file.admins.names:
            return [f"{self.auth_file}: it has no [[admins]]; `runcast key NAME --role view,operate` makes an entry"]
        return []
