"""How a command gets in: over which line, believing whom, and with which token.

Rules: TLS is what the address says (`wss://`, `https://`), or what files for it say where the address says nothing. A token goes over plain
text to loopback only, unless that was allowed in so many words. No message repeats a token.
"""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit

import typer

from runcast.cli.addresses import no_address, websocket_url
from runcast.cli.failures import NOT_BEGUN, CommandError

if TYPE_CHECKING:
    from runcast.client import Tls

TlsCa = Annotated[Path | None, typer.Option("--tls-ca", help="TLS: the authority to believe (PEM). Without, the usual ones.")]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", help="TLS: our own certificate, where one is wanted (PEM).")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", help="TLS: its private key.")]
InsecureToken = Annotated[bool, typer.Option("--insecure-token", help="Send the token in plain text to other machines, too.")]


class TlsFiles(NamedTuple):
    """Files that were named for TLS, PEM.

    Attributes:
        ca: of the authorities to believe.
        cert: of our own certificate.
        key: of its private key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def given(self) -> bool:
        """Whether any was."""
        return any(self)

    def context(self) -> ssl.SSLContext:
        """For WebSockets and HTTP.

        Raises:
            CommandError: the files can't be used.
        """
        from runcast.bus.tls import CertificateError, client_context  # noqa: PLC0415 # `runcast --help` does without

        self.check()
        try:
            return client_context(*(str(path or "") for path in (self.cert, self.key, self.ca)))
        except CertificateError as exc:
            raise CommandError("tls_unusable", str(exc), status=NOT_BEGUN) from exc

    def agent(self) -> "Tls":
        """For gRPC.

        Raises:
            CommandError: the files can't be used.
        """
        from runcast.client import Tls  # noqa: PLC0415 # likewise

        self.check()
        tls = Tls(ca=self.ca, cert=self.cert, key=self.key)
        try:
            tls.read()
        except OSError as exc:
            raise CommandError("tls_unusable", f"{exc.filename} can't be read: {exc.strerror}", status=NOT_BEGUN) from exc
        return tls

    def check(self) -> None:
        """Raises CommandError: a certificate without its key, or a key without its certificate."""
        if bool(self.cert) != bool(self.key):
            raise CommandError("tls_incomplete", "--tls-cert and --tls-key belong together", status=NOT_BEGUN)


def edge_urls(written: list[str], files: TlsFiles) -> list[str]:
    """Where devices connect, from edges' addresses.

    Raises:
        CommandError: one is no address, or has no TLS where files for it were given.
    """
    urls = [websocket_url(each, tls=files.given) for each in written]
    for url in urls:
        if files.given and url.startswith("ws:"):
            raise CommandError("usage", f"{url} has no TLS; write {url.replace('ws:', 'wss:', 1)}", status=NOT_BEGUN)
    return urls


def router_targets(written: str, files: TlsFiles) -> tuple[str, bool]:
    """`host:port,host:port` from routers' addresses, which may begin with `https://` or `http://`; and whether they have TLS.

    Raises:
        CommandError: some have TLS and others don't, or one has none where files for it were given.
    """
    targets: list[str] = []
    schemes: set[str] = set()
    for each in (part.strip() for part in written.split(",")):
        scheme, marked, rest = each.partition("://")
        if marked and scheme not in ("http", "https"):
            raise no_address(each, "https://router.example.com:7400")
        schemes.add(scheme if marked else "https" if files.given else "http")
        targets.append(rest.rstrip("/") if marked else each)
    if len(schemes) > 1:
        raise CommandError("usage", "some routers' addresses have TLS and others have none; give one kind", status=NOT_BEGUN)
    if files.given and schemes == {"http"}:
        raise CommandError("usage", f"{written} has no TLS; write https://", status=NOT_BEGUN)
    return ",".join(targets), schemes == {"https"}


def check_exposure(urls: list[str], *, insecure: bool) -> None:
    """See that a token stays ours.

    Raises:
        CommandError: it would go to another machine in plain text.
    """
    from runcast.bus.settings import is_loopback  # noqa: PLC0415 # likewise

    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in ("ws", "http") and not insecure and not is_loopback(parts.hostname or ""):
            raise CommandError(
                "usage",
                f"the token would go to {parts.hostname} in plain text; write {parts.scheme}s://, or add --insecure-token if that is safe",
                status=NOT_BEGUN,
            )
