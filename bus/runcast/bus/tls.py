"""TLS of a service: the certificate of its own port, read again when its files change, and how it goes to NATS.

Rules:
- What is used was checked whole: key and certificate belong together, the authorities can be read, and no file changed meanwhile. Files
  that are wrong change nothing: what was used before stays, and that is said once.
- A new certificate is for new connections; those that are open stay as they are.
- With authorities (`ca`) who connects has to show a certificate that one of them signed.
- TLS 1.2 or newer. A key with a passphrase is refused: nobody is there to type it.

Never imports grpc or nats.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from structlog.stdlib import BoundLogger

from runcast.wire import limits


class CertificateError(Exception):
    """Files can't be used for TLS; the message names them, and says why."""


class Pem(NamedTuple):
    """The contents of the files. `ca` is empty when nobody has to show a certificate."""

    cert: bytes
    key: bytes
    ca: bytes


class Certificates:
    """The certificate of a port.

    Args:
        cert: file of the certificate, and of those between it and its authority, PEM.
        key: file of its private key, PEM.
        ca: file of the authorities whose certificates let somebody in, PEM; "" lets in everybody.

    Attributes:
        pem: what is used now.
        changed: called after every change; append to it.

    Raises:
        CertificateError: they can't be used.
    """

    def __init__(self, cert: str, key: str, ca: str = "") -> None:
        self._files = (cert, key, ca)
        self._seen = self._look()
        self.changed: list[Callable[[], None]] = []
        self.pem, self._newest = self._read()

    def context(self) -> ssl.SSLContext:
        """For a server; each connection is given what is the newest when it is opened."""

        def choose(connection: "ssl.SSLSocket | ssl.SSLObject", _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._newest

        outer = server_context(*self._files)
        outer.sni_callback = choose
        return outer

    async def follow(self, log: BoundLogger) -> None:
        """Look after the files, every `limits.TLS_LOOK_S`; never returns."""
        while True:
            await asyncio.sleep(limits.TLS_LOOK_S)
            await asyncio.to_thread(self.look_again, log)

    def look_again(self, log: BoundLogger) -> None:
        """Read the files if they changed since they were read last."""
        seen = self._look()
        if seen == self._seen:
            return
        try:
            self.pem, self._newest = self._read()
        except CertificateError as exc:
            log.error("certificate_not_reloaded", error=str(exc), advice="the one before is still used")  # noqa: TRY400 # said by the message
        else:
            log.info("certificate_reloaded", cert=self._files[0])
            for call in self.changed:
                call()
        self._seen = seen

    def _look(self) -> list[tuple[int, int, int]]:
        """What tells whether the files changed."""
        seen = []
        for name in self._files:
            with contextlib.suppress(OSError):
                if name:
                    stat = Path(name).stat()
                    seen.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return seen

    def _read(self) -> tuple[Pem, ssl.SSLContext]:
        before = _contents(self._files)
        context = server_context(*self._files)
        if _contents(self._files) != before:
            raise CertificateError(f"{self._files[0]} or a file beside it was changed while it was read")
        return before, context


def server_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """For a port that browsers and agents connect to.

    Raises:
        CertificateError: the files can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, cert, key)
    if ca:
        _load_authorities(context, ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.options |= ssl.OP_NO_TICKET  # a session that is taken up again would skip an authority that was removed since
        context.num_tickets = 0
    return context


def client_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """For connecting to a server, whose name and certificate are checked.

    Args:
        cert: our own certificate, if it wants one; "" for none.
        key: its private key.
        ca: the authorities to believe; "" for those of the operating system.

    Raises:
        CertificateError: the files can't be used.
    """
    context = ssl.create_default_context() if not ca else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca:
        _load_authorities(context, ca)
    if cert:
        _load_own(context, cert, key)
    return context


def _load_own(context: ssl.SSLContext, cert: str, key: str) -> None:
    try:
        context.load_cert_chain(cert, key, password="")  # nosec B106 # none: without this, OpenSSL would ask for one
    except (OSError, ValueError) as exc:  # SSLError is an OSError
        raise CertificateError(f"{cert} and {key} can't be used: {_reason(exc, 'no certificate with the key that belongs to it')}") from exc


def _load_authorities(context: ssl.SSLContext, ca: str) -> None:
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ValueError) as exc:
        raise CertificateError(f"{ca} can't be used: {_reason(exc, 'no certificates in PEM form')}") from exc


def _reason(exc: Exception, otherwise: str) -> str:
    if isinstance(exc, ssl.SSLError):
        return f"{otherwise} ({exc.reason or 'not in PEM form'})"
    return getattr(exc, "strerror", None) or otherwise


def _contents(files: tuple[str, str, str]) -> Pem:
    try:
        return Pem(*(Path(name).read_bytes() if name else b"" for name in files))
    except OSError as exc:
        raise CertificateError(f"{exc.filename} can't be read: {exc.strerror}") from exc
